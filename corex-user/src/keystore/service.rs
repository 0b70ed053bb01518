//! The service beside the workers: asks stores for keys, and has messages wait meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use corex_codec::DeviceId;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::held::{Arrival, Held, Outcome, Returned, Wanted};
use super::limits::{PATIENCE, Place, Places, Rates, Room};
use super::policy::{KeyMaterial, Policy};
use super::record::{KeyName, device_name, key_name, peer_name};
use super::sessions::{Known, Session, SessionLine, Sessions};
use super::store::Away;
use super::unix_time;
use crate::telemetry::key_counters::KeyCounters;

/// The name of its threads.
pub const THREAD: &str = "corex-keys";
/// Messages that wait for keys, all together.
pub const WAITING: Room = Room {
    messages: 4096,
    bytes: 8 << 20,
    of_source: 64,
};
/// Enrolments that wait to be verified.
pub const ENROLLING: Room = Room {
    messages: 512,
    bytes: 2 << 20,
    of_source: 8,
};
/// Notes of devices' addresses that may wait to be written.
const MOVES: usize = 1024;
/// Enrolments verified at a time.
const VERIFYING: usize = 1;
/// Threads that verify, and that look host names up.
const BLOCKING_THREADS: usize = 3;
/// How long what still blocks is waited for at the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often sessions whose time is over are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Where messages come back to a worker.
pub struct ReturnBox {
    sender: mpsc::UnboundedSender<Returned>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl ReturnBox {
    /// One, and the worker's end of it; `wake` ends the worker's sleep.
    pub fn new(
        wake: impl Fn() + Send + Sync + 'static,
    ) -> (ReturnBox, mpsc::UnboundedReceiver<Returned>) {
        // Each message has a place, and of places there are only so many.
        let (sender, receiver) = mpsc::unbounded_channel();
        let wake = Box::new(wake);
        (ReturnBox { sender, wake }, receiver)
    }

    fn put(&self, returned: Returned) {
        // A worker that is gone has counted what it waits for.
        if self.sender.send(returned).is_ok() {
            (self.wake)();
        }
    }
}

/// That no more may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too much waits already")]
pub struct NoPlace;

/// The service. Cheap to clone. Reloads give it another [`Policy`]; what it knows stays.
#[derive(Clone)]
pub struct KeyService(Arc<Inner>);

struct Inner {
    policy: ArcSwap<Policy>,
    sessions: Sessions,
    counters: Arc<KeyCounters>,
    returns: Vec<ReturnBox>,
    /// Its threads, once a configuration needs them and until corex ends.
    runtime: Mutex<Option<Runtime>>,
    handle: OnceLock<Handle>,
    waiting: Arc<Places>,
    enrolling: Arc<Places>,
    /// What is being asked for, and who waits for it.
    asked: Mutex<HashMap<Wanted, Vec<Waiter>>>,
    /// Of enrolments.
    rates: Rates,
    /// Of what is said to those whose key isn't known.
    notices: Rates,
    moves: Semaphore,
    verifying: Semaphore,
}

/// A message that waits, and its worker.
pub(super) struct Waiter {
    pub(super) worker: usize,
    pub(super) held: Held,
    pub(super) place: Place,
}

impl KeyService {
    /// One for these workers, in order. It does nothing before [`Self::follow`].
    pub fn new(returns: Vec<ReturnBox>) -> KeyService {
        let counters = Arc::<KeyCounters>::default();
        let policy = Policy::default();
        KeyService(Arc::new(Inner {
            sessions: Sessions::new(policy.material.max_sessions, Arc::clone(&counters)),
            policy: ArcSwap::from_pointee(policy),
            counters,
            returns,
            runtime: Mutex::default(),
            handle: OnceLock::new(),
            waiting: Places::new(WAITING),
            enrolling: Places::new(ENROLLING),
            asked: Mutex::default(),
            rates: Rates::default(),
            notices: Rates::default(),
            moves: Semaphore::new(MOVES),
            verifying: Semaphore::new(VERIFYING),
        }))
    }

    /// What a configuration says, ready to be gone by.
    ///
    /// # Errors
    /// When there are no authorities for TLS.
    pub fn prepare(&self, material: &Arc<KeyMaterial>) -> std::io::Result<Policy> {
        let before = self.policy();
        Policy::new(Arc::clone(material), Some(&before), &self.0.counters)
    }

