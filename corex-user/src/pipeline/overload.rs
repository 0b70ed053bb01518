//! What is shed when the worker can't keep up: the messages that matter least, before anything is
//! spent on them.
//!
//! The XDP program does the same with what is certainly to go (`corex-ebpf/src/overload.rs`); here it
//! is what came before it was told, by other roads, or needs a closer look.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use corex_common::overload::{CALM, Pressure, SHED_NEW, SHED_UNKNOWN};
use corex_script::{limiter::Limiter, settings};
use corex_sip::{
    SipView,
    compose::{Fingerprint, Reply, reply_address, to_tag, write_reply},
};

use super::{Egress, Inbound, Pipeline, subject_of};
use crate::kernel::overload::{OverloadMaps, now};

/// How long ACKs to our 503 may come (RFC 3261 §17.1.1.2, timer D).
const ACK_TIME: Duration = Duration::from_secs(32);

/// What becomes of a message under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// It goes on.
    No,
    /// It goes silently.
    Silently,
    /// It goes, and its sender gets the reply that [`Overload::reply`] has, at this address.
    Replied(SocketAddr),
}

/// How hard pressed the worker is, and what it knows for that case.
pub struct Overload {
    /// `None`: nothing is shed.
    maps: Option<OverloadMaps>,
    worker: u32,
    level: u32,
    /// How full the fullest queue was at the last look, in percent.
    fill: u32,
    /// Replies that may be sent now.
    tokens: u32,
    refilled: Instant,
    replied: Option<Instant>,
    reply: Vec<u8>,
    begun: Limiter,
}

impl Overload {
    /// Of a worker that sheds nothing, or goes by `maps`.
    pub fn new(maps: Option<OverloadMaps>, worker: u32) -> Self {
        Self {
            maps,
            worker,
            level: CALM,
            fill: 0,
            tokens: 0,
            refilled: Instant::now(),
            replied: None,
            reply: Vec::new(),
            begun: Limiter::default(),
        }
    }

    /// How full the fullest queue was at the last look, in percent.
    pub fn fill(&self) -> u32 {
        self.fill
    }

    /// [`CALM`], [`SHED_NEW`] or [`SHED_UNKNOWN`].
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The reply that [`Shed::Replied`] means.
    pub fn reply(&self) -> &[u8] {
        &self.reply
    }

    fn is_known(&self, ip: IpAddr) -> bool {
        let peers = self.maps.as_ref().map(OverloadMaps::peers);
        peers.is_some_and(|peers| peers.is_known(ip, now()))
    }

    /// Replies that were earned meanwhile; those of a second at most are kept.
    fn earn(&mut self, rate: u32) {
        let elapsed = self.refilled.elapsed();
        let earned = elapsed.as_micros().saturating_mul(rate.into()) / 1_000_000;
        if earned > 0 {
            self.refilled += elapsed;
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(rate);
        }
    }

    /// Has earned all that is kept.
    #[cfg(test)]
    pub(super) fn earn_of_a_second(&mut self, rate: u32) {
        self.tokens = rate;
    }

    /// Goes over to a level, and tells the XDP program.
    fn become_pressed(&mut self, level: u32, settings: &settings::Overload) {
        self.level = level;
        let mut pressure = Pressure { level, credit: 0 };
        if level != CALM && settings.replies {
            self.earn(settings.reply_rate);
            pressure.credit = self.tokens;
        }
        if let Some(maps) = &self.maps {
            maps.publish(self.worker, pressure);
        }
    }
}

/// The level at which a worker is whose queues are so full, and that was at another one before.
fn level(before: u32, fill: u32, settings: &settings::Overload) -> u32 {
    if fill >= settings.critical {
        SHED_UNKNOWN
    } else if fill >= settings.high {
        before.max(SHED_NEW)
    } else if fill > settings.low {
        before.min(SHED_NEW)
    } else {
        CALM
    }
}

/// Whether a message belongs to something that is under way: a reply, a request within a dialog, or
/// one that ends a transaction.
fn belongs(view: &SipView<'_>) -> bool {
    match view.method() {
        None | Some(b"ACK" | b"CANCEL") => true,
        Some(_) => view.to().is_some_and(|to| to.tag().is_some()),
    }
}

/// Whether a message is a 2xx to an INVITE or a REGISTER: a dialog, or a registration.
pub(super) fn establishes(view: &SipView<'_>) -> bool {
    matches!(view.status(), Some(200..=299))
        && view
            .cseq()
            .is_some_and(|cseq| matches!(cseq.method, b"INVITE" | b"REGISTER"))
}

