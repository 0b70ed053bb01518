//! One device: what it makes of messages and packets, and how it enrols.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corex_codec::enrol::{Answer, Enrolment, EnrolmentKey, UnknownNotice};
use corex_codec::{Chain, DeviceId, DeviceKey, Devices, Fault};
use zeroize::Zeroizing;

use crate::keys::OwnKeys;
use crate::options::{Loaded, Options, OptionsError, WithDevice};

/// The longest packet, and the longest message.
const MAX: usize = 65_535;
/// The most messages that wait for the server's answer to an enrolment. Beyond that the oldest goes:
/// its sender repeats it.
const MAX_WAITING: usize = 32;
/// The most packets and messages that wait to be taken out.
const MAX_OUTPUTS: usize = 256;
/// A message goes along with an enrolment if both together are no longer than this: so they pass
/// networks in one piece.
const MAX_FIRST: usize = 1200;
/// How long an answer may take before the enrolment is repeated: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// At most this long.
const LONGEST_WAIT: Duration = Duration::from_secs(32);
/// So often an enrolment is sent before the client waits for the next message.
const MAX_TRIES: u32 = 10;
/// How many of these may be answered late.
const MAX_ANSWERABLE: usize = 4;
/// Between two enrolments that notices ask for.
const NOTICE_PAUSE: Duration = Duration::from_secs(1);
/// How long the key is taken to be valid before the server says so: longer than any repetition.
const UNANSWERED: u64 = 3600;

/// Something to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// A packet, to the server.
    ToServer(Vec<u8>),
    /// A plain message, to the app.
    ToApp(Vec<u8>),
}

/// What a client did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Messages from the app that went to the server.
    pub sent: u64,
    /// Messages from the server that went to the app.
    pub received: u64,
    /// Enrolments that were sent.
    pub enrolments: u64,
    /// Enrolments that the server accepted.
    pub accepted: u64,
    /// Those that it refused because the UUID is taken.
    pub taken: u64,
    /// Notices that it knows no key.
    pub unknown: u64,
    /// Packets from the server that couldn't be decoded.
    pub refused: u64,
    /// Messages from the app that were dropped: too long, or too many waited.
    pub dropped: u64,
}

/// A device. Times are since 1970, of one clock.
pub struct Client {
    chain: Chain,
    server: SocketAddr,
    outputs: VecDeque<Output>,
    counters: Counters,
    scratch: Vec<u8>,
    device: Option<Device>,
}

/// What a device with a key of its own has beside its chain.
struct Device {
    keys: Arc<OwnKeys>,
    server_key: Arc<EnrolmentKey>,
    prefers_aes: bool,
    id: DeviceId,
    /// The UUID was given: it stays.
    is_fixed: bool,
    generation: u8,
    /// An enrolment that isn't answered yet.
    pending: Option<Pending>,
    /// When to bring the next key.
    renew_at: Option<Duration>,
    /// When an enrolment was sent last.
    last: Option<Duration>,
    /// Messages that wait for the answer.
    waiting: VecDeque<Vec<u8>>,
}

struct Pending {
    secret: Zeroizing<[u8; 32]>,
    /// Those of them that may still be answered.
    sent: VecDeque<Enrolment>,
    tries: u32,
    next_at: Duration,
}

impl Client {
    /// A device with these options.
    ///
    /// # Errors
    /// What is wrong with them, and what to do.
    pub fn new(options: &Options) -> Result<Client, OptionsError> {
        Client::of(&options.load()?)
    }

    /// One of several with the same options.
    pub(crate) fn of(loaded: &Loaded) -> Result<Client, OptionsError> {
        let keys = Arc::new(OwnKeys::default());
        let materials = WithDevice {
            named: &loaded.materials,
            devices: Arc::clone(&keys) as Arc<dyn Devices>,
        };
        let chain =
            Chain::new(&loaded.spec, &materials).map_err(|mistake| loaded.of_chain(&mistake))?;
        let device = match &loaded.server_key {
            None => None,
            Some(server_key) => {
                let fixed = loaded.options.device;
                let drawn = fixed.map_or_else(DeviceId::random, Ok);
                Some(Device {
                    keys,
                    server_key: Arc::clone(server_key),
                    prefers_aes: loaded.options.prefers_aes,
                    id: drawn.map_err(|_| OptionsError::NoRandomness)?,
                    is_fixed: fixed.is_some(),
                    generation: 0,
                    pending: None,
                    renew_at: None,
                    last: None,
                    waiting: VecDeque::new(),
                })
            }
        };
        Ok(Client {
            chain,
            server: loaded.options.server,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            scratch: Vec::new(),
            device,
        })
    }

