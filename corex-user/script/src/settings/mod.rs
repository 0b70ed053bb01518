//! What the configuration sets, as types: no sockets, nothing resolved.
//!
//! One file for each room that is set up by it; those rooms read their settings here.

mod access;
mod codec;
pub mod control;
mod datagram;
mod dns;
pub mod guard;
pub mod log;
mod lua;
mod overload;
mod own;
mod rate;
mod routing;
mod siptrace;
mod stream;
mod tables;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use corex_sip::Transport;
use corex_sip::alias;

pub use access::{
    Algorithm, Permissions, Pike, Pipe, Queue, RateLimit, RuleKind, RuleList, Secfilter,
    SecfilterRule,
};
pub use codec::{Codec, CodecRule, DeviceKeys, Hidden, NamedText};
pub use control::ControlSettings;
pub use datagram::DatagramSettings;
pub use dns::DnsSettings;
pub use guard::{GuardSettings, GuardSource};
pub use log::LogSettings;
pub use lua::LuaSettings;
pub use overload::Overload;
pub use own::{OwnSocket, OwnSockets};
pub use rate::{
    RateBlock, RateRule, RateScope, SignaturePattern, SignaturePlace, SignatureSettings,
};
pub use routing::{DoubleRecordRoute, NatSettings, PathSettings, RecordRoute};
pub use siptrace::{Collector, Siptrace};
pub use stream::StreamSettings;
pub use tables::{SharedValue, TABLE_TIMER, TableConfig};

/// One `listen` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// The transport; UDP where none is written.
    pub transport: Transport,
    /// An IP address (IPv6 without brackets), an interface name or a host name.
    pub host: String,
    /// The interface that a link-local address is on, by name or index.
    pub zone: Option<String>,
    /// The port; the transport's default where none is written.
    pub port: u16,
    /// `advertise host:port`: host, and port where one is written.
    pub advertise: Option<(String, Option<u16>)>,
    /// `name "…"`, which `$fs` takes too.
    pub name: Option<String>,
    /// `virtual`: the address floats between hosts.
    pub is_virtual: bool,
    /// Where the line is.
    pub place: Place,
}

/// Where in the configuration a setting was written, for what can only be found out later. A setting
/// is the same wherever it stands, so all places are equal.
#[derive(Clone, Default, Debug)]
pub struct Place(String);

impl Place {
    /// Nowhere.
    pub const NONE: Place = Place(String::new());

    /// At `file:line:column`, if that is known.
    pub fn new(location: Option<impl fmt::Display>) -> Place {
        Place(location.map_or(String::new(), |location| format!("{location}: ")))
    }
}

impl fmt::Display for Place {
    /// Writes `file:line:column: `, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

impl Eq for Place {}

/// Parameters of the module `corex` for inline mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inline {
    /// `mode`: a server on this host owns the addresses, and corex stands in front of it.
    pub is_on: bool,
    /// The protected server's sockets, UDP.
    pub protect: Vec<SocketAddr>,
    /// What corex can't handle is dropped; else it passes as it is.
    pub is_closed: bool,
    /// A worker that shows no sign of life for so many milliseconds is taken for hung.
    pub watchdog: u32,
    /// Whether a datagram that must not be fragmented and outgrows the path in the hook is
    /// answered by ICMP; else it is fragmented, as the server's own stack would.
    pub tells_too_big: bool,
}

impl Default for Inline {
    fn default() -> Inline {
        Inline {
            is_on: false,
            protect: Vec::new(),
            is_closed: false,
            watchdog: 2_000,
            tells_too_big: false,
        }
    }
}

/// `rp_filter`: what is asked of the way back to a packet's source (RFC 3704).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RpFilter {
    /// What the kernel asks of the interface, `net.ipv4.conf.*.rp_filter`; of IPv6 it asks nothing.
    Kernel,
    /// Nothing.
    Off,
    /// That it leads by the interface that the packet came by (RFC 3704 §2.2).
    Strict,
    /// That there is one (RFC 3704 §2.4).
    Loose,
}

impl RpFilter {
    /// Whether it is asked beside what the kernel asks.
    pub fn is_own(self) -> bool {
        matches!(self, RpFilter::Strict | RpFilter::Loose)
    }
}

/// `keepalive`: what becomes of keep-alives in datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keepalive {
    /// They are nothing special.
    Pass,
    /// They are dropped.
    Drop,
    /// CRLF CRLF is answered with CRLF, others are dropped.
    Pong,
}

/// `shard`: whether a worker hands messages over to others by their Call-ID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharding {
    /// It doesn't.
    Off,
    /// When it gets far more than its part, and is at its end.
    Auto,
    /// Always.
    On,
}

/// `strict`: what becomes of messages that RFC 3261 forbids to forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strict {
    /// A request is answered, a reply dropped.
    Reply,
    /// They are dropped.
    Drop,
    /// They are forwarded.
    Off,
}

