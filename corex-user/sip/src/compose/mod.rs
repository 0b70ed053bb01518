//! The messages that a stateless proxy sends: a request with our Via, a reply without it, a reply
//! of our own. Each is written into a buffer that is used again and again.

mod branch;
mod circle;
mod digits;
mod edit;
mod forward;
mod length;
mod own;
mod received;
mod reply;
mod seal;
mod via;

#[cfg(test)]
mod tests;

pub use branch::{Fingerprint, branch, to_tag};
pub use circle::Circle;
pub use edit::{Edits, write};
pub use forward::{Forward, HopLimit, Own, SentBy, max_forwards, write_request};
pub use length::fix_content_length;
pub use own::{OwnLines, Side, When, Which};
pub use received::reply_address;
pub use reply::{Reply, write_reply};
pub use seal::{NoKeys, ReplyKeys};
pub use via::{ReturnPath, return_path, strip_top_via};
