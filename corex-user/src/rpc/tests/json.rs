//! `kamcli`, `kamctl` and `curl` ask by JSON-RPC.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::runtime::Runtime;

use super::{Fake, Folder, run, runtime};
use crate::http::{HttpAccess, HttpLimits, Method, Router, Server};
use crate::rpc::Rpc;
use crate::rpc::commands;
use crate::rpc::json::{Datagrams, Fifo, route};
use crate::rpc::limits::RpcLimits;
use corex_script::settings::control::{Access, DatagramAddress};

struct Served {
    folder: Folder,
    rpc: Arc<Rpc>,
    runtime: Runtime,
}

fn serve() -> Served {
    let limits = RpcLimits {
        request: Duration::from_millis(200),
        reply: Duration::from_millis(500),
        ..RpcLimits::default()
    };
    Served {
        folder: Folder::new(),
        rpc: Arc::new(Rpc::new(commands::ALL, Arc::new(Fake::new()), limits)),
        runtime: runtime(),
    }
}

impl Served {
    fn datagrams(&self, address: &str) {
        let address = DatagramAddress::parse(address).unwrap();
        let socket = Datagrams::bind(&address, &Access::default()).unwrap();
        let rpc = Arc::clone(&self.rpc);
        self.runtime
            .spawn(socket.serve(rpc, true, Duration::from_secs(2)));
    }

    fn fifo(&self) {
        self.fifo_to(self.folder.path());
    }

    fn fifo_to(&self, replies: &Path) {
        let path = self.folder.join("fifo");
        let fifo = Fifo::make(&path, &Access::default(), replies).unwrap();
        self.runtime.spawn(fifo.serve(Arc::clone(&self.rpc), true));
    }

    /// What kamcli prints with a socket.
    fn kamcli(&self, address: &str, words: &[&str]) -> String {
        let settings = self.folder.join("kamcli.ini");
        let text = format!(
            "[jsonrpc]\ntransport=socket\nsrvaddr={address}\nrcvaddr={}\noutformat=json\n",
            self.folder.join("kamcli").display()
        );
        fs::write(&settings, text).unwrap();
        let settings = settings.display().to_string();
        let mut args = vec!["-c", settings.as_str()];
        args.extend(words);
        run("kamcli", &args)
    }

