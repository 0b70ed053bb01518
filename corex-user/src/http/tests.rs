use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

struct Served {
    address: std::net::SocketAddr,
    refusals: Arc<HttpRefusals>,
    _runtime: tokio::runtime::Runtime,
}

fn serve(limits: HttpLimits) -> Served {
    serve_to(limits, None)
}

fn serve_to(limits: HttpLimits, token: Option<Token>) -> Served {
    let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = server.address().unwrap();
    let length: Handler = Arc::new(|request| {
        Box::pin(async move { Response::text(200, &request.body.len().to_string()) })
    });
    let query: Handler = Arc::new(|request| {
        Box::pin(async move {
            Response {
                reason: Some("As You Wish".to_owned()),
                ..Response::text(200, &request.query)
            }
        })
    });
    let router = Router::default()
        .with(Method::Post, "/length", length)
        .with(Method::Get, "/query", Arc::clone(&query))
        .with_open(Method::Get, "/open", query);
    // Threads of its own, so that tests may block.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let access = HttpAccess {
        names: vec!["x".to_owned()],
        token,
    };
    let refusals = Arc::default();
    runtime.spawn(server.serve(router, limits, access, Arc::clone(&refusals)));
    Served {
        address,
        refusals,
        _runtime: runtime,
    }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// Status line and body of what answers a request, whose connection ends with it.
    fn ask(&self, request: &[u8]) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A connection that is reset has been answered before.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.lines().next().unwrap_or_default().to_owned();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn post(&self, headers: &str, body: &[u8]) -> (String, String) {
        let length = body.len();
        let head = format!(
            "POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        self.ask(&[head.as_bytes(), body].concat())
    }
}

#[test]
fn paths_and_methods_lead_to_their_handlers() {
    let served = serve(HttpLimits::default());
    assert_eq!(
        served.get("/query?a=b"),
        ("HTTP/1.1 200 As You Wish".to_owned(), "a=b\n".to_owned())
    );
    assert_eq!(served.post("", b"12345").1, "5\n");
    assert_eq!(served.get("/none").0, "HTTP/1.1 404 Not Found");
    assert_eq!(served.get("/length").0, "HTTP/1.1 405 Method Not Allowed");
    let head = b"HEAD /query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(
        served.ask(head),
        ("HTTP/1.1 200 As You Wish".to_owned(), String::new())
    );
}

#[test]
fn bodies_are_bounded() {
    let served = serve(HttpLimits::default());
    assert_eq!(
        served.post("", &vec![b'x'; MAX_BODY]).1,
        format!("{MAX_BODY}\n")
    );
    assert_eq!(
        served.post("", &vec![b'x'; MAX_BODY + 1]).0,
        "HTTP/1.1 413 Payload Too Large"
    );
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    let endless = [
        b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        &chunk[..],
        b"1\r\nx\r\n",
    ]
    .concat();
    assert_eq!(served.ask(&endless).0, "HTTP/1.1 413 Payload Too Large");
}

#[test]
fn what_is_no_http_is_sent_away_and_others_are_served() {
    let served = serve(HttpLimits::default());
    assert_eq!(
        served.ask(b"OPTIONS sip:x SIP/2.0\r\n\r\n").0,
        "HTTP/1.1 400 Bad Request"
    );
    let long = [b"GET /", &vec![b'x'; 1 << 16][..]].concat();
    assert!(served.ask(&long).0.starts_with("HTTP/1.1 4"));
    assert_eq!(served.get("/query").0, "HTTP/1.1 200 As You Wish");
}

#[test]
fn slow_clients_are_sent_away() {
    let served = serve(HttpLimits {
        request: Duration::from_millis(50),
        ..HttpLimits::default()
    });
    assert_eq!(served.ask(b"GET /query HTT").1, "");
    let half =
        b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nx";
    assert_eq!(served.ask(half).0, "HTTP/1.1 408 Request Timeout");
}

#[test]
fn web_pages_of_other_sites_may_not_post() {
    let served = serve(HttpLimits::default());
    assert_eq!(
        served.post("Origin: http://evil.example\r\n", b"x").0,
        "HTTP/1.1 403 Forbidden"
    );
}

#[test]
fn a_client_that_asks_too_often_is_told_so() {
    let served = serve(HttpLimits {
        burst: 2,
        rate: 1,
        ..HttpLimits::default()
    });
    served.get("/query");
    served.get("/query");
    assert_eq!(served.get("/query").0, "HTTP/1.1 429 Too Many Requests");
}

#[test]
fn a_web_page_whose_name_leads_here_gets_nothing() {
    let served = serve(HttpLimits::default());
    let ask = |target: &str, hosts: &str| {
        let request = format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        served.ask(request.as_bytes()).0
    };
    let own = format!("Host: {}\r\n", served.address);
    assert_eq!(ask("/query", &own), "HTTP/1.1 200 As You Wish");
    assert_eq!(
        ask("/query", "Host: localhost:1\r\n"),
        "HTTP/1.1 200 As You Wish"
    );
    for host in ["evil.example", "127.0.0.1.evil.example", "127.0.0.2", ""] {
        let status = ask("/query", &format!("Host: {host}\r\n"));
        assert_eq!(status, "HTTP/1.1 421 Misdirected Request", "{host}");
    }
    // The target counts before the header, and two headers are none.
    assert_eq!(
        ask("http://evil.example/query", &own),
        "HTTP/1.1 421 Misdirected Request"
    );
    assert_eq!(ask("/query", &own.repeat(2)), "HTTP/1.1 400 Bad Request");
    assert_eq!(ask("/query", ""), "HTTP/1.1 400 Bad Request");
    // As what balances load asks whether a server lives.
    let old = served.ask(b"GET /query HTTP/1.0\r\n\r\n").0;
    assert!(old.ends_with("200 As You Wish"), "{old}");
    assert_eq!(served.refusals.host.load(Ordering::Relaxed), 7);
    let post = "POST /length HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n";
    let mut stream = served.connect();
    stream.write_all(post.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 421");
}

#[test]
fn who_shows_no_token_gets_only_what_is_for_everybody() {
    let path = std::env::temp_dir().join(format!("corex-http-token-{}", std::process::id()));
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let token = Token::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let served = serve_to(HttpLimits::default(), Some(token));
    let ask = |path: &str, headers: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        served.ask(request.as_bytes()).0
    };
    assert_eq!(ask("/open", ""), "HTTP/1.1 200 As You Wish");
    assert_eq!(ask("/query", ""), "HTTP/1.1 401 Unauthorized");
    let wrong = "Authorization: Bearer 0123456789abcdee\r\n";
    assert_eq!(ask("/query", wrong), "HTTP/1.1 401 Unauthorized");
    let right = "Authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(ask("/query", right), "HTTP/1.1 200 As You Wish");
    assert_eq!(served.post("", b"x").0, "HTTP/1.1 401 Unauthorized");
    assert_eq!(served.post(right, b"x").0, "HTTP/1.1 200 OK");
    assert_eq!(served.refusals.token.load(Ordering::Relaxed), 3);
}
