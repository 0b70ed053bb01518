//! Requests, responses, and the table of paths that leads from one to the other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The most bytes of a request's body.
pub const MAX_BODY: usize = 64 << 10;

/// A request, all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The part of the target behind `?`; may be empty.
    pub query: String,
    /// The value of `Accept`; may be empty.
    pub accept: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The reason beside it; `None`: the one that the status has.
    pub reason: Option<String>,
    /// The body's type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A line of text.
    pub fn text(status: u16, line: &str) -> Response {
        Response {
            status,
            reason: None,
            content_type: "text/plain; charset=utf-8",
            body: format!("{line}\n").into_bytes(),
        }
    }
}

/// What answers requests. It must not block: it runs on the control runtime.
pub type Handler =
    Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// A way to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET, and HEAD, which leaves the body out.
    Get,
    /// POST. Refused if a web page of another site sends it.
    Post,
}

impl Method {
    /// Its name in the header Allow.
    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET, HEAD",
            Method::Post => "POST",
        }
    }
}

/// Paths and what answers there.
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<(Method, &'static str, Handler)>,
}

impl Router {
    /// Adds a path.
    #[must_use]
    pub fn with(mut self, method: Method, path: &'static str, handler: Handler) -> Router {
        self.routes.push((method, path, handler));
        self
    }

    /// What answers at a path, or the response for there being nothing, with the methods that
    /// there are.
    pub(super) fn find(
        &self,
        method: Option<Method>,
        path: &str,
    ) -> Result<&Handler, Vec<&'static str>> {
        let at_path = || self.routes.iter().filter(|(_, known, _)| *known == path);
        let found = at_path().find(|(known, _, _)| Some(*known) == method);
        match found {
            Some((_, _, handler)) => Ok(handler),
            None => Err(at_path().map(|(method, _, _)| method.name()).collect()),
        }
    }
}
