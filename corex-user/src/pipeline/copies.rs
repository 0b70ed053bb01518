//! Which messages are copied to a collector: always in their plain form, behind the incoming hook
//! and in front of the outgoing one.

use std::net::{IpAddr, SocketAddr};

use super::{
    PipelineContext,
    pass::{Pass, env_of},
};
use crate::hep::{Copies, Held, Record};
use corex_script::{Copied, Direction, Env, NotTraced, Outgoing, Trace, settings::Collector};

/// What a script asked for that has the message in hand copied: it holds for what is sent for
/// it, too.
#[derive(Debug)]
pub struct Asked {
    to: Option<Collector>,
    correlation: Option<Vec<u8>>,
}

impl PipelineContext {
    /// Whether every message is copied.
    #[inline]
    pub fn copies_all(&self) -> bool {
        self.exporter.is_on() && self.config.settings.siptrace.copies_all()
    }

    /// Copies a message that passes, if all are.
    #[inline]
    pub fn copy(&self, payload: &[u8], way: Direction, env: &Env) {
        if self.copies_all() {
            self.exporter.copy(&record(payload, way, env));
        }
    }
}

fn record<'a>(payload: &'a [u8], way: Direction, env: &Env) -> Record<'a> {
    Record {
        payload,
        kind: Copied::Message,
        way,
        transport: env.transport,
        source: env.src,
        destination: env.dst,
        to: None,
        correlation: None,
    }
}

impl Pass<'_, '_> {
    /// Copies what a script has in hand.
    ///
    /// # Errors
    /// When there is nobody to copy it to.
    pub fn copy_asked(&mut self, trace: Trace<'_>) -> Result<(), NotTraced> {
        let settings = &self.context.config.settings.siptrace;
        if !self.context.exporter.is_on() || !settings.allows_script {
            return Err(NotTraced::Off);
        }
        let to = match trace.to {
            Some(uri) => Some(Collector::parse(uri).map_err(NotTraced::Collector)?),
            None if settings.collector.is_none() => return Err(NotTraced::NoCollector),
            None => None,
        };
        let record = Record {
            kind: trace.kind,
            to: to.clone(),
            correlation: trace.correlation,
            ..record(trace.payload, Direction::Incoming, trace.env)
        };
        self.context.exporter.copy(&record);
        if trace.kind == Copied::Message && settings.flag != 0 {
            let correlation = trace.correlation.map(<[u8]>::to_vec);
            self.asked = Some(Asked { to, correlation });
        }
        Ok(())
    }

    /// Copies of a message that is about to leave: made ahead, as its bytes may change on the way.
    /// `None`: it isn't copied.
    pub fn copies(&self, out: &Outgoing<'_>) -> Option<Copies> {
        let exporter = &self.context.exporter;
        if !exporter.is_on() {
            return None;
        }
        let settings = &self.context.config.settings.siptrace;
        let env = env_of(&out.hop);
        let plain = || record(out.payload, Direction::Outgoing, &env);
        let automatic = settings.copies_all();
        Some(Copies {
            automatic: automatic.then(|| exporter.hold(&plain())).flatten(),
            asked: self.held_by_flag(out, automatic, plain),
        })
    }

    fn held_by_flag<'o>(
        &self,
        out: &Outgoing<'_>,
        is_copied: bool,
        plain: impl Fn() -> Record<'o>,
    ) -> Option<Held> {
        let settings = &self.context.config.settings.siptrace;
        if out.flags & settings.flag == 0 || !settings.allows_script {
            return None;
        }
        let asked = self.asked.as_ref();
        let to = asked.and_then(|asked| asked.to.clone());
        // Where all messages go it would arrive twice.
        if to.is_none() && (is_copied || settings.collector.is_none()) {
            return None;
        }
        self.context.exporter.hold(&Record {
            to,
            correlation: asked.and_then(|asked| asked.correlation.as_deref()),
            ..plain()
        })
    }

    /// Our address towards a peer, where the kernel is to choose it.
    pub fn local_towards(&mut self, local: SocketAddr, peer: IpAddr) -> SocketAddr {
        if local.ip().is_unspecified()
            && let Some(ip) = self.ways.sources.of(peer)
        {
            return SocketAddr::new(ip, local.port());
        }
        local
    }
}
