//! Where the message comes from, and where it goes.

use std::net::{IpAddr, SocketAddr};

use super::{Names, PvDef};
use crate::Direction;
use crate::run::exec::{Exec, Halt};
use crate::run::value::{StrRef, Value};
use corex_sip::Transport;

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::plain("si", |exec| exec.ip_text(exec.env.src.ip()), "IP address that the message came from; in the outgoing hook our own."),
    PvDef::plain("sp", |exec| Ok(Value::Int(exec.env.src.port().into())), "Port that the message came from; in the outgoing hook our own."),
    PvDef::plain("Ri", |exec| exec.ip_text(exec.env.dst.ip()), "IP address that the message was received on; in the outgoing hook the one that it goes to."),
    PvDef::plain("Rp", |exec| Ok(Value::Int(exec.env.dst.port().into())), "Port that the message was received on; in the outgoing hook the one that it goes to."),
    PvDef::plain("proto", |exec| exec.text(exec.env.transport.as_str().as_bytes()), "Transport of the message in lower case."),
    PvDef::plain("pr", |exec| exec.text(exec.env.transport.as_str().as_bytes()), "The same as $proto."),
    PvDef::plain("siz", |exec| { let ip = exec.env.src.ip(); exec.host_text(ip) }, "The same as $si, IPv6 in brackets."),
    PvDef::plain("sas", |exec| { let at = socket_text(exec.env.transport, exec.env.src); exec.text(at.as_bytes()) }, "Where the message came from, as udp:address:port."),
    PvDef::plain("su", |exec| { let at = format!("sip:{}", without_zone(exec.env.src)); exec.text(at.as_bytes()) }, "Where the message came from, as a SIP URI."),
    PvDef::plain("sut", |exec| { let at = format!("sip:{};transport={}", without_zone(exec.env.src), exec.env.transport); exec.text(at.as_bytes()) }, "Where the message came from, as a SIP URI with the transport."),
    PvDef::plain("Ru", |exec| { let at = socket_text(exec.env.transport, exec.env.dst); exec.text(at.as_bytes()) }, "Socket that the message was received on, as udp:address:port."),
    PvDef::plain("Rut", |exec| { let at = format!("sip:{};transport={}", without_zone(exec.env.dst), exec.env.transport); exec.text(at.as_bytes()) }, "Where the message was received, as a SIP URI with the transport."),
    PvDef::plain("Rn", |exec| Ok(received_name(exec)), "Name of the listen line of the socket that the message was received on."),
    PvDef::plain("af", |exec| exec.text(family(exec.env.src)), "Address family of the message: INET or INET6."),
    PvDef::plain("conid", |exec| Ok(exec.env.connection.map_or(Value::Null, |id| Value::Int(id.0 as i64))), "Number of the connection that the message came on; $null for a datagram."),
    PvDef::named("rcv", RECEIVED, received, "$rcv(field): the message as it was received: its buf, len, proto, srcip, srcport, rcvip, rcvport, af."),
    PvDef::named("sndto", SENT, sent_to, "$sndto(field): in the outgoing hook, where the message goes: ip, port, proto, af, buf, len; elsewhere $null."),
    PvDef::named("snd", SENT, sent_from, "$snd(field): the same of the socket that it leaves by."),
    PvDef::plain("fs", |exec| Ok(forced_socket(exec)), "Socket to send from, as \"udp:address:port\" or by the name of its listen line; $null at first.").written(|exec, value| exec.force_socket(value)).sip(),
];

const RECEIVED: Names = Names::Words(&[
    "buf", "len", "proto", "srcip", "srcport", "rcvip", "rcvport", "af", "sproto",
]);

const SENT: Names = Names::Words(&["ip", "port", "proto", "af", "buf", "len"]);

fn sent_to(exec: &mut Exec<'_>, field: StrRef, _: i64) -> Result<Value, Halt> {
    sent(exec, field, exec.env.dst)
}

fn sent_from(exec: &mut Exec<'_>, field: StrRef, _: i64) -> Result<Value, Halt> {
    sent(exec, field, exec.env.src)
}

fn sent(exec: &mut Exec<'_>, field: StrRef, end: SocketAddr) -> Result<Value, Halt> {
    if exec.direction != Some(Direction::Outgoing) {
        return Ok(Value::Null);
    }
    Ok(match exec.bytes(field).to_ascii_lowercase().as_slice() {
        b"ip" => exec.ip_text(end.ip())?,
        b"port" => Value::Int(end.port().into()),
        b"proto" => exec.text(exec.env.transport.as_str().as_bytes())?,
        b"af" => exec.text(family(end))?,
        b"buf" => Value::Str(exec.whole_message()),
        _ => Value::Int(exec.message.len() as i64),
    })
}

const fn family(address: SocketAddr) -> &'static [u8] {
    match address {
        SocketAddr::V4(_) => b"INET",
        SocketAddr::V6(_) => b"INET6",
    }
}

fn socket_text(transport: Transport, address: SocketAddr) -> String {
    format!("{transport}:{}", without_zone(address))
}

/// An address as others may see it: a zone means something on this host only, and has no place in a
/// URI (RFC 4007 §11.2, RFC 3986).
fn without_zone(mut address: SocketAddr) -> SocketAddr {
    if let SocketAddr::V6(address) = &mut address {
        address.set_scope_id(0);
    }
    address
}

fn received_name(exec: &Exec<'_>) -> Value {
    exec.program
        .sockets
        .get(usize::from(exec.env.socket.0))
        .and_then(|socket| socket.name)
        .map_or(Value::Null, Value::Str)
}

fn received(exec: &mut Exec<'_>, field: StrRef, _: i64) -> Result<Value, Halt> {
    let field = exec.bytes(field).to_ascii_lowercase();
    let env = exec.env;
    Ok(match field.as_slice() {
        b"buf" => Value::Str(exec.whole_message()),
        b"len" => Value::Int(exec.message.len() as i64),
        b"proto" | b"sproto" => exec.text(env.transport.as_str().as_bytes())?,
        b"srcip" => exec.ip_text(env.src.ip())?,
        b"srcport" => Value::Int(env.src.port().into()),
        b"rcvip" => exec.ip_text(env.dst.ip())?,
        b"rcvport" => Value::Int(env.dst.port().into()),
        b"af" => exec.text(family(env.src))?,
        _ => Value::Null,
    })
}

fn forced_socket(exec: &Exec<'_>) -> Value {
    exec.changes
        .socket
        .and_then(|id| exec.program.sockets.get(usize::from(id.0)))
        .map_or(Value::Null, |socket| Value::Str(socket.text))
}

impl Exec<'_> {
    /// An IP address as it stands in a URI: IPv6 in brackets.
    fn host_text(&mut self, ip: IpAddr) -> Result<Value, Halt> {
        match ip {
            IpAddr::V4(ip) => self.display(ip),
            IpAddr::V6(ip) => self.display(format_args!("[{ip}]")),
        }
    }

    /// Chooses the listen socket to send from, by its text or its name.
    pub fn force_socket(&mut self, value: Value) -> Result<(), Halt> {
        if value == Value::Null {
            self.changes.socket = None;
            return Ok(());
        }
        let wanted = self.rt.store.string(value)?;
        let bytes = self.bytes(wanted);
        match self.program.socket(bytes) {
            Some(socket) => self.changes.socket = Some(socket),
            None => {
                let shown = bytes.escape_ascii().to_string();
                self.complain(format_args!(
                    "$fs: no listen line with an address is `{shown}`"
                ));
            }
        }
        Ok(())
    }
}
