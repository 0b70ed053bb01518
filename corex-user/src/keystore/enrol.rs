//! Devices that bring their keys. What they send is opened beside the workers, so much for each source;
//! a key is good once it is kept where all instances find it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use corex_codec::{DeviceKey, Fault, enrol};

use super::held::{Arrival, Enrolled, Held, Outcome};
use super::policy::Policy;
use super::record::{StoredKey, device_name, key_name};
use super::service::KeyService;
use super::sessions::Session;
use super::store::Away;
use super::unix_time;
use crate::telemetry::key_counters::KeyCounters;

/// Why an enrolment isn't looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotEnrolled {
    /// Its source sends too many, or too many wait.
    #[error("too many enrolments")]
    TooMany,
    /// It is none, or for a key that isn't here.
    #[error("no enrolment for a key that is here")]
    Refused,
}

/// An enrolment as it came out of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrolmentPacket {
    /// The chain.
    pub chain: usize,
    /// Whether it was a script that ran the chain.
    pub by_script: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl KeyService {
    /// Has an enrolment opened, beside the workers; it comes back to this one.
    ///
    /// # Errors
    /// When it isn't looked at; it is lost then.
    pub fn enrol(
        &self,
        worker: usize,
        packet: EnrolmentPacket,
        arrival: Arrival,
    ) -> Result<(), NotEnrolled> {
        let policy = self.policy();
        let enroller = policy.material.enroller.as_ref();
        let checked = enroller.map_or(Err(Fault::Malformed), |it| it.check(&packet.bytes));
        if let Err(fault) = checked {
            self.counters().add(counter(fault));
            return Err(NotEnrolled::Refused);
        }
        let handle = self.handle().ok_or(NotEnrolled::TooMany)?;
        let waiter = self.place_to_enrol(worker, arrival, packet.bytes.len(), Instant::now());
        let waiter = waiter.ok_or(NotEnrolled::TooMany)?;
        let service = self.clone();
        handle.spawn(async move {
            let outcome = service.open(&policy, packet, &waiter.held).await;
            service.give_back(waiter, outcome);
        });
        Ok(())
    }

    async fn open(&self, policy: &Arc<Policy>, packet: EnrolmentPacket, held: &Held) -> Outcome {
        let Some(enroller) = policy.material.enroller.clone() else {
            return Outcome::Refused;
        };
        // Nobody closes it.
        let _permit = self.verifying().acquire().await;
        let opened = tokio::task::spawn_blocking(move || {
            let opened = enroller.open(&packet.bytes, unix_time());
            (opened, packet)
        });
        let Ok((opened, packet)) = opened.await else {
            return Outcome::Refused;
        };
        drop(_permit);
        let opened = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                self.counters().add(counter(fault));
                return Outcome::Refused;
            }
        };
        let kept = self.keep(policy, &opened, held).await;
        let Ok(is_kept) = kept else {
            self.counters().add(|c| &c.enrol_unstored);
            return Outcome::Refused;
        };
        let Ok(acknowledgement) = opened.answer(is_kept) else {
            self.counters().add(|c| &c.enrol_unusable);
            return Outcome::Refused;
        };
        self.counters().add(if is_kept {
            |c| &c.enrolled
        } else {
            |c| &c.enrol_taken
        });
        let first = opened.message(&packet.bytes);
        Outcome::Enrolled(Enrolled {
            chain: packet.chain,
            by_script: packet.by_script,
            acknowledgement: acknowledgement.to_vec(),
            first: (is_kept && !first.is_empty()).then(|| first.to_vec()),
        })
    }

    /// Keeps a device's new key. False: the device has another one, and this one may be somebody
    /// else's.
    async fn keep(
        &self,
        policy: &Policy,
        opened: &enrol::Enrolled,
        held: &Held,
    ) -> Result<bool, Away> {
        let key = opened.key();
        let (id, generation) = (key.id(), key.generation());
        let now = unix_time();
        let current = self.current(policy, opened).await?;
        if !is_theirs(opened, &current, now) {
            return Ok(false);
        }
        let stored = StoredKey {
            since: now,
            key: Arc::new(DeviceKey::new(id, generation, key.secret(), key.expires())),
        };
        if let Some(store) = &policy.store {
            let life = key.expires().saturating_sub(now);
            let name = (id, generation);
            // It fails only for want of random numbers.
            let entry = policy.records.key(&stored).map_err(|_| Away)?;
            store.put(&key_name(&name), &entry, life, false).await?;
            let entry = policy.records.device(&name).map_err(|_| Away)?;
            store.put(&device_name(&id), &entry, life, false).await?;
        }
        let session = self.sessions().insert(stored);
        // What is on its way still has the one just before.
        let before = |it: &u8| generation.wrapping_sub(*it).wrapping_sub(1);
        let generations = current.iter().map(|it| it.key.generation());
        let last = generations
            .filter(|it| *it != generation)
            .min_by_key(before);
        let kept: Vec<u8> = last.into_iter().chain([generation]).collect();
        self.sessions().keep_only(&id, &kept);
        if let Held::Arrival(arrival) = held
            && self.sessions().move_to(&session, arrival.source)
        {
            self.moved(&session, arrival.source);
        }
        Ok(true)
    }

    /// The keys of the device, as far as this process or the store knows them.
    async fn current(
        &self,
        policy: &Policy,
        opened: &enrol::Enrolled,
    ) -> Result<Vec<Arc<Session>>, Away> {
        let id = opened.key().id();
        if let Some(store) = &policy.store
            && let Some(entry) = store.get(&device_name(&id)).await?
        {
            match policy.records.read_device(&id, &entry) {
                Ok(name) => drop(self.fetch_key(&name).await?),
                Err(error) => self.unreadable(&device_name(&id), &error),
            }
        }
        Ok(self.sessions().of_device(&id))
    }
}

/// Whether a device may have a key: it has no other one, or proves that it is the same device.
fn is_theirs(opened: &enrol::Enrolled, current: &[Arc<Session>], now: u64) -> bool {
    let mut is_known = false;
    for session in current.iter().filter(|it| !it.key.is_expired(now)) {
        if opened.is_proven_by(&session.key) {
            return true;
        }
        is_known = true;
    }
    !is_known
}

/// The counter of enrolments refused for this reason.
fn counter(fault: Fault) -> fn(&KeyCounters) -> &AtomicU64 {
    match fault {
        Fault::UnknownKey(_) => |c| &c.enrol_unknown_key,
        Fault::NotAuthentic => |c| &c.enrol_not_authentic,
        Fault::Stale => |c| &c.enrol_stale,
        Fault::Replayed => |c| &c.enrol_replayed,
        Fault::NoRandomness | Fault::Unmade => |c| &c.enrol_unusable,
        _ => |c| &c.enrol_malformed,
    }
}
