//! Answers that come later.

use std::future::Future;
use std::pin::Pin;

/// What a command or the daemon will answer once it has waited for something.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
