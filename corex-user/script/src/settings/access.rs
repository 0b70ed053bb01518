//! Parameters of the modules `permissions`, `ratelimit`, `secfilter` and `pike`: who may come in, and how
//! often.

use std::time::Duration;

/// Parameters of the module `permissions`. Files are as they are written: without a slash they lie beside
/// the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permissions {
    /// `address_file`: addresses, networks and names by group.
    pub address_file: Option<String>,
    /// `trusted_file`: peers by address, transport and patterns.
    pub trusted_file: Option<String>,
    /// `default_allow_file`: what allow_routing() without arguments goes by.
    pub allow_file: String,
    /// `default_deny_file`.
    pub deny_file: String,
    /// `allow_suffix`: behind the name that functions are given.
    pub allow_suffix: String,
    /// `deny_suffix`.
    pub deny_suffix: String,
    /// `check_all_branches`: allow_routing() looks at branches, too.
    pub checks_all_branches: bool,
    /// `max_subnets`: the most networks of address_file.
    pub max_subnets: u32,
    /// `load_backends`: a bit for each kind of file that is read: addresses, trusted, allow, deny.
    pub backends: u32,
    /// `reload_delta`: the least time between two reloads by remote control.
    pub reload_delta: Duration,
    /// `peer_tag_avp`: the AVP that gets the tag of what matched.
    pub tag_avp: Option<String>,
    /// `guard_group`: the group of address_file that the guard lets in.
    pub guard_group: Option<u32>,
    /// `trusted_group`: the group of address_file that is trusted; 0: none.
    pub trusted_group: u32,
    /// `peer_tag_mode`: allow_trusted() goes on to all peers that match.
    pub finds_all_peers: bool,
}

impl Permissions {
    /// The bit of `backends` for address_file.
    pub const ADDRESSES: u32 = 1;
    /// For trusted_file.
    pub const TRUSTED: u32 = 2;
    /// For default_allow_file.
    pub const ALLOW: u32 = 4;
    /// For default_deny_file.
    pub const DENY: u32 = 8;

    /// Whether files of a kind are read.
    pub fn reads(&self, backend: u32) -> bool {
        self.backends & backend != 0
    }
}

impl Default for Permissions {
    /// Kamailio's defaults.
    fn default() -> Permissions {
        Permissions {
            address_file: None,
            trusted_file: None,
            allow_file: "permissions.allow".to_owned(),
            deny_file: "permissions.deny".to_owned(),
            allow_suffix: ".allow".to_owned(),
            deny_suffix: ".deny".to_owned(),
            checks_all_branches: true,
            max_subnets: 512,
            backends: 0xffff,
            reload_delta: Duration::from_secs(5),
            tag_avp: None,
            guard_group: None,
            trusted_group: 1,
            finds_all_peers: false,
        }
    }
}

/// What a pipe of the module `ratelimit` goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// Nothing: there is no such pipe.
    Nop,
    /// So many a second are let through evenly: one of so many as the last interval had too many.
    Red,
    /// The first ones of each interval are let through.
    TailDrop,
    /// A share is dropped that keeps the host's CPUs as busy as the limit says, in percent.
    Feedback,
    /// All are dropped while more bytes wait in kernel sockets than the limit says.
    Network,
}

impl Algorithm {
    /// All of them, by their numbers in Kamailio.
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Nop,
        Algorithm::Red,
        Algorithm::TailDrop,
        Algorithm::Feedback,
        Algorithm::Network,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Nop => "NOP",
            Algorithm::Red => "RED",
            Algorithm::TailDrop => "TAILDROP",
            Algorithm::Feedback => "FEEDBACK",
            Algorithm::Network => "NETWORK",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// A pipe of the module `ratelimit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pipe {
    /// What it goes by.
    pub algorithm: Algorithm,
    /// Requests a second, percent, or bytes.
    pub limit: u32,
}

impl Pipe {
    /// No pipe.
    pub const NONE: Pipe = Pipe {
        algorithm: Algorithm::Nop,
        limit: 0,
    };
}