    /// Goes by this from now on.
    ///
    /// # Errors
    /// When there can be no threads.
    pub fn follow(&self, policy: Policy) -> std::io::Result<()> {
        let inner = &self.0;
        inner.sessions.set_max(policy.material.max_sessions);
        let is_used = policy.material.is_used;
        inner.policy.store(Arc::new(policy));
        if is_used && inner.handle.get().is_none() {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(BLOCKING_THREADS)
                .thread_name(THREAD)
                .enable_all()
                .build()?;
            let service = Arc::downgrade(inner);
            runtime.spawn(async move {
                while let Some(inner) = service.upgrade() {
                    inner.sessions.sweep();
                    drop(inner);
                    sleep(SWEEP).await;
                }
            });
            drop(inner.handle.set(runtime.handle().clone()));
            *self.runtime() = Some(runtime);
        }
        Ok(())
    }

    /// What it goes by.
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    /// What it counts.
    pub fn counters(&self) -> &Arc<KeyCounters> {
        &self.0.counters
    }

    /// What this process knows.
    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// The sessions that this process knows, the busiest first.
    pub fn lines(&self, most: usize) -> Vec<SessionLine> {
        self.0.sessions.lines(most)
    }

    /// How many there are, how many messages wait, and their bytes.
    pub fn gauges(&self) -> KeyGauges {
        let (waiting, waiting_bytes) = self.0.waiting.taken();
        let (enrolling, enrolling_bytes) = self.0.enrolling.taken();
        KeyGauges {
            sessions: self.0.sessions.len(),
            waiting: waiting + enrolling,
            waiting_bytes: waiting_bytes + enrolling_bytes,
            is_away: self.policy().store.as_ref().is_some_and(|it| it.is_away()),
        }
    }

    fn runtime(&self) -> MutexGuard<'_, Option<Runtime>> {
        let runtime = &self.0.runtime;
        runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends its threads, and counts messages to be sent that nobody will send any more: the workers have
    /// ended.
    pub fn stop(&self) {
        let runtime = self.runtime().take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(FAREWELL);
        }
        let left = usize::try_from(self.0.counters.imbalance()).unwrap_or_default();
        self.0.counters.add_many(|c| &c.drop_stopping, left);
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Wanted, Vec<Waiter>>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        self.0.handle.get()
    }

    /// Whether other instances may know what this one doesn't.
    pub(super) fn is_shared(&self) -> bool {
        self.0.policy.load().store.is_some()
    }

    /// Has a message wait for a key. It comes back to the worker.
    ///
    /// # Errors
    /// When too much waits already, of this source or of all; the message is lost then.
    pub fn hold(&self, worker: usize, wanted: Wanted, held: Held) -> Result<(), NoPlace> {
        let handle = self.handle().ok_or(NoPlace)?;
        let place = self.0.waiting.take(held.holder(), held.len());
        let waiter = Waiter {
            worker,
            held,
            place: place.ok_or(NoPlace)?,
        };
        match self.asked().entry(wanted) {
            Entry::Occupied(mut waiters) => waiters.get_mut().push(waiter),
            Entry::Vacant(none) => {
                none.insert(vec![waiter]);
                handle.spawn(self.clone().ask(wanted));
            }
        }
        Ok(())
    }

    /// Whether somebody may be told that no key is known: so often for each source.
    pub fn may_notify(&self, to: IpAddr) -> bool {
        let rate = self.0.policy.load().material.enrol_rate;
        self.0.notices.allow(to, rate, Instant::now())
    }

    /// A place for an enrolment, if its source doesn't send too many.
    pub(super) fn place_to_enrol(
        &self,
        worker: usize,
        arrival: Arrival,
        len: usize,
        now: Instant,
    ) -> Option<Waiter> {
        let rate = self.0.policy.load().material.enrol_rate;
        if !self.0.rates.allow(arrival.holder, rate, now) {
            return None;
        }
        let held = Held::Arrival(arrival);
        let place = self.0.enrolling.take(held.holder(), held.len() + len)?;
        Some(Waiter {
            worker,
            held,
            place,
        })
    }

    /// The leave to open an enrolment.
    pub(super) fn verifying(&self) -> &Semaphore {
        &self.0.verifying
    }

    /// Asks the store for what is wanted, and has all who wait for it go on.
    async fn ask(self, wanted: Wanted) {
        let fetched = timeout(PATIENCE, self.fetch(wanted)).await;
        let outcome = match fetched {
            Ok(Ok(())) => Outcome::Ready,
            Ok(Err(Away)) | Err(_) => Outcome::Away,
        };
        let waiters = self.asked().remove(&wanted).unwrap_or_default();
        for waiter in waiters {
            self.give_back(waiter, outcome.clone());
        }
    }

