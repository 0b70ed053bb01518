//! Core parameters.

mod table;

use std::net::IpAddr;
use std::time::Duration;

use super::Checker;
use crate::nearest::nearest;
use crate::settings::log::Facility;
use crate::settings::{Listen, Place};
use crate::syntax::ast::{self, HostKind, Setting, SettingValue, SettingValueKind as Value, Text};
use crate::syntax::diag::Diagnostic;
use corex_sip::Transport;
use corex_sip::alias;
use table::{CoreKind, IGNORED, IGNORED_PREFIXES, SYNONYMS, TYPES_OF_SERVICE, UNSUPPORTED};

pub use table::CORE;

impl Checker {
    pub(super) fn setting(&mut self, setting: &Setting) {
        if let Some(group) = &setting.group {
            return self.report(
                Diagnostic::error(
                    group.span.to(setting.name.span),
                    "custom parameters are not supported",
                )
                .help("define the value with #!define, or assign it to a $var() in a route"),
            );
        }
        let name = setting.name.kind.as_str();
        let same = SYNONYMS.iter().find(|(synonym, _)| *synonym == name);
        let name = same.map_or(name, |(_, name)| name);
        let Some(param) = CORE.iter().find(|param| param.name == name) else {
            return self.other_setting(setting);
        };
        for value in &setting.values {
            match param.kind {
                CoreKind::Listen => self.listen(value),
                CoreKind::Alias => self.alias(value),
                CoreKind::Facility => self.facility(value),
                CoreKind::LogName => self.log_name(value),
                CoreKind::User => self.run_as(value, false),
                CoreKind::Group => self.run_as(value, true),
                CoreKind::TrafficClass => self.traffic_class(value),
                CoreKind::Int { min, max, set } => match number(value) {
                    Some(number) if (min..=max).contains(&number) => {
                        set(&mut self.settings, number);
                    }
                    Some(_) => self.report(
                        Diagnostic::error(value.span, format!("{name} is out of range"))
                            .label(format!("expected a number from {min} to {max}")),
                    ),
                    None => self.report(
                        Diagnostic::error(value.span, format!("{name} takes a number"))
                            .label(format!("expected a number from {min} to {max}")),
                    ),
                },
                CoreKind::Seconds(set) => match number(value).map(u64::try_from) {
                    Some(Ok(seconds @ 1..=86_400)) => {
                        set(&mut self.settings, Duration::from_secs(seconds));
                    }
                    _ => self.report(
                        Diagnostic::error(value.span, format!("{name} takes seconds"))
                            .label("expected a number from 1 to 86400"),
                    ),
                },
                CoreKind::Bool(set) => match number(value) {
                    Some(number) => set(&mut self.settings, number != 0),
                    None => self.report(
                        Diagnostic::error(value.span, format!("{name} takes yes or no"))
                            .label("expected yes or no"),
                    ),
                },
            }
        }
    }

