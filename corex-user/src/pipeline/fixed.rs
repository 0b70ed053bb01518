//! Messages of which the configuration alone says what becomes of them. Those that the kernel sends
//! on or drops itself where `offload` is set ([`corex_script::offload`]) come here without it, and
//! where it is steered: for them no route is run.

use std::net::IpAddr;

use corex_common::road::{KINDS, METHODS, OTHER, REPLY};
use corex_script::{
    Config, Host as _, NetworkHook, NextHop, Outgoing, Purpose, RouteEnd, SocketId, Target,
    offload::{self, Fate, ListenerPlan, Outcome},
};
use corex_sip::{SipView, StartLine, Transport};

use super::{Egress, Inbound, Listener, Outbound, Pipeline, pass::Pass};

/// Classes of sources that are told apart at most: they are looked through one by one.
const MOST_CLASSES: usize = 8;
/// Methods beyond this are none of those that the plan is about.
const LONGEST_METHOD: usize = 15;

/// What becomes of messages from one class of sources, by their kind.
#[derive(Clone, Debug)]
struct Class {
    network: (IpAddr, u8),
    outcomes: [Option<Outcome>; KINDS],
}

/// What becomes of messages, by listen socket.
#[derive(Clone, Debug, Default)]
pub struct Fixed(Vec<Vec<Class>>);

/// What becomes of the messages of each listener, as far as the configuration says.
pub fn plans(config: &Config, listeners: &[Listener]) -> Vec<ListenerPlan> {
    let listeners: Vec<_> = listeners
        .iter()
        .map(|listener| offload::Listener {
            name: listener.to_string(),
            transport: listener.transport,
            address: Some(listener.address),
        })
        .collect();
    config.offload.plan(&config.settings, &listeners)
}

impl Fixed {
    /// What a configuration says.
    pub fn new(config: &Config, listeners: &[Listener]) -> Self {
        // What keeps messages with a hook from the kernel keeps none from here: hook and codecs are
        // the pipeline's, and only the route isn't run.
        let of_class = |class: &offload::SourceClass| Class {
            network: class.network,
            outcomes: std::array::from_fn(|kind| match class.fates.get(kind) {
                Some(Ok(Fate::One(outcome))) => Some(*outcome),
                _ => None,
            }),
        };
        let of_listener = |plan: &ListenerPlan| {
            let all = plan.classes.iter();
            let mut classes: Vec<_> = all.take(MOST_CLASSES).map(of_class).collect();
            let has_any = classes
                .iter()
                .any(|class| class.outcomes.iter().any(Option::is_some));
            if plan.classes.len() > MOST_CLASSES || plan.obstacle.is_some() || !has_any {
                return Vec::new();
            }
            // The smallest network that a source is in counts.
            classes.sort_by_key(|class| std::cmp::Reverse(class.network.1));
            classes
        };
        Self(plans(config, listeners).iter().map(of_listener).collect())
    }

    /// Whether it says anything of what comes by a socket.
    #[inline]
    fn knows(&self, socket: SocketId) -> bool {
        self.0
            .get(usize::from(socket.0))
            .is_some_and(|classes| !classes.is_empty())
    }

    /// What becomes of a message that came from there; `None`: its route says.
    #[inline]
    pub fn outcome(
        &self,
        socket: SocketId,
        source: IpAddr,
        message: &StartLine<'_>,
    ) -> Option<&Outcome> {
        let classes = self.0.get(usize::from(socket.0))?;
        let class = match &classes[..] {
            [] => return None,
            [all] => all,
            several => several.iter().find(|class| class.has(source))?,
        };
        class.outcomes.get(kind_of(message)?)?.as_ref()
    }
}

