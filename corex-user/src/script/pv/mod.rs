//! Pseudo-variables: which there are, and how they are read and written.

mod read;
mod write;

/// What a pseudo-variable stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    Null,
    Dollar,
    Avp,
    Var,
    MessageBuffer,
    MessageLen,
    SourceIp,
    SourcePort,
    LocalIp,
    LocalPort,
    Protocol,
    Method,
    RequestUri,
    RequestUser,
    RequestHost,
    RequestPort,
    DestinationUri,
    FromUri,
    ToUri,
    CallId,
    CSeqNumber,
    UserAgent,
    Status,
    Reason,
    Timestamp,
    Socket,
    Pid,
    ReturnCode,
}

/// What can be done with a pseudo-variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// A pseudo-variable as the checker and the documentation know it.
#[derive(Debug)]
pub(crate) struct PvDef {
    /// Its name without the `$`.
    pub name: &'static str,
    /// What it stands for.
    pub kind: Kind,
    /// Whether it can be written.
    pub access: Access,
    /// Whether it is part of a parsed SIP message, and so `$null` in `event_route[network:msg]`.
    pub is_sip: bool,
    /// What it is, in one sentence.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the documentation is made from it")
    )]
    pub doc: &'static str,
}

const fn def(
    name: &'static str,
    kind: Kind,
    access: Access,
    is_sip: bool,
    doc: &'static str,
) -> PvDef {
    PvDef {
        name,
        kind,
        access,
        is_sip,
        doc,
    }
}

use Access::{Read, ReadWrite};

/// All pseudo-variables.
#[rustfmt::skip]
pub(crate) const ALL: &[PvDef] = &[
    def("null", Kind::Null, Read, false, "No value; assigning it unsets an AVP."),
    def("avp", Kind::Avp, ReadWrite, false, "$avp(name): a value that lives as long as the message is handled. Assigning adds one on top of those of the same name; $(avp(name)[i]) reads the i-th, 0 being the newest and -1 the oldest."),
    def("var", Kind::Var, ReadWrite, false, "$var(name): a value that lives as long as the worker. It starts as the integer 0."),
    def("mb", Kind::MessageBuffer, Read, false, "The message's bytes as received, or in the outgoing hook as about to be sent."),
    def("ml", Kind::MessageLen, Read, false, "Length of $mb in bytes."),
    def("si", Kind::SourceIp, Read, false, "IP address that the message came from; in the outgoing hook our own."),
    def("sp", Kind::SourcePort, Read, false, "Port that the message came from; in the outgoing hook our own."),
    def("Ri", Kind::LocalIp, Read, false, "IP address that the message was received on; in the outgoing hook the one that it goes to."),
    def("Rp", Kind::LocalPort, Read, false, "Port that the message was received on; in the outgoing hook the one that it goes to."),
    def("proto", Kind::Protocol, Read, false, "Transport of the message in lower case."),
    def("rm", Kind::Method, Read, true, "Method of the request; of a reply, the one in CSeq."),
    def("ru", Kind::RequestUri, ReadWrite, true, "Request URI. What is assigned counts for this run of the script; the message stays as it is."),
    def("rU", Kind::RequestUser, ReadWrite, true, "User part of the request URI."),
    def("rd", Kind::RequestHost, ReadWrite, true, "Host of the request URI."),
    def("rp", Kind::RequestPort, ReadWrite, true, "Port of the request URI, the scheme's default where it names none."),
    def("du", Kind::DestinationUri, ReadWrite, true, "URI that send() without a parameter sends to instead of the request URI; $null at first."),
    def("fu", Kind::FromUri, Read, true, "URI in From."),
    def("tu", Kind::ToUri, Read, true, "URI in To."),
    def("ci", Kind::CallId, Read, true, "Call-ID."),
    def("cs", Kind::CSeqNumber, Read, true, "Number in CSeq."),
    def("ua", Kind::UserAgent, Read, true, "User-Agent."),
    def("rs", Kind::Status, Read, true, "Status code of the reply."),
    def("rr", Kind::Reason, Read, true, "Reason phrase of the reply."),
    def("Ts", Kind::Timestamp, Read, false, "Seconds since 1970-01-01 00:00 UTC."),
    def("fs", Kind::Socket, ReadWrite, true, "Socket to send from, as \"udp:address:port\" or by the name of its listen line; $null at first."),
    def("pid", Kind::Pid, Read, false, "Process id."),
    def("rc", Kind::ReturnCode, Read, false, "What the last function or route returned."),
    def("retcode", Kind::ReturnCode, Read, false, "The same as $rc."),
    def("$", Kind::Dollar, Read, false, "$$: a dollar sign."),
];

/// The pseudo-variable of this name.
pub(crate) fn find(name: &str) -> Option<&'static PvDef> {
    ALL.iter().find(|def| def.name == name)
}
