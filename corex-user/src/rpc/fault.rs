//! Why a command gave no reply.

use std::borrow::Cow;
use std::fmt;

/// A code, as of SIP and HTTP, and a reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// 4xx: the caller's doing; 5xx: ours, or a name that there isn't.
    pub code: u16,
    /// What a person reads.
    pub reason: Cow<'static, str>,
}

impl Fault {
    /// A fault with any code.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Fault {
        Fault {
            code,
            reason: reason.into(),
        }
    }

    /// 400: the request is wrong.
    pub fn bad(reason: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(400, reason)
    }

    /// 500: it could not be done.
    pub fn failed(reason: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(500, reason)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.code, self.reason)
    }
}

impl std::error::Error for Fault {}
