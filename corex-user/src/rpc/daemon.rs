//! What commands need to know of the running daemon, and may make it do.
//!
//! Plain data in, plain data out: nothing here knows of a front end. Methods are called on the
//! runtime of remote control and must be quick; those that wait return a future.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::later::Later;
use crate::access::Access;
use crate::guard::Guard;
use crate::telemetry::{books::RoadLine, peers::Summary, trace::Traced};
use corex_script::quarantine::HeldSender;

/// The running daemon as commands see it.
pub trait Daemon: Send + Sync {
    /// The product, its build, and the process that runs it.
    fn identity(&self) -> Identity;
    /// The listen sockets, in the configuration's order.
    fn sockets(&self) -> Vec<Socket>;
    /// The hosts that are `myself` beside the sockets.
    fn aliases(&self) -> Vec<Alias>;
    /// Threads (Kamailio: processes), by index.
    fn processes(&self) -> Vec<Process>;
    /// Names of the loaded modules, the one loaded last first, as Kamailio lists them.
    fn modules(&self) -> Vec<String>;
    /// All counters, in any order.
    fn counters(&self) -> Vec<Counter>;
    /// Everything that is counted, as JSON: what `corex run --books` writes.
    fn books(&self) -> String;
    /// What was received from and sent to each peer.
    fn peers(&self) -> Summary;
    /// The devices whose keys this process knows, the busiest first, and no more than `most`.
    fn sessions(&self, most: usize) -> Vec<Session>;
    /// Forgets a device, here and in the keystore. Returns how many keys it had here.
    ///
    /// # Errors
    /// When that is no device's id, or the keystore is away.
    fn drop_session(&self, device: &str) -> Later<'_, Result<usize, NotDropped>>;
    /// Senders whose messages are kept from scripts in other languages, the longest held first.
    fn quarantine(&self) -> Vec<HeldSender>;
    /// Lets them go. Returns how many senders were known to have failed.
    fn release_quarantine(&self) -> usize;
    /// Who is let in.
    fn guard(&self) -> Guard;
    /// What is shed now, and whether this source's messages go last then.
    fn load(&self, source: IpAddr) -> Load;
    /// Writes the guard's entries to the file of `guard_file`. Returns how many.
    ///
    /// # Errors
    /// When there is no such file, or it can't be written.
    fn save_guard(&self) -> Later<'_, Result<usize, NotSaved>>;
    /// The workers, once for each receive queue that they have.
    fn workers(&self) -> Vec<Worker>;
    /// The interfaces that XDP programs are on, as they are now.
    fn host(&self) -> Vec<HostInterface>;
    /// The messages that the kernel handles by itself.
    fn roads(&self) -> Vec<RoadLine>;
    /// How much memory workers share.
    fn memory(&self) -> SharedMemory;
    /// Has the memory that workers share written to the log.
    fn log_shared_memory(&self, report: MemoryReport);
    /// Has a worker write its own memory to the log, while it handles traffic.
    fn log_worker_memory(&self, process: &Process);

    /// The variables that can be read at run time, in the order of `cfg.list`.
    fn variables(&self) -> Vec<Variable>;
    /// Sets a variable, with effect at once.
    ///
    /// # Errors
    /// Why it stays as it was.
    fn set_variable(&self, group: &str, name: &str, value: Setting) -> Result<(), NotSet>;

    /// The hash tables, the one declared last first, as Kamailio lists them.
    fn tables(&self) -> Vec<Table>;
    /// The entries of a table, at most `most`, and no more bytes than one answer may have; `None`: there is no such table.
    fn table_entries(&self, table: &str, most: usize) -> Option<Vec<TableEntry>>;
    /// One entry of a table.
    ///
    /// # Errors
    /// When there is no such table.
    fn table_get(&self, table: &str, key: &[u8]) -> Result<Option<TableEntry>, TableError>;
    /// Sets an entry's value.
    ///
    /// # Errors
    /// When there is no such table, or it is full.
    fn table_set(&self, table: &str, key: &[u8], value: Setting) -> Result<(), TableError>;
    /// Sets the time that an entry has left; false where there is no entry.
    ///
    /// # Errors
    /// When there is no such table.
    fn table_expire(&self, table: &str, key: &[u8], life: Duration) -> Result<bool, TableError>;
    /// Takes an entry out; false where there is none.
    ///
    /// # Errors
    /// When there is no such table.
    fn table_delete(&self, table: &str, key: &[u8]) -> Result<bool, TableError>;
    /// Takes all entries out.
    ///
    /// # Errors
    /// When there is no such table.
    fn table_flush(&self, table: &str) -> Result<(), TableError>;

