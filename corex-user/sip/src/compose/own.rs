//! Header lines with our own addresses in them, Record-Route (RFC 3261 §16.6 step 4) and Path
//! (RFC 3327 §5.2): what stands there is known when the message leaves, and not before.

use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;

use super::{Edits, SentBy};
use crate::Transport;

/// One of the two sockets that a message passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The one that it came in on.
    Received,
    /// The one that it leaves by.
    Sent,
}

/// When something is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// In any case.
    Always,
    /// If the message leaves by another socket, address or transport than it came by.
    OtherSocket,
    /// If it leaves by another transport than it came by.
    OtherTransport,
}

/// What is known of one of the two sockets.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Our name there.
    pub sent_by: SentBy<'a>,
    /// The transport.
    pub transport: Transport,
    /// The socket's number, by which two are told apart.
    pub socket: u16,
    /// The name of its listen line.
    pub name: Option<&'a str>,
}

impl Side<'_> {
    fn is_other(&self, other: &Side<'_>, when: When) -> bool {
        // A name that is advertised stands for all addresses of its socket.
        let address = |side: &Side<'_>| side.sent_by.host.is_none().then_some(side.sent_by.ip);
        match when {
            When::Always => true,
            When::OtherTransport => self.transport != other.transport,
            When::OtherSocket => {
                (self.transport, self.socket) != (other.transport, other.socket)
                    || address(self) != address(other)
            }
        }
    }

    /// Host, and port and transport where they aren't SIP's defaults, as they stand in a URI.
    fn write(&self, is_named: bool, out: &mut Vec<u8>) {
        let SentBy { host, ip, port } = self.sent_by;
        // Writing to memory can't fail.
        let _ = match (host, ip) {
            (Some(host), _) if host.contains(':') && !host.starts_with('[') => {
                write!(out, "[{host}]")
            }
            (Some(host), _) => write!(out, "{host}"),
            (None, IpAddr::V4(ip)) => write!(out, "{ip}"),
            (None, IpAddr::V6(ip)) => write!(out, "[{ip}]"),
        };
        if port != Transport::Udp.default_port() {
            let _ = write!(out, ":{port}");
        }
        if self.transport != Transport::Udp {
            let _ = write!(out, ";transport={}", self.transport);
        }
        if let Some(name) = self.name.filter(|_| is_named) {
            let _ = write!(out, ";sn={name}");
        }
    }
}

#[derive(Clone, Debug)]
enum Part {
    /// Bytes of [`OwnLines::text`].
    Text(When, Range<usize>),
    /// An address of ours; whether with the socket's name.
    Address(Which, bool),
    /// `;transport=…`.
    Transport(When, Which),
    /// What [`OwnLines::add_parameter`] added.
    Parameters,
}

#[derive(Clone, Debug)]
struct Line {
    at: usize,
    when: When,
    is_record_route: bool,
    parts: Range<usize>,
}

/// Such lines of one message, in order of time. They are written behind what else is inserted at
/// their places.
#[derive(Clone, Default, Debug)]
pub struct OwnLines {
    text: Vec<u8>,
    parts: Vec<Part>,
    lines: Vec<Line>,
    parameters: Vec<u8>,
}

impl OwnLines {
    /// The most bytes that all parameters together may take, as in Kamailio.
    pub const MAX_PARAMETERS: usize = 512;
    /// The most lines of one message.
    pub const MAX_LINES: usize = 32;

    /// Forgets all of them and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.parts.clear();
        self.lines.clear();
        self.parameters.clear();
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Begins a line in front of the byte at `at`. What is added from now on is part of it. False, and
    /// nothing begins, if there are too many already.
    pub fn begin(&mut self, at: usize, when: When, is_record_route: bool) -> bool {
        if self.lines.len() >= Self::MAX_LINES {
            return false;
        }
        self.lines.push(Line {
            at,
            when,
            is_record_route,
            parts: self.parts.len()..self.parts.len(),
        });
        true
    }

    /// Adds bytes to the line.
    pub fn text(&mut self, text: &[u8]) {
        self.text_when(When::Always, text);
    }

    /// The same, for when they are wanted.
    pub fn text_when(&mut self, when: When, text: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.add(Part::Text(when, start..self.text.len()));
    }

    /// Adds an address of ours, with the name of its listen line or without.
    pub fn address(&mut self, which: Which, is_named: bool) {
        self.add(Part::Address(which, is_named));
    }

    /// Adds `;transport=…`.
    pub fn transport(&mut self, when: When, which: Which) {
        self.add(Part::Transport(when, which));
    }