    /// Its UUID, where it has a key of its own.
    pub fn device(&self) -> Option<DeviceId> {
        self.device.as_ref().map(|device| device.id)
    }

    /// What it did.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Something to send, if there is any.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes a plain message from the app.
    pub fn send(&mut self, now: Duration, message: &[u8]) {
        self.tick(now);
        let Some(device) = &mut self.device else {
            self.seal(message);
            return;
        };
        if device.can_send(now) {
            self.seal(message);
            return;
        }
        if device.waiting.len() >= MAX_WAITING {
            device.waiting.pop_front();
            self.counters.dropped += 1;
        }
        device.waiting.push_back(message.to_vec());
        let is_idle = device
            .pending
            .as_ref()
            .is_none_or(|pending| pending.tries >= MAX_TRIES);
        if is_idle {
            self.enrol(now, false);
        }
    }

    /// Takes a packet from the server.
    pub fn receive(&mut self, now: Duration, packet: &[u8]) {
        self.tick(now);
        self.scratch.clear();
        let peer = Some(self.server);
        let decoded = self
            .chain
            .decode_from(peer, packet, &mut self.scratch, MAX)
            .map_err(|error| error.fault);
        match decoded {
            Ok(()) => {
                self.counters.received += 1;
                let message = self.scratch.clone();
                self.put(Output::ToApp(message));
            }
            Err(Fault::Enrolment) => {
                let control = self.chain.stopped_at(packet).to_vec();
                self.take_control(now, &control);
            }
            Err(_) => self.counters.refused += 1,
        }
    }

    /// Does what is due: repeats an enrolment that wasn't answered, and brings the next key before
    /// the last one ends.
    pub fn tick(&mut self, now: Duration) {
        let Some(device) = &mut self.device else {
            return;
        };
        device.keys.set_now(now.as_secs());
        device.forget_expired(now.as_secs());
        match &device.pending {
            Some(pending) if now >= pending.next_at && pending.tries < MAX_TRIES => {
                self.send_enrolment(now);
            }
            Some(_) => {}
            None if device.renew_at.is_some_and(|at| now >= at) => self.enrol(now, true),
            None => {}
        }
    }

    /// When [`Self::tick`] has something to do; `None`: not before something arrives.
    pub fn next_tick(&self) -> Option<Duration> {
        let device = self.device.as_ref()?;
        match &device.pending {
            Some(pending) if pending.tries < MAX_TRIES => Some(pending.next_at),
            Some(_) => None,
            None => device.renew_at,
        }
    }

    /// An answer to an enrolment, or a notice.
    fn take_control(&mut self, now: Duration, packet: &[u8]) {
        let Some(device) = &mut self.device else {
            self.counters.refused += 1;
            return;
        };
        if let Some(notice) = UnknownNotice::parse(packet) {
            let is_ours = device
                .keys
                .ring()
                .current
                .as_ref()
                .is_some_and(|key| notice.is_about(key));
            if !is_ours {
                self.counters.refused += 1;
                return;
            }
            self.counters.unknown += 1;
            if device.last.is_some_and(|last| now < last + NOTICE_PAUSE) {
                return;
            }
            // The server can't compare a proof with a key that it hasn't.
            device.forget_current();
            self.enrol(now, false);
            return;
        }
        let Some(pending) = &device.pending else {
            self.counters.refused += 1;
            return;
        };
        let mut sent = pending.sent.iter();
        match sent.find_map(|enrolment| enrolment.read_answer(packet).ok()) {
            None => self.counters.refused += 1,
            Some(Answer::Accepted { seconds }) => {
                self.counters.accepted += 1;
                device.accept(now, seconds);
                let waiting = std::mem::take(&mut device.waiting);
                for message in waiting {
                    self.seal(&message);
                }
            }
            Some(Answer::Taken) => {
                self.counters.taken += 1;
                if device.is_fixed {
                    // The other key ends some time.
                    return;
                }
                if let Ok(id) = DeviceId::random() {
                    device.id = id;
                    device.forget_current();
                    self.enrol(now, false);
                }
            }
        }
    }

    /// Brings a new key. `is_proven`: with a proof by the last one, which goes on until the answer.
    fn enrol(&mut self, now: Duration, is_proven: bool) {
        let Some(device) = &mut self.device else {
            return;
        };
        // Without random numbers there is nothing to be done but to try again later.
        if device.begin(now, is_proven).is_ok() {
            self.send_enrolment(now);
        }
    }

