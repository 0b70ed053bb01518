//! Next hops of AF_XDP are the kernel's of now: a change of a route, a neighbour or a link is followed
//! at once, not when an entry has grown old.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::{Result, ensure};
use corex_lab::{
    Corex, Namespace, RawSocket, WorkDir,
    corex::CorexOptions,
    frame::{Mac, Parsed},
    namespace::veth,
    topology::PORT,
    wait,
};

const LIMIT: Duration = Duration::from_secs(20);
/// Far below the age at which an entry would be asked for again in any case.
const AT_ONCE: Duration = Duration::from_secs(5);
const FAR: &str = "203.0.113.9";

/// A caller, a host with corex, and two gateways at a switch, on two links of that host.
struct Lab {
    corex: Corex,
    host: Namespace,
    gateways: [Namespace; 2],
    seen: [RawSocket; 2],
    caller: UdpSocket,
    _work: WorkDir,
    _caller: Namespace,
}

impl Lab {
    fn new() -> Result<Self> {
        let work = WorkDir::new()?;
        let host = Namespace::new("host")?;
        let caller = Namespace::new("caller")?;
        let gateways = [Namespace::new("left")?, Namespace::new("right")?];
        veth((&caller, "eth0"), (&host, "user"))?;
        caller.address("eth0", "10.0.1.2/24")?;
        host.address("user", "10.0.1.1/24")?;
        for (number, gateway) in gateways.iter().enumerate() {
            let link = ["left", "right"][number];
            veth((&host, link), (gateway, "eth0"))?;
            host.address(link, &format!("10.0.{}.1/24", number + 2))?;
            gateway.address("eth0", &format!("10.0.{}.254/24", number + 2))?;
            host.neighbour(link, Self::gateway(number).parse()?, gateway.mac("eth0")?)?;
        }
        host.ip(&format!(
            "route add 203.0.113.0/24 via {}",
            Self::gateway(0)
        ))?;
        let text = format!(
            "listen=udp:10.0.1.1:{PORT}\nloadmodule \"corex.so\"\n\
             request_route {{ send(\"{FAR}:{PORT}\"); }}\n"
        );
        let config = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .interface("left")
            .interface("right")
            .engine("xdp")
            .start(&host, work.path(), "corex")?;
        let seen = [
            RawSocket::open(&gateways[0], "eth0")?,
            RawSocket::open(&gateways[1], "eth0")?,
        ];
        Ok(Self {
            corex,
            host,
            gateways,
            seen,
            caller: caller.udp("10.0.1.2:5060".parse()?)?,
            _work: work,
            _caller: caller,
        })
    }

    fn gateway(number: usize) -> &'static str {
        ["10.0.2.254", "10.0.3.254"][number]
    }

    fn send(&self) -> Result<()> {
        let text = "OPTIONS sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/UDP \
             10.0.1.2;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\n\
             Call-ID: routes\r\nCSeq: 1 OPTIONS\r\n\r\n";
        self.caller.send_to(text.as_bytes(), ("10.0.1.1", PORT))?;
        Ok(())
    }

    /// Frames for the far host that a gateway has got since the last look.
    fn arrived(&self, gateway: usize) -> Result<Vec<Mac>> {
        let mut macs = Vec::new();
        while let Some(seen) = self.seen[gateway].poll()? {
            let to_far = seen
                .udp()
                .filter(|udp: &Parsed| !seen.outgoing && udp.destination.ip().to_string() == FAR);
            if let Some(udp) = to_far {
                macs.push(udp.ethernet.0);
            }
        }
        Ok(macs)
    }

    /// Sends until messages come by AF_XDP to that gateway and its MAC; none goes elsewhere from the
    /// first one on.
    fn led_to(&self, gateway: usize, what: &str) -> Result<()> {
        let mac = self.gateways[gateway].mac("eth0")?;
        let is_right = |macs: &[Mac]| !macs.is_empty() && macs.iter().all(|m| *m == mac);
        // Those of before may still be on their way.
        wait::until(what, AT_ONCE, || {
            self.send()?;
            thread::sleep(Duration::from_millis(20));
            Ok(is_right(&self.arrived(gateway)?).then_some(()))
        })?;
        self.arrived(1 - gateway)?;
        let before = self.corex.books()?.get("user.out_xdp");
        let mut all = Vec::new();
        wait::until(&format!("{what}, by AF_XDP"), LIMIT, || {
            self.send()?;
            thread::sleep(Duration::from_millis(20));
            all.extend(self.arrived(gateway)?);
            let now = self.corex.books()?.get("user.out_xdp");
            Ok((now >= before + 5).then_some(()))
        })?;
        ensure!(is_right(&all), "{what}: {all:?}");
        let elsewhere = self.arrived(1 - gateway)?;
        ensure!(elsewhere.is_empty(), "{what}: {elsewhere:?}");
        Ok(())
    }
}

#[test]
fn a_next_hop_follows_route_neighbour_and_link_at_once() -> Result<()> {
    let lab = Lab::new()?;
    let (left, right) = (Lab::gateway(0), Lab::gateway(1));
    lab.led_to(0, "the first route")?;
    lab.host
        .ip(&format!("route replace 203.0.113.0/24 via {right}"))?;
    lab.led_to(1, "another gateway")?;
    lab.host
        .ip(&format!("route add 203.0.113.9/32 via {left}"))?;
    lab.led_to(0, "a longer prefix")?;
    lab.host.ip("route del 203.0.113.9/32")?;
    lab.led_to(1, "without it")?;

    let mac = "02:00:00:00:09:09";
    lab.gateways[1].ip(&format!("link set dev eth0 address {mac}"))?;
    lab.host.neighbour("right", right.parse()?, mac.parse()?)?;
    lab.led_to(1, "the gateway's new MAC")?;

    lab.host.ip(&format!("route add default via {left}"))?;
    lab.led_to(1, "a shorter prefix beside it")?;
    lab.host.ip("link set dev right down")?;
    lab.led_to(0, "the other link")?;

    lab.host.ip(&format!("rule add to {FAR} prohibit"))?;
    wait::until("nothing may go there", AT_ONCE, || {
        lab.send()?;
        thread::sleep(Duration::from_millis(20));
        Ok(lab.arrived(0)?.is_empty().then_some(()))
    })?;
    lab.corex.stop()?.check_balance()
}