    /// Marks the place where [`Self::add_parameter`] adds.
    pub fn parameters(&mut self) {
        self.add(Part::Parameters);
    }

    fn add(&mut self, part: Part) {
        self.parts.push(part);
        if let Some(line) = self.lines.last_mut() {
            line.parts.end = self.parts.len();
        }
    }

    /// Whether there is a Record-Route among them.
    pub fn has_record_route(&self) -> bool {
        self.lines.iter().any(|line| line.is_record_route)
    }

    /// Takes every Record-Route away.
    pub fn remove_record_routes(&mut self) {
        self.lines.retain(|line| !line.is_record_route);
        self.parameters.clear();
    }

    /// Adds parameters, with their semicolon, to every Record-Route. False if they become too long.
    pub fn add_parameter(&mut self, text: &[u8]) -> bool {
        let fits = self.parameters.len() + text.len() <= Self::MAX_PARAMETERS;
        if fits {
            self.parameters.extend_from_slice(text);
        }
        fits
    }

    /// Adds the lines to a list of changes, for a message that came and leaves so.
    pub fn write(&self, received: &Side<'_>, sent: &Side<'_>, edits: &mut Edits) {
        let side = |which: &Which| match which {
            Which::Received => received,
            Which::Sent => sent,
        };
        for line in &self.lines {
            if !received.is_other(sent, line.when) {
                continue;
            }
            edits.replace_with(line.at..line.at, |out| {
                for part in self.parts.get(line.parts.clone()).unwrap_or_default() {
                    match part {
                        Part::Text(when, range) => {
                            if received.is_other(sent, *when) {
                                let text = self.text.get(range.clone());
                                out.extend_from_slice(text.unwrap_or_default());
                            }
                        }
                        Part::Address(which, is_named) => side(which).write(*is_named, out),
                        Part::Transport(when, which) => {
                            if received.is_other(sent, *when) {
                                // Writing to memory can't fail.
                                let _ = write!(out, ";transport={}", side(which).transport);
                            }
                        }
                        Part::Parameters => out.extend_from_slice(&self.parameters),
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::write;
    use super::*;

    fn side(last: u8, port: u16, transport: Transport) -> Side<'static> {
        Side {
            sent_by: SentBy {
                host: None,
                ip: Ipv4Addr::new(192, 0, 2, last).into(),
                port,
            },
            transport,
            socket: 0,
            name: Some("edge"),
        }
    }

    fn lines() -> OwnLines {
        let mut lines = OwnLines::default();
        for (which, when) in [
            (Which::Sent, When::OtherSocket),
            (Which::Received, When::Always),
        ] {
            assert!(lines.begin(1, when, true));
            lines.text(b"<");
            lines.address(which, false);
            lines.text_when(When::OtherSocket, b";r2=on");
            lines.parameters();
            lines.text(b">");
        }
        lines
    }

    fn written(lines: &OwnLines, received: &Side<'_>, sent: &Side<'_>) -> String {
        let (mut edits, mut out) = (Edits::default(), Vec::new());
        lines.write(received, sent, &mut edits);
        write(b"[]", &edits, &Edits::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_second_line_is_written_where_the_message_changes_sockets() {
        let mut lines = lines();
        let one = side(1, 5060, Transport::Udp);
        assert_eq!(written(&lines, &one, &one), "[<192.0.2.1>]");
        let two = side(2, 5080, Transport::Tcp);
        assert_eq!(
            written(&lines, &one, &two),
            "[<192.0.2.2:5080;transport=tcp;r2=on><192.0.2.1;r2=on>]"
        );
        assert!(lines.add_parameter(b";a=b"));
        assert_eq!(written(&lines, &one, &one), "[<192.0.2.1;a=b>]");
        assert!(!lines.add_parameter(&[b'x'; OwnLines::MAX_PARAMETERS]));
        lines.remove_record_routes();
        assert_eq!(written(&lines, &one, &two), "[]");
    }

    #[test]
    fn an_advertised_name_stands_for_all_addresses_of_its_socket() {
        let advertised = |last| {
            let mut side = side(last, 5060, Transport::Udp);
            side.sent_by.host = Some("edge.example");
            side
        };
        assert_eq!(
            written(&lines(), &advertised(1), &advertised(2)),
            "[<edge.example>]"
        );
    }

    #[test]
    fn there_are_no_more_lines_than_the_bound() {
        let mut lines = OwnLines::default();
        for _ in 0..OwnLines::MAX_LINES {
            assert!(lines.begin(0, When::Always, false));
        }
        assert!(!lines.begin(0, When::Always, false));
    }
}
