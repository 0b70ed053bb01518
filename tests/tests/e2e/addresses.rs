//! Listening on addresses that aren't always there, or that only one link knows.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use corex_lab::{
    Corex, Namespace, WorkDir,
    config::Family,
    corex::{self, CorexOptions},
    namespace::veth,
    process::output_of,
    topology::{LabHost, PORT},
    wait,
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const ENGINES: [&str; 2] = ["xdp", "socket"];
/// For what takes long only where the machine is busy.
const LIMIT: Duration = Duration::from_secs(20);
/// How long one answer is waited for.
const ANSWER: Duration = Duration::from_millis(500);

const CALLER: LabHost = host(1);
const VIRTUAL: LabHost = host(50);

const fn host(number: u8) -> LabHost {
    LabHost {
        v4: std::net::Ipv4Addr::new(10, 0, 9, number),
        v6: std::net::Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, number as u16),
    }
}

fn request(name: &str, transport: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/{transport} 192.0.2.1;rport;branch=z9hG4bK1\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {name}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A caller and two hosts with corex, at one switch.
struct Pair {
    caller: Namespace,
    hosts: [Namespace; 2],
    work: WorkDir,
    _switch: Namespace,
}

impl Pair {
    fn new() -> Result<Self> {
        let switch = Namespace::new("switch")?;
        switch.ip("link add name br0 type bridge")?;
        switch.ip("link set dev br0 up")?;
        let caller = Namespace::new("caller")?;
        let hosts = [Namespace::new("one")?, Namespace::new("two")?];
        for (number, of) in [&caller, &hosts[0], &hosts[1]].into_iter().enumerate() {
            let port = format!("p{number}");
            veth((of, "eth0"), (&switch, &port))?;
            switch.ip(&format!("link set dev {port} master br0"))?;
            let address = host(number as u8 + 1);
            of.address("eth0", &format!("{}/24", address.v4))?;
            of.address("eth0", &format!("{}/64", address.v6))?;
        }
        Ok(Self {
            caller,
            hosts,
            work: WorkDir::new()?,
            _switch: switch,
        })
    }

    fn control(&self, host: usize) -> PathBuf {
        self.work.join(format!("ctl{host}"))
    }

    /// Replies to all that comes to the listen lines.
    fn start(&self, host: usize, listen: &str, engine: &str) -> Result<Corex> {
        let text = format!(
            "{listen}\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\nloadmodule \"ctl.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n\
             request_route {{ sl_send_reply(\"200\", \"$Ri {host}\"); }}\n",
            self.control(host).display()
        );
        let name = format!("corex{host}");
        let config = self.work.write(&format!("{name}.cfg"), text)?;
        CorexOptions::new(&config)
            .engine(engine)
            .start(&self.hosts[host], self.work.path(), &name)
    }

    /// What a command of remote control says.
    fn ask(&self, host: usize, command: &str) -> Result<String> {
        let socket = format!("unix:{}", self.control(host).display());
        let binary = corex::binary()?;
        output_of(
            self.hosts[host]
                .command(binary)
                .args(["rpc", "-s", &socket, command]),
        )
    }

    /// Gives a host the virtual address: as keepalived without a MAC of its own, which tells the
    /// neighbours.
    fn assign(&self, host: usize, ip: IpAddr) -> Result<()> {
        let len = if ip.is_ipv4() { 32 } else { 128 };
        self.hosts[host].address("eth0", &format!("{ip}/{len}"))?;
        let mac = self.hosts[host].mac("eth0")?;
        self.caller.neighbour("eth0", ip, mac)
    }

    fn withdraw(&self, host: usize, ip: IpAddr) -> Result<()> {
        self.hosts[host].ip(&format!("address del {ip} dev eth0"))?;
        Ok(())
    }
}

/// Sends until an answer comes, and returns its first line.
fn answer(caller: &UdpSocket, to: SocketAddr) -> Result<String> {
    caller.set_read_timeout(Some(ANSWER))?;
    wait::until(&format!("an answer from {to}"), LIMIT, || {
        caller.send_to(&request("one", "UDP"), to)?;
        let mut buffer = [0; 2048];
        let Ok((len, from)) = caller.recv_from(&mut buffer) else {
            return Ok(None);
        };
        ensure!(
            (from.ip(), from.port()) == (to.ip(), to.port()),
            "from {from}"
        );
        Ok(Some(first_line(&buffer[..len])))
    })
}

/// The same by TCP.
fn answer_by_tcp(caller: &Namespace, to: SocketAddr) -> Result<String> {
    caller.enter(|| {
        let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&request("one", "TCP"))?;
        let mut buffer = [0; 2048];
        let len = stream.read(&mut buffer)?;
        Ok(first_line(&buffer[..len]))
    })
}