/// Which pipe requests of a method go through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queue {
    /// The pipe's number.
    pub pipe: usize,
    /// The method; `*`: any other.
    pub method: Box<[u8]>,
}

/// Parameters of the module `ratelimit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// `pipe`, by number.
    pub pipes: [Pipe; RateLimit::PIPES],
    /// `queue`, in order.
    pub queues: Vec<Queue>,
    /// `timer_interval`: how long requests are counted, in seconds.
    pub interval: u32,
}

impl RateLimit {
    /// Pipes that there are, and the most queues; Kamailio's.
    pub const PIPES: usize = 32;
}

impl Default for RateLimit {
    /// Kamailio's defaults.
    fn default() -> RateLimit {
        RateLimit {
            pipes: [Pipe::NONE; RateLimit::PIPES],
            queues: Vec::new(),
            interval: 10,
        }
    }
}

/// Which list of the module `secfilter` a rule is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RuleList {
    /// What is refused.
    Black,
    /// What is let through.
    White,
    /// Destinations that are refused.
    Destination,
}

/// What a rule of the module `secfilter` is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RuleKind {
    /// User-Agent.
    UserAgent,
    /// The country that a script has found.
    Country,
    /// The host of a URI.
    Domain,
    /// The address that a message came from.
    Ip,
    /// The user of a URI, or the name in front of it.
    User,
}

impl RuleKind {
    /// All of them, by their numbers in Kamailio.
    pub const ALL: [RuleKind; 5] = [
        RuleKind::UserAgent,
        RuleKind::Country,
        RuleKind::Domain,
        RuleKind::Ip,
        RuleKind::User,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            RuleKind::UserAgent => "ua",
            RuleKind::Country => "country",
            RuleKind::Domain => "domain",
            RuleKind::Ip => "ip",
            RuleKind::User => "user",
        }
    }

    /// The one of this name.
    pub fn parse(name: &[u8]) -> Option<RuleKind> {
        let mut all = Self::ALL.into_iter();
        all.find(|known| known.name().as_bytes() == name)
    }
}

/// A rule of the module `secfilter`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecfilterRule {
    /// The list that it is on.
    pub list: RuleList,
    /// What it is about; of a destination it means nothing.
    pub kind: RuleKind,
    /// What that begins with, or is.
    pub data: Box<[u8]>,
}

/// Parameters of the module `secfilter`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secfilter {
    /// `blacklist`, `whitelist` and `destination`, in order.
    pub rules: Vec<SecfilterRule>,
    /// `data_file`: more of them.
    pub file: Option<String>,
    /// `dst_exact_match`: a destination is the whole number; else it begins with it.
    pub is_dst_exact: bool,
}

impl Default for Secfilter {
    fn default() -> Secfilter {
        Secfilter {
            rules: Vec::new(),
            file: None,
            is_dst_exact: true,
        }
    }
}

/// Parameters of the module `pike`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pike {
    /// `sampling_time_unit`: how long requests are counted, in seconds.
    pub unit: u32,
    /// `reqs_density_per_unit`: as many of one address in that time are too many.
    pub density: u16,
    /// `remove_latency`: an address that nothing comes from is forgotten after so many seconds.
    pub latency: u32,
    /// `pike_log_level`: the level of lines that say who is blocked.
    pub level: i64,
    /// `guard_block`: who sends too much is on the guard's list for so many seconds; 0: isn't put there;
    /// `None`: for `latency`.
    pub block: Option<u32>,
}

impl Pike {
    /// How long the guard blocks who sends too much, in seconds; 0: it doesn't.
    pub fn block_seconds(&self) -> u32 {
        self.block.unwrap_or(self.latency)
    }
}

impl Default for Pike {
    /// Kamailio's defaults.
    fn default() -> Pike {
        Pike {
            unit: 2,
            density: 30,
            latency: 120,
            level: 0,
            block: None,
        }
    }
}
