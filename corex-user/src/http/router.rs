//! Requests, responses, and the table of paths that leads from one to the other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The most bytes of a request's body.
pub const MAX_BODY: usize = 64 << 10;

/// A request as its handler gets it, once it has arrived whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The part of the target behind `?`; may be empty.
    pub query: String,
    /// The value of `Accept`; may be empty.
    pub accept: String,
    /// The body, of at most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

/// What a handler answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason beside it; `None`: the one that the status has.
    pub reason: Option<String>,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The body; may be empty.
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

/// What answers requests. It must not block: its runtime has few threads.
pub type Handler =
    Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// A method that a path can be asked by.
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

/// The table of paths, with what answers at each.
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<Route>,
}

/// What answers one method at one path.
#[derive(Clone)]
pub(super) struct Route {
    method: Method,
    path: &'static str,
    /// Whether it answers who shows no token, too.
    pub is_open: bool,
    pub handler: Handler,
}

impl Router {
    /// Adds what answers this method at this path: who shows the token, where there is one.
    #[must_use]
    pub fn with(self, method: Method, path: &'static str, handler: Handler) -> Router {
        self.and(method, path, handler, false)
    }

    /// Adds what answers everybody.
    #[must_use]
    pub fn with_open(self, method: Method, path: &'static str, handler: Handler) -> Router {
        self.and(method, path, handler, true)
    }

    fn and(
        mut self,
        method: Method,
        path: &'static str,
        handler: Handler,
        is_open: bool,
    ) -> Router {
        self.routes.push(Route {
            method,
            path,
            is_open,
            handler,
        });
        self
    }

    /// What answers this method at this path.
    ///
    /// # Errors
    /// The methods that the path is answered by; none: there is no such path.
    pub(super) fn find(
        &self,
        method: Option<Method>,
        path: &str,
    ) -> Result<&Route, Vec<&'static str>> {
        let at_path = || self.routes.iter().filter(|route| route.path == path);
        let found = at_path().find(|route| Some(route.method) == method);
        found.ok_or_else(|| at_path().map(|route| route.method.name()).collect())
    }
}
