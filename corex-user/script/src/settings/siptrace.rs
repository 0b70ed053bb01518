//! Parameters of the module `siptrace`: what is copied to a collector, and where that is.

use std::net::{IpAddr, SocketAddr};

use corex_sip::alias::MAX_HOST_LEN;
use corex_sip::{Scheme, Transport, Uri, host_ip};

/// Where copies go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Collector {
    /// An IP address, without brackets, or a host name.
    pub host: String,
    /// The port, where one is given.
    pub port: Option<u16>,
}

impl Collector {
    /// The port of a collector that is given none: SIP's, as in Kamailio.
    pub const DEFAULT_PORT: u16 = 5060;

    /// Reads `sip:host[:port]`.
    ///
    /// # Errors
    /// What keeps the URI from naming a collector.
    pub fn parse(text: &[u8]) -> Result<Collector, &'static str> {
        let uri = Uri::parse(text).map_err(|_| "that is no SIP URI")?;
        if uri.scheme != Scheme::Sip {
            return Err("a collector's URI is sip:HOST:PORT");
        }
        match uri.transport_param().map(Transport::from_bytes) {
            None | Some(Some(Transport::Udp)) => {}
            Some(_) => return Err("copies go to a collector by UDP only"),
        }
        if uri.host.len() > MAX_HOST_LEN {
            return Err("the host name is too long");
        }
        if uri.port == Some(0) {
            return Err("the port is 0");
        }
        let host = match host_ip(uri.host) {
            Some(ip) => ip.to_string(),
            None => String::from_utf8_lossy(uri.host).into_owned(),
        };
        Ok(Collector {
            host,
            port: uri.port,
        })
    }

    /// Its address, where that needs no looking up.
    pub fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port.unwrap_or(Self::DEFAULT_PORT)))
    }
}

/// Parameters of the module `siptrace`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Siptrace {
    /// `trace_on`: whether anything is copied, unless remote control says otherwise.
    pub is_on: bool,
    /// `trace_mode`: every message is copied.
    pub is_automatic: bool,
    /// `trace_init_mode`: whether `trace_mode` counts.
    pub allows_automatic: bool,
    /// `trace_init_mode`: whether functions and the flag do anything.
    pub allows_script: bool,
    /// `trace_flag`: a bit; what is sent for a message with this flag is copied.
    pub flag: u32,
    /// `duplicate_uri`: where copies go.
    pub collector: Option<Collector>,
    /// `hep_capture_id`: the number by which the collector knows who captured.
    pub capture_id: u32,
    /// `auth_key`: what the collector lets us in by; empty: none.
    pub auth_key: String,
    /// `trace_local_ip`: our own address in copies, whatever it is.
    pub local: Option<SocketAddr>,
    /// `send_sock_addr`: the address that copies are sent from.
    pub send_from: Option<IpAddr>,
    /// `send_sock_name`: the listen socket whose address they are sent from.
    pub send_from_name: Option<String>,
}

impl Default for Siptrace {
    fn default() -> Siptrace {
        Siptrace {
            is_on: false,
            is_automatic: false,
            allows_automatic: true,
            allows_script: true,
            flag: 0,
            collector: None,
            capture_id: 1,
            auth_key: String::new(),
            local: None,
            send_from: None,
            send_from_name: None,
        }
    }
}

impl Siptrace {
    /// Whether every message is copied while tracing is on.
    pub fn copies_all(&self) -> bool {
        self.is_automatic && self.allows_automatic && self.collector.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_sip_uri_by_udp() {
        for (text, host, port, address) in [
            (
                "sip:10.0.0.1:9060",
                "10.0.0.1",
                Some(9060),
                Some("10.0.0.1:9060"),
            ),
            ("sip:10.0.0.1", "10.0.0.1", None, Some("10.0.0.1:5060")),
            (
                "sip:[2001:db8::1]:9060",
                "2001:db8::1",
                Some(9060),
                Some("[2001:db8::1]:9060"),
            ),
            (
                "sip:homer.example.org:9060;transport=UDP",
                "homer.example.org",
                Some(9060),
                None,
            ),
        ] {
            let collector = Collector::parse(text.as_bytes()).unwrap();
            assert_eq!((&*collector.host, collector.port), (host, port), "{text}");
            let expected = address.map(|address| address.parse().unwrap());
            assert_eq!(collector.address(), expected, "{text}");
        }
        for bad in [
            "",
            "10.0.0.1:9060",
            "sips:10.0.0.1",
            "tel:1",
            "sip:10.0.0.1:0",
            "sip:h;transport=tcp",
            "sip:h;transport=x",
        ] {
            assert!(Collector::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
