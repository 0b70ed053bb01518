//! What the configuration sets, as types: no sockets, nothing resolved.

use crate::alias;
use crate::codec::CodecConfig;
use crate::sip::Transport;

/// One `listen` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// The transport; UDP where none is written.
    pub transport: Transport,
    /// An IP address (IPv6 without brackets), an interface name or a host name.
    pub host: String,
    /// The port; the transport's default where none is written.
    pub port: u16,
    /// `advertise host:port`: host, and port where one is written.
    pub advertise: Option<(String, Option<u16>)>,
    /// `name "…"`, which `$fs` takes too.
    pub name: Option<String>,
}

/// Parameters of the module `corex`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corex {
    /// Datagrams shorter than this many bytes are probes and dropped.
    pub probe_len: u32,
    /// The hook runs on messages of at least this many bytes.
    pub min_msg_len: u32,
    /// Whether `event_route[network:msg]` runs at all.
    pub network_io_intercept: bool,
    /// Whether what `send()` sends goes through the hook. Kamailio's doesn't.
    pub intercept_send: bool,
    /// Domains that are `myself` with all their sub-domains.
    pub alias_subdomains: Vec<alias::Entry>,
}

impl Default for Corex {
    fn default() -> Corex {
        Corex {
            probe_len: 32,
            min_msg_len: 0,
            network_io_intercept: false,
            intercept_send: true,
            alias_subdomains: Vec::new(),
        }
    }
}

/// Parameters of the module `codec`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Codec {
    /// The most bytes that a transformation may yield.
    pub max_output: u32,
    /// What the codecs are set up with.
    pub config: CodecConfig,
}

impl Default for Codec {
    fn default() -> Codec {
        Codec {
            max_output: MAX_MESSAGE_LEN,
            config: CodecConfig::default(),
        }
    }
}

/// The longest message, in bytes: what the hook's result must fit.
pub const MAX_MESSAGE_LEN: u32 = 65_535;

/// The whole of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `listen`, in the order in which they were written.
    pub listen: Vec<Listen>,
    /// `alias`: hosts that are `myself`.
    pub alias: Vec<alias::Entry>,
    /// `children`: workers for each socket in Kamailio.
    pub children: Option<u32>,
    /// `mhomed`: the socket to send from is looked up by the destination.
    pub mhomed: bool,
    /// `debug`: Kamailio's log level, -5 (alert) to 3 (debug) and beyond.
    pub debug: i64,
    /// `max_while_loops`: a `while` that turns more often is a script error.
    pub max_while_loops: u32,
    /// Parameters of the module `corex`.
    pub corex: Corex,
    /// Parameters of the module `codec`.
    pub codec: Codec,
}

impl Default for Settings {
    /// Kamailio's defaults, where it has the parameter.
    fn default() -> Settings {
        Settings {
            listen: Vec::new(),
            alias: Vec::new(),
            children: None,
            mhomed: false,
            debug: 2,
            max_while_loops: 100,
            corex: Corex::default(),
            codec: Codec::default(),
        }
    }
}