/// Parameters of the module `sanity`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sanity {
    /// `default_checks`: what is checked, by bit.
    pub checks: u32,
    /// `uri_checks`: whose URIs are checked, by bit.
    pub uri_checks: u32,
    /// `proxy_require`: the extensions that Proxy-Require may ask for.
    pub extensions: Vec<String>,
    /// `autodrop`: a check that fails ends the script.
    pub is_dropping: bool,
    /// `noreply`: a check that fails leaves the answer to the script.
    pub is_silent: bool,
}

impl Default for Sanity {
    fn default() -> Sanity {
        Sanity {
            checks: 3047,
            uri_checks: 7,
            extensions: Vec::new(),
            is_dropping: true,
            is_silent: false,
        }
    }
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
    /// Directories that scripts may read and write files in; empty: the configuration's and the
    /// one for temporary files to read, one of corex's own to write.
    pub file_roots: Vec<PathBuf>,
    /// The most bytes of such a file.
    pub file_max_size: u32,
    /// Certificate authorities for TLS, in PEM; `None`: the system's.
    pub tls_ca_list: Option<PathBuf>,
    /// Domains that are `myself` with all their sub-domains.
    pub alias_subdomains: Vec<alias::Entry>,
    /// Peers whose messages each worker counts one by one.
    pub max_peers: u32,
    /// The longest that a sender's messages are kept from scripts that they cost too much of; zero:
    /// they aren't.
    pub hook_quarantine: Duration,
    /// Whether a message that the hook failed on is dropped; else it goes on as it was.
    pub drops_on_hook_failure: bool,
    /// Whether a reply goes back only if it answers what was forwarded.
    pub reply_check: bool,
    /// Where the keys are by which that is seen; `None`: one that is made at the start.
    pub reply_key_file: Option<PathBuf>,
    /// Interfaces to attach to, by name; empty: those that carry the addresses.
    pub interfaces: Vec<String>,
    /// What becomes of keep-alives in datagrams.
    pub keepalive: Keepalive,
    /// What becomes of messages that RFC 3261 forbids to forward.
    pub strict: Strict,
    /// Whether STUN Binding requests are answered.
    pub stun: bool,
    /// Whether OPTIONS to this host, and to no user, are answered before the script.
    pub options_ping: bool,
    /// Whether workers hand messages over; see [`Self::sharding`].
    pub shard: Sharding,
    /// Of so many runs of the hook one is measured, where it takes little; 1: each.
    pub latency_sample: u8,
    /// Packets that a worker polls from a queue of the NIC itself, each time; 0: none.
    pub busy_poll: u16,
    /// Whether a NIC that is made anew, or has more queues than before, gets programs and sockets.
    pub reattach: bool,
    /// Whether the kernel handles what it can: see [`crate::offload`].
    pub offload: bool,
    /// What is asked of the way back to a datagram's source, in proxy mode.
    pub rp_filter: RpFilter,
    /// What goes first when a worker can't keep up.
    pub overload: Overload,
    /// The guard.
    pub guard: GuardSettings,
    /// Inline mode.
    pub inline: Inline,
    /// `codec_in`: which chain decodes what is received. The first that fits counts.
    pub codec_in: Vec<CodecRule>,
    /// `codec_out`: which chain encodes what is about to be sent. The first that fits counts.
    pub codec_out: Vec<CodecRule>,
}

impl Corex {
    /// Whether workers hand messages over. In inline mode packets belong to the NIC that they came
    /// by.
    pub fn sharding(&self) -> Sharding {
        match self.inline.is_on {
            true => Sharding::Off,
            false => self.shard,
        }
    }

    /// Whether messages may be changed: by the hook, or by a chain.
    pub fn intercepts(&self) -> bool {
        self.network_io_intercept || !self.codec_in.is_empty() || !self.codec_out.is_empty()
    }
}

impl Default for Corex {
    fn default() -> Corex {
        Corex {
            probe_len: 32,
            min_msg_len: 0,
            network_io_intercept: false,
            intercept_send: true,
            file_roots: Vec::new(),
            file_max_size: MAX_MESSAGE_LEN,
            tls_ca_list: None,
            alias_subdomains: Vec::new(),
            max_peers: 100,
            hook_quarantine: Duration::from_secs(10),
            drops_on_hook_failure: false,
            reply_check: true,
            reply_key_file: None,
            interfaces: Vec::new(),
            keepalive: Keepalive::Pass,
            strict: Strict::Reply,
            stun: false,
            options_ping: false,
            shard: Sharding::Auto,
            latency_sample: 8,
            busy_poll: 0,
            reattach: true,
            offload: false,
            rp_filter: RpFilter::Kernel,
            overload: Overload::default(),
            guard: GuardSettings::default(),
            inline: Inline::default(),
            codec_in: Vec::new(),
            codec_out: Vec::new(),
        }
    }
}

/// Parameters of the module `app_perl`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Perl {
    /// `filename`, as it is written.
    pub script: Option<PathBuf>,
    /// `modpath`: directories for Perl's @INC, as they are written.
    pub include: Vec<PathBuf>,
    /// `perl_destroy_func`; empty: none.
    pub destroy: String,
    /// A process is replaced after so many calls; 0: never.
    pub reset_cycles: u32,
    /// How long a call may take, in milliseconds.
    pub timeout: u32,
    /// The interpreter.
    pub interpreter: PathBuf,
    /// Address space of a process, in MiB.
    pub max_memory: u32,
    /// `confine`: whether processes are kept from files, and from system calls.
    pub is_confined: bool,
    /// `file_root`: directories that the script may read and write in.
    pub file_roots: Vec<PathBuf>,
}

