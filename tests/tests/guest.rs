//! Drivers of NICs: `cargo xtask test --kernels` runs these in a guest that has the NICs, each with a far
//! end outside.
//!
//! What road corex took is said on a line of its own, for docs/kernels.md.

use std::{
    fs,
    net::UdpSocket,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Namespace, ObservedBooks, WorkDir, config,
    corex::{CorexOptions, binary},
    far_end::{Cable, MESSAGES},
    process::output_of,
    sys, wait,
};

/// How long the kernel may take to find a NIC.
const LIMIT: Duration = Duration::from_secs(30);
/// How often a thread looks whether it is to end.
const STEP: Duration = Duration::from_millis(200);
/// How often all messages are sent: from the second time on, corex knows the next hop.
const TIMES: u16 = 3;
const ALL: u64 = MESSAGES as u64 * TIMES as u64;

/// A NIC of the guest's, in a namespace of its own; the kernel gives it back when that goes.
struct Nic {
    namespace: Namespace,
    name: String,
    /// What the bus knows it by.
    device: String,
    cable: Cable,
    work: WorkDir,
}

impl Nic {
    fn new(cable: Cable) -> Result<Self> {
        let name = wait::until("the NIC is there", LIMIT, || Ok(name_of(&cable.mac())))?;
        let device = fs::read_link(format!("/sys/class/net/{name}/device"))?;
        let device = device.file_name().context("no device")?;
        let device = device.to_string_lossy().into_owned();
        let namespace = Namespace::new("nic")?;
        let words = ["link", "set", "dev", &name, "netns", namespace.name()];
        output_of(Command::new("ip").args(words))?;
        namespace.ip(&format!("link set dev {name} up"))?;
        namespace.address(&name, &cable.guest())?;
        Ok(Self {
            namespace,
            name,
            device,
            cable,
            work: WorkDir::new()?,
        })
    }

    fn start(&self, text: &str) -> Result<Corex> {
        let control = self.work.join("ctl");
        let text = format!(
            "{text}\nloadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"unix:{}\")\n",
            control.display()
        );
        let file = self.work.write("corex.cfg", text)?;
        CorexOptions::new(&file)
            .engine("auto")
            .interface(&self.name)
            .start(&self.namespace, self.work.path(), "corex")
    }

    fn rpc(&self, command: &str) -> Result<String> {
        let control = format!("unix:{}", self.work.join("ctl").display());
        let mut corex = self.namespace.command(binary()?);
        output_of(corex.args(["rpc", "-s", &control, command]))
    }

    /// All messages come back with `ending` behind them, as often as it takes until all roads are known.
    fn send(&self, ending: &str) -> Result<()> {
        for time in 1..=TIMES {
            self.cable
                .ask(&self.namespace, ending)
                .with_context(|| format!("time {time}"))?;
        }
        Ok(())
    }

    /// How many queues of a virtio NIC the host has used, by their interrupts.
    fn used(&self) -> Result<usize> {
        let name = format!("{}-input.", self.device);
        let interrupts = fs::read_to_string("/proc/interrupts")?;
        let of_queue = interrupts.lines().filter(|line| line.contains(&name));
        Ok(of_queue
            .filter(|line| {
                // Behind the number of the interrupt, one for each CPU.
                let counts = line.split_whitespace().skip(1);
                let mut counts = counts.map_while(|count| count.parse::<u64>().ok());
                counts.any(|count| count > 0)
            })
            .count())
    }

    /// The road that corex has chosen, by its books; its log and `corex.workers` say the same.
    fn road(&self, corex: &Corex) -> Result<Road> {
        let (books, log) = (corex.books()?, corex.log());
        let workers = self.rpc("corex.workers")?;
        let of_nic = |what| format!("interfaces.{}.{what}", self.name);
        let road = Road::read(&books, &self.name)?;
        if road.mode.is_empty() {
            ensure!(log.contains("using kernel sockets alone"), "{log}");
            return Ok(road);
        }
        let said = format!(
            "XDP attached ({} mode), {} receive queue",
            road.mode, road.receive
        );
        ensure!(log.contains(&said), "{log}");
        if road.mode == "skb" {
            ensure!(log.contains("falling back to skb mode"), "{log}");
        } else if !road.zero_copy {
            let refusal = books.text(&of_nic("zero_copy_refusal"));
            ensure!(!refusal.is_empty() && log.contains(refusal), "{log}");
        }
        let copied = if road.zero_copy { "zero copy" } else { "copy" };
        let row = format!("mode: {}, {copied}", road.mode);
        ensure!(workers.matches(&row).count() >= road.receive, "{workers}");
        let silent = workers.matches("receives only").count();
        ensure!(silent == road.receive - road.transmit, "{workers}");
        let sockets = self.rpc("corex.list_sockets")?;
        ensure!(
            sockets.contains(&self.cable.sip().ip().to_string()),
            "{sockets}"
        );
        Ok(road)
    }
}

/// The name of the interface with that hardware address.
fn name_of(mac: &str) -> Option<String> {
    let interfaces = fs::read_dir("/sys/class/net").ok()?.flatten();
    let names = interfaces.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names = names.filter(|name| {
        let address = fs::read_to_string(format!("/sys/class/net/{name}/address"));
        address.is_ok_and(|address| address.trim() == mac)
    });
    names.next()
}

