//! A daemon with fixed data.

use crate::telemetry::books::RoadLine;
use crate::telemetry::{
    peers::{Counts, Summary},
    trace::Traced,
};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::access;
use crate::access::Access;
use crate::guard::{Guard, Listings};
use crate::rpc::daemon::*;
use crate::rpc::later::Later;
use corex_common::overload::SHED_NEW;
use corex_script::quarantine::HeldSender;
use corex_script::settings::GuardSettings;

/// What a [`Fake`] was told to do, in words.
#[derive(Default)]
pub(crate) struct Fake {
    pub told: Mutex<Vec<String>>,
    variables: Mutex<Vec<Variable>>,
    entries: Mutex<Vec<TableEntry>>,
    is_copying: AtomicBool,
    pub access: Access,
    pub guard: Guard,
}

impl Fake {
    pub fn new() -> Fake {
        let variable = |group: &str, name: &str, value| Variable {
            group: group.to_owned(),
            name: name.to_owned(),
            doc: format!("what {name} is for"),
            value,
        };
        Fake {
            variables: Mutex::new(vec![
                variable("core", "debug", Setting::Int(2)),
                variable("corex", "min_msg_len", Setting::Int(32)),
                variable("corex", "label", Setting::Str(b"edge".to_vec())),
            ]),
            entries: Mutex::new(vec![
                entry(3, "k2", Setting::Str(b"v".to_vec())),
                entry(6, "k", Setting::Int(5)),
            ]),
            is_copying: AtomicBool::new(false),
            access: access::access(),
            guard: Guard::start(&guarded(), &Listings::default(), None).unwrap(),
            ..Fake::default()
        }
    }

    fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
    }

    pub fn take_told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

fn guarded() -> GuardSettings {
    GuardSettings {
        is_on: true,
        ..GuardSettings::default()
    }
}

fn entry(slot: u32, key: &str, value: Setting) -> TableEntry {
    TableEntry {
        slot,
        key: key.as_bytes().to_vec(),
        value,
        expires: None,
    }
}

fn socket(proto: &str, port: u16, sockname: Option<&str>, advertise: Option<&str>) -> Socket {
    Socket {
        ipv6: false,
        proto: proto.to_owned(),
        name: "127.9.9.1".to_owned(),
        addresses: vec!["127.9.9.1".to_owned()],
        port,
        sockstr: format!("{proto}:127.9.9.1:{port}"),
        agname: None,
        mcast: false,
        mhomed: false,
        is_virtual: false,
        sockname: sockname.map(str::to_owned),
        advertise: advertise.map(str::to_owned),
    }
}

fn check(table: &str) -> Result<(), TableError> {
    match table {
        "a" | "b" => Ok(()),
        _ => Err(TableError::Unknown),
    }
}

impl Daemon for Fake {
    fn identity(&self) -> Identity {
        Identity {
            name: "corex".to_owned(),
            version: "0.1.0".to_owned(),
            platform: "x86_64/linux".to_owned(),
            id: "unknown".to_owned(),
            compiler: "rustc 1.95".to_owned(),
            compiled: String::new(),
            flags: vec!["USE_XDP".to_owned(), "USE_TCP".to_owned()],
            started: UNIX_EPOCH + Duration::from_secs(1_000_000_000),
            pid: 4711,
        }
    }

    fn sockets(&self) -> Vec<Socket> {
        vec![
            socket("udp", 5060, None, None),
            socket("udp", 5062, Some("second"), None),
            socket("tcp", 5060, None, Some("1.2.3.4")),
        ]
    }

    fn aliases(&self) -> Vec<Alias> {
        let alias = |proto: Option<&str>, host: &str, port, subdomains| Alias {
            proto: proto.map(str::to_owned),
            host: host.to_owned(),
            port,
            subdomains,
        };
        vec![
            alias(Some("tcp"), "baz.example.com", 0, false),
            alias(None, "bar.example.com", 5080, false),
            alias(Some("udp"), "sub.example.com", 5060, true),
        ]
    }

    fn processes(&self) -> Vec<Process> {
        ["control", "worker 0: eth0 queue 0"]
            .into_iter()
            .zip(0..)
            .map(|(description, index)| Process {
                index,
                pid: 4711 + index,
                description: description.to_owned(),
            })
            .collect()
    }