impl Default for Perl {
    fn default() -> Perl {
        Perl {
            script: None,
            include: Vec::new(),
            destroy: String::new(),
            reset_cycles: 0,
            timeout: 200,
            interpreter: PathBuf::from("/usr/bin/perl"),
            max_memory: 512,
            is_confined: true,
            file_roots: Vec::new(),
        }
    }
}

/// Who corex runs as: a user and a group, each a name or a number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunAs {
    /// `user`.
    pub user: Option<String>,
    /// `group`.
    pub group: Option<String>,
}

/// The longest message, in bytes: what the hook's result must fit.
pub const MAX_MESSAGE_LEN: u32 = 65_535;

/// The whole of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The configuration's directory, where relative paths begin.
    pub folder: PathBuf,
    /// `listen`, in the order in which they were written.
    pub listen: Vec<Listen>,
    /// `ip_free_bind`: any address may be listened on, whether it is this host's or not.
    pub free_bind: bool,
    /// `alias`: hosts that are `myself`.
    pub alias: Vec<alias::Entry>,
    /// `children`: workers for each socket in Kamailio.
    pub children: Option<u32>,
    /// `mhomed`: the socket to send from is looked up by the destination.
    pub mhomed: bool,
    /// What datagrams say in their headers.
    pub datagrams: DatagramSettings,
    /// `debug`: Kamailio's log level, -5 (alert) to 3 (debug) and beyond.
    pub debug: i64,
    /// `log_stderror`, `log_facility`, `log_name`: where logs go.
    pub log: LogSettings,
    /// `user` and `group`: who to be once root isn't needed any more.
    pub run_as: RunAs,
    /// What `server_signature` and `server_header` leave: the value of Server in our own replies,
    /// empty for none.
    pub server: String,
    /// `max_limit` of the module maxfwd.
    pub max_forwards: u32,
    /// `max_branches`: destinations of one request, the request URI among them.
    pub max_branches: u32,
    /// `max_while_loops`: a `while` that turns more often is a script error.
    pub max_while_loops: u32,
    /// Parameters of the module `corex`.
    pub corex: Corex,
    /// Parameters of the module `sanity`.
    pub sanity: Sanity,
    /// Parameters of the module `codec`.
    pub codec: Codec,
    /// Parameters of the module `siptrace`.
    pub siptrace: Siptrace,
    /// Parameters of the module `permissions`.
    pub permissions: Permissions,
    /// Parameters of the module `ratelimit`.
    pub ratelimit: RateLimit,
    /// Parameters of the module `secfilter`.
    pub secfilter: Secfilter,
    /// Parameters of the module `pike`.
    pub pike: Pike,
    /// Parameters of the module `rr`.
    pub record_route: RecordRoute,
    /// Parameters of the module `path`.
    pub path: PathSettings,
    /// Parameters of the module `nathelper`.
    pub nat: NatSettings,
    /// Parameters of the module `app_perl`.
    pub perl: Perl,
    /// Parameters of the module `app_lua`.
    pub lua: LuaSettings,
    /// Bounds and times of TCP.
    pub stream: StreamSettings,
    /// How host names are looked up.
    pub dns: DnsSettings,
    /// Remote control.
    pub control: ControlSettings,
    /// Hash tables.
    pub tables: Vec<TableConfig>,
    /// `timer_interval` of the module htable: how often entries whose time is over are looked for.
    pub table_timer: Duration,
    /// What `$shv()` start as.
    pub shared_values: Vec<(String, SharedValue)>,
}

impl Default for Settings {
    /// Kamailio's defaults, where it has the parameter.
    fn default() -> Settings {
        Settings {
            folder: PathBuf::new(),
            listen: Vec::new(),
            free_bind: false,
            alias: Vec::new(),
            children: None,
            mhomed: false,
            datagrams: DatagramSettings::default(),
            run_as: RunAs::default(),
            debug: 2,
            log: LogSettings::default(),
            server: concat!("corex (", env!("CARGO_PKG_VERSION"), ")").to_owned(),
            max_forwards: 70,
            max_branches: 12,
            max_while_loops: 100,
            corex: Corex::default(),
            sanity: Sanity::default(),
            codec: Codec::default(),
            siptrace: Siptrace::default(),
            permissions: Permissions::default(),
            ratelimit: RateLimit::default(),
            secfilter: Secfilter::default(),
            pike: Pike::default(),
            record_route: RecordRoute::default(),
            path: PathSettings::default(),
            nat: NatSettings::default(),
            perl: Perl::default(),
            lua: LuaSettings::default(),
            stream: StreamSettings::default(),
            dns: DnsSettings::default(),
            control: ControlSettings::default(),
            tables: Vec::new(),
            table_timer: TABLE_TIMER,
            shared_values: Vec::new(),
        }
    }
}
