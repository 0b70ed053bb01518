//! The scanner itself, on source made for it.

mod arrows;
mod reading;
