//! The socket and its connections.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, Version, ext::ReasonPhrase};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::access::{HttpAccess, HttpRefusals};
use super::limits::HttpLimits;
use super::rates::Rates;
use super::router::{MAX_BODY, Method, Request, Response, Router};

/// A connection is closed after this time, whatever happens on it.
const LIFE: Duration = Duration::from_secs(300);
/// How long to wait when a connection can't be accepted, as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often that is logged at most.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// The most bytes of a request's line and headers.
const MAX_HEAD: usize = 16 << 10;

/// A socket that HTTP will be served on. It is made outside of the runtime.
#[derive(Debug)]
pub struct Server {
    socket: TcpListener,
}

impl Server {
    /// Opens the port.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Server> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Server { socket })
    }

    /// Goes on with the port that another process hands over.
    pub fn adopt(socket: OwnedFd) -> Server {
        Server {
            socket: socket.into(),
        }
    }

    /// The address, with the port that the kernel chose where none was asked for.
    ///
    /// # Errors
    /// When the kernel doesn't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves clients until it is dropped; within the runtime.
    ///
    /// # Errors
    /// When the runtime can't take the socket.
    pub async fn serve(
        self,
        router: Router,
        limits: HttpLimits,
        access: HttpAccess,
        refusals: Arc<HttpRefusals>,
    ) -> io::Result<()> {
        let socket = tokio::net::TcpListener::from_std(self.socket)?;
        let state = Arc::new(ServerState {
            rates: Mutex::new(Rates::new(limits.burst, limits.rate)),
            router,
            limits,
            access,
            refusals,
        });
        let mut tasks = JoinSet::new();
        let mut trouble = AcceptTrouble::default();
        loop {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    // Too many: closed at once.
                    Ok(_) if tasks.len() >= state.limits.connections => {}
                    Ok((stream, peer)) => {
                        tasks.spawn(connection(stream, peer.ip(), Arc::clone(&state)));
                    }
                    Err(error) => trouble.pause("HTTP", &error).await,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}

/// A listener whose connections can't be accepted, as without free file descriptors: it says so now and
/// then, and makes a pause, as they stay where they are.
#[derive(Default)]
pub struct AcceptTrouble {
    told: Option<Instant>,
}

impl AcceptTrouble {
    /// A connection to `whom` couldn't be accepted.
    pub async fn pause(&mut self, whom: &str, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            self.told = Some(Instant::now());
            tracing::warn!("{whom}: connections can't be accepted, and wait: {error}");
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

struct ServerState {
    router: Router,
    limits: HttpLimits,
    access: HttpAccess,
    refusals: Arc<HttpRefusals>,
    rates: Mutex<Rates<IpAddr>>,
}

async fn connection(stream: TcpStream, peer: IpAddr, state: Arc<ServerState>) {
    // Replies are written whole.
    let _ = stream.set_nodelay(true);
    // Gone already.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let local = local.ip();
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(request, (peer, local), &state).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.limits.request)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // What a client does to its own connection concerns nobody else.
    let _ = timeout(LIFE, serving).await;
}

type Reply = hyper::Response<Full<Bytes>>;

async fn respond(
    request: hyper::Request<Incoming>,
    (peer, local): (IpAddr, IpAddr),
    state: &ServerState,
) -> Reply {
    let (head, body) = request.into_parts();
    let admitted = state
        .rates
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(peer, Instant::now());
    if admitted.is_err() {
        let mut reply = finish(Response::text(429, "too many requests"));
        reply
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return reply;
    }
    match asked_by(&head) {
        Ok(host) if host.is_none_or(|host| state.access.is_ours(host, local)) => {}
        Ok(_) => {
            state.refusals.count(|r| &r.host);
            return finish(Response::text(
                421,
                "this server isn't called that; modparam http_host of the module corex names it",
            ));
        }
        Err(reason) => {
            state.refusals.count(|r| &r.host);
            return finish(Response::text(400, reason));
        }
    }
    let method = match head.method.as_str() {
        "GET" | "HEAD" => Some(Method::Get),
        "POST" => Some(Method::Post),
        _ => None,
    };
    let route = match state.router.find(method, head.uri.path()) {
        Ok(route) => route,
        Err(methods) if methods.is_empty() => {
            return finish(Response::text(404, "there is nothing here"));
        }
        Err(methods) => {
            let mut reply = finish(Response::text(405, "this is asked in another way"));
            if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
                reply.headers_mut().insert(ALLOW, allow);
            }
            return reply;
        }
    };
    // Browsers say so when a page posts; none has any business here.
    if method == Some(Method::Post) && head.headers.contains_key(ORIGIN) {
        state.refusals.count(|r| &r.page);
        return finish(Response::text(403, "not for web pages"));
    }
    if let Some(token) = state.access.token.as_ref().filter(|_| !route.is_open) {
        let shown = head.headers.get(AUTHORIZATION);
        if !shown.is_some_and(|shown| token.is_shown(shown.as_bytes())) {
            state.refusals.count(|r| &r.token);
            let mut reply = finish(Response::text(401, "this takes a token"));
            let scheme = HeaderValue::from_static("Bearer");
            reply.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return reply;
        }
    }
    let body = match timeout(state.limits.request, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return finish(Response::text(413, "the body is too long"));
        }
        Ok(Err(_)) => return finish(Response::text(400, "the body can't be read")),
        Err(_) => return finish(Response::text(408, "the body takes too long")),
    };
    let response = (route.handler)(Request {
        query: head.uri.query().unwrap_or_default().to_owned(),
        accept: text(&head.headers, ACCEPT),
        body,
    });
    finish(response.await)
}

/// The host that a request is for; `None`: it names none, as before HTTP/1.1, which no browser
/// speaks.
///
/// # Errors
/// What is wrong with it (RFC 9112 §3.2).
fn asked_by(head: &Parts) -> Result<Option<&[u8]>, &'static str> {
    let mut named = head.headers.get_all(HOST).iter();
    let header = match (named.next(), named.next()) {
        (Some(_), Some(_)) => return Err("there is more than one Host"),
        (header, _) => header.map(HeaderValue::as_bytes),
    };
    // A target that is a whole URI counts before the header.
    match head.uri.authority() {
        Some(authority) => Ok(Some(authority.as_str().as_bytes())),
        None if header.is_none() && head.version >= Version::HTTP_11 => Err("there is no Host"),
        None => Ok(header),
    }
}

fn text(headers: &HeaderMap, name: hyper::header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn finish(response: Response) -> Reply {
    let has_body = !response.body.is_empty();
    let mut reply = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *reply.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if has_body {
        let value = HeaderValue::from_static(response.content_type);
        reply.headers_mut().insert(CONTENT_TYPE, value);
    }
    // A reason of several lines, or in other letters, is left out.
    let reason = response
        .reason
        .and_then(|reason| ReasonPhrase::try_from(reason.into_bytes()).ok());
    if let Some(reason) = reason {
        reply.extensions_mut().insert(reason);
    }
    reply
}
