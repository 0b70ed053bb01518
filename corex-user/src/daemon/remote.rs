//! The running daemon as remote control sees it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use corex_codec::DeviceId;
use corex_common::counters::WorkerCounters;
use corex_script::{quarantine::HeldSender, run::tables, settings::SharedValue};
use tokio::sync::{mpsc, oneshot};

use super::{
    engine::PacketEngine,
    key_service, memory,
    reloads::{Answer, What},
    threads::{describe, threads},
};
use crate::{
    access::Access,
    guard::{self, Guard},
    kernel::overload,
    keystore::{KeyService, SessionLine},
    pipeline::PipelineContext,
    rpc::{
        daemon::{
            Alias, BadFilter, Counter, Daemon, HostInterface, Identity, Load, MemoryReport,
            NotDropped, NotReloaded, NotSaved, NotSet, Process, Session, Setting, SharedMemory,
            Socket, Table, TableEntry, TableError, Variable, Worker,
        },
        later::Later,
    },
    telemetry::{
        books::{Books, RoadLine},
        gauges::QueueGauges,
        log::Log,
        peers,
        stream_counters::StreamCounters,
        trace::Traced,
    },
};

/// Bytes of a table's entries that one answer shows.
const LISTED: usize = 16 << 20;

/// What remote control has the daemon do.
pub enum ControlCommand {
    /// Read the configuration or scripts again; the answer says what is wrong with them.
    Reload(What, Answer),
    /// Stop corex.
    Stop,
    /// Log the counters, and write the books.
    Books,
}

/// The running daemon: answers what remote control asks for, and passes commands on.
pub struct Remote {
    /// What packets come by. Nobody holds the lock for long.
    pub engine: Mutex<PacketEngine>,
    /// What the workers go by.
    pub latest: Arc<ArcSwap<PipelineContext>>,
    /// Counters of streams and names.
    pub streams: Arc<StreamCounters>,
    /// The keys of devices.
    pub keys: KeyService,
    /// What log lines go to; its level can be set.
    pub log: Arc<Log>,
    /// Leads to the control thread, which carries commands out.
    pub commands: mpsc::UnboundedSender<ControlCommand>,
    /// Whether every worker has done a round lately.
    pub is_turning: AtomicBool,
}

impl Remote {
    /// What packets come by, locked.
    pub fn engine(&self) -> MutexGuard<'_, PacketEngine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interfaces that XDP programs are on, as they are now.
    pub fn host(&self) -> Vec<HostInterface> {
        let context = self.latest.load();
        self.engine().host(&context.listeners)
    }

    /// Opens the roads in the kernel, unless somebody looks at messages.
    pub fn look_at_roads(&self) {
        let tap = Arc::clone(&self.latest.load().tap);
        self.engine().look_at_roads(|| tap.is_open());
    }

    /// All counters as they are now.
    pub fn books(&self) -> Books {
        let context = self.latest.load();
        let keys = key_service::line(&self.keys);
        self.engine()
            .books(&context, &self.log, &self.streams, keys)
    }

    /// The networks that the guard blocks which send most, with their packets.
    pub fn offenders(&self) -> Vec<(String, u64)> {
        let guard = self.latest.load().guard.clone();
        let worst = guard.offenders().into_iter();
        worst
            .map(|(network, packets)| (guard::text(&network), packets))
            .collect()
    }

    fn read_again(&self, what: What) -> Later<'_, Result<(), NotReloaded>> {
        let (answer, done) = oneshot::channel();
        // Without anybody to take the command the answer fails as well.
        let _ = self.commands.send(ControlCommand::Reload(what, answer));
        Box::pin(async {
            let reloaded = done.await.map_err(|_| NotReloaded::Stopping)?;
            reloaded.map_err(NotReloaded::Refused)
        })
    }

    fn table<R>(&self, name: &str, action: impl FnOnce(&tables::Table) -> R) -> Option<R> {
        let context = self.latest.load();
        let tables = &context.config.program.tables;
        tables.by_name.get(name).map(|table| action(table))
    }
}

fn setting(value: &SharedValue) -> Setting {
    match value {
        SharedValue::Int(number) => Setting::Int(*number),
        SharedValue::Str(text) => Setting::Str(text.to_vec()),
    }
}

