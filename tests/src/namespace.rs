//! Network namespaces, and the cables between them.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cleanup::{self, Guard},
    frame::Mac,
    process::{Process, output_of, which},
    sys, wait,
};

static NEXT: AtomicU32 = AtomicU32::new(0);
const DIRECTORY: &str = "/run/netns";
const FILES: &str = "/etc/netns";

/// A network namespace of its own; removed, with every process in it, when dropped. Its name
/// is `cx<pid>-<number><label>`, so that a later run knows whose it was.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    _guard: Guard,
}

impl Namespace {
    /// Makes a namespace with its loopback interface up.
    ///
    /// # Errors
    /// Not root, or no `ip` command.
    pub fn new(label: &str) -> Result<Self> {
        if sys::effective_uid() != 0 {
            bail!("network namespaces need root");
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cx{}-{number}{label}", process::id());
        output_of(Command::new("ip").args(["netns", "add", &name]))?;
        let doomed = name.clone();
        let guard = cleanup::defer(move || remove(&doomed));
        let namespace = Self {
            name,
            _guard: guard,
        };
        namespace.ip("link set dev lo up")?;
        Ok(namespace)
    }

    /// Its name, as in `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` inside.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.as_ref());
        command
    }

    /// Runs a program inside to its end and returns its standard output.
    ///
    /// # Errors
    /// It failed; with its standard error.
    pub fn exec(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let path = which(program).with_context(|| format!("{program} is not installed"))?;
        output_of(self.command(path).args(arguments))
    }

    /// Starts a program inside; output goes to the file `log`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn spawn(&self, program: &str, arguments: &[&str], log: &Path) -> Result<Process> {
        let path = which(program).with_context(|| format!("{program} is not installed"))?;
        let mut command = self.command(path);
        command.args(arguments);
        Process::spawn(program, command, log)
    }

    /// Runs `ip -n <this> <words>`.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, words: &str) -> Result<String> {
        let mut command = Command::new("ip");
        command
            .args(["-n", &self.name])
            .args(words.split_whitespace());
        output_of(&mut command)
    }

    /// Runs a closure in a thread that is inside the namespace. Sockets that it opens stay
    /// in the namespace for good.
    ///
    /// # Errors
    /// The namespace can't be entered, or the closure failed.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = Path::new(DIRECTORY).join(&self.name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    sys::enter_network_namespace(&file)
                        .with_context(|| format!("enter namespace {}", self.name))?;
                    action()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Writes a kernel setting, such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.enter(|| fs::write(&path, value).with_context(|| format!("write {path}")))
    }

    /// Gives the programs that start inside from now on an `/etc/hosts` of their own.
    ///
    /// # Errors
    /// It can't be written.
    pub fn hosts(&self, text: &str) -> Result<()> {
        // What `ip netns exec` mounts over the machine's.
        let directory = Path::new(FILES).join(&self.name);
        fs::create_dir_all(&directory)?;
        Ok(fs::write(directory.join("hosts"), text)?)
    }

    /// Adds an address with its prefix length, `10.0.0.1/24` or `fd00::1/64`, usable at once.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {interface} {nodad}"))
            .map(drop)
    }

    /// Adds a permanent neighbour entry: no ARP or neighbour discovery for that address.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn neighbour(&self, interface: &str, address: IpAddr, mac: Mac) -> Result<()> {
        self.ip(&format!(
            "neighbour replace {address} lladdr {mac} dev {interface} nud permanent"
        ))
        .map(drop)
    }

    /// The hardware address of an interface.
    ///
    /// # Errors
    /// No such interface.
    pub fn mac(&self, interface: &str) -> Result<Mac> {
        let text = self.ip(&format!("-brief link show dev {interface}"))?;
        text.split_whitespace()
            .find_map(|word| word.parse().ok())
            .with_context(|| format!("no hardware address in {text:?}"))
    }

    /// Switches an offload of an interface, such as `tx` (checksums) or `gro`, with ethtool.
    ///
    /// # Errors
    /// What ethtool says.
    pub fn offload(&self, interface: &str, feature: &str, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        self.exec("ethtool", &["-K", interface, feature, state])
            .map(drop)
    }

    /// The name of the XDP program on an interface, and its mode as `ip` numbers it (1:
    /// native, 2: skb), if one is attached.
    ///
    /// # Errors
    /// No such interface.
    pub fn xdp_program(&self, interface: &str) -> Result<Option<(String, u64)>> {
        let text = self.ip(&format!("-details -json link show dev {interface}"))?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        let xdp = &links[0]["xdp"];
        Ok(xdp["prog"]["name"]
            .as_str()
            .map(|name| (name.to_owned(), xdp["mode"].as_u64().unwrap_or(0))))
    }

    /// Binds a UDP socket inside.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn udp(&self, address: SocketAddr) -> Result<UdpSocket> {
        self.enter(|| {
            let socket = UdpSocket::bind(address).with_context(|| format!("bind udp:{address}"))?;
            socket.set_read_timeout(Some(Duration::from_secs(30)))?;
            // A test that has to wait for a CPU loses nothing here.
            sys::set_receive_buffer(&socket, 8 << 20)?;
            Ok(socket)
        })
    }

    /// Waits until `process`, which runs inside, has bound that UDP port.
    ///
    /// # Errors
    /// It didn't within `limit`, or has ended; with its output.
    pub fn wait_for_udp_port(&self, port: u16, process: &Process, limit: Duration) -> Result<()> {
        self.wait_for_port(["udp", "udp6"], port, process, limit)
    }

    /// The same for a TCP port that is listened on.
    ///
    /// # Errors
    /// As [`Self::wait_for_udp_port`].
    pub fn wait_for_tcp_port(&self, port: u16, process: &Process, limit: Duration) -> Result<()> {
        self.wait_for_port(["tcp", "tcp6"], port, process, limit)
    }

    fn wait_for_port(
        &self,
        tables: [&str; 2],
        port: u16,
        process: &Process,
        limit: Duration,
    ) -> Result<()> {
        let suffix = format!(":{port:04X}");
        wait::until(
            &format!("{} port {port} is bound", tables[0]),
            limit,
            || {
                if let Some(status) = process.status()? {
                    bail!("it ended: {status}");
                }
                let tables = self.enter(|| {
                    Ok(tables.map(|table| {
                        fs::read_to_string(format!("/proc/thread-self/net/{table}"))
                            .unwrap_or_default()
                    }))
                })?;
                let bound = tables
                    .iter()
                    .flat_map(|table| table.lines())
                    .filter_map(|line| line.split_whitespace().nth(1))
                    .any(|local| local.ends_with(&suffix));
                Ok(bound.then_some(()))
            },
        )
        .with_context(|| process.log())
    }
}

