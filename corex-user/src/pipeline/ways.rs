//! By which socket messages leave: what the kernel says of destinations, and the last next hop that
//! was found without asking it.

use std::net::SocketAddr;

use corex_script::{NextHop, SendError, SocketId, Target};
use corex_sip::Transport;

use super::{
    Inbound, Listener, PipelineContext,
    outbox::Lookup,
    pass::{Failure, Pass},
    source::Sources,
};

/// All that a next hop follows from while a configuration holds, where the kernel needn't be asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Where to.
    pub to: &'q SocketAddr,
    /// The transport that is asked for.
    pub transport: Option<Transport>,
    /// The socket that is asked for.
    pub forced: Option<SocketId>,
    /// The socket that the message came in on.
    pub socket: SocketId,
    /// Our address that it was sent to.
    pub local: &'q SocketAddr,
}

/// An answer, and what it follows from.
#[derive(Debug)]
struct Known {
    to: SocketAddr,
    transport: Option<Transport>,
    forced: Option<SocketId>,
    socket: SocketId,
    local: SocketAddr,
    answer: (SocketId, SocketAddr),
}

impl Known {
    #[inline]
    fn answers(&self, question: &Question<'_>) -> bool {
        same(&self.to, question.to)
            && self.transport == question.transport
            && self.forced == question.forced
            && self.socket == question.socket
            && same(&self.local, question.local)
    }
}

/// Whether two addresses are the same: as `==`, with less work for IPv4.
#[inline]
pub fn same(one: &SocketAddr, other: &SocketAddr) -> bool {
    match (one, other) {
        (SocketAddr::V4(one), SocketAddr::V4(other)) => {
            one.ip().to_bits() == other.ip().to_bits() && one.port() == other.port()
        }
        _ => one == other,
    }
}

/// The ways out of one worker.
#[derive(Debug, Default)]
pub struct Ways {
    /// What the kernel says.
    pub sources: Sources,
    /// The last question with the socket and our address that answered it: mostly it is the next one,
    /// too.
    last: Option<Known>,
}

impl Ways {
    /// What `find` says of a question, or what it said when the same one was asked last. `find` is
    /// given what the kernel says; what it learns from there, which may change, isn't remembered.
    #[inline(always)]
    pub fn answer<E>(
        &mut self,
        question: Question<'_>,
        find: impl FnOnce(&mut Sources) -> Result<(SocketId, SocketAddr), E>,
    ) -> Result<(SocketId, SocketAddr), E> {
        match &self.last {
            Some(known) if known.answers(&question) => Ok(known.answer),
            _ => self.ask(question, find),
        }
    }

    /// Not a part of those who ask what was asked before.
    #[inline(never)]
    fn ask<E>(
        &mut self,
        question: Question<'_>,
        find: impl FnOnce(&mut Sources) -> Result<(SocketId, SocketAddr), E>,
    ) -> Result<(SocketId, SocketAddr), E> {
        let asked = self.sources.asked();
        let answer = find(&mut self.sources)?;
        if self.sources.asked() == asked {
            self.last = Some(Known {
                to: *question.to,
                transport: question.transport,
                forced: question.forced,
                socket: question.socket,
                local: *question.local,
                answer,
            });
        }
        Ok(answer)
    }

    /// The socket to send to an address from, and our address there, for a message that came in so.
    #[inline]
    pub(super) fn hop_to(
        &mut self,
        context: &PipelineContext,
        inbound: &Inbound<'_>,
        to: &SocketAddr,
        transport: Option<Transport>,
        forced: Option<SocketId>,
    ) -> Result<(SocketId, SocketAddr), (Failure, SendError)> {
        let question = Question {
            to,
            transport,
            forced,
            socket: inbound.socket,
            local: &inbound.local,
        };
        self.answer(question, |sources| {
            let transport = transport.unwrap_or(Transport::Udp);
            if context.is_own(sources, Target::Addr(*to), transport) {
                return Err((Failure::OwnSocket, SendError::OwnSocket));
            }
            let came_in = (inbound.socket, inbound.local);
            context
                .source(sources, came_in, Some(*to), transport, forced)
                .ok_or((Failure::NoSocket, SendError::NoSocket))
        })
    }

    /// Forgets what belongs to the configuration that was followed.
    pub fn follow(&mut self) {
        self.last = None;
    }
}

impl Pass<'_, '_> {
    /// The next hop to a name, as far as it is known.
    pub(super) fn hop_by_name<'t>(
        &mut self,
        to: Target<'t>,
        secure: bool,
        transport: Option<Transport>,
        forced: Option<SocketId>,
    ) -> Result<NextHop<'t>, (Failure, SendError)> {
        let context = self.context;
        let own = (Failure::OwnSocket, SendError::OwnSocket);
        let sources = &mut self.ways.sources;
        if context.is_own(sources, to, transport.unwrap_or(Transport::Udp)) {
            return Err(own);
        }
        let Inbound { socket, local, .. } = *self.inbound;
        let sender = self.inbound.source.ip();
        let (to, transport) = match context.outbox.lookup(to, transport, sender) {
            // TLS keeps the name: the certificate must be for it.
            Lookup::Known(_, Transport::Tls) => (to, Transport::Tls),
            Lookup::Known(address, transport) => {
                let to = Target::Addr(address);
                if context.is_own(sources, to, transport) {
                    return Err(own);
                }
                (to, transport)
            }
            Lookup::Unknown if secure => (to, Transport::Tls),
            Lookup::Unknown => (to, transport.unwrap_or(Transport::Udp)),
            Lookup::Failed => return Err((Failure::Unresolved, SendError::Unresolved)),
        };
        let remote = match to {
            Target::Addr(address) => Some(address),
            Target::Name { .. } => None,
        };
        let (socket, local) = context
            .source(sources, (socket, local), remote, transport, forced)
            .ok_or((Failure::NoSocket, SendError::NoSocket))?;
        Ok(NextHop {
            to,
            transport,
            socket,
            local,
        })
    }
}