    fn other_setting(&mut self, setting: &Setting) {
        let name = setting.name.kind.as_str();
        let span = setting.name.span;
        if IGNORED.contains(&name) || IGNORED_PREFIXES.iter().any(|p| name.starts_with(p)) {
            return self.report(
                Diagnostic::warning(span, format!("{name} has no meaning here"))
                    .help("the line is accepted for Kamailio's sake; it can be removed"),
            );
        }
        let mut diagnostic;
        if let Some((_, remedy)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
            diagnostic = Diagnostic::error(span, format!("{name} is not supported")).help(*remedy);
        } else {
            diagnostic = Diagnostic::error(span, format!("there is no core parameter `{name}`"));
            let known = CORE.iter().map(|param| param.name);
            diagnostic = match nearest(name, known.chain(IGNORED.iter().copied())) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help(format!(
                    "known are {}",
                    CORE.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")
                )),
            };
        }
        self.report(diagnostic);
    }

    fn transport(&mut self, address: &ast::Address) -> Result<Option<Transport>, ()> {
        let Some(word) = &address.transport else {
            return Ok(None);
        };
        match Transport::parse(&word.kind) {
            Some(transport) => Ok(Some(transport)),
            None => {
                self.report(
                    Diagnostic::error(word.span, format!("`{}` is not a transport", word.kind))
                        .label("expected udp, tcp, tls or sctp"),
                );
                Err(())
            }
        }
    }

    fn host(&mut self, address: &ast::Address) -> Option<String> {
        match &address.host.kind {
            HostKind::Ip(ip) => Some(ip.to_string()),
            HostKind::Scoped(..) => {
                self.report(
                    Diagnostic::error(
                        address.host.span,
                        "a zone means something on this host only",
                    )
                    .label("expected an address or a name without `%`"),
                );
                None
            }
            HostKind::Name(name) if name.len() <= alias::MAX_HOST_LEN => Some(name.clone()),
            HostKind::Name(_) => {
                self.report(Diagnostic::error(
                    address.host.span,
                    format!("a host name has at most {} bytes", alias::MAX_HOST_LEN),
                ));
                None
            }
            HostKind::Any => {
                self.report(
                    Diagnostic::error(address.host.span, "`*` is no address")
                        .label("expected an IP address, an interface or a host name")
                        .help("to listen on all addresses, leave the listen lines out or write 0.0.0.0"),
                );
                None
            }
        }
    }

    fn listen(&mut self, value: &SettingValue) {
        let Value::Address(listen) = &value.kind else {
            return self.report(
                Diagnostic::error(value.span, "this is no address")
                    .label("expected [udp:|tcp:]host[:port]"),
            );
        };
        let address = &listen.address.kind;
        let transport = self.transport(address);
        let host = self.listen_host(address);
        let (Ok(transport), Some((host, zone))) = (transport, host) else {
            return;
        };
        let transport = transport.unwrap_or(Transport::Udp);
        if !matches!(transport, Transport::Udp | Transport::Tcp) {
            let span = address.transport.as_ref().map_or(value.span, |t| t.span);
            return self.report(
                Diagnostic::error(span, format!("there are no listeners for {transport}"))
                    .label("expected udp or tcp")
                    .help(format!("remove the line, or write listen=udp:{host}")),
            );
        }
        let advertise = match &listen.advertise {
            None => None,
            Some(advertise) => match self.host(&advertise.kind) {
                Some(host) => Some((host, advertise.kind.port.as_ref().map(|port| port.kind))),
                None => return,
            },
        };
        let name = listen
            .name
            .as_ref()
            .map(|name| String::from_utf8_lossy(&name.kind.value).into_owned());
        let port = address
            .port
            .as_ref()
            .map_or(transport.default_port(), |port| port.kind);
        if port == 0 {
            let span = address.port.as_ref().map_or(value.span, |port| port.span);
            return self.report(
                Diagnostic::error(span, "0 is no port to listen on")
                    .label("expected a port from 1 to 65535"),
            );
        }
        self.settings.listen.push(Listen {
            transport,
            host,
            zone,
            port,
            advertise,
            name,
            is_virtual: listen.is_virtual,
            place: Place::new(self.report.location(value.span)),
        });
    }

    /// The host of a `listen` line, and its zone, which a link-local address has and no other.
    fn listen_host(&mut self, address: &ast::Address) -> Option<(String, Option<String>)> {
        let span = address.host.span;
        match &address.host.kind {
            HostKind::Ip(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {
                self.report(
                    Diagnostic::error(span, "a link-local address needs its interface")
                        .label("expected `%` and an interface behind the address")
                        .help(format!(
                            "every interface has addresses of this kind: write [{ip}%eth0], if the \
                             interface is eth0; `ip -6 address show scope link` lists them"
                        )),
                );
                None
            }
            HostKind::Scoped(ip, zone) if ip.is_unicast_link_local() => {
                Some((ip.to_string(), Some(zone.clone())))
            }
            HostKind::Scoped(ip, zone) => {
                self.report(
                    Diagnostic::error(span, format!("{ip} is no link-local address"))
                        .label("only those, fe80::/10, have a zone")
                        .help(format!("leave `%{zone}` out")),
                );
                None
            }
            _ => self.host(address).map(|host| (host, None)),
        }
    }

    fn facility(&mut self, value: &SettingValue) {
        let word = match &value.kind {
            Value::Word(word) => word.as_str(),
            Value::Str(text) => str::from_utf8(&text.value).unwrap_or_default(),
            _ => "",
        };
        match Facility::parse(word) {
            Some(facility) => self.settings.log.facility = Some(facility),
            None => self.report(
                Diagnostic::error(value.span, "this is no facility of the system's log").label(
                    format!(
                        "expected {}",
                        Facility::names().collect::<Vec<_>>().join(", ")
                    ),
                ),
            ),
        }
    }

    fn traffic_class(&mut self, value: &SettingValue) {
        /// The bits that are ECN's (RFC 3168 §5).
        const ECN: u8 = 0b11;
        let word = match &value.kind {
            Value::Word(word) => Some(word.as_bytes()),
            Value::Str(text) => Some(&text.value[..]),
            _ => None,
        };
        let named = TYPES_OF_SERVICE
            .iter()
            .find(|(name, _)| word.is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())));
        let byte = match (named, &value.kind) {
            (Some((_, byte)), _) => Some(*byte),
            (None, Value::Int(number)) => u8::try_from(*number).ok(),
            _ => None,
        };
        let Some(byte) = byte else {
            let names: Vec<_> = TYPES_OF_SERVICE.iter().map(|(name, _)| *name).collect();
            return self.report(
                Diagnostic::error(value.span, "this is no type of service").label(format!(
                    "expected a number from 0 to 255, or {}",
                    names.join(", ")
                )),
            );
        };
        if byte & ECN != 0 {
            self.report(
                Diagnostic::warning(value.span, "the two lowest bits are ECN's and sent as 0")
                    .help(format!("write tos={:#04x}", byte & !ECN)),
            );
        }
        self.settings.datagrams.traffic_class = byte & !ECN;
    }

    /// A user or a group, by name or number, as in Kamailio quoted or not.
    fn run_as(&mut self, value: &SettingValue, is_group: bool) {
        let name = match &value.kind {
            Value::Word(word) => Some(word.clone()),
            Value::Str(text) => String::from_utf8(text.value.clone()).ok(),
            Value::Int(number) => u32::try_from(*number).ok().map(|number| number.to_string()),
            _ => None,
        };
        let is_good = |name: &String| !name.is_empty() && !name.contains(['\0', ':', '/', '\n']);
        let what = if is_group { "group" } else { "user" };
        let Some(name) = name.filter(is_good) else {
            return self.report(
                Diagnostic::error(value.span, format!("this is no {what}"))
                    .label("expected a name in quotes, or a number"),
            );
        };
        let run_as = &mut self.settings.run_as;
        if is_group {
            run_as.group = Some(name);
        } else {
            run_as.user = Some(name);
        }
        self.run_as[usize::from(is_group)] = value.span;
    }

    fn log_name(&mut self, value: &SettingValue) {
        const MOST: usize = 48;
        let is_good = |c: &u8| c.is_ascii_graphic() && !b"[]:".contains(c);
        match &value.kind {
            Value::Str(Text { value: name, .. })
                if (1..=MOST).contains(&name.len()) && name.iter().all(is_good) =>
            {
                let name = String::from_utf8_lossy(name).into_owned();
                self.settings.log.name = Some(name);
            }
            _ => self.report(
                Diagnostic::error(value.span, "this is no name for the system's log").label(
                    format!("expected a string of 1 to {MOST} letters, digits and signs but [ ] :"),
                ),
            ),
        }
    }

    fn alias(&mut self, value: &SettingValue) {
        let Value::Address(listen) = &value.kind else {
            return self.report(
                Diagnostic::error(value.span, "this is no address")
                    .label("expected [proto:]host[:port]"),
            );
        };
        let address = &listen.address.kind;
        let transport = self.transport(address);
        let host = self.host(address);
        if let (Ok(transport), Some(host)) = (transport, host) {
            self.settings.alias.push(alias::Entry {
                transport,
                host,
                port: address.port.as_ref().map_or(0, |port| port.kind),
            });
        }
    }
}

/// A value as a number; a boolean is 1 or 0, as in Kamailio.
fn number(value: &SettingValue) -> Option<i64> {
    match &value.kind {
        Value::Int(number) => Some(*number),
        Value::Bool(truth) => Some(i64::from(*truth)),
        _ => None,
    }
}
