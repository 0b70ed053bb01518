//! What the configuration says about remote control: parameters of the modules `ctl` and
//! `jsonrpcs`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

/// Where relative socket and FIFO paths begin.
pub const RUN_DIR: &str = "/run/corex";
/// Kamailio's port for binrpc.
pub const BINRPC_PORT: u16 = 2049;
/// The port of the HTTP server.
pub const HTTP_PORT: u16 = 9470;
/// The address for ports that are written without one.
const LOOPBACK: &str = "127.0.0.1";

/// A host, which may be a name, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// An IP address (IPv6 without brackets) or a name.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Reads `host`, `host:port`, `[ipv6]:port`, `port`, `*` or `*:port`. Without a host it is
    /// loopback; `*` is every address.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, default_port: u16) -> Result<HostPort, String> {
        let of = |host: &str, port: &str| {
            let port = match port {
                "" => Some(default_port),
                port => port.parse().ok().filter(|port| *port != 0),
            };
            let port = port.ok_or_else(|| format!("`{text}` has no port from 1 to 65535"))?;
            let host = match host {
                "" => LOOPBACK,
                "*" => "0.0.0.0",
                host => host,
            };
            Ok(HostPort {
                host: host.to_owned(),
                port,
            })
        };
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| format!("`{text}` lacks a `]`"))?;
            return match (host.parse::<IpAddr>(), rest.strip_prefix(':')) {
                (Ok(IpAddr::V6(_)), Some(port)) if !port.is_empty() => of(host, port),
                (Ok(IpAddr::V6(_)), None) if rest.is_empty() => of(host, ""),
                _ => Err(format!("`{text}` is no IPv6 address with a port")),
            };
        }
        if text.parse::<IpAddr>().is_ok() {
            return of(text, "");
        }
        match text.split_once(':') {
            Some((host, port)) if !port.is_empty() => of(host, port),
            Some(_) => Err(format!("`{text}` has no port behind the colon")),
            None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                of("", text)
            }
            None => of(text, ""),
        }
    }

    /// The address, looked up where the host is a name. Blocks.
    ///
    /// # Errors
    /// When the name has no address.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        (self.host.as_str(), self.port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What binrpc is served on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BinrpcAddress {
    /// `unix:` or `unixs:`.
    UnixStream(PathBuf),
    /// `unixd:`
    UnixDatagram(PathBuf),
    /// `tcp:`
    Tcp(HostPort),
    /// `udp:`
    Udp(HostPort),
}

impl BinrpcAddress {
    /// Reads `[protocol:]path` or `[protocol:]host[:port]`. Without a protocol, what has a slash
    /// is a stream socket's path and all else is UDP.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<BinrpcAddress, String> {
        let file = |path: &str| match path {
            "" => Err("it has no path".to_owned()),
            path => Ok(in_run_dir(path)),
        };
        match text.split_once(':') {
            Some(("unix" | "unixs", path)) => file(path).map(BinrpcAddress::UnixStream),
            Some(("unixd", path)) => file(path).map(BinrpcAddress::UnixDatagram),
            Some(("tcp", at)) => HostPort::parse(at, BINRPC_PORT).map(BinrpcAddress::Tcp),
            Some(("udp", at)) => HostPort::parse(at, BINRPC_PORT).map(BinrpcAddress::Udp),
            _ if text.contains('/') => file(text).map(BinrpcAddress::UnixStream),
            _ if text.is_empty() => Err("it is empty".to_owned()),
            _ => HostPort::parse(text, BINRPC_PORT).map(BinrpcAddress::Udp),
        }
    }
}

impl fmt::Display for BinrpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BinrpcAddress::UnixStream(path) => write!(f, "unixs:{}", path.display()),
            BinrpcAddress::UnixDatagram(path) => write!(f, "unixd:{}", path.display()),
            BinrpcAddress::Tcp(at) => write!(f, "tcp:{at}"),
            BinrpcAddress::Udp(at) => write!(f, "udp:{at}"),
        }
    }
}

/// Where JSON-RPC datagrams are received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatagramAddress {
    /// A socket file.
    Unix(PathBuf),
    /// `udp:host:port`.
    Udp(HostPort),
}

impl DatagramAddress {
    /// Reads a path or `udp:host:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<DatagramAddress, String> {
        match text.strip_prefix("udp:") {
            Some(at) => {
                let at = HostPort::parse(at, 0)?;
                match at.port {
                    0 => Err("it has no port".to_owned()),
                    _ => Ok(DatagramAddress::Udp(at)),
                }
            }
            None if text.is_empty() => Err("it is empty".to_owned()),
            None => Ok(DatagramAddress::Unix(in_run_dir(text))),
        }
    }
}

impl fmt::Display for DatagramAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatagramAddress::Unix(path) => write!(f, "{}", path.display()),
            DatagramAddress::Udp(at) => write!(f, "udp:{at}"),
        }
    }
}

/// A path; a relative one begins in [`RUN_DIR`].
pub fn in_run_dir(path: &str) -> PathBuf {
    Path::new(RUN_DIR).join(path)
}

/// Who may use a socket file or FIFO.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// The owner, by name or number; `None`: the process's.
    pub user: Option<String>,
    /// The group, by name or number; `None`: the process's.
    pub group: Option<String>,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            mode: 0o600,
            user: None,
            group: None,
        }
    }
}