fn first_line(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_virtual_address_is_served_by_the_host_that_has_it_without_a_restart() -> Result<()> {
    for (family, engine) in FAMILIES.into_iter().flat_map(|f| ENGINES.map(|e| (f, e))) {
        let pair = Pair::new()?;
        let ip = family.of(VIRTUAL);
        let to = SocketAddr::new(ip, PORT);
        let listen = format!("listen=udp:{to} virtual\nlisten=tcp:{to} virtual");
        pair.assign(0, ip)?;
        let corexes = [
            pair.start(0, &listen, engine)?,
            pair.start(1, &listen, engine)?,
        ];
        let caller = pair.caller.udp(SocketAddr::new(family.of(CALLER), PORT))?;
        let mut steered = [0; 2];
        let mut by_xdp = [0; 2];
        // Away to the backup, and back.
        for (round, host) in [0, 1, 0].into_iter().enumerate() {
            if round > 0 {
                pair.withdraw(1 - host, ip)?;
                pair.assign(host, ip)?;
            }
            let expected = format!("SIP/2.0 200 {ip} {host}");
            ensure!(answer(&caller, to)? == expected, "{engine}: {host}");
            ensure!(answer_by_tcp(&pair.caller, to)? == expected);
            if engine == "xdp" {
                wait::until("AF_XDP takes it and answers", LIMIT, || {
                    answer(&caller, to)?;
                    let books = corexes[host].books()?;
                    let now = (books.get("kernel.steered"), books.get("user.out_xdp"));
                    let both = now.0 > steered[host] && now.1 > by_xdp[host];
                    Ok(both.then(|| (steered[host], by_xdp[host]) = now))
                })?;
            }
            let idle = corexes[1 - host].books()?;
            ensure!(idle.get("kernel.steered") == steered[1 - host]);
        }
        for host in 0..2 {
            let sockets = pair.ask(host, "corex.list_sockets")?;
            ensure!(sockets.to_lowercase().contains("virtual: yes"), "{sockets}");
        }
        for corex in corexes {
            corex.stop()?.check_balance()?;
        }
    }
    Ok(())
}

/// What VRRP does: the virtual router's MAC goes with the address.
#[test]
fn an_address_with_a_mac_of_its_own_is_served_by_af_xdp_when_it_comes() -> Result<()> {
    let pair = Pair::new()?;
    let ip = Family::V4.of(VIRTUAL);
    let to = SocketAddr::new(ip, PORT);
    let corex = pair.start(1, &format!("listen=udp:{to} virtual"), "xdp")?;
    let caller = pair.caller.udp(SocketAddr::new(CALLER.v4.into(), PORT))?;
    let mac = "00:00:5e:00:01:33";
    pair.caller.neighbour("eth0", ip, mac.parse()?)?;
    let mut steered = 0;
    for _ in 0..2 {
        let backup = &pair.hosts[1];
        backup.ip(&format!(
            "link add link eth0 name vrrp51 address {mac} type macvlan mode private"
        ))?;
        backup.ip("link set dev vrrp51 up")?;
        backup.address("vrrp51", &format!("{ip}/32"))?;
        wait::until("AF_XDP takes it", LIMIT, || {
            answer(&caller, to)?;
            let now = corex.books()?.get("kernel.steered");
            Ok((now > steered).then(|| steered = now))
        })?;
        backup.ip("link del dev vrrp51")?;
    }
    corex.stop()?.check_balance()
}

#[test]
fn an_address_that_is_not_there_needs_the_word_virtual_and_the_error_says_so() -> Result<()> {
    let pair = Pair::new()?;
    for (transport, engine) in ["udp", "tcp"]
        .into_iter()
        .flat_map(|t| ENGINES.map(|e| (t, e)))
    {
        let listen = format!("# none\nlisten={transport}:{}:{PORT}", VIRTUAL.v4);
        let Err(error) = pair.start(0, &listen, engine) else {
            bail!("it starts without its address");
        };
        let text = format!("{error:#}");
        let place = "corex0.cfg:2:8: ";
        ensure!(text.contains(place) && text.contains("`virtual`"), "{text}");
        let all = format!(
            "ip_free_bind=yes\n{listen}\nlisten=udp:{}:{PORT}",
            host(2).v4
        );
        pair.start(1, &all, "socket")?.stop()?;
    }
    Ok(())
}

fn link_local(of: &Namespace) -> Result<std::net::Ipv6Addr> {
    wait::until("a link-local address that is no duplicate", LIMIT, || {
        let text = of.ip("-6 -o address show dev eth0 scope link -tentative")?;
        let found = text
            .split_whitespace()
            .find_map(|word| word.split('/').next()?.parse().ok());
        Ok(found)
    })
}

/// The index of `eth0`.
fn index(of: &Namespace) -> Result<u32> {
    let text = of.ip("-o link show dev eth0")?;
    let (index, _) = text.split_once(':').context("no index")?;
    Ok(index.parse()?)
}

#[test]
fn a_link_local_listener_serves_its_link_on_both_roads_and_by_tcp() -> Result<()> {
    for engine in ENGINES {
        let pair = Pair::new()?;
        let (ours, theirs) = (link_local(&pair.hosts[0])?, link_local(&pair.caller)?);
        let listen = format!("listen=udp:[{ours}%eth0]:{PORT}\nlisten=tcp:[{ours}%eth0]:{PORT}");
        let corex = pair.start(0, &listen, engine)?;
        let scope = index(&pair.caller)?;
        let at = |ip, port| SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope));
        let caller = pair.caller.udp(at(theirs, PORT))?;
        let to = at(ours, PORT);
        let expected = format!("SIP/2.0 200 {ours} 0");
        ensure!(answer(&caller, to)? == expected);
        ensure!(answer_by_tcp(&pair.caller, to)? == expected);
        if engine == "xdp" {
            wait::until("AF_XDP takes it and answers", LIMIT, || {
                answer(&caller, to)?;
                let books = corex.books()?;
                let both = books.get("kernel.steered") > 0 && books.get("user.out_xdp") > 0;
                Ok(both.then_some(()))
            })?;
        }
        let sockets = pair.ask(0, "corex.list_sockets")?;
        ensure!(
            sockets.contains(&format!("udp:[{ours}%eth0]:{PORT}")),
            "{sockets}"
        );
        corex.stop()?.check_balance()?;
    }
    Ok(())
}

