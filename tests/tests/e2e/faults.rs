//! What fails under load, what that costs, and where it is counted: the rows of docs/faults.md.
//!
//! Each test has a steady load of numbered messages, makes its fault, ends it, and asks of every
//! message that was sent where it is: it arrived, a counter of corex's names it, the kernel says that
//! it lost it, or it was in hand at that moment. Each prints one line with its figures.

mod change;
mod host;
mod links;
mod load;
mod process;
mod scripts;
mod stage;
