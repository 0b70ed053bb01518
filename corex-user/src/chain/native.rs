//! Chains that run on messages without a script: `codec_in` and `codec_out` of the module corex.

use std::net::SocketAddr;
use std::sync::Arc;

use corex_codec::{CodecError, Reason};
use corex_common::counters::WorkerCounters;
use corex_script::Program;
use corex_script::limiter::Limiter;

use super::{ChainId, Chains, Codecs, counter};
use corex_script::settings::CodecRule;

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// No chain is for it: it goes on as it is.
    Unchanged,
    /// The result goes on.
    Changed,
    /// It can't be decoded, and goes on as it is.
    Failed(Reason),
    /// It can't be transformed, and must not go on.
    Dropped,
}

/// The chains of one worker that run without a script.
pub struct Native {
    chains: Option<Arc<Chains>>,
    codecs: Option<Codecs>,
    log: Limiter,
}

impl Native {
    /// Those of a configuration.
    pub fn new(program: &Program) -> Native {
        let chains = program.shared::<Chains>();
        let chains = chains.filter(|it| !(it.incoming.is_empty() && it.outgoing.is_empty()));
        Native {
            codecs: chains.clone().map(Codecs::new),
            chains,
            log: Limiter::default(),
        }
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
        match codecs.decode(id, message, out) {
            Ok(()) => {
                counters.codec_in += 1;
                counters.codec_in_before += message.len() as u64;
                counters.codec_in_after += out.len() as u64;
                Passed::Changed
            }
            Err(error) if chains.passes_errors => {
                *counter(error.fault.reason())(counters) += 1;
                counters.codec_passed += 1;
                Passed::Failed(error.fault.reason())
            }
            Err(error) => self.refuse(error, peer, counters),
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
        match codecs.encode(id, message, out) {
            Ok(()) => {
                counters.codec_out += 1;
                counters.codec_out_before += message.len() as u64;
                counters.codec_out_after += out.len() as u64;
                Passed::Changed
            }
            Err(error) => self.refuse(error, peer, counters),
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