    /// What comes out of a reply FIFO once a document was written.
    fn by_fifo(&self, document: &str) -> String {
        let reply = self.folder.join("reply");
        mkfifo(&reply, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        self.write(document);
        let mut text = String::new();
        fs::File::open(&reply)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        fs::remove_file(&reply).unwrap();
        text
    }

    fn write(&self, text: &str) {
        let mut fifo = fs::File::options()
            .write(true)
            .open(self.folder.join("fifo"))
            .unwrap();
        fifo.write_all(text.as_bytes()).unwrap();
    }

    fn wait_for(&self, counter: &str, expected: u64) {
        let read = || {
            let rows = self.rpc.fronts.counters.rows();
            rows.iter().find(|(name, _)| *name == counter).unwrap().1
        };
        for _ in 0..2000 {
            if read() == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(read(), expected, "{counter}");
    }
}

#[test]
fn kamcli_works_over_datagrams() {
    let served = serve();
    let path = served.folder.join("dgram").display().to_string();
    served.datagrams(&path);
    let text = served.kamcli(&path, &["jsonrpc", "core.version"]);
    assert!(text.contains("corex 0.1.0 (x86_64/linux)"), "{text}");
    let text = served.kamcli(&path, &["ps"]);
    assert!(text.contains("0  4711 control"), "{text}");
    for (words, expected) in [
        (&["uptime"][..], "up_since"),
        (&["stats", "xdp"], "xdp:seen = 1099511627776"),
        (&["srv", "sockets"], "ADDRLIST"),
        (&["srv", "aliases"], "sub.example.com"),
        (&["rpcmethods"], "system.listMethods"),
        (&["jsonrpc", "corex.debug", "i:3"], "\"new\": 3"),
        (&["jsonrpc", "guard.block", "192.0.2.7"], "Ok."),
        (
            &["jsonrpc", "corex.guard", "explain", "192.0.2.7"],
            "dropped: block",
        ),
        (&["jsonrpc", "no.such"], "Method Not Found"),
    ] {
        let text = served.kamcli(&path, words);
        assert!(text.contains(expected), "{words:?}: {text}");
    }
}

#[test]
fn datagrams_come_by_udp_too() {
    let served = serve();
    served.datagrams("udp:127.9.9.3:20492");
    let client = std::net::UdpSocket::bind("127.9.9.3:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = br#"{"jsonrpc":"2.0","method":"core.echo","id":1}"#;
    client.send_to(request, "127.9.9.3:20492").unwrap();
    let mut buffer = [0; 1000];
    let length = client.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"{\n\t\"jsonrpc\": \"2.0\""));
}

#[test]
fn kamctl_works_over_the_fifo() {
    let served = serve();
    let replies = served.folder.join("tmp");
    fs::create_dir(&replies).unwrap();
    served.fifo_to(&replies);
    assert_eq!(
        fs::metadata(served.folder.join("fifo"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    // It looks for replies in tmp of the folder that is named here.
    let dir = served.folder.path().display();
    let command = format!(
        "cd {dir} && CHROOT_DIR={dir} CTLENGINE=RPCFIFO RPCFIFOPATH={dir}/fifo \
         kamctl rpc core.version"
    );
    let text = run("sh", &["-c", &command]);
    assert!(text.contains("corex 0.1.0 (x86_64/linux)"), "{text}");
}

#[test]
fn fifo_replies_go_where_the_client_says_within_the_folder() {
    let served = serve();
    served.fifo();
    let request = |name: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\n\"method\":\"core.echo\",\"params\":[\"x\"],\"reply_name\":\"{name}\",\"id\":1}}\n"
        )
    };
    let text = served.by_fifo(&request("reply"));
    assert!(text.contains("\"x\""), "{text}");
    // Half a request from one who died, and junk, spoil nothing for the next.
    served.write("{\"jsonrpc\":");
    served.wait_for("too_slow", 1);
    served.write("junk\n");
    served.wait_for("malformed", 1);
    let two = request("reply") + &request("other");
    assert!(served.by_fifo(&two).contains("\"x\""));
    served.wait_for("undelivered", 1);

    let precious = served.folder.join("precious");
    fs::write(&precious, "data").unwrap();
    std::os::unix::fs::symlink(&precious, served.folder.join("link")).unwrap();
    for name in ["precious", "link", "../x", "/etc/passwd", "..", ".", ""] {
        let before = served
            .rpc
            .fronts
            .counters
            .undelivered
            .load(Ordering::Relaxed);
        served.write(&request(name));
        served.wait_for("undelivered", before + 1);
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "data");
}

#[test]
fn a_reply_fifo_that_nobody_opens_holds_nobody_up() {
    let served = serve();
    served.fifo();
    mkfifo(&served.folder.join("closed"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let request = |name: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"core.echo\",\"reply_name\":\"{name}\",\"id\":1}}"
        )
    };
    served.write(&request("closed"));
    assert!(served.by_fifo(&request("reply")).contains("result"));
    served.wait_for("too_slow", 1);
}

#[test]
fn a_fifo_takes_no_other_files_place() {
    let folder = Folder::new();
    let path = folder.join("fifo");
    let make = |path: &Path| Fifo::make(path, &Access::default(), folder.path());
    drop(make(&path).unwrap());
    assert!(!path.exists());
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    drop(make(&path).unwrap());
    fs::write(&path, "data").unwrap();
    assert!(make(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn curl_gets_kamailios_status() {
    let served = serve();
    let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}/RPC", server.address().unwrap());
    let router =
        Router::default().with(Method::Post, "/RPC", route(Arc::clone(&served.rpc), false));
    served.runtime.spawn(server.serve(
        router,
        HttpLimits::default(),
        HttpAccess::default(),
        Arc::default(),
    ));
    let ask = |document: &str| run("curl", &["-s", "-i", "--data", document, &url]);
    let text = ask(r#"{"jsonrpc":"2.0","method":"core.version","id":1}"#);
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"),
        "{text}"
    );
    assert!(
        text.ends_with(r#"{"jsonrpc":"2.0","result":"corex 0.1.0 (x86_64/linux)","id":1}"#),
        "{text}"
    );
    let text = ask(r#"{"jsonrpc":"2.0","method":"no.such","id":1}"#);
    assert!(
        text.starts_with("HTTP/1.1 500 Method Not Found\r\n"),
        "{text}"
    );
    let text = ask(r#"{"jsonrpc":"2.0","method":"htable.delete","params":["a","zz"],"id":3}"#);
    assert!(
        text.starts_with("HTTP/1.1 404 Key not found in htable.\r\n"),
        "{text}"
    );
    let text = ask(r#"{"jsonrpc":"2.0","method":"core.version"}"#);
    assert!(text.starts_with("HTTP/1.1 204 No Content\r\n"), "{text}");
}