impl Pipeline {
    /// Does what the configuration alone says of a message, as its route would, where nobody else has
    /// a look at it. False: it doesn't say it, or it can't be done; then nothing is.
    pub(super) fn follows_at_once(
        &mut self,
        inbound: &Inbound<'_>,
        egress: &mut dyn Egress,
    ) -> bool {
        let context = &self.context;
        let is_seen = context.config.settings.corex.intercepts()
            || context.tap.is_open()
            || context.exporter.is_on();
        if is_seen || !context.fixed.knows(inbound.socket) {
            return false;
        }
        let Ok(start_line) = StartLine::parse(inbound.payload) else {
            return false;
        };
        let source = inbound.source.ip();
        let counters = &mut self.counters;
        *match context.fixed.outcome(inbound.socket, source, &start_line) {
            None => return false,
            Some(Outcome::Drop) => &mut counters.drop_script,
            Some(Outcome::Unrouted) => match start_line {
                StartLine::Request { .. } => &mut counters.drop_request_unrouted,
                StartLine::Reply { .. } => &mut counters.drop_reply_unrouted,
            },
            Some(Outcome::Send(to)) => {
                let udp = Some(Transport::Udp);
                let hop = self.ways.hop_to(context, inbound, to, udp, None);
                let (Some(ttl), Ok((socket, local))) = (inbound.ttl_left(), hop) else {
                    return false;
                };
                let out = Outbound {
                    payload: inbound.payload,
                    socket,
                    local,
                    to: *to,
                    ttl,
                };
                if egress.transmit(out, counters).is_err() {
                    return false;
                }
                counters.bytes_out += out.payload.len() as u64;
                self.peers.sent(Some(to.ip()), out.payload.len());
                if let StartLine::Reply { .. } = start_line {
                    self.learn_of_allowed(inbound, to.ip());
                }
                &mut self.counters.sent
            }
        } += 1;
        true
    }
}

impl Pass<'_, '_> {
    /// Does what the configuration alone says of the message that the hook has left, as its route
    /// would. `None`: it doesn't say it, or it can't be done; then nothing is, and the route is to find
    /// out.
    pub fn follow(
        &mut self,
        view: &SipView<'_>,
        message: &[u8],
        hook: &mut dyn NetworkHook,
    ) -> Option<RouteEnd> {
        let (context, inbound) = (self.context, self.inbound);
        let corex = &context.config.settings.corex;
        let copies = context.config.program.network_copies;
        if !corex.intercepts()
            || view.refused().is_some()
            || (corex.intercept_send && !copies)
            || self.native.encodes()
            || self.is_watched()
        {
            // What these do they would do twice where the route has to send again.
            return None;
        }
        let source = inbound.source.ip();
        let to = match context
            .fixed
            .outcome(inbound.socket, source, &view.start_line())?
        {
            Outcome::Send(to) => *to,
            Outcome::Drop => return Some(RouteEnd::Drop),
            Outcome::Unrouted => return Some(RouteEnd::Finished),
        };
        let transport = Transport::Udp;
        let hop = self
            .ways
            .hop_to(context, inbound, &to, Some(transport), None);
        let (socket, local) = hop.ok()?;
        let out = Outgoing {
            payload: message,
            purpose: Purpose::Message,
            hop: NextHop {
                to: Target::Addr(to),
                transport,
                socket,
                local,
            },
            connection: None,
            is_reply: false,
            is_hop_counted: false,
            flags: 0,
        };
        let before = self.hook_counts();
        if self.send(hook, out).is_err() {
            self.failure = None;
            self.set_hook_counts(before);
            return None;
        }
        Some(RouteEnd::Finished)
    }

    /// What a hook that copies the message counts on its way out.
    fn hook_counts(&self) -> [u64; 4] {
        let counters = &self.counters;
        [
            counters.hook_out,
            counters.hook_out_before,
            counters.hook_out_after,
            counters.hook_skipped,
        ]
    }

    fn set_hook_counts(&mut self, counts: [u64; 4]) {
        let counters = &mut self.counters;
        [
            counters.hook_out,
            counters.hook_out_before,
            counters.hook_out_after,
            counters.hook_skipped,
        ] = counts;
    }
}

impl Class {
    fn has(&self, source: IpAddr) -> bool {
        let (network, len) = self.network;
        let differ = match (network, source.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(source)) => {
                (network.to_bits() ^ source.to_bits()).leading_zeros()
            }
            (IpAddr::V6(network), IpAddr::V6(source)) => {
                (network.to_bits() ^ source.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        differ >= len.into()
    }
}

/// The kind of a message; `None` for a method that isn't written as methods are.
#[inline]
fn kind_of(message: &StartLine<'_>) -> Option<usize> {
    let StartLine::Request { method, .. } = message else {
        return Some(REPLY);
    };
    let known = METHODS.iter().position(|with_space| {
        with_space.len() == method.len() + 1 && with_space.starts_with(method)
    });
    match known {
        Some(at) => Some(REPLY + 1 + at),
        None => {
            let is_other =
                method.len() <= LONGEST_METHOD && method.iter().all(u8::is_ascii_uppercase);
            is_other.then_some(OTHER)
        }
    }
}
