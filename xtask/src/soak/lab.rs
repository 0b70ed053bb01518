//! The networks, and the corex in the middle, generation after generation.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Mounts, Namespace, ObservedBooks, WorkDir,
    corex::{CorexOptions, make_enrolment_keys},
    namespace::veth,
    process::output_of,
    topology::Relay,
};

use super::{
    config,
    sample::{self, Sample},
};
use crate::random::Random;

/// corex's interfaces: towards callers, answerers and phones.
pub const INTERFACES: [&str; 3] = ["user", "core", "phones"];
/// Where corex is on the phones' cable, and where they are.
pub const PHONES_SIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 1);
const PHONE: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 2);
/// Who sends junk, from the callers' host.
pub const JUNK: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 66);
/// Who sends pings, from there as well.
pub const PINGS: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 67);
/// Where the answerers are by TCP, beside port 5060.
pub const TCP_PORT: u16 = 5061;
/// Where HTTP is served, as soak.cfg has it.
const HTTP: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9470);
/// How long an answer of HTTP may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stays for the whole run.
#[derive(Debug)]
pub struct Lab {
    /// Callers, corex, answerers.
    pub relay: Relay,
    /// The phone's host; interface `eth0`.
    pub phone: Namespace,
    /// All files.
    pub work: WorkDir,
    /// corex.
    pub binary: PathBuf,
    mounts: Mounts,
    _other_end: Option<Corex>,
    engine: &'static str,
}

impl Lab {
    /// Makes the networks, and the files that configurations name.
    ///
    /// # Errors
    /// What `ip` or corex say.
    pub fn new(binary: &Path, engine: &'static str) -> Result<Lab> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let phone = Namespace::new("phone")?;
        veth((&phone, "eth0"), (&relay.corex, "phones"))?;
        phone.address("eth0", &format!("{PHONE}/24"))?;
        relay
            .corex
            .address("phones", &format!("{PHONES_SIDE}/24"))?;
        for address in [JUNK, PINGS] {
            relay.uac.address("eth0", &format!("{address}/24"))?;
        }
        // A veth end takes frames that AF_XDP sends only with XDP or GRO of its own.
        for namespace in [&relay.uac, &relay.uas, &phone] {
            namespace.offload("eth0", "gro", true)?;
        }
        config::scripts(work.path())?;
        make_enrolment_keys(binary, &work)?;
        let mounts = Mounts::new(&relay.corex, work.path())?;
        let other_end = match engine {
            "xdp" => Some(other_end(binary, &relay, &work)?),
            _ => None,
        };
        Ok(Lab {
            relay,
            phone,
            work,
            binary: binary.to_owned(),
            mounts,
            _other_end: other_end,
            engine,
        })
    }

    /// Writes the configuration that corex reads.
    ///
    /// # Errors
    /// What the file system says.
    pub fn configure(&self, text: &str) -> Result<()> {
        self.work.write("soak.cfg", text).map(drop)
    }

    /// Starts the first corex.
    ///
    /// # Errors
    /// With its log.
    pub fn start(&self, random: &mut Random) -> Result<Generation> {
        self.configure(&config::good(self.work.path(), 0, random))?;
        self.begin(0)
    }

    fn begin(&self, number: u32) -> Result<Generation> {
        let mut options = CorexOptions::new(&self.work.join("soak.cfg"))
            .binary(&self.binary)
            .engine(self.engine);
        if self.engine == "xdp" {
            for interface in INTERFACES {
                options = options.interface(interface);
            }
        }
        if number > 0 {
            options = options.argument("--take-over");
        }
        let name = Self::name(number);
        let corex = options.start_in(&self.mounts, self.work.path(), &name)?;
        Ok(Generation {
            number,
            corex,
            began: Instant::now(),
        })
    }

    fn name(generation: u32) -> String {
        format!("corex-{generation}")
    }

    /// Has a new corex take the place of this one, which then ends.
    ///
    /// # Errors
    /// It fails; with its log.
    pub fn begin_after(&self, old: &Generation) -> Result<Generation> {
        self.begin(old.number + 1)
    }

    /// Where a corex writes its books.
    pub fn books_file(&self, generation: u32) -> PathBuf {
        // As corex_lab's CorexOptions names it.
        self.work
            .join(format!("{}.books.json", Self::name(generation)))
    }