impl PipelineContext {
    /// The socket to send from, and our address: the one asked for; else, as Kamailio, the
    /// one that the message came in on, or with `mhomed` the one that the kernel would
    /// choose for the destination; else the first of the family and the transport. A stream
    /// needs none: then the address is the one that the message came in on.
    pub(super) fn source(
        &self,
        sources: &mut Sources,
        (own, local): (SocketId, SocketAddr),
        to: Option<SocketAddr>,
        transport: Transport,
        forced: Option<SocketId>,
    ) -> Option<(SocketId, SocketAddr)> {
        // A connection is opened from any of our addresses; what stands for us in Via is a
        // listener of the transport, or else of any.
        let usable = |listener: &Listener| {
            let right_family = to.is_none_or(|to| listener.address.is_ipv4() == to.is_ipv4());
            right_family && (listener.transport == transport || transport == Transport::Tls)
        };
        let by_id = |id: &SocketId| usable(self.listener(*id));
        if let Some(id) = forced.filter(by_id) {
            return Some((id, self.address_of(sources, id, to)));
        }
        let find = |wanted: &dyn Fn(&Listener) -> bool| {
            let found = self.listeners.iter().position(|l| usable(l) && wanted(l))?;
            u16::try_from(found).ok().map(SocketId)
        };
        if self.config.settings.mhomed
            && self.listeners.len() > 1
            && let Some(to) = to
            && let Some(ip) = sources.of(to.ip())
            && let Some(id) = find(&|l| l.address.ip() == ip)
        {
            return Some((id, self.listener(id).address));
        }
        if by_id(&own) {
            return Some((own, local));
        }
        if let Some(id) = find(&|_| true) {
            return Some((id, self.address_of(sources, id, to)));
        }
        (transport != Transport::Udp).then(|| (own, self.listener(own).address))
    }

    /// Whether what is sent there comes back to us.
    pub(super) fn is_own(
        &self,
        sources: &mut Sources,
        to: Target<'_>,
        transport: Transport,
    ) -> bool {
        let own = &self.own;
        let found = match to {
            Target::Addr(to) => {
                own.at_address(transport, to.ip(), to.port(), |ip| sources.is_local(ip))
            }
            Target::Name { host, port, .. } => {
                own.named(transport, host, port.unwrap_or(transport.default_port()))
            }
        };
        found.is_some()
    }

    /// Our address on a socket; for a wildcard the one that the kernel would choose.
    fn address_of(
        &self,
        sources: &mut Sources,
        id: SocketId,
        to: Option<SocketAddr>,
    ) -> SocketAddr {
        let mut address = self.listener(id).address;
        if address.ip().is_unspecified()
            && let Some(to) = to
            && let Some(ip) = sources.of(to.ip())
        {
            address.set_ip(ip);
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const TO: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);
    const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5060);

    fn question<'q>() -> Question<'q> {
        Question {
            to: &TO,
            transport: None,
            forced: None,
            socket: SocketId(0),
            local: &LOCAL,
        }
    }

    /// How often an answer must be found for these questions, one after the other.
    fn found(questions: &[Question<'_>], asks_kernel: bool) -> usize {
        let mut ways = Ways::default();
        let mut found = 0;
        for question in questions {
            let answer = ways.answer(*question, |sources| {
                found += 1;
                if asks_kernel {
                    sources.is_local(question.to.ip());
                }
                Ok::<_, ()>((question.socket, *question.local))
            });
            assert_eq!(answer, Ok((question.socket, *question.local)));
        }
        found
    }

    #[test]
    fn the_same_question_is_answered_once_and_any_other_one_anew() {
        let one = question();
        assert_eq!(found(&[one, one, one], false), 1);
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let others = [
            Question {
                to: &address("192.0.2.1:5061"),
                ..one
            },
            Question {
                to: &address("192.0.2.2:5060"),
                ..one
            },
            Question {
                to: &address("[::ffff:192.0.2.1]:5060"),
                ..one
            },
            Question {
                transport: Some(Transport::Tcp),
                ..one
            },
            Question {
                forced: Some(SocketId(0)),
                ..one
            },
            Question {
                socket: SocketId(1),
                ..one
            },
            Question {
                local: &address("10.0.0.2:5060"),
                ..one
            },
        ];
        for other in others {
            assert_eq!(found(&[one, other, one], false), 3, "{other:?}");
        }
    }

    #[test]
    fn what_the_kernel_was_asked_for_is_not_remembered_here() {
        let one = question();
        assert_eq!(found(&[one, one], true), 2);
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let mut ways = Ways::default();
        let one = question();
        assert_eq!(ways.answer(one, |_| Err("own")), Err("own"));
        let answer = (one.socket, *one.local);
        assert_eq!(ways.answer(one, |_| Ok::<_, &str>(answer)), Ok(answer));
        ways.follow();
        assert_eq!(ways.answer(one, |_| Err("own")), Err("own"));
    }
}
