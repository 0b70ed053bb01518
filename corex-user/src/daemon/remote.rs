//! The running daemon as remote control sees it.

use std::{
    fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use corex_common::counters::WorkerCounters;
use tokio::sync::{mpsc, oneshot};

use super::engine::Engine;
use crate::{
    pipeline::Shared,
    rpc::{
        daemon::{
            Alias, BadFilter, Counter, Daemon, Identity, MemoryReport, NotReloaded, NotSet,
            Process, Setting, SharedMemory, Socket, Table, TableEntry, TableError, Variable,
            Worker,
        },
        later::Later,
    },
    script::tables,
    telemetry::{
        books::Books, gauges::QueueGauges, log::Log, peers, stream_counters::StreamCounters,
        trace::Traced,
    },
};

/// What remote control has the daemon do.
pub enum Command {
    /// Read the configuration again; the answer says what is wrong with it.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Stop.
    Stop,
    /// Log the counters, and write the books.
    Books,
}

/// See the module.
pub struct Remote {
    /// The engine. Nobody holds it for long.
    pub engine: Mutex<Engine>,
    /// What the workers go by.
    pub latest: Arc<ArcSwap<Shared>>,
    /// Counters of streams and names.
    pub streams: Arc<StreamCounters>,
    /// The log.
    pub log: Arc<Log>,
    /// To those who carry commands out.
    pub commands: mpsc::UnboundedSender<Command>,
    /// Whether every worker has done a round lately.
    pub is_turning: AtomicBool,
}

impl Remote {
    /// The engine.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All counters as they are now.
    pub fn books(&self) -> Books {
        let shared = self.latest.load();
        self.engine().books(&shared, &self.log, &self.streams)
    }

    fn table<R>(&self, name: &str, action: impl FnOnce(&tables::Table) -> R) -> Option<R> {
        let shared = self.latest.load();
        let tables = &shared.config.program.tables;
        tables.by_name.get(name).map(|table| action(table))
    }
}

/// Bytes that values take, by what holds them.
fn shared_parts(shared: &Shared) -> Vec<(String, u64)> {
    let program = &shared.config.program;
    let mut parts = vec![("$shv()".to_owned(), program.tables.values.bytes() as u64)];
    for (name, table) in &program.tables.by_name {
        parts.push((format!("htable {name}"), table.bytes() as u64));
    }
    parts.push(("constants".to_owned(), program.pool.len() as u64));
    parts.push(("aliases".to_owned(), shared.aliases.bytes() as u64));
    let (_, bytes) = shared.carrier.cache_size();
    parts.push(("DNS cache".to_owned(), bytes as u64));
    parts
}

fn setting(value: &tables::Shared) -> Setting {
    match value {
        tables::Shared::Int(number) => Setting::Int(*number),
        tables::Shared::Str(text) => Setting::Str(text.to_vec()),
    }
}

/// What a worker dropped, by reason.
fn drops(counters: &WorkerCounters) -> Vec<(String, u64)> {
    let all = WorkerCounters::NAMES.iter().zip(counters.values());
    all.filter_map(|(name, value)| Some((name.strip_prefix("drop_")?.to_owned(), value)))
        .collect()
}

/// Threads of this process: id and name.
fn threads() -> Vec<(u32, String)> {
    let mut threads: Vec<(u32, String)> = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| {
            let id = task.file_name().to_string_lossy().parse().ok()?;
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            Some((id, name.trim().to_owned()))
        })
        .collect();
    // The main thread, the workers, the rest: Kamailio's first index is a worker's, too.
    let pid = std::process::id();
    let rank = |id: u32, name: &str| match name.strip_prefix("corex-w") {
        _ if id == pid => (0, 0),
        Some(worker) => (1, worker.parse().unwrap_or(u32::MAX)),
        None => (2, id),
    };
    threads.sort_unstable_by_key(|(id, name)| rank(*id, name));
    threads
}

fn describe(name: &str, is_main: bool) -> String {
    if is_main {
        return "main process - signals, streams, remote control".to_owned();
    }
    match (name, name.strip_prefix("corex-w")) {
        (_, Some(worker)) => format!("worker {worker}"),
        ("corex-log", _) => "writes the log".to_owned(),
        ("corex-files", _) => "reads and writes files for scripts".to_owned(),
        ("corex-loader", _) => "reads configurations".to_owned(),
        ("corex-perl", _) => "looks after Perl's processes".to_owned(),
        (name, _) => name.to_owned(),
    }
}