/// How packets come from a NIC to corex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Road {
    /// Empty: by kernel sockets alone.
    mode: String,
    /// Queues that receive.
    receive: usize,
    /// Queues among them that transmit, too.
    transmit: usize,
    zero_copy: bool,
}

impl Road {
    fn read(books: &ObservedBooks, interface: &str) -> Result<Self> {
        if books.text("engine") == "socket" {
            return Ok(Self::default());
        }
        let queues = books.0["queues"].as_array().context("no queues")?;
        let here = queues
            .iter()
            .filter(|queue| queue["interface"] == interface);
        let transmit = here.clone().filter(|queue| queue["transmits"] == 1);
        Ok(Self {
            mode: books
                .text(&format!("interfaces.{interface}.mode"))
                .to_owned(),
            receive: here.clone().count(),
            transmit: transmit.count(),
            zero_copy: here.clone().all(|queue| queue["zero_copy"] == true),
        })
    }

    /// For docs/kernels.md.
    fn tell(&self) {
        let road = match self.mode.as_str() {
            "" => "kernel sockets".to_owned(),
            mode => {
                let copied = if self.zero_copy { ", zero copy" } else { "" };
                let queues = match (self.receive, self.transmit) {
                    (1, 1) => "1 queue".to_owned(),
                    (all, some) if all == some => format!("{all} queues"),
                    (all, some) => format!("{all} queues, {some} of which transmit"),
                };
                format!("{mode}{copied}, {queues}")
            }
        };
        println!("ROAD {road}");
    }
}

/// What is true of messages that corex sends back by `send()`.
fn proxied(cable: Cable) -> Result<(Nic, Road)> {
    let nic = Nic::new(cable)?;
    let corex = nic.start(&format!(
        "listen=udp:{}\nloadmodule \"corex.so\"\nrequest_route {{ send(\"{}\"); }}\n",
        cable.sip(),
        cable.back()
    ))?;
    nic.send("").with_context(|| corex.log())?;
    let road = nic.road(&corex)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") == ALL, "{:#}", books.0);
    ensure!(books.sum("user.dropped") == 0, "{:#}", books.0);
    if !road.mode.is_empty() {
        ensure!(books.get("user.steered") == ALL, "{:#}", books.0);
        ensure!(books.get("user.out_xdp") > 0, "{:#}", books.0);
    }
    road.tell();
    Ok((nic, road))
}

/// What is true of messages that a server gets, and sends back, with corex in front of it.
fn inline(cable: Cable) -> Result<Road> {
    let nic = Nic::new(cable)?;
    let hook = r#"if (is_incoming()) $avp(msg) = $mb + "+in"; else $avp(msg) = $mb + "+out";"#;
    let corex = nic.start(&config::inline(&[cable.sip()], "", hook))?;
    let server = nic.namespace.udp(cable.sip())?;
    server.set_read_timeout(Some(STEP))?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| serve(&server, cable, &is_over));
        let sent = nic.send("+in+out").with_context(|| corex.log());
        is_over.store(true, Ordering::Relaxed);
        sent
    })?;
    let road = Road::read(&corex.books()?, &nic.name)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.sum("user.dropped") == 0, "{:#}", books.0);
    road.tell();
    Ok(road)
}

/// A server that sends all it gets to the far end.
fn serve(server: &UdpSocket, cable: Cable, is_over: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !is_over.load(Ordering::Relaxed) {
        if let Ok((len, _)) = server.recv_from(&mut buffer) {
            // The far end tells of what it doesn't get.
            let _ = server.send_to(&buffer[..len], cable.back());
        }
    }
}

/// The cables, in the order of what `cargo xtask test --kernels` gives a guest.
const VIRTIO: Cable = Cable(1);
const E1000E: Cable = Cable(2);
const VMXNET3: Cable = Cable(3);
const ZERO_COPY: Cable = Cable(4);

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn virtio_messages_by_four_queues_leave_by_the_two_that_transmit() -> Result<()> {
    let (nic, road) = proxied(VIRTIO)?;
    ensure!(road.mode == "native", "{road:?}");
    ensure!((road.receive, road.transmit) == (4, 2), "{road:?}");
    ensure!(nic.used()? == 4, "not all queues got messages");
    Ok(())
}

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn virtio_has_inline_mode() -> Result<()> {
    let road = inline(VIRTIO)?;
    ensure!(road.mode == "native", "{road:?}");
    Ok(())
}

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn e1000e_has_generic_xdp() -> Result<()> {
    let (_, road) = proxied(E1000E)?;
    ensure!(road.mode == "skb", "{road:?}");
    Ok(())
}

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn e1000e_has_inline_mode() -> Result<()> {
    inline(E1000E).map(drop)
}

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn vmxnet3_has_what_its_driver_takes() -> Result<()> {
    proxied(VMXNET3).map(drop)
}

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn vmxnet3_has_inline_mode() -> Result<()> {
    inline(VMXNET3).map(drop)
}

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn zero_copy_is_used_where_virtio_has_it() -> Result<()> {
    let (_, road) = proxied(ZERO_COPY)?;
    ensure!(road.mode == "native", "{road:?}");
    // Linux 6.11 and 6.12 have the receiving half only, and don't offer it.
    let is_offered = sys::kernel() >= (6, 13);
    ensure!(road.zero_copy == is_offered, "{road:?}");
    Ok(())
}

#[test]
#[ignore = "needs a guest's NIC: cargo xtask test --kernels"]
fn zero_copy_has_inline_mode() -> Result<()> {
    inline(ZERO_COPY).map(drop)
}
