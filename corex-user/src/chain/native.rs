//! Chains that run on messages without a script: `codec_in` and `codec_out` of the module corex.

use std::net::SocketAddr;
use std::sync::Arc;

use corex_codec::{CodecError, Reason};
use corex_common::counters::WorkerCounters;
use corex_script::Program;
use corex_script::limiter::Limiter;

use super::{ChainId, Chains, Codecs, Wait, counter};
use crate::keystore::{Arrival, EnrolmentPacket, Held, KeyService, NoPlace, NotEnrolled, Wanted};
use corex_script::settings::CodecRule;

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Passed {
    /// No chain is for it: it goes on as it is.
    Unchanged,
    /// The result goes on.
    Changed,
    /// It can't be decoded, and goes on as it is.
    Failed(Reason),
    /// It can't be transformed, and must not go on.
    Dropped,
    /// It can't be transformed yet.
    Waits(Wait),
}

/// The chains of one worker that run without a script.
pub struct Native {
    /// Those of the configuration, where any run without a script.
    chains: Option<Arc<Chains>>,
    codecs: Option<Codecs>,
    /// What has the keys of devices, where any chain asks for them.
    service: Option<KeyService>,
    worker: usize,
    /// What is to be said to who sent the message that was dropped last.
    notice: Option<Vec<u8>>,
    log: Limiter,
}

impl Native {
    /// Those of a configuration.
    pub fn new(program: &Program, worker: u32) -> Native {
        let chains = program.shared::<Chains>();
        let by_device = chains.as_ref().filter(|it| it.material.is_used);
        let service = by_device.map(|it| it.service().clone());
        let runs = |it: &Arc<Chains>| !(it.incoming.is_empty() && it.outgoing.is_empty());
        // Enrolments go through it that a script has come upon.
        let is_used = |it: &&Arc<Chains>| it.material.is_used || runs(it);
        let codecs = chains.as_ref().filter(is_used).cloned().map(Codecs::new);
        let chains = chains.filter(runs);
        Native {
            codecs,
            chains,
            service,
            worker: worker as usize,
            notice: None,
            log: Limiter::default(),
        }
    }

    /// Whether any message is decoded without a script.
    #[inline]
    pub fn decodes(&self) -> bool {
        let mut chains = self.chains.iter();
        chains.any(|chains| !chains.incoming.is_empty())
    }

    /// Whether any message is encoded without a script.
    #[inline]
    pub fn encodes(&self) -> bool {
        let mut chains = self.chains.iter();
        chains.any(|chains| !chains.outgoing.is_empty())
    }

    /// What has the keys of devices, where any chain, with or without a script, asks for them.
    pub fn service(&self) -> Option<&KeyService> {
        self.service.as_ref()
    }

    /// Has a message wait for a key; it comes back to this worker.
    ///
    /// # Errors
    /// When too much waits already; the message is lost then.
    pub fn hold(&self, wanted: Wanted, held: Held) -> Result<(), NoPlace> {
        let service = self.service.as_ref().ok_or(NoPlace)?;
        service.hold(self.worker, wanted, held)
    }

    /// Has an enrolment opened; it comes back to this worker.
    ///
    /// # Errors
    /// When it isn't looked at; it is lost then.
    pub fn enrol(&self, packet: EnrolmentPacket, arrival: Arrival) -> Result<(), NotEnrolled> {
        let service = self.service.as_ref().ok_or(NotEnrolled::Refused)?;
        service.enrol(self.worker, packet, arrival)
    }

    /// What belongs to enrolment, as it goes on the wire.
    pub fn control(&mut self, chain: ChainId, packet: &[u8]) -> Option<Vec<u8>> {
        self.codecs.as_mut()?.control(chain, packet)
    }