impl Daemon for Remote {
    fn identity(&self) -> Identity {
        let shared = self.latest.load();
        let started = u64::try_from(shared.config.program.started).unwrap_or(0);
        Identity {
            name: "corex".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS),
            id: "unknown".to_owned(),
            compiler: "rustc".to_owned(),
            compiled: String::new(),
            flags: vec![
                "USE_XDP".to_owned(),
                "USE_TCP".to_owned(),
                "USE_TLS".to_owned(),
            ],
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(started),
            pid: std::process::id(),
        }
    }

    fn sockets(&self) -> Vec<Socket> {
        let shared = self.latest.load();
        let mhomed = shared.config.settings.mhomed;
        let of_listener = |listener: &crate::pipeline::Listener| {
            let ip = listener.address.ip();
            Socket {
                ipv6: ip.is_ipv6(),
                proto: listener.transport.to_string(),
                name: ip.to_string(),
                addresses: vec![ip.to_string()],
                port: listener.address.port(),
                sockstr: listener.to_string(),
                agname: None,
                mcast: ip.is_multicast(),
                mhomed,
                is_virtual: false,
                sockname: listener.name.clone(),
                advertise: listener.advertise.as_ref().map(|(host, _)| host.clone()),
            }
        };
        shared.listeners.iter().map(of_listener).collect()
    }

    fn aliases(&self) -> Vec<Alias> {
        let shared = self.latest.load();
        let settings = &shared.config.settings;
        let own = settings.alias.iter().map(|entry| (entry, false));
        let with_sub_domains = settings.corex.alias_subdomains.iter();
        own.chain(with_sub_domains.map(|entry| (entry, true)))
            .map(|(entry, subdomains)| Alias {
                proto: entry.transport.map(|transport| transport.to_string()),
                host: entry.host.clone(),
                port: entry.port,
                subdomains,
            })
            .collect()
    }

    fn processes(&self) -> Vec<Process> {
        let pid = std::process::id();
        let of_thread = |(index, (id, name)): (usize, (u32, String))| Process {
            index: index as u32,
            pid: id,
            description: describe(&name, id == pid),
        };
        threads().into_iter().enumerate().map(of_thread).collect()
    }

    fn modules(&self) -> Vec<String> {
        let shared = self.latest.load();
        let known = &shared.config.program.known;
        known.module_names().rev().map(str::to_owned).collect()
    }

    fn counters(&self) -> Vec<Counter> {
        let books = Remote::books(self);
        let mut counters = Vec::new();
        let mut add = |group: &str, name: &str, value: u64| {
            counters.push(Counter {
                group: group.to_owned(),
                name: name.to_owned(),
                value,
            });
        };
        for (group, name, value) in books.rows() {
            add(&group, name, value);
        }
        counters
    }

    fn books(&self) -> String {
        Remote::books(self).to_json().to_string()
    }

    fn peers(&self) -> peers::Summary {
        let links = self.engine().links().to_vec();
        peers::Summary::of(links.iter().map(|link| &*link.peers))
    }

    fn workers(&self) -> Vec<Worker> {
        let books = Remote::books(self);
        let threads = threads();
        let uptime = SystemTime::now()
            .duration_since(self.identity().started)
            .unwrap_or_default()
            .as_secs_f64()
            .max(1.0);
        let cpus = crate::kernel::limits::allowed_cpus();
        let mut rows = Vec::new();
        for (id, worker) in books.workers.iter().enumerate() {
            let counters = &worker.counters;
            let name = format!("corex-w{id}");
            let thread = threads.iter().find(|(_, thread)| *thread == name);
            let own = |interface: String, queue: u32, mode: String| Worker {
                worker: id as u32,
                pid: thread.map_or(0, |(id, _)| *id),
                cpu: cpus.get(id % cpus.len().max(1)).map(|cpu| *cpu as u32),
                interface,
                queue,
                engine: books.engine.to_owned(),
                mode,
                rx: counters.xdp_in + counters.socket_in + counters.stream_in,
                tx: counters.out_xdp + counters.out_socket + counters.out_carried,
                rings: Vec::new(),
                drops: drops(counters),
                busy: (counters.busy_ns as f64 / 1e9 / uptime).min(1.0),
            };
            let queues = books.queues.iter().filter(|q| q.worker == id as u32);
            let before = rows.len();
            for queue in queues {
                let copy = if queue.zero_copy { "zero copy" } else { "copy" };
                let mut row = own(
                    queue.interface.clone(),
                    queue.queue,
                    format!("{}, {copy}", queue.mode),
                );
                let size = u64::from(crate::io::xdp::RING_SIZE);
                let gauges = QueueGauges::NAMES.iter().zip(&queue.gauges);
                row.rings = gauges
                    .take(3)
                    .map(|(name, value)| ((*name).to_owned(), *value, size))
                    .collect();
                rows.push(row);
            }
            if rows.len() == before {
                rows.push(own(String::new(), 0, "socket".to_owned()));
            }
        }
        rows
    }

    fn memory(&self) -> SharedMemory {
        let shared = self.latest.load();
        let engine = self.engine();
        let maps: u64 = engine.maps().iter().map(|map| map.memory).sum();
        let values: u64 = shared_parts(&shared).iter().map(|(_, bytes)| bytes).sum();
        let used = maps + engine.packet_memory() + values;
        SharedMemory {
            // It grows as it is needed: there is no pool with a free part.
            total: used,
            free: 0,
            used,
            real_used: used,
            max_used: used,
            fragments: 0,
        }
    }

    fn log_shared_memory(&self, report: MemoryReport) {
        let shared = self.latest.load();
        let engine = self.engine();
        let maps = engine.maps();
        if report == MemoryReport::Status {
            for map in &maps {
                tracing::info!(
                    kind = %map.kind,
                    key_size = map.key_size,
                    value_size = map.value_size,
                    entries = map.entries,
                    max_entries = map.max_entries,
                    bytes = map.memory,
                    "shm: map {}",
                    map.name
                );
            }
            for (name, bytes) in shared_parts(&shared) {
                tracing::info!(bytes, "shm: {name}");
            }
            let (names, _) = shared.carrier.cache_size();
            tracing::info!(names, "shm: names in the DNS cache");
            if engine.is_xdp() {
                tracing::info!(
                    areas = engine.links().len(),
                    bytes = engine.packet_memory(),
                    "shm: packet memory"
                );
            }
            for line in engine.queue_lines() {
                tracing::info!(
                    interface = %line.interface,
                    queue = line.queue,
                    entries = crate::io::xdp::RING_SIZE,
                    "shm: four rings"
                );
            }
        }
        let values: u64 = shared_parts(&shared).iter().map(|(_, bytes)| bytes).sum();
        tracing::info!(
            maps = maps.iter().map(|map| map.memory).sum::<u64>(),
            packet_memory = engine.packet_memory(),
            values,
            "shm: all, in bytes"
        );
    }

    fn log_worker_memory(&self, process: &Process) {
        let worker = process.description.strip_prefix("worker ");
        let worker = worker.and_then(|id| id.parse::<usize>().ok());
        let engine = self.engine();
        match worker.and_then(|id| engine.links().get(id)) {
            Some(link) => link.wants_memory.store(true, Ordering::Relaxed),
            None => {
                let heap = crate::kernel::heap::HeapUse::of_this_thread();
                tracing::info!(
                    in_use = heap.in_use(),
                    peak = heap.peak,
                    allocations = heap.allocations,
                    "pkg: heap of the main thread, in bytes; only workers have more to say"
                );
            }
        }
    }

    fn variables(&self) -> Vec<Variable> {
        let shared = self.latest.load();
        let variable = |group: &str, name: &str, doc: &str, value: i64| Variable {
            group: group.to_owned(),
            name: name.to_owned(),
            doc: doc.to_owned(),
            value: Setting::Int(value),
        };
        vec![
            variable(
                "core",
                "debug",
                "What is logged: -5 (alerts only) to 3 (everything).",
                self.log.debug(),
            ),
            variable(
                "corex",
                "min_msg_len",
                "Messages of fewer bytes skip the hook; 0: none do.",
                shared.knobs.min_msg_len().into(),
            ),
            variable(
                "corex",
                "probe_len",
                "Keep-alive policy: datagrams of fewer bytes are keep-alives and probes, and dropped \
                 (in the XDP program, where it runs); 0: none are.",
                shared.knobs.probe_len().into(),
            ),
        ]
    }

    fn set_variable(&self, group: &str, name: &str, value: Setting) -> Result<(), NotSet> {
        let wrong = |reason: &str| NotSet(format!("{group}.{name}: {reason}"));
        let Setting::Int(value) = value else {
            return Err(wrong("expected an integer"));
        };
        let len = || {
            let most = i64::from(crate::script::settings::MAX_MESSAGE_LEN);
            let len = u32::try_from(value.clamp(-1, most + 1)).ok();
            len.filter(|len| i64::from(*len) <= most)
                .ok_or_else(|| wrong("expected 0 to 65535"))
        };
        let shared = self.latest.load();
        match (group, name) {
            ("core", "debug") => {
                if !(-5..=99).contains(&value) {
                    return Err(wrong("expected -5 to 99"));
                }
                self.log.set_debug(value);
            }
            ("corex", "min_msg_len") => shared.knobs.set_min_msg_len(len()?),
            ("corex", "probe_len") => shared.knobs.set_probe_len(len()?),
            _ => return Err(wrong("there is no such variable")),
        }
        tracing::info!("{group}.{name} is {value} from now on");
        Ok(())
    }

    fn tables(&self) -> Vec<Table> {
        let shared = self.latest.load();
        let tables = &shared.config.settings.tables;
        let listed = tables.iter().rev().map(|config| Table {
            name: config.name.clone(),
            autoexpire: config.autoexpire.map_or(0, |life| life.as_secs()),
            updateexpire: config.updateexpire,
            slots: self
                .table(&config.name, tables::Table::parts)
                .unwrap_or_default()
                .into_iter()
                .map(|entries| entries as u64)
                .collect(),
        });
        listed.collect()
    }

    fn table_entries(&self, table: &str, most: usize) -> Option<Vec<TableEntry>> {
        self.table(table, |table| {
            let entries = table.entries(most).into_iter();
            entries
                .map(|entry| TableEntry {
                    slot: entry.part as u32,
                    key: entry.key.into_vec(),
                    value: setting(&entry.value),
                    expires: entry.left,
                })
                .collect()
        })
    }

    fn table_get(&self, table: &str, key: &[u8]) -> Result<Option<TableEntry>, TableError> {
        let found = self.table(table, |table| {
            let value = table.get(key, |value| value.map(setting));
            value.map(|value| TableEntry {
                slot: 0,
                key: key.to_vec(),
                value,
                expires: table.expiry(key),
            })
        });
        found.ok_or(TableError::Unknown)
    }

    fn table_set(&self, table: &str, key: &[u8], value: Setting) -> Result<(), TableError> {
        let value = match value {
            Setting::Int(number) => tables::Shared::Int(number),
            Setting::Str(text) => tables::Shared::Str(text.into()),
        };
        match self.table(table, |table| table.set(key, value)) {
            None => Err(TableError::Unknown),
            Some(false) => Err(TableError::Full),
            Some(true) => Ok(()),
        }
    }

    fn table_expire(&self, table: &str, key: &[u8], life: Duration) -> Result<bool, TableError> {
        let set = self.table(table, |table| table.set_expiry(key, life));
        set.ok_or(TableError::Unknown)
    }

    fn table_delete(&self, table: &str, key: &[u8]) -> Result<bool, TableError> {
        let removed = self.table(table, |table| {
            let was_there = table.has(key);
            table.remove(key);
            was_there
        });
        removed.ok_or(TableError::Unknown)
    }

    fn table_flush(&self, table: &str) -> Result<(), TableError> {
        let flushed = self.table(table, |table| table.retain(|_, _| false));
        flushed.ok_or(TableError::Unknown)
    }

    fn reload(&self) -> Later<'_, Result<(), NotReloaded>> {
        let (answer, done) = oneshot::channel();
        // Without anybody to take the command the answer fails as well.
        let _ = self.commands.send(Command::Reload(answer));
        Box::pin(async {
            let reloaded = done.await.map_err(|_| NotReloaded::Stopping)?;
            reloaded.map_err(NotReloaded::Refused)
        })
    }

    fn trace(
        &self,
        filter: &[u8],
        most: usize,
        within: Duration,
    ) -> Later<'_, Result<Vec<Traced>, BadFilter>> {
        let filter = crate::script::regex(filter).map_err(|wrong| BadFilter(wrong.to_string()));
        let tap = Arc::clone(&self.latest.load().tap);
        Box::pin(async move {
            let mut records = tap.open(filter?, most);
            let mut traced = Vec::new();
            let collect = async {
                while let Some(record) = records.recv().await {
                    traced.push(record);
                }
            };
            if tokio::time::timeout(within, collect).await.is_err() {
                records.close();
                while let Ok(record) = records.try_recv() {
                    traced.push(record);
                }
            }
            Ok(traced)
        })
    }

    fn kill(&self, signal: i32) {
        let command = match signal {
            libc::SIGUSR1 => Command::Books,
            libc::SIGHUP => {
                let (answer, _) = oneshot::channel();
                Command::Reload(answer)
            }
            _ => Command::Stop,
        };
        // It is stopping already when nobody takes it.
        let _ = self.commands.send(command);
    }
}
