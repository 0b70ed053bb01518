//! A small HTTP/1.1 server for what people and machines ask about corex: a table of paths, and
//! bounds for every client.

mod access;
mod limits;
mod rates;
mod router;
mod server;

#[cfg(test)]
mod tests;

pub use self::access::{HttpAccess, HttpRefusals, Token, secret_in};
pub use self::limits::HttpLimits;
pub use self::rates::Rates;
pub use self::router::{Handler, MAX_BODY, Method, Request, Response, Router};
pub use self::server::{AcceptTrouble, Server};
