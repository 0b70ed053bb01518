//! A daemon that has one of everything and does nothing.

use std::net::IpAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use corex_script::quarantine::HeldSender;
use corex_script::settings::{GuardSettings, Settings};
use corex_user::access::ratelimit::LoadSource;
use corex_user::access::{Access, Permissions, Pike, RateLimit, Secfilter};
use corex_user::guard::{Guard, Listings};
use corex_user::rpc::Rpc;
use corex_user::rpc::commands;
use corex_user::rpc::daemon::{
    Alias, BadFilter, Counter, Daemon, HostInterface, Identity, Load, MemoryReport, NotDropped,
    NotReloaded, NotSaved, NotSet, Process, Session, Setting, SharedMemory, Socket, Table,
    TableEntry, TableError, Variable, Worker,
};
use corex_user::rpc::later::Later;
use corex_user::rpc::limits::RpcLimits;
use corex_user::telemetry::{books::RoadLine, peers::Summary, trace::Traced};

struct Idle {
    guard: Guard,
    access: Access,
}

/// Remote control of a daemon that does nothing, with all commands.
pub fn rpc() -> Rpc {
    let settings = GuardSettings {
        is_on: true,
        ..GuardSettings::default()
    };
    let guard = Guard::start(&settings, &Listings::default(), None).unwrap_or_default();
    Rpc::new(
        commands::ALL,
        Arc::new(Idle {
            guard,
            access: access(),
        }),
        RpcLimits::default(),
    )
}

/// What modules decide by, with nothing in it.
fn access() -> Access {
    let nowhere = Path::new("/nonexistent");
    let settings = Settings::default();
    Access {
        permissions: Permissions::load(&settings.permissions, nowhere, &[])
            .ok()
            .map(Arc::new),
        ratelimit: Some(Arc::new(RateLimit::new(
            &settings.ratelimit,
            LoadSource::default(),
        ))),
        secfilter: Secfilter::load(&settings.secfilter, nowhere)
            .ok()
            .map(Arc::new),
        pike: Some(Arc::new(Pike::new(&settings.pike))),
    }
}

/// The value of a future that waits for nobody else.
///
/// # Panics
/// When it waits.
pub fn finish<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn text() -> String {
    "name".to_owned()
}

impl Daemon for Idle {
    fn identity(&self) -> Identity {
        Identity {
            name: text(),
            version: text(),
            platform: text(),
            id: text(),
            compiler: text(),
            compiled: text(),
            flags: vec![text()],
            started: UNIX_EPOCH,
            pid: 1,
        }
    }

    fn sockets(&self) -> Vec<Socket> {
        vec![Socket {
            ipv6: true,
            proto: text(),
            name: text(),
            addresses: vec![text(), text()],
            port: 5060,
            sockstr: text(),
            agname: None,
            mcast: false,
            mhomed: false,
            is_virtual: false,
            sockname: None,
            advertise: None,
        }]
    }

    fn aliases(&self) -> Vec<Alias> {
        vec![Alias {
            proto: None,
            host: text(),
            port: 0,
            subdomains: false,
        }]
    }

    fn processes(&self) -> Vec<Process> {
        vec![Process {
            index: 0,
            pid: 1,
            description: text(),
        }]
    }

    fn modules(&self) -> Vec<String> {
        vec![text()]
    }

    fn counters(&self) -> Vec<Counter> {
        vec![Counter {
            group: text(),
            name: text(),
            value: u64::MAX,
        }]
    }

    fn books(&self) -> String {
        "{}".to_owned()
    }

    fn peers(&self) -> Summary {
        Summary::default()
    }

    fn guard(&self) -> Guard {
        self.guard.clone()
    }

    fn load(&self, _: IpAddr) -> Load {
        Load {
            is_on: true,
            is_dry: false,
            level: 0,
            is_known: false,
        }
    }

    fn access(&self) -> Access {
        self.access.clone()
    }

    fn save_guard(&self) -> Later<'_, Result<usize, NotSaved>> {
        Box::pin(async { Ok(0) })
    }

    fn roads(&self) -> Vec<RoadLine> {
        Vec::new()
    }

    fn host(&self) -> Vec<HostInterface> {
        Vec::new()
    }

    fn sessions(&self, most: usize) -> Vec<Session> {
        let session = Session {
            device: text(),
            generation: 0,
            peer: None,
            since: 0,
            expires: 0,
            messages: 0,
            bytes: 0,
        };
        vec![session; most.min(1)]
    }

    fn drop_session(&self, _: &str) -> Later<'_, Result<usize, NotDropped>> {
        Box::pin(async { Ok(0) })
    }

    fn quarantine(&self) -> Vec<HeldSender> {
        Vec::new()
    }

    fn release_quarantine(&self) -> usize {
        0
    }

    fn workers(&self) -> Vec<Worker> {
        Vec::new()
    }

    fn memory(&self) -> SharedMemory {
        SharedMemory::default()
    }

    fn log_shared_memory(&self, _: MemoryReport) {}

    fn log_worker_memory(&self, _: &Process) {}

    fn variables(&self) -> Vec<Variable> {
        vec![Variable {
            group: "core".to_owned(),
            name: "debug".to_owned(),
            doc: text(),
            value: Setting::Int(2),
        }]
    }

    fn set_variable(&self, _: &str, _: &str, _: Setting) -> Result<(), NotSet> {
        Ok(())
    }

    fn tables(&self) -> Vec<Table> {
        Vec::new()
    }

    fn table_entries(&self, _: &str, _: usize) -> Option<Vec<TableEntry>> {
        None
    }

    fn table_get(&self, _: &str, key: &[u8]) -> Result<Option<TableEntry>, TableError> {
        Ok(Some(TableEntry {
            slot: 0,
            key: key.to_vec(),
            value: Setting::Str(key.to_vec()),
            expires: None,
        }))
    }

    fn table_set(&self, _: &str, _: &[u8], _: Setting) -> Result<(), TableError> {
        Err(TableError::Full)
    }

    fn table_expire(&self, _: &str, _: &[u8], _: Duration) -> Result<bool, TableError> {
        Ok(true)
    }

    fn table_delete(&self, _: &str, _: &[u8]) -> Result<bool, TableError> {
        Ok(false)
    }

    fn table_flush(&self, _: &str) -> Result<(), TableError> {
        Err(TableError::Unknown)
    }

    fn trace(&self, _: &[u8], _: usize, _: Duration) -> Later<'_, Result<Vec<Traced>, BadFilter>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn reload_scripts(&self, _: &'static str) -> Later<'_, Result<(), NotReloaded>> {
        Box::pin(async { Ok(()) })
    }

    fn reload(&self) -> Later<'_, Result<(), NotReloaded>> {
        Box::pin(std::future::ready(Err(NotReloaded::Refused(text()))))
    }

    fn is_copying(&self) -> bool {
        false
    }

    fn set_copying(&self, _: bool) {}

    fn kill(&self, _: i32) {}
}