impl Pipeline {
    /// Whether anything is shed by priority.
    pub fn sheds_by_priority(&self) -> bool {
        self.overload.maps.is_some() && self.settings().is_on
    }

    fn settings(&self) -> &settings::Overload {
        &self.context.config.settings.corex.overload
    }

    /// How full the fullest queue is, in percent, seen between two batches: the worker may begin to
    /// shed, or end it.
    pub fn look_at_pressure(&mut self, fill: u32) {
        self.overload.fill = fill;
        if !self.sheds_by_priority() {
            if self.overload.level != CALM {
                self.press(CALM);
            }
            return;
        }
        let level = level(self.overload.level, fill, self.settings());
        // While it sheds, replies are earned.
        if level != CALM || self.overload.level != CALM {
            self.press(level);
        }
    }

    /// The same of a single queue, within a batch: it may only get worse.
    pub fn feel_pressure(&mut self, fill: u32) {
        if !self.sheds_by_priority() {
            return;
        }
        let level = level(self.overload.level, fill, self.settings());
        if level > self.overload.level {
            self.overload.fill = self.overload.fill.max(fill);
            self.press(level);
        }
    }

    fn press(&mut self, level: u32) {
        let before = self.overload.level;
        let settings = &self.context.config.settings.corex.overload;
        self.overload.become_pressed(level, settings);
        if before == CALM && level != CALM {
            self.counters.overload_begun += 1;
            if let Some(held_back) = self.overload.begun.allow() {
                tracing::warn!(
                    worker = self.overload.worker,
                    fill = self.overload.fill,
                    shed = self.counters.drop_overload,
                    held_back,
                    "overload: requests outside dialogs from unknown sources are {}",
                    if settings.is_dry {
                        "counted, on dry run"
                    } else {
                        "shed"
                    }
                );
            }
        }
    }

    /// What becomes of a message; nothing is counted.
    pub fn shed(&mut self, inbound: &Inbound<'_>) -> Shed {
        if self.overload.level == CALM
            || self.overload.is_known(inbound.source.ip())
            || self.context.guard.trusts(inbound.source.ip())
            || self.context.guard.allows(&subject_of(inbound))
        {
            return Shed::No;
        }
        let view = SipView::parse(inbound.payload).ok();
        if self.overload.level < SHED_UNKNOWN && view.as_ref().is_some_and(belongs) {
            return Shed::No;
        }
        let request = view.filter(|view| view.method().is_some_and(|method| method != b"ACK"));
        match request {
            Some(request) if self.settings().replies && !self.settings().is_dry => {
                self.refuse(inbound, &request)
            }
            _ => Shed::Silently,
        }
    }

    /// Makes a 503, if one may be sent now.
    fn refuse(&mut self, inbound: &Inbound<'_>, request: &SipView<'_>) -> Shed {
        let settings = &self.context.config.settings;
        let overload = &mut self.overload;
        overload.earn(settings.corex.overload.reply_rate);
        let Some(via) = request.top_via().filter(|_| overload.tokens > 0) else {
            return Shed::Silently;
        };
        overload.tokens -= 1;
        let mut headers = Vec::new();
        // Writing to memory can't fail.
        let _ = write!(
            headers,
            "Retry-After: {}\r\n",
            settings.corex.overload.retry_after
        );
        overload.reply.clear();
        let reply = Reply {
            code: 503,
            reason: b"Service Unavailable",
            headers: &headers,
            server: settings.server.as_bytes(),
            fingerprint: Fingerprint::of(request),
            source: inbound.source,
            force_rport: false,
        };
        write_reply(request, &reply, &mut overload.reply);
        overload.replied = Some(Instant::now());
        let to = reply_address(&via, inbound.source, inbound.transport, false);
        Shed::Replied(to)
    }

    /// Sheds a message if it is to go, and counts that.
    pub(super) fn sheds(&mut self, inbound: &Inbound<'_>, egress: &mut dyn Egress) -> bool {
        if self.overload.replied.is_some() && self.absorbs_ack(inbound.payload) {
            self.counters.consumed += 1;
            return true;
        }
        match self.shed(inbound) {
            Shed::No => return false,
            _ if self.settings().is_dry => {
                self.counters.overload_dry += 1;
                return false;
            }
            Shed::Silently => self.counters.drop_overload += 1,
            Shed::Replied(to) => {
                let reply = std::mem::take(&mut self.overload.reply);
                let back = Inbound {
                    source: to,
                    ..*inbound
                };
                let counted = if self.answer(&back, &reply, egress) {
                    self.counters.overload_answered += 1;
                    &mut self.counters.replied
                } else {
                    &mut self.counters.drop_overload
                };
                *counted += 1;
                self.overload.reply = reply;
            }
        }
        true
    }