    /// What the modules permissions, ratelimit, secfilter and pike decide by.
    fn access(&self) -> Access;

    /// Reads the configuration anew and swaps it in.
    ///
    /// # Errors
    /// Why the old one stays.
    fn reload(&self) -> Later<'_, Result<(), NotReloaded>>;
    /// Reads the scripts or other files anew that a module brings, by the name in its table; workers go on with them before their next call.
    ///
    /// # Errors
    /// Why the old ones stay, where that is known at once.
    fn reload_scripts(&self, module: &'static str) -> Later<'_, Result<(), NotReloaded>>;
    /// Waits for messages that a regular expression matches, before or after the hook: at most
    /// `most` of them, and no longer than `within`.
    ///
    /// # Errors
    /// What is wrong with the expression.
    fn trace(
        &self,
        filter: &[u8],
        most: usize,
        within: Duration,
    ) -> Later<'_, Result<Vec<Traced>, BadFilter>>;
    /// Whether messages are copied to a collector, where the configuration says which.
    fn is_copying(&self) -> bool;
    /// Has them copied, or not.
    fn set_copying(&self, is_on: bool);
    /// Has the daemon act as if it had got this signal, after the reply is out.
    fn kill(&self, signal: i32);
}

/// The product, its build, and the process that runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The product's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Architecture and system, as in `x86_64/linux`.
    pub platform: String,
    /// The commit that it was built from; `unknown` where nobody knows.
    pub id: String,
    /// The compiler and its version.
    pub compiler: String,
    /// Date of the build; may be empty.
    pub compiled: String,
    /// What it was built or started with, as in `USE_XDP`.
    pub flags: Vec<String>,
    /// When it started.
    pub started: SystemTime,
    /// The process id.
    pub pid: u32,
}

/// A listen socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Socket {
    /// Whether the address is IPv6.
    pub ipv6: bool,
    /// `udp`, `tcp`, `tls` or `sctp`.
    pub proto: String,
    /// The host as the configuration has it.
    pub name: String,
    /// All its addresses.
    pub addresses: Vec<String>,
    /// The port.
    pub port: u16,
    /// `proto:address:port`.
    pub sockstr: String,
    /// Name of the address group.
    pub agname: Option<String>,
    /// Whether it is multicast.
    pub mcast: bool,
    /// Whether the socket to send from is looked up by destination.
    pub mhomed: bool,
    /// Whether it is virtual.
    pub is_virtual: bool,
    /// `name "…"` of the listen line.
    pub sockname: Option<String>,
    /// Host of `advertise`.
    pub advertise: Option<String>,
}

/// What is shed under load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Whether the configuration wants that (`overload`).
    pub is_on: bool,
    /// It is only counted.
    pub is_dry: bool,
    /// Of the worker that is pressed hardest: `CALM`, `SHED_NEW` or `SHED_UNKNOWN`.
    pub level: u32,
    /// Whether the source that was asked for is a known peer, or trusted.
    pub is_known: bool,
}

/// A host that is `myself`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alias {
    /// The transport; `None`: any.
    pub proto: Option<String>,
    /// The host.
    pub host: String,
    /// The port; 0: any.
    pub port: u16,
    /// Whether it comes from `alias_subdomains`, so that sub-domains count too.
    pub subdomains: bool,
}

/// A thread of the daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its place in the list, from 0.
    pub index: u32,
    /// Its thread id.
    pub pid: u32,
    /// What it does.
    pub description: String,
}

/// A counter and its value now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counter {
    /// What it belongs to, as in `core`.
    pub group: String,
    /// Its name in that group.
    pub name: String,
    /// Its value.
    pub value: u64,
}