    pub(super) fn give_back(&self, waiter: Waiter, outcome: Outcome) {
        let Waiter {
            worker,
            held,
            place,
        } = waiter;
        if let Some(returns) = self.0.returns.get(worker) {
            returns.put(Returned {
                held,
                outcome,
                _place: place,
            });
        }
    }

    async fn fetch(&self, wanted: Wanted) -> Result<(), Away> {
        match wanted {
            Wanted::Key(name) => self.fetch_key(&name).await.map(drop),
            Wanted::Peer(peer) => {
                let known = match self.0.sessions.at(peer) {
                    Known::Here(name) => Some(name),
                    Known::Absent | Known::Nothing => self.fetch_peer(peer).await?,
                };
                let session = match known {
                    Some(name) => self.fetch_key(&name).await?,
                    None => None,
                };
                match session {
                    Some(session) => self.0.sessions.learn(&session, peer),
                    None => self.0.sessions.set_nobody_at(peer),
                }
                Ok(())
            }
        }
    }

    pub(super) async fn fetch_key(&self, name: &KeyName) -> Result<Option<Arc<Session>>, Away> {
        let (sessions, counters) = (&self.0.sessions, &self.0.counters);
        if let Known::Here(session) = sessions.find(name) {
            return Ok(Some(session));
        }
        let policy = self.policy();
        let Some(store) = &policy.store else {
            sessions.set_absent(*name);
            return Ok(None);
        };
        let Some(entry) = store.get(&key_name(name)).await? else {
            counters.add(|c| &c.misses);
            sessions.set_absent(*name);
            return Ok(None);
        };
        match policy.records.read_key(name, &entry) {
            Ok(stored) if !stored.key.is_expired(unix_time()) => {
                counters.add(|c| &c.hits);
                Ok(Some(sessions.insert(stored)))
            }
            Ok(_) => {
                counters.add(|c| &c.misses);
                sessions.set_absent(*name);
                Ok(None)
            }
            Err(error) => {
                self.unreadable(&key_name(name), &error);
                sessions.set_absent(*name);
                Ok(None)
            }
        }
    }

    async fn fetch_peer(&self, peer: SocketAddr) -> Result<Option<KeyName>, Away> {
        let counters = &self.0.counters;
        let policy = self.policy();
        let Some(store) = &policy.store else {
            return Ok(None);
        };
        let name = peer_name(peer);
        let Some(entry) = store.get(&name).await? else {
            counters.add(|c| &c.misses);
            return Ok(None);
        };
        match policy.records.read_peer(peer, &entry) {
            Ok(name) => {
                counters.add(|c| &c.hits);
                Ok(Some(name))
            }
            Err(error) => {
                self.unreadable(&name, &error);
                Ok(None)
            }
        }
    }

    pub(super) fn unreadable(&self, name: &str, error: &super::record::RecordError) {
        self.0.counters.add(|c| &c.unreadable);
        if let Some(held_back) = self.policy().log.allow() {
            tracing::warn!(
                held_back,
                "the keystore's entry {name} can't be used: {error}"
            );
        }
    }

    /// Forgets a device, here and in the store: it must enrol again. Other instances may know it for a
    /// while. Returns how many keys it had here.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remove(&self, id: DeviceId) -> Result<usize, Away> {
        let Some(handle) = self.handle().cloned() else {
            return Ok(0);
        };
        let service = self.clone();
        // A store's connections belong to the threads here.
        let removed = handle.spawn(async move {
            let policy = service.policy();
            let mut names: Vec<KeyName> = Vec::new();
            if let Some(store) = &policy.store {
                let name = device_name(&id);
                if let Some(entry) = store.get(&name).await?
                    && let Ok(newest) = policy.records.read_device(&id, &entry)
                {
                    names.push(newest);
                }
                store.delete(&name).await?;
            }
            let sessions = service.0.sessions.remove(&id);
            let mut peers = Vec::new();
            for session in &sessions {
                names.push(session.name());
                peers.extend(session.peer());
            }
            if let Some(store) = &policy.store {
                for name in &names {
                    store.delete(&key_name(name)).await?;
                }
                for peer in peers {
                    store.delete(&peer_name(peer)).await?;
                }
            }
            Ok(sessions.len())
        });
        removed.await.unwrap_or(Err(Away))
    }

    /// Tells other instances where a device is now.
    pub(super) fn moved(&self, session: &Arc<Session>, peer: SocketAddr) {
        let (Some(handle), true) = (self.handle(), self.is_shared()) else {
            return;
        };
        // With too many at once, others learn it by the device's next move.
        let Ok(permit) = self.0.moves.try_acquire() else {
            return;
        };
        permit.forget();
        let (service, session) = (self.clone(), Arc::clone(session));
        handle.spawn(async move {
            let policy = service.policy();
            let life = session.key.expires().saturating_sub(unix_time());
            if let Some(store) = &policy.store
                && let Ok(entry) = policy.records.peer(peer, &session.name())
            {
                // That it is away has been said, and counted.
                let _ = store.put(&peer_name(peer), &entry, life, false).await;
            }
            service.0.moves.add_permits(1);
        });
    }
}

