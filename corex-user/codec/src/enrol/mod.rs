//! Enrolment: what devices and servers say to one another so that both know a key.

mod notice;

pub use notice::{NOTICE_LEN, UnknownNotice};