/// Parameters of the module `jsonrpcs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonRpcSettings {
    /// `transport`: 1 HTTP, 2 FIFO, 4 datagram, and their sums; 0: all of them.
    pub transport: u8,
    /// `pretty_format`: replies of many lines.
    pub pretty: bool,
    /// `fifo_name`.
    pub fifo: PathBuf,
    /// `fifo_mode`, `fifo_user`, `fifo_group`.
    pub fifo_access: Access,
    /// `fifo_reply_dir`: the folder that clients make their reply FIFOs in.
    pub fifo_reply_dir: PathBuf,
    /// `dgram_socket`.
    pub datagram: DatagramAddress,
    /// `dgram_mode`, `dgram_user`, `dgram_group`.
    pub datagram_access: Access,
    /// `dgram_timeout`: milliseconds that a client may take to accept a reply.
    pub datagram_timeout: u32,
    /// `http_socket`: where HTTP is served.
    pub http: HostPort,
}

impl JsonRpcSettings {
    /// Whether HTTP is served.
    pub fn by_http(&self) -> bool {
        self.has(1)
    }

    /// Whether a FIFO is read.
    pub fn by_fifo(&self) -> bool {
        self.has(2)
    }

    /// Whether datagrams are received.
    pub fn by_datagram(&self) -> bool {
        self.has(4)
    }

    fn has(&self, bit: u8) -> bool {
        self.transport == 0 || self.transport & bit != 0
    }
}

impl Default for JsonRpcSettings {
    fn default() -> JsonRpcSettings {
        JsonRpcSettings {
            transport: 6,
            pretty: true,
            fifo: in_run_dir("corex_rpc.fifo"),
            fifo_access: Access::default(),
            fifo_reply_dir: PathBuf::from("/tmp"),
            datagram: DatagramAddress::Unix(in_run_dir("corex_rpc.sock")),
            datagram_access: Access::default(),
            datagram_timeout: 2000,
            http: HostPort {
                host: LOOPBACK.to_owned(),
                port: HTTP_PORT,
            },
        }
    }
}

/// All about remote control.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ControlSettings {
    /// `binrpc` of the module `ctl`, as written; see [`ControlSettings::listeners`].
    pub binrpc: Vec<BinrpcAddress>,
    /// `mode`, `user` and `group` of the module `ctl`.
    pub access: Access,
    /// `autoconversion` of the module `ctl`.
    pub autoconversion: bool,
    /// Parameters of the module `jsonrpcs`.
    pub json: JsonRpcSettings,
    /// `metrics` of the module `corex`: where metrics and health are served, if they are.
    pub metrics: Option<HostPort>,
    /// `http_host` of the module `corex`: names and addresses that HTTP is asked by, beside the
    /// obvious ones.
    pub http_hosts: Vec<String>,
    /// `http_token_file` of the module `corex`: holds what clients must show.
    pub http_token_file: Option<PathBuf>,
}

impl ControlSettings {
    /// What binrpc is served on once `ctl` is loaded: what is written, or else the socket that
    /// clients look for.
    pub fn listeners(&self) -> Vec<BinrpcAddress> {
        match self.binrpc.as_slice() {
            [] => vec![BinrpcAddress::UnixStream(default_socket())],
            written => written.to_vec(),
        }
    }
}

/// The stream socket that is served, and asked, where none is written.
pub fn default_socket() -> PathBuf {
    in_run_dir("corex_ctl")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        BinrpcAddress::parse(text).map(|address| address.to_string())
    }

    #[test]
    fn binrpc_addresses_are_read_as_kamailio_writes_them() {
        for (text, expected) in [
            ("unix:/run/x", "unixs:/run/x"),
            ("unixs:/run/x", "unixs:/run/x"),
            ("unixd:/run/x", "unixd:/run/x"),
            ("unix:x", "unixs:/run/corex/x"),
            ("/run/x", "unixs:/run/x"),
            ("udp:localhost:2046", "udp:localhost:2046"),
            ("localhost:3000", "udp:localhost:3000"),
            ("tcp:localhost", "tcp:localhost:2049"),
            ("tcp:[::1]:3012", "tcp:[::1]:3012"),
            ("tcp:::1", "tcp:[::1]:2049"),
            ("tcp:*:3012", "tcp:0.0.0.0:3012"),
            ("udp:10.0.0.1", "udp:10.0.0.1:2049"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn only_an_address_that_is_written_out_leaves_loopback() {
        assert_eq!(shown("tcp:3012").as_deref(), Ok("tcp:127.0.0.1:3012"));
        assert_eq!(shown("tcp:").as_deref(), Ok("tcp:127.0.0.1:2049"));
        assert_eq!(shown("udp::3012").as_deref(), Ok("udp:127.0.0.1:3012"));
    }

    #[test]
    fn addresses_that_mean_nothing_are_refused() {
        for text in [
            "",
            "unix:",
            "unixd:",
            "tcp:x:",
            "tcp:x:0",
            "tcp:x:70000",
            "udp:[::1",
            "udp:[::1]x",
            "udp:[1.2.3.4]:1",
            "tcp:x:y",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
        assert!(DatagramAddress::parse("udp:127.0.0.1").is_err());
    }
}