    /// Whether it is the ACK to a 503 of ours.
    fn absorbs_ack(&mut self, message: &[u8]) -> bool {
        let is_over = |replied: Instant| replied.elapsed() > ACK_TIME;
        if self.overload.replied.is_none_or(is_over) {
            self.overload.replied = None;
            return false;
        }
        if !message.starts_with(b"ACK ") {
            return false;
        }
        let Ok(view) = SipView::parse(message) else {
            return false;
        };
        let mut ours = Vec::new();
        to_tag(Fingerprint::of(&view), &mut ours);
        view.to().and_then(|to| to.tag()) == Some(&ours[..])
    }

    /// Notes that something was established with these peers.
    pub(super) fn learn(&mut self, peers: impl IntoIterator<Item = IpAddr>) {
        if !self.sheds_by_priority() {
            return;
        }
        let until = now().saturating_add(self.settings().peer_age.as_secs());
        if let Some(maps) = &self.overload.maps {
            for ip in peers {
                maps.peers().learn(ip, until);
                self.counters.peers_learned += 1;
            }
        }
    }

    /// Notes who established something by a reply from a network that the guard allows, which went to
    /// this peer.
    pub(super) fn learn_of_allowed(&mut self, inbound: &Inbound<'_>, to: IpAddr) {
        if self.sheds_by_priority()
            && SipView::parse(inbound.payload).is_ok_and(|view| establishes(&view))
            && self.context.guard.allows(&subject_of(inbound))
        {
            self.learn([inbound.source.ip(), to]);
        }
    }

    /// Notes whom an inline server has established something with, by what it sends: a 2xx to an
    /// INVITE or REGISTER, or an ACK.
    pub fn learn_of_server(&mut self, message: &[u8], to: IpAddr) {
        if !self.sheds_by_priority() {
            return;
        }
        let has_established = message.starts_with(b"ACK ")
            || (message.starts_with(b"SIP/2.0 2")
                && SipView::parse(message).is_ok_and(|view| establishes(&view)));
        if has_established {
            self.learn([to]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_hysteresis() {
        let settings = settings::Overload::default();
        let mut at = CALM;
        let mut levels = Vec::new();
        for fill in [49, 50, 49, 26, 25, 49, 60, 90, 60, 49, 26, 25, 95, 10] {
            at = level(at, fill, &settings);
            levels.push(at);
        }
        assert_eq!(levels, [0, 1, 1, 1, 0, 0, 1, 2, 2, 1, 1, 0, 2, 0]);
    }

    #[test]
    fn what_is_under_way_belongs() {
        let belongs = |start: &str, to: &str| {
            let message = format!("{start}\r\nTo: {to}\r\n\r\n");
            super::belongs(&SipView::parse(message.as_bytes()).unwrap())
        };
        for (start, to) in [
            ("SIP/2.0 180 Ringing", "<sip:b@x>"),
            ("BYE sip:b@x SIP/2.0", "<sip:b@x>;tag=1"),
            ("INVITE sip:b@x SIP/2.0", "<sip:b@x>\r\n ;tag=1"),
            ("ACK sip:b@x SIP/2.0", "<sip:b@x>"),
            ("CANCEL sip:b@x SIP/2.0", "<sip:b@x>"),
        ] {
            assert!(belongs(start, to), "{start} {to}");
        }
        for to in ["<sip:b@x>", "\"tag=1\" <sip:b;tag=1@x>"] {
            assert!(!belongs("INVITE sip:b@x SIP/2.0", to), "{to}");
        }
    }

    #[test]
    fn a_2xx_to_invite_or_register_establishes() {
        let establishes = |status: u16, method: &str| {
            let message = format!("SIP/2.0 {status} x\r\nCSeq: 1 {method}\r\n\r\n");
            super::establishes(&SipView::parse(message.as_bytes()).unwrap())
        };
        assert!(establishes(200, "INVITE") && establishes(202, "REGISTER"));
        assert!(!establishes(180, "INVITE") && !establishes(401, "REGISTER"));
        assert!(!establishes(200, "OPTIONS"));
    }

    #[test]
    fn replies_are_earned_by_time_and_those_of_a_second_kept() {
        let mut overload = Overload::new(None, 0);
        overload.refilled = Instant::now() - Duration::from_secs(3600);
        overload.earn(100);
        assert_eq!(overload.tokens, 100);
    }
}