    fn send_enrolment(&mut self, now: Duration) {
        let Some(device) = &mut self.device else {
            return;
        };
        let Some(mut packet) = device.repeat(now) else {
            return;
        };
        self.counters.enrolments += 1;
        // The oldest message that waits goes along.
        let peer = Some(self.server);
        self.scratch.clear();
        let along = device.waiting.front().is_some_and(|message| {
            let sealed = self
                .chain
                .encode_rest(peer, message, &mut self.scratch, MAX);
            sealed.is_ok() && packet.len() + self.scratch.len() <= MAX_FIRST
        });
        if along && !device.can_send(now) {
            packet.extend_from_slice(&self.scratch);
            device.waiting.pop_front();
            self.counters.sent += 1;
        }
        let mut out = Vec::new();
        match self.chain.encode_control(&packet, &mut out, MAX) {
            Ok(()) => self.put(Output::ToServer(out)),
            Err(_) => self.counters.dropped += 1,
        }
    }

    fn seal(&mut self, message: &[u8]) {
        let mut out = Vec::new();
        let peer = Some(self.server);
        match self.chain.encode_for(peer, message, &mut out, MAX) {
            Ok(()) => {
                self.counters.sent += 1;
                self.put(Output::ToServer(out));
            }
            Err(_) => self.counters.dropped += 1,
        }
    }

    fn put(&mut self, output: Output) {
        if self.outputs.len() >= MAX_OUTPUTS {
            self.outputs.pop_front();
            self.counters.dropped += 1;
        }
        self.outputs.push_back(output);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?}, {}, …)", self.chain, self.server)
    }
}

impl Device {
    /// Whether the server has said that it has a key.
    fn can_send(&self, now: Duration) -> bool {
        let ring = self.keys.ring();
        let key = ring.current.as_ref();
        key.is_some_and(|key| !key.is_expired(now.as_secs()))
    }

    fn forget_expired(&mut self, now: u64) {
        let mut ring = self.keys.ring();
        ring.previous.take_if(|key| key.is_expired(now));
        ring.current.take_if(|key| key.is_expired(now));
    }

    /// The server doesn't know it: what comes may still be sealed with it.
    fn forget_current(&mut self) {
        let mut ring = self.keys.ring();
        if let Some(key) = ring.current.take() {
            ring.previous = Some(key);
        }
        drop(ring);
        self.pending = None;
        self.renew_at = None;
    }

    /// Draws a key, unless one waits for an answer.
    fn begin(&mut self, now: Duration, is_proven: bool) -> Result<(), Fault> {
        let mut pending = match self.pending.take() {
            Some(pending) => pending,
            None => {
                let mut secret = Zeroizing::new([0; 32]);
                corex_codec::fill_random(&mut secret[..])?;
                self.generation = self.generation.wrapping_add(1);
                Pending {
                    secret,
                    sent: VecDeque::new(),
                    tries: 0,
                    next_at: now,
                }
            }
        };
        pending.tries = 0;
        pending.next_at = now;
        let until = now.as_secs().saturating_add(UNANSWERED);
        let key = DeviceKey::new(self.id, self.generation, &pending.secret, until);
        let mut ring = self.keys.ring();
        ring.next = Some(Arc::new(key));
        if !is_proven {
            ring.current = None;
        }
        drop(ring);
        self.pending = Some(pending);
        Ok(())
    }

    /// The enrolment's next packet.
    fn repeat(&mut self, now: Duration) -> Option<Vec<u8>> {
        let pending = self.pending.as_mut()?;
        let ring = self.keys.ring();
        let current = ring.current.clone();
        drop(ring);
        let key = (self.id, self.generation, &*pending.secret);
        let made = Enrolment::new(
            &self.server_key,
            key,
            current.as_deref(),
            self.prefers_aes,
            now.as_secs(),
        );
        let wait = FIRST_WAIT * 2u32.saturating_pow(pending.tries);
        pending.next_at = now + wait.min(LONGEST_WAIT);
        pending.tries += 1;
        self.last = Some(now);
        let made = made.ok()?;
        let packet = made.packet().to_vec();
        if pending.sent.len() >= MAX_ANSWERABLE {
            pending.sent.pop_front();
        }
        pending.sent.push_back(made);
        Some(packet)
    }

    /// The server has the key, for so many seconds.
    fn accept(&mut self, now: Duration, seconds: u32) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let until = now.as_secs().saturating_add(u64::from(seconds));
        let key = DeviceKey::new(self.id, self.generation, &pending.secret, until);
        let mut ring = self.keys.ring();
        ring.next = None;
        if let Some(last) = ring.current.replace(Arc::new(key)) {
            ring.previous = Some(last);
        }
        drop(ring);
        // At least a second: a server that gives less is not asked all the time.
        let after = (Duration::from_secs(u64::from(seconds)) * 3 / 4).max(NOTICE_PAUSE);
        self.renew_at = Some(now + after);
    }
}