    fn modules(&self) -> Vec<String> {
        ["htable", "ctl", "corex"].map(str::to_owned).to_vec()
    }

    fn counters(&self) -> Vec<Counter> {
        [
            ("worker", "sent", 7),
            ("xdp", "seen", 1 << 40),
            ("xdp", "dropped", u64::MAX),
        ]
        .map(|(group, name, value)| Counter {
            group: group.to_owned(),
            name: name.to_owned(),
            value,
        })
        .to_vec()
    }

    fn books(&self) -> String {
        "{}".to_owned()
    }

    fn sessions(&self, most: usize) -> Vec<Session> {
        let session = |n: u8| Session {
            device: format!("00000000-0000-4000-8000-0000000000{n:02x}"),
            generation: n,
            peer: (n == 1).then(|| "192.0.2.1:5060".parse().unwrap()),
            since: 1_800_000_000,
            expires: 1_800_086_400,
            messages: 20,
            bytes: 8_000,
        };
        [1, 2].map(session).into_iter().take(most).collect()
    }

    fn drop_session(&self, device: &str) -> Later<'_, Result<usize, NotDropped>> {
        self.tell(format!("drop {device}"));
        let is_id = device.len() == 36;
        Box::pin(async move {
            if is_id {
                Ok(1)
            } else {
                Err(NotDropped::NoDevice)
            }
        })
    }

    fn quarantine(&self) -> Vec<HeldSender> {
        vec![HeldSender {
            sender: "192.0.2.1:5060".to_owned(),
            language: "perl",
            failures: 3,
            left: Duration::from_millis(1500),
        }]
    }

    fn guard(&self) -> Guard {
        self.guard.clone()
    }

    fn load(&self, source: IpAddr) -> Load {
        Load {
            is_on: true,
            is_dry: false,
            level: SHED_NEW,
            is_known: source == IpAddr::from([192, 0, 2, 99]),
        }
    }

    fn save_guard(&self) -> Later<'_, Result<usize, NotSaved>> {
        self.tell("save the guard's lists");
        Box::pin(async { Ok(self.guard.kept().len()) })
    }

    fn release_quarantine(&self) -> usize {
        self.tell("release the quarantine");
        1
    }

    fn peers(&self) -> Summary {
        let counts = |packets| Counts {
            packets_in: packets,
            bytes_in: packets * 10,
            ..Counts::default()
        };
        Summary {
            peers: vec![
                ("192.0.2.1".parse().unwrap(), counts(2)),
                ("2001:db8::1".parse().unwrap(), counts(1)),
            ],
            others: counts(5),
            former: Counts::default(),
        }
    }

    fn host(&self) -> Vec<HostInterface> {
        vec![HostInterface {
            name: "eth0".to_owned(),
            index: 2,
            state: "up".to_owned(),
            mtu: 1500,
            mac: Some("02:00:00:00:00:01".to_owned()),
            queues: 4,
            mode: "native".to_owned(),
            addresses: vec![("10.0.0.1".to_owned(), "AF_XDP".to_owned())],
        }]
    }

    fn roads(&self) -> Vec<RoadLine> {
        vec![RoadLine {
            number: 3,
            socket: "udp:10.0.0.1:5060".to_owned(),
            to: "192.0.2.9:5060".to_owned(),
            state: "open",
            interface: "eth0".to_owned(),
            messages: 7,
            bytes: 700,
            steered: 1,
        }]
    }

    fn workers(&self) -> Vec<Worker> {
        vec![Worker {
            worker: 0,
            pid: 4712,
            cpu: Some(1),
            interface: "eth0".to_owned(),
            link: "up".to_owned(),
            queue: 0,
            engine: "xdp".to_owned(),
            mode: "native, copy".to_owned(),
            rx: 5_000_000_000,
            tx: 12,
            rings: vec![("rx".to_owned(), 3, 2048), ("fill".to_owned(), 2000, 4096)],
            drops: vec![("malformed".to_owned(), 4)],
            busy: 0.25,
        }]
    }

    fn memory(&self) -> SharedMemory {
        SharedMemory {
            total: 64 << 20,
            free: 61 << 20,
            used: 2 << 20,
            real_used: 3 << 20,
            max_used: 3 << 20,
            fragments: 1,
        }
    }

    fn log_shared_memory(&self, report: MemoryReport) {
        self.tell(format!("{report:?}"));
    }

    fn log_worker_memory(&self, process: &Process) {
        self.tell(format!("memory of {}", process.index));
    }

    fn variables(&self) -> Vec<Variable> {
        self.variables.lock().unwrap().clone()
    }

    fn set_variable(&self, group: &str, name: &str, value: Setting) -> Result<(), NotSet> {
        let mut variables = self.variables.lock().unwrap();
        let known = variables
            .iter_mut()
            .find(|known| known.group == group && known.name == name)
            .ok_or_else(|| NotSet("there is no such variable".to_owned()))?;
        if std::mem::discriminant(&known.value) != std::mem::discriminant(&value) {
            return Err(NotSet("it has another type".to_owned()));
        }
        known.value = value;
        Ok(())
    }

    fn tables(&self) -> Vec<Table> {
        let table = |name: &str, autoexpire, slots: Vec<u64>| Table {
            name: name.to_owned(),
            autoexpire,
            updateexpire: true,
            slots,
        };
        vec![table("b", 100, vec![0; 4]), table("a", 0, vec![0, 1, 1, 0])]
    }

    fn table_entries(&self, table: &str, most: usize) -> Option<Vec<TableEntry>> {
        check(table).ok()?;
        let entries = self.entries.lock().unwrap();
        let of_table = entries.iter().filter(|_| table == "a").take(most);
        Some(of_table.cloned().collect())
    }

    fn table_get(&self, table: &str, key: &[u8]) -> Result<Option<TableEntry>, TableError> {
        check(table)?;
        let entries = self.entries.lock().unwrap();
        Ok(entries.iter().find(|entry| entry.key == key).cloned())
    }

    fn table_set(&self, table: &str, key: &[u8], value: Setting) -> Result<(), TableError> {
        check(table)?;
        let mut entries = self.entries.lock().unwrap();
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => entries.push(TableEntry {
                slot: 1,
                key: key.to_vec(),
                value,
                expires: None,
            }),
        }
        Ok(())
    }

    fn table_expire(&self, table: &str, key: &[u8], life: Duration) -> Result<bool, TableError> {
        check(table)?;
        let mut entries = self.entries.lock().unwrap();
        let found = entries.iter_mut().find(|entry| entry.key == key);
        Ok(found.map(|entry| entry.expires = Some(life)).is_some())
    }

    fn table_delete(&self, table: &str, key: &[u8]) -> Result<bool, TableError> {
        check(table)?;
        let mut entries = self.entries.lock().unwrap();
        let before = entries.len();
        entries.retain(|entry| entry.key != key);
        Ok(entries.len() < before)
    }

    fn table_flush(&self, table: &str) -> Result<(), TableError> {
        check(table)?;
        self.entries.lock().unwrap().clear();
        Ok(())
    }

    fn trace(
        &self,
        filter: &[u8],
        most: usize,
        within: Duration,
    ) -> Later<'_, Result<Vec<Traced>, BadFilter>> {
        self.tell(format!(
            "trace {} {most} {}",
            String::from_utf8_lossy(filter),
            within.as_secs()
        ));
        Box::pin(async { Ok(Vec::new()) })
    }

    fn is_copying(&self) -> bool {
        self.is_copying.load(Ordering::Relaxed)
    }

    fn set_copying(&self, is_on: bool) {
        self.is_copying.store(is_on, Ordering::Relaxed);
    }

    fn reload_scripts(&self, module: &'static str) -> Later<'_, Result<(), NotReloaded>> {
        self.tell(format!("reload {module}"));
        Box::pin(async move {
            match module {
                "app_lua" | "permissions.address" | "secfilter" => Ok(()),
                _ => Err(NotReloaded::Refused(format!(
                    "the module {module} is not loaded"
                ))),
            }
        })
    }

    fn access(&self) -> Access {
        self.access.clone()
    }

    fn reload(&self) -> Later<'_, Result<(), NotReloaded>> {
        self.tell("reload");
        let first = self.told.lock().unwrap().len() == 1;
        Box::pin(async move {
            tokio::task::yield_now().await;
            match first {
                true => Ok(()),
                false => Err(NotReloaded::Refused(
                    "corex.cfg:3:1: expected a statement".to_owned(),
                )),
            }
        })
    }

    fn kill(&self, signal: i32) {
        self.tell(format!("signal {signal}"));
    }
}