/// Joins two namespaces by a veth pair, up at both ends.
///
/// # Errors
/// What `ip` says.
pub fn veth(one: (&Namespace, &str), other: (&Namespace, &str)) -> Result<()> {
    veth_with_queues(one, other, 1)
}

/// As [`veth`], with so many queues at both ends, each way.
///
/// # Errors
/// As [`veth`].
pub fn veth_with_queues(
    one: (&Namespace, &str),
    other: (&Namespace, &str),
    queues: u32,
) -> Result<()> {
    let numbers = format!("numtxqueues {queues} numrxqueues {queues}");
    one.0.ip(&format!(
        "link add name {} {numbers} type veth peer name {} {numbers} netns {}",
        one.1,
        other.1,
        other.0.name()
    ))?;
    for (namespace, interface) in [one, other] {
        namespace.ip(&format!("link set dev {interface} up"))?;
    }
    // Both ends have a carrier only now, and only then are routes through them used.
    for (namespace, interface) in [one, other] {
        wait::until("the veth pair is up", Duration::from_secs(5), || {
            let state = namespace.ip(&format!("-brief link show dev {interface}"))?;
            Ok(state.contains("LOWER_UP").then_some(()))
        })?;
    }
    Ok(())
}

/// Kills what runs in a namespace and removes it.
fn remove(name: &str) {
    // Only there if somebody asked for files of its own.
    let _ = fs::remove_dir_all(Path::new(FILES).join(name));
    for _ in 0..50 {
        let Ok(pids) = output_of(Command::new("ip").args(["netns", "pids", name])) else {
            break;
        };
        let mut any = false;
        for pid in pids.split_whitespace().filter_map(|p| p.parse().ok()) {
            // Our own threads may be inside for a moment; they leave by themselves.
            if pid != process::id() {
                any = true;
                let _ = sys::kill(pid, libc::SIGKILL);
            }
        }
        if !any {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    if let Err(error) = output_of(Command::new("ip").args(["netns", "del", name])) {
        eprintln!("corex-lab: {error:#}");
    }
}

/// Removes the namespaces of runs that were killed before they could, and returns their
/// names.
///
/// # Errors
/// The list of namespaces can't be read.
pub fn sweep() -> Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(DIRECTORY),
    };
    let mut swept = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix("cx")
            .and_then(|rest| rest.split_once('-'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if let Some(pid) = owner
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            remove(&name);
            swept.push(name);
        }
    }
    Ok(swept)
}