/// Two links with the same addresses at both ends.
#[test]
fn the_same_link_local_address_on_two_links_is_two_sockets() -> Result<()> {
    for engine in ENGINES {
        let work = WorkDir::new()?;
        let ours = Namespace::new("ours")?;
        let peers = [Namespace::new("left")?, Namespace::new("right")?];
        let (near, far) = ("fe80::1", "fe80::2");
        let mut listen = String::new();
        for (peer, name) in peers.iter().zip(["a", "b"]) {
            veth((&ours, name), (peer, "eth0"))?;
            ours.address(name, &format!("{near}/64"))?;
            peer.address("eth0", &format!("{far}/64"))?;
            listen += &format!("listen=udp:[{near}%{name}]:{PORT} name \"{name}\"\n");
        }
        let text = format!(
            "{listen}loadmodule \"corex.so\"\nloadmodule \"sl.so\"\n\
             request_route {{ sl_send_reply(\"200\", \"$Rn $Ru $su\"); }}\n"
        );
        let config = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&config)
            .engine(engine)
            .start(&ours, work.path(), "corex")?;
        for (peer, name) in peers.iter().zip(["a", "b"]) {
            let scope = index(peer)?;
            let at = |ip: &str| -> Result<SocketAddr> {
                Ok(SocketAddrV6::new(ip.parse()?, PORT, 0, scope).into())
            };
            let socket = peer.udp(at(far)?)?;
            for _ in 0..3 {
                let line = answer(&socket, at(near)?)?;
                let expected = format!("SIP/2.0 200 {name} udp:[{near}]:{PORT} sip:[{far}]:{PORT}");
                ensure!(line == expected, "{engine}: {line}");
            }
        }
        let books = corex.stop()?;
        ensure!((engine == "xdp") == (books.get("kernel.steered") >= 6));
        books.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_zone_that_is_no_interface_is_named_with_its_place_and_those_that_there_are() -> Result<()> {
    let pair = Pair::new()?;
    for (listen, said) in [
        (
            "listen=udp:[fe80::1%eth7]:5060",
            ["corex0.cfg:1:8", "eth7", "eth0"],
        ),
        (
            "listen=udp:[fe80::1]:5060",
            ["corex0.cfg:1:12", "needs its interface", "[fe80::1%eth0]"],
        ),
        (
            "listen=udp:[fe80::9%eth0]:5060",
            ["corex0.cfg:1:8", "[fe80::9%eth0]", "no interface"],
        ),
    ] {
        for engine in ENGINES {
            let error = pair.start(0, listen, engine).err().context("it starts")?;
            let text = format!("{error:#}");
            for word in said {
                ensure!(text.contains(word), "{listen}: {text}");
            }
        }
    }
    Ok(())
}

#[test]
fn remote_control_shows_the_host_as_it_is_now() -> Result<()> {
    let pair = Pair::new()?;
    let (ip, own) = (IpAddr::V4(VIRTUAL.v4), IpAddr::V4(host(2).v4));
    let listen = format!(
        "listen=udp:{ip}:{PORT} virtual\nlisten=udp:{own}:{PORT}\nloadmodule \"corex.so\"\n\
         modparam(\"corex\", \"metrics\", \"127.0.0.1:9470\")"
    );
    let corex = pair.start(0, &listen, "xdp")?;
    let this = &pair.hosts[0];
    let shows = |words: &[&str]| {
        wait::until(&format!("corex.host shows {words:?}"), LIMIT, || {
            let text = pair.ask(0, "corex.host")?;
            Ok(words.iter().all(|word| text.contains(word)).then_some(text))
        })
    };
    let ready = || this.exec("curl", &["-s", "http://127.0.0.1:9470/ready"]);
    let mac = this.mac("eth0")?.to_string();
    let text = shows(&[
        "eth0",
        "state: up",
        "mtu: 1500",
        &mac,
        "native",
        "queues: 1",
    ])?;
    ensure!(text.contains(&format!("{own}: AF_XDP")), "{text}");
    ensure!(!text.contains(&ip.to_string()), "{text}");
    ensure!(pair.ask(0, "corex.workers")?.contains("link: up"));
    ensure!(ready()?.trim() == "ready");
    pair.assign(0, ip)?;
    shows(&[&format!("{ip}: AF_XDP")])?;
    this.ip("link set dev eth0 mtu 1400")?;
    shows(&["mtu: 1400"])?;
    this.ip("link set dev eth0 down")?;
    shows(&["state: down", &format!("{ip}: kernel socket")])?;
    ensure!(pair.ask(0, "corex.workers")?.contains("link: down"));
    let said = ready()?;
    ensure!(said.contains("no interface is up: eth0 is down"), "{said}");
    this.ip("link set dev eth0 up")?;
    shows(&["state: up"])?;
    let log = corex.log();
    for change in ["eth0 has the MTU 1400", "eth0 is down", "eth0 is up"] {
        let line = format!("the host has changed: {change}");
        ensure!(log.contains(&line), "{line}\n{log}");
    }
    Ok(())
}
