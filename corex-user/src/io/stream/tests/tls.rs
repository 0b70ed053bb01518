//! TLS towards a server with a certificate of its own.

use rcgen::{CertifiedKey, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ALL_VERSIONS, ServerConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::PrivateKeyDer,
        version::{TLS12, TLS13},
    },
};

use super::*;

/// A certificate for a name, which is its own authority.
pub(super) fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

/// A server that answers each connection with a request.
struct Server {
    address: SocketAddr,
    /// Its certificate, which is its own authority, in PEM.
    pem: String,
    /// What it read, or why there was no connection.
    got: mpsc::Receiver<Result<String, String>>,
}

async fn server(name: &str, versions: &[&'static SupportedProtocolVersion]) -> Server {
    let made = certificate(name);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, got) = mpsc::channel(10);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let result = match acceptor.accept(stream).await {
                Ok(mut stream) => {
                    let text = read(&mut stream, 5).await;
                    stream.write_all(request("tls").as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    open.push(stream);
                    Ok(text)
                }
                Err(error) => Err(error.to_string()),
            };
            sender.send(result).await.unwrap();
        }
    });
    Server {
        address,
        pem: made.cert.pem(),
        got,
    }
}

impl Server {
    async fn got(&mut self) -> Result<String, String> {
        timeout(PATIENCE, self.got.recv()).await.unwrap().unwrap()
    }
}

/// A file of authorities, which is read when the lab starts.
pub(super) fn lab_that_trusts(test: &str, pem: &str) -> Lab {
    let name = format!("corex-{test}-{}.pem", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, pem).unwrap();
    let lab = lab(StreamSettings {
        ca: Some(path.clone()),
        ..StreamSettings::default()
    });
    std::fs::remove_file(path).unwrap();
    lab
}

pub(super) fn hello(to: SocketAddr, name: Option<&str>) -> Delivery {
    Delivery {
        payload: Bytes::from_static(b"hello"),
        to,
        transport: Transport::Tls,
        server_name: name.map(str::to_owned),
        connection: None,
        is_reply: false,
        socket: SocketId(3),
        copies: Default::default(),
    }
}

#[tokio::test]
async fn messages_go_both_ways_by_either_version() {
    for version in [&TLS12, &TLS13] {
        let mut server = server("edge.example", &[version]).await;
        let mut lab = lab_that_trusts("both-ways", &server.pem);
        let to = server.address;
        lab.streams.send(hello(to, Some("edge.example"))).unwrap();
        assert_eq!(server.got().await, Ok("hello".to_owned()));
        let message = lab.receive().await;
        assert_eq!(message.payload, request("tls"));
        assert_eq!((message.source, message.transport), (to, Transport::Tls));
        assert_ne!(message.local.port(), 0);
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let mut server = server("edge.example", ALL_VERSIONS).await;
    let lab = lab_that_trusts("name", &server.pem);
    let to = server.address;
    let mut refused = 0;
    for wrong in [Some("other.example"), None, Some("not a name")] {
        lab.streams.send(hello(to, wrong)).unwrap();
        refused += 1;
        lab.until("drop_connect", refused).await;
        assert!(server.got().await.is_err(), "{wrong:?}");
    }
    // The authority is trusted: it was the name.
    lab.streams.send(hello(to, Some("edge.example"))).unwrap();
    assert_eq!(server.got().await, Ok("hello".to_owned()));
    lab.at_rest().await;
}

#[tokio::test]
async fn without_a_name_the_certificate_must_be_for_the_address() {
    let mut server = server("127.0.0.1", ALL_VERSIONS).await;
    let lab = lab_that_trusts("address", &server.pem);
    lab.streams.send(hello(server.address, None)).unwrap();
    assert_eq!(server.got().await, Ok("hello".to_owned()));
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let mut unknown = server("edge.example", ALL_VERSIONS).await;
    let other = server("edge.example", ALL_VERSIONS).await;
    let lab = lab_that_trusts("authority", &other.pem);
    lab.streams
        .send(hello(unknown.address, Some("edge.example")))
        .unwrap();
    lab.until("drop_connect", 1).await;
    assert!(unknown.got().await.is_err());
    lab.at_rest().await;
}

#[tokio::test]
async fn names_do_not_share_a_connection() {
    let mut server = server("edge.example", ALL_VERSIONS).await;
    let lab = lab_that_trusts("share", &server.pem);
    let to = server.address;
    lab.streams.send(hello(to, Some("edge.example"))).unwrap();
    assert_eq!(server.got().await, Ok("hello".to_owned()));
    // The connection to the address is for another name.
    lab.streams.send(hello(to, Some("other.example"))).unwrap();
    lab.until("drop_connect", 1).await;
    assert_eq!(lab.count("delivered"), 1);
}

#[tokio::test]
async fn a_file_without_authorities_is_told_before_anything_waits() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let missing = lab(StreamSettings {
        ca: Some("/nonexistent/ca.pem".into()),
        ..StreamSettings::default()
    });
    for lab in [missing, lab_that_trusts("empty", "no certificate\n")] {
        assert!(matches!(
            lab.streams.send(hello(nowhere, None)),
            Err(SendError::NoTransport(_))
        ));
        assert_eq!(lab.count("queued"), 0);
    }
}