    /// What a corex has logged, whether it still runs or not.
    pub fn log(&self, generation: u32) -> String {
        let path = self.work.join(format!("{}.log", Self::name(generation)));
        fs::read(path).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// Sends a command by `corex rpc`.
    ///
    /// # Errors
    /// It is refused, or nobody answers.
    pub fn rpc(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:{}", self.work.join("ctl").display());
        let mut command = Command::new(&self.binary);
        output_of(command.args(["rpc", "--socket", &socket]).args(words))
    }

    /// The same by Kamailio's program.
    ///
    /// # Errors
    /// As [`Lab::rpc`].
    pub fn kamcmd(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:{}", self.work.join("ctl").display());
        output_of(Command::new("kamcmd").args(["-s", &socket]).args(words))
    }

    /// Asks by HTTP; the whole answer.
    ///
    /// # Errors
    /// It isn't 200, or none comes.
    pub fn http(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = self.relay.corex.enter(|| {
            let address = SocketAddr::from(HTTP);
            Ok(TcpStream::connect_timeout(&address, PATIENCE)?)
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let first = answer.lines().next().unwrap_or_default();
        ensure!(first.contains(" 200 "), "{method} {path}: {first}");
        Ok(answer)
    }

    /// The books as they are.
    ///
    /// # Errors
    /// As [`Lab::rpc`].
    pub fn books(&self) -> Result<ObservedBooks> {
        let text = self.rpc(&["corex.books"])?;
        let books = serde_json::from_str(text.trim()).context("corex.books")?;
        Ok(ObservedBooks(books))
    }

    /// SIP connections by TCP that corex has.
    ///
    /// # Errors
    /// The kernel's table can't be read.
    pub fn connections(&self) -> Result<u64> {
        self.relay.corex.enter(|| {
            let table = fs::read_to_string("/proc/thread-self/net/tcp")?;
            Ok(sample::connections(&table, &[5060, TCP_PORT]))
        })
    }

    /// Networks on the guard's lists that the configuration doesn't have.
    ///
    /// # Errors
    /// As [`Lab::rpc`].
    pub fn guarded(&self) -> Result<u64> {
        let text = self.rpc(&["guard.list", "--json"])?;
        let lists: serde_json::Value = serde_json::from_str(text.trim()).context("guard.list")?;
        let entries = lists.as_array().into_iter().flatten();
        let others = entries.filter(|entry| entry["by"] != "config");
        Ok(others.count() as u64)
    }

    /// Keeps logs and books for who looks for the reason, in that folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(self.work.path())? {
            let path = entry?.path();
            let is_kept = path.extension().is_some_and(|end| {
                ["log", "errors", "json", "cfg"]
                    .iter()
                    .any(|kept| end == *kept)
            });
            if let (true, Some(name)) = (is_kept, path.file_name()) {
                fs::copy(&path, folder.join(name))?;
            }
        }
        Ok(())
    }
}

/// The callers' end of the cable is woken for what the XDP program itself sends only if it has an XDP
/// program, too (veth_xdp_flush()): that of a corex that has nothing else to do.
fn other_end(binary: &Path, relay: &Relay, work: &WorkDir) -> Result<Corex> {
    let text = "listen=udp:127.0.0.1:5099\nloadmodule \"sl.so\"\n\
                request_route { sl_send_reply(\"404\", \"Not here\"); }\n";
    CorexOptions::new(&work.write("idle.cfg", text)?)
        .binary(binary)
        .interface("eth0")
        .engine("xdp")
        .start(&relay.uac, work.path(), "idle")
}

/// A corex that runs.
#[derive(Debug)]
pub struct Generation {
    /// How many ran before it.
    pub number: u32,
    /// It.
    pub corex: Corex,
    /// When it was ready.
    pub began: Instant,
}

impl Generation {
    /// Waits for the end of one that has been replaced: its last books.
    ///
    /// # Errors
    /// It doesn't end, or not well.
    pub fn end(self) -> Result<ObservedBooks> {
        self.corex.succeeded()
    }

    /// A reading of it.
    ///
    /// # Errors
    /// It doesn't answer, or runs no more.
    pub fn sample(&self, lab: &Lab, since: Instant) -> Result<(Sample, ObservedBooks)> {
        let books = lab.books()?;
        let sample = Sample {
            seconds: since.elapsed().as_secs_f64(),
            generation: self.number,
            age: self.began.elapsed().as_secs_f64(),
            connections: lab.connections()?,
            ..Sample::of_process(self.corex.process.pid())?
        };
        Ok((sample.with(&books), books))
    }
}

/// Counters of messages, by path: what must stand still when nobody sends anything. Time and the
/// kernel's own packets (neighbour discovery) go on.
pub fn moving(books: &ObservedBooks) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for group in [
        "user.dropped",
        "streams",
        "streams.dropped",
        "hep",
        "keys.dropped",
    ] {
        for (name, value) in books.group(group) {
            found.insert(format!("{group}.{name}"), value);
        }
    }
    for name in [
        "steered",
        "socket_in",
        "stream_in",
        "sent",
        "replied",
        "answered",
        "consumed",
    ] {
        found.insert(format!("user.{name}"), books.get(&format!("user.{name}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_moves_are_messages_and_neither_time_nor_neighbours() {
        let books = |seen: u64, sent: u64, busy: u64| {
            ObservedBooks(json!({
                "kernel": {"seen": seen},
                "user": {"sent": sent, "busy_ns": busy, "dropped": {"not_sip": 1}},
            }))
        };
        assert_eq!(moving(&books(1, 5, 1)), moving(&books(2, 5, 9)));
        assert_ne!(moving(&books(1, 5, 1)), moving(&books(1, 6, 1)));
        assert_eq!(moving(&books(1, 5, 1))["user.dropped.not_sip"], 1);
    }
}