/// What a worker dropped, by reason.
fn drops(counters: &WorkerCounters) -> Vec<(String, u64)> {
    let all = WorkerCounters::NAMES.iter().zip(counters.values());
    all.filter_map(|(name, value)| Some((name.strip_prefix("drop_")?.to_owned(), value)))
        .collect()
}

impl Daemon for Remote {
    fn identity(&self) -> Identity {
        let context = self.latest.load();
        let started = u64::try_from(context.config.program.started).unwrap_or(0);
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
        let context = self.latest.load();
        let mhomed = context.config.settings.mhomed;
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
                is_virtual: listener.is_virtual,
                sockname: listener.name.clone(),
                advertise: listener.advertise.as_ref().map(|(host, _)| host.clone()),
            }
        };
        context.listeners.iter().map(of_listener).collect()
    }

    fn aliases(&self) -> Vec<Alias> {
        let context = self.latest.load();
        let settings = &context.config.settings;
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
        let context = self.latest.load();
        let program = &context.config.program;
        program.module_names().rev().map(str::to_owned).collect()
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
        let mut books = Remote::books(self);
        books.offenders = self.offenders();
        books.to_json().to_string()
    }

    fn peers(&self) -> peers::Summary {
        self.engine().peers(&self.latest.load())
    }

    fn sessions(&self, most: usize) -> Vec<Session> {
        let lines = self.keys.lines(most).into_iter();
        let session = |line: SessionLine| Session {
            device: line.device.to_string(),
            generation: line.generation,
            peer: line.peer,
            since: line.since,
            expires: line.expires,
            messages: line.messages,
            bytes: line.bytes,
        };
        lines.map(session).collect()
    }

    fn drop_session(&self, device: &str) -> Later<'_, Result<usize, NotDropped>> {
        let id: Result<DeviceId, _> = device.parse();
        Box::pin(async move {
            let id = id.map_err(|_| NotDropped::NoDevice)?;
            let dropped = self.keys.remove(id).await;
            dropped.map_err(|_| NotDropped::Away)
        })
    }

    fn quarantine(&self) -> Vec<HeldSender> {
        let context = self.latest.load();
        let languages = &context.config.program.languages;
        languages.quarantine.senders(Instant::now())
    }

    fn release_quarantine(&self) -> usize {
        let context = self.latest.load();
        context.config.program.languages.quarantine.release()
    }

    fn guard(&self) -> Guard {
        self.latest.load().guard.clone()
    }

    fn load(&self, source: IpAddr) -> Load {
        let context = self.latest.load();
        let settings = &context.config.settings.corex.overload;
        let maps = self.engine().overload_maps();
        let is_known = maps.peers().is_known(source, overload::now());
        Load {
            is_on: settings.is_on,
            is_dry: settings.is_dry,
            level: maps.level(),
            is_known: is_known || context.guard.trusts(source),
        }
    }

    fn save_guard(&self) -> Later<'_, Result<usize, NotSaved>> {
        let context = self.latest.load_full();
        Box::pin(async move {
            let path = context.config.settings.corex.guard.file.clone();
            let path = path.ok_or(NotSaved::NoFile)?;
            let guard = context.guard.clone();
            let saved = tokio::task::spawn_blocking(move || match guard.save(&path) {
                Ok(count) => Ok(count),
                Err(source) => Err(NotSaved::File { path, source }),
            });
            saved.await.map_err(|_| NotSaved::Stopping)?
        })
    }

    fn host(&self) -> Vec<HostInterface> {
        Remote::host(self)
    }

    fn roads(&self) -> Vec<RoadLine> {
        let context = self.latest.load();
        self.engine().road_lines(&context.listeners)
    }

    fn workers(&self) -> Vec<Worker> {
        let books = Remote::books(self);
        let host = self.host();
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
            let link_of = |interface: &str| {
                let found = host.iter().find(|line| line.name == interface);
                found.map_or(String::new(), |line| line.state.clone())
            };
            let own = |interface: String, queue: u32, mode: String| Worker {
                worker: id as u32,
                pid: thread.map_or(0, |(id, _)| *id),
                cpu: cpus.get(id % cpus.len().max(1)).map(|cpu| *cpu as u32),
                link: link_of(&interface),
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
                let transmits = if queue.transmits() {
                    ""
                } else {
                    ", receives only"
                };
                let mut row = own(
                    queue.interface.clone(),
                    queue.queue,
                    format!("{}, {copy}{transmits}", queue.mode),
                );
                let size = u64::from(corex_xdp::RING_SIZE);
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
        memory::total(&self.latest.load(), &self.engine())
    }

    fn log_shared_memory(&self, report: MemoryReport) {
        memory::log_shared(&self.latest.load(), &self.engine(), report);
    }

    fn log_worker_memory(&self, process: &Process) {
        memory::log_worker(&self.engine(), process);
    }

    fn variables(&self) -> Vec<Variable> {
        let context = self.latest.load();
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
                context.knobs.min_msg_len().into(),
            ),
            variable(
                "corex",
                "probe_len",
                "Keep-alive policy: datagrams of fewer bytes are keep-alives and probes, and dropped \
                 (in the XDP program, where it runs); 0: none are.",
                context.knobs.probe_len().into(),
            ),
        ]
    }

    fn set_variable(&self, group: &str, name: &str, value: Setting) -> Result<(), NotSet> {
        let wrong = |reason: &str| NotSet(format!("{group}.{name}: {reason}"));
        let Setting::Int(value) = value else {
            return Err(wrong("expected an integer"));
        };
        let len = || {
            let most = i64::from(corex_script::settings::MAX_MESSAGE_LEN);
            let len = u32::try_from(value.clamp(-1, most + 1)).ok();
            len.filter(|len| i64::from(*len) <= most)
                .ok_or_else(|| wrong("expected 0 to 65535"))
        };
        let context = self.latest.load();
        match (group, name) {
            ("core", "debug") => {
                if !(-5..=99).contains(&value) {
                    return Err(wrong("expected -5 to 99"));
                }
                self.log.set_debug(value);
            }
            ("corex", "min_msg_len") => context.knobs.set_min_msg_len(len()?),
            ("corex", "probe_len") => context.knobs.set_probe_len(len()?),
            _ => return Err(wrong("there is no such variable")),
        }
        tracing::info!("{group}.{name} is {value} from now on");
        Ok(())
    }

    fn tables(&self) -> Vec<Table> {
        let context = self.latest.load();
        let tables = &context.config.settings.tables;
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
            let entries = table.entries(most, LISTED).into_iter();
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
            Setting::Int(number) => SharedValue::Int(number),
            Setting::Str(text) => SharedValue::Str(text.into()),
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
        let flushed = self.table(table, |table| table.clear());
        flushed.ok_or(TableError::Unknown)
    }

    fn access(&self) -> Access {
        Access::of(&self.latest.load().config.program)
    }

    fn reload(&self) -> Later<'_, Result<(), NotReloaded>> {
        self.read_again(What::Configuration)
    }

    fn reload_scripts(&self, module: &'static str) -> Later<'_, Result<(), NotReloaded>> {
        self.read_again(What::Scripts(module))
    }

    fn trace(
        &self,
        filter: &[u8],
        most: usize,
        within: Duration,
    ) -> Later<'_, Result<Vec<Traced>, BadFilter>> {
        let filter = corex_script::regex(filter).map_err(|wrong| BadFilter(wrong.to_string()));
        let context = self.latest.load();
        let (tap, knobs) = (Arc::clone(&context.tap), context.knobs.clone());
        Box::pin(async move {
            let mut records = tap.open(filter?, most);
            // What the kernel sends on by itself, nobody sees. It goes on within a second after
            // the last record.
            knobs.set_roads(false);
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

    fn is_copying(&self) -> bool {
        self.latest.load().exporter.is_on()
    }

    fn set_copying(&self, is_on: bool) {
        self.latest.load().exporter.set_on(is_on);
    }

    fn kill(&self, signal: i32) {
        let command = match signal {
            libc::SIGUSR1 => ControlCommand::Books,
            libc::SIGHUP => {
                let (answer, _) = oneshot::channel();
                ControlCommand::Reload(What::Configuration, answer)
            }
            _ => ControlCommand::Stop,
        };
        // It is stopping already when nobody takes it.
        let _ = self.commands.send(command);
    }
}