/// A worker's share of one receive queue.
#[derive(Clone, PartialEq, Debug)]
pub struct Worker {
    /// The worker, from 0.
    pub worker: u32,
    /// Its thread id.
    pub pid: u32,
    /// The CPU that it is pinned to.
    pub cpu: Option<u32>,
    /// The interface; empty with kernel sockets alone.
    pub interface: String,
    /// That interface as it is now, as in [`HostInterface::state`]; empty as above.
    pub link: String,
    /// The receive queue.
    pub queue: u32,
    /// `xdp` or `socket`.
    pub engine: String,
    /// How XDP is attached and copies, as in `native, zero copy`.
    pub mode: String,
    /// Packets received.
    pub rx: u64,
    /// Packets sent.
    pub tx: u64,
    /// Rings: name, entries used, entries that there are.
    pub rings: Vec<(String, u64, u64)>,
    /// Packets dropped, by reason.
    pub drops: Vec<(String, u64)>,
    /// The share of time that it was busy, 0 to 1.
    pub busy: f64,
}

/// An interface that an XDP program is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its index when the program was attached.
    pub index: u32,
    /// `up`, `down`, `gone`; or `replaced` by another one of the same name.
    pub state: String,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Its MAC.
    pub mac: Option<String>,
    /// Queues that AF_XDP sockets serve.
    pub queues: u32,
    /// How the program is attached: `native` or `skb`.
    pub mode: String,
    /// Addresses that are listened on, and the road of their packets: `AF_XDP` or `kernel socket`.
    pub addresses: Vec<(String, String)>,
}

/// Memory that workers share, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SharedMemory {
    /// What is used and what is free.
    pub total: u64,
    /// What is free.
    pub free: u64,
    /// What entries take.
    pub used: u64,
    /// What entries take with all overhead.
    pub real_used: u64,
    /// The most that was ever used.
    pub max_used: u64,
    /// Pieces that the free part is in.
    pub fragments: u64,
}

/// How much of the memory's state is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryReport {
    /// Every part, as `corex.shm_status` asks for.
    Status,
    /// The sums, as `corex.shm_summary` asks for.
    Summary,
}

/// A variable of the configuration that can change at run time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// Its group, as in `core`.
    pub group: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub doc: String,
    /// Its value; its type is the only one that it takes.
    pub value: Setting,
}

/// The value of a variable or of a table's entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setting {
    /// An integer.
    Int(i64),
    /// A string of any bytes.
    Str(Vec<u8>),
}

/// Why a variable stays as it was. Kamailio answers one fault for all reasons; the log says which
/// it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSet(pub String);

/// Why the configuration stays as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The new one can't take over: its report, or what a reload can't change.
    #[error("{0}")]
    Refused(String),
    /// Nobody carries commands out any more.
    #[error("corex is stopping")]
    Stopping,
}

/// What is wrong with the regular expression that messages are traced by.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(pub String);

/// A device with a key, without the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The device's id, a UUID.
    pub device: String,
    /// Which of its keys.
    pub generation: u8,
    /// Where it is.
    pub peer: Option<SocketAddr>,
    /// When it enrolled, in seconds since 1970.
    pub since: u64,
    /// When that ends.
    pub expires: u64,
    /// Messages from and to it.
    pub messages: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// Why a device is still known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotDropped {
    /// The text is no id.
    #[error("a device's id is a UUID")]
    NoDevice,
    /// The keystore is away.
    #[error("the keystore is away")]
    Away,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum NotSaved {
    /// Nobody said where.
    #[error("no file is named; add the line: modparam(\"corex\", \"guard_file\", \"PATH\")")]
    NoFile,
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody carries it out any more.
    #[error("corex is stopping")]
    Stopping,
}

/// A hash table and how it behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Seconds that an entry lives; 0: for ever.
    pub autoexpire: u64,
    /// Whether writing to an entry starts its time anew.
    pub updateexpire: bool,
    /// Entries in each of its slots.
    pub slots: Vec<u64>,
}

/// An entry of a hash table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableEntry {
    /// The slot that it is in.
    pub slot: u32,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Setting,
    /// The time that it has left; `None`: for ever.
    pub expires: Option<Duration>,
}

/// Why nothing was done to a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// There is no table of this name.
    #[error("No such htable")]
    Unknown,
    /// It holds as many entries as it may.
    #[error("The htable is full")]
    Full,
}
