//! What the fuzz targets do with their input: everything that reads bytes from outside, and
//! what must hold of the result. `cargo xtask fuzz` runs them; the tests here run all seeds.

mod compose;
mod dialect;
mod sip;

pub use compose::compose;
pub use dialect::dialect;
pub use sip::sip;

#[cfg(test)]
mod tests;