    /// The message that an enrolment brought, if it can be decoded.
    pub fn rest(
        &mut self,
        chain: ChainId,
        peer: SocketAddr,
        message: &[u8],
        counters: &mut WorkerCounters,
    ) -> Option<Vec<u8>> {
        match self.codecs.as_mut()?.rest(chain, peer, message) {
            Ok(out) => {
                counters.codec_in += 1;
                counters.codec_in_before += message.len() as u64;
                counters.codec_in_after += out.len() as u64;
                Some(out)
            }
            Err(error) => {
                // Its drop has no verdict of its own: what it came in has been answered.
                self.refuse(error, peer, counters);
                None
            }
        }
    }

    /// What is to be said to who sent the message that was dropped last.
    pub fn take_notice(&mut self) -> Option<Vec<u8>> {
        self.notice.take()
    }

    /// Decodes a message from `peer` to `own`: `out` is replaced by the result, if there is one.
    pub fn decode(
        &mut self,
        peer: SocketAddr,
        own: SocketAddr,
        message: &[u8],
        out: &mut Vec<u8>,
        counters: &mut WorkerCounters,
    ) -> Passed {
        let (Some(chains), Some(codecs)) = (&self.chains, &mut self.codecs) else {
            return Passed::Unchanged;
        };
        let Some(id) = find(&chains.incoming, peer, own) else {
            return Passed::Unchanged;
        };
        out.clear();
        match codecs.decode(id, Some(peer), message, out) {
            Ok(()) => {
                counters.codec_in += 1;
                counters.codec_in_before += message.len() as u64;
                counters.codec_in_after += out.len() as u64;
                Passed::Changed
            }
            Err(error) => {
                if let Some(wait) = codecs.wait_of(id, message, &error) {
                    return Passed::Waits(wait);
                }
                if !chains.passes_errors {
                    self.notice = codecs.notice(id, message, &error).filter(|_| {
                        let service = self.service.as_ref();
                        service.is_some_and(|service| service.may_notify(peer.ip()))
                    });
                    return self.refuse(error, peer, counters);
                }
                *counter(error.fault.reason())(counters) += 1;
                counters.codec_passed += 1;
                Passed::Failed(error.fault.reason())
            }
        }
    }

    /// Encodes a message from `own` to `peer` in the same way. What can't be encoded never goes on:
    /// the other side would get in the clear what it must not.
    pub fn encode(
        &mut self,
        peer: SocketAddr,
        own: SocketAddr,
        message: &[u8],
        out: &mut Vec<u8>,
        counters: &mut WorkerCounters,
    ) -> Passed {
        let (Some(chains), Some(codecs)) = (&self.chains, &mut self.codecs) else {
            return Passed::Unchanged;
        };
        let Some(id) = find(&chains.outgoing, peer, own) else {
            return Passed::Unchanged;
        };
        out.clear();
        match codecs.encode(id, Some(peer), message, out) {
            Ok(()) => {
                counters.codec_out += 1;
                counters.codec_out_before += message.len() as u64;
                counters.codec_out_after += out.len() as u64;
                Passed::Changed
            }
            Err(error) => match codecs.wait_of(id, message, &error) {
                Some(wait) => Passed::Waits(wait),
                None => self.refuse(error, peer, counters),
            },
        }
    }

    fn refuse(
        &mut self,
        error: CodecError,
        peer: SocketAddr,
        counters: &mut WorkerCounters,
    ) -> Passed {
        *counter(error.fault.reason())(counters) += 1;
        if let Some(held_back) = self.log.allow() {
            tracing::warn!(%peer, held_back, "message dropped by its chain: {error}");
        }
        Passed::Dropped
    }
}

/// The chain of the first rule that fits; `None` also where that says that there is none.
fn find(
    rules: &[(CodecRule, Option<ChainId>)],
    peer: SocketAddr,
    own: SocketAddr,
) -> Option<ChainId> {
    let rule = rules.iter().find(|(rule, _)| rule.fits(peer, own));
    rule.and_then(|(_, chain)| *chain)
}