impl std::fmt::Debug for KeyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyService(…)")
    }
}

/// How full it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyGauges {
    /// Sessions that this process knows.
    pub sessions: usize,
    /// Messages that wait.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Whether the store is left alone, as it failed.
    pub is_away: bool,
}

#[cfg(test)]
mod tests {
    use super::super::place::StorePlace;
    use super::*;
    use corex_script::SocketId;
    use corex_sip::Transport;

    fn arrival(from: u8) -> Held {
        let source = SocketAddr::from(([192, 0, 2, from], 5060));
        Held::Arrival(Arrival {
            bytes: vec![0; 400],
            source,
            holder: source.ip(),
            local: SocketAddr::from(([10, 0, 0, 1], 5060)),
            socket: SocketId(0),
            transport: Transport::Udp,
            connection: None,
            ttl: None,
            queue: None,
        })
    }

    fn service(place: &str) -> (KeyService, mpsc::UnboundedReceiver<Returned>) {
        let (returns, receiver) = ReturnBox::new(|| {});
        let service = KeyService::new(vec![returns]);
        let material = Arc::new(KeyMaterial {
            place: StorePlace::parse(place).unwrap(),
            max_sessions: 100,
            is_used: true,
            ..KeyMaterial::default()
        });
        let policy = service.prepare(&material).unwrap();
        service.follow(policy).unwrap();
        (service, receiver)
    }

    #[test]
    fn what_waits_comes_back_to_its_worker_although_the_store_is_away() {
        // Nobody listens there.
        let (service, mut receiver) = service("redis://127.0.0.1:1");
        let wanted = Wanted::Peer("192.0.2.9:5060".parse().unwrap());
        for from in 0..10 {
            service.hold(0, wanted, arrival(from)).unwrap();
        }
        let returned: Vec<_> = (0..10).filter_map(|_| receiver.blocking_recv()).collect();
        assert!(returned.iter().all(|it| it.outcome == Outcome::Away));
        assert_eq!(
            (service.gauges().waiting, service.gauges().is_away),
            (10, true)
        );
        drop(returned);
        assert_eq!(service.gauges().waiting, 0);
        service.stop();
    }

    #[test]
    fn in_memory_what_is_not_known_does_not_wait_long() {
        let (service, mut receiver) = service("memory");
        assert!(!service.is_shared());
        let wanted = Wanted::Key((DeviceId::from_bytes([1; 16]), 1));
        service.hold(0, wanted, arrival(1)).unwrap();
        assert_eq!(receiver.blocking_recv().unwrap().outcome, Outcome::Ready);
        service.stop();
    }

    #[test]
    fn no_source_takes_all_places() {
        let (service, mut receiver) = service("redis://127.0.0.1:1");
        let wanted = Wanted::Peer("192.0.2.9:5060".parse().unwrap());
        let held = |from| {
            let taken = (0..100).map(|_| service.hold(0, wanted, arrival(from)));
            taken.filter(Result::is_ok).count()
        };
        let of_one = held(1);
        assert_eq!(of_one, WAITING.of_source);
        assert_eq!(held(2), WAITING.of_source);
        for _ in 0..2 * of_one {
            receiver.blocking_recv().unwrap();
        }
        service.stop();
    }

    #[test]
    fn nothing_is_held_before_a_configuration_asks_for_keys() {
        let service = KeyService::new(Vec::new());
        let wanted = Wanted::Peer("192.0.2.9:5060".parse().unwrap());
        assert_eq!(service.hold(0, wanted, arrival(1)), Err(NoPlace));
    }
}
