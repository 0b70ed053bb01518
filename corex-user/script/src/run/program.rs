//! The compiled form of a configuration: names resolved to indices, constants in a pool, patterns
//! compiled, and what modules add to it.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use corex_sip::SipView;
use regex::bytes::Regex;

use super::by_name::MakeCompiler;
use super::node::{AvpId, Block, Line, RouteId};
use super::param::{CORE, Inherit, Keep, ReadAgain, Shared};
use crate::SocketId;
use crate::language::{Language, ReloadError};
use crate::language_counters::Languages;
use crate::latency::Latencies;
use crate::run::exec::Exec;
use crate::run::tables::Tables;
use crate::run::value::StrRef;
use crate::settings::Settings;

/// The route blocks of a configuration, ready to run. Shared by all workers.
pub struct Program {
    /// Names of the files that statements stand in, for log lines.
    pub files: Vec<String>,
    /// Every constant string, one after the other.
    pub pool: Vec<u8>,
    /// Patterns that are constant.
    pub regexes: Vec<Regex>,
    /// All blocks that can run.
    pub routes: Vec<Block>,
    /// `request_route`.
    pub request: Option<RouteId>,
    /// `reply_route`.
    pub reply: Option<RouteId>,
    /// `event_route[guard:limit]`.
    pub limit: Option<RouteId>,
    /// `event_route[network:msg]`.
    pub network: Option<RouteId>,
    /// Whether `event_route[network:msg]` does nothing but `$avp(msg) = $mb`, with the AVP of
    /// `msg_avp`: then it needn't run.
    pub network_copies: bool,
    /// The AVP that holds what the hook makes of a message: `msg_avp` of the module corex.
    pub msg_avp: Option<AvpId>,
    /// Number of different `$var()`.
    pub vars: u16,
    /// The listen sockets whose place in the resolved list is certain: those before the first
    /// that doesn't name an IP address, and so may stand for several.
    pub sockets: Vec<Socket>,
    /// The value of Server in our own replies; empty: none.
    pub server: String,
    /// `absorbs` of the loaded modules: whether an ACK is done with before its route.
    pub absorbs: Vec<fn(&SipView<'_>) -> bool>,
    /// `before_route` of the loaded modules, as far as the settings ask for it.
    pub before_route: Vec<fn(&mut Exec<'_>) -> bool>,
    /// `after_route` of the loaded modules: what happens to a reply after its route.
    pub after_route: Vec<fn(&mut Exec<'_>)>,
    /// When it was loaded, in seconds since 1970.
    pub started: i64,
    /// Values that all workers share.
    pub tables: Tables,
    /// `max_limit` of the module maxfwd.
    pub max_forwards: u32,
    /// `max_branches`: the most destinations that a request may have.
    pub max_branches: u32,
    /// `max_while_loops`: the most turns of one `while`.
    pub max_while_loops: u32,
    /// Counts calls into scripts of other languages; goes on after a reload.
    pub languages: Arc<Languages>,
    /// How long hooks take; goes on after a reload.
    pub latencies: Arc<Latencies>,
    /// What the configuration sets, but for aliases.
    pub settings: Arc<Settings>,
    /// What `loadmodule` named, in order.
    pub loaded: Vec<&'static str>,
    /// The route blocks that have names.
    pub named_routes: HashMap<String, RouteId>,
    /// Makes what modules keep in each worker.
    pub keeps: Vec<Keep>,
    /// What modules made once for all workers; see [`Self::shared`].
    pub shares: Vec<Shared>,
    /// `inherits` of the loaded modules.
    pub inherits: Vec<Inherit>,
    /// `reads` of the loaded modules: what can be read again.
    pub reads: Vec<(&'static str, ReadAgain)>,
    /// Makes the compiler of what scripts in other languages ask for by name.
    pub make_compiler: MakeCompiler,
    /// Scripts in other languages, with the module that brings each.
    pub scripts: Vec<(&'static str, Arc<dyn Language>)>,
}

impl Program {
    /// A line as log lines call it.
    pub fn place(&self, line: Line) -> Place<'_> {
        let file = self.files.get(usize::from(line.file));
        Place {
            file: file.map_or("", String::as_str),
            number: line.number,
        }
    }
}

/// Writes `file:line`.
pub struct Place<'a> {
    file: &'a str,
    number: u32,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("files", &self.files)
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Reads the scripts or other files again that a module brings, by the name in [`Self::scripts`] or
    /// [`Self::reads`]; each worker goes on with them before its next call. It reads files, so no worker
    /// may call it.
    ///
    /// # Errors
    /// What is wrong with them, where that is known at once: the old ones stay. Or that there are
    /// none, or that a parameter forbids it.
    pub fn reload_scripts(&self, module: &str) -> Result<(), ReloadError> {
        let mut scripts = self.scripts.iter();
        match scripts.find(|(of, _)| *of == module) {
            Some((_, language)) => language.reload(),
            None => match self.reads.iter().find(|(name, _)| *name == module) {
                Some((_, read)) => read(self).map_err(ReloadError::Broken),
                None => Err(ReloadError::NotLoaded(module.to_owned())),
            },
        }
    }

    /// The scripts of this type; `None` where no module that is loaded brings them.
    pub fn scripts<L: Language>(&self) -> Option<&L> {
        self.scripts.iter().find_map(|(_, language)| {
            let language: &dyn Any = &**language;
            language.downcast_ref()
        })
    }

    /// What a module made of this type, once for all workers; `None` where none did.
    pub fn shared<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let mut shares = self.shares.iter();
        shares.find_map(|shared| Arc::clone(shared).downcast().ok())
    }

    /// The same where it isn't kept: unlike a clone, it costs other workers nothing.
    pub fn shared_ref<T: Any + Send + Sync>(&self) -> Option<&T> {
        let mut shares = self.shares.iter();
        shares.find_map(|shared| (&**shared as &dyn Any).downcast_ref())
    }

    /// What the configuration sets, but for aliases.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The modules that `loadmodule` named, in order.
    pub fn module_names(&self) -> impl DoubleEndedIterator<Item = &'static str> + '_ {
        self.loaded.iter().copied()
    }

    /// Whether a module is loaded, or needs no `loadmodule`.
    pub fn has_module(&self, name: &str) -> bool {
        name == CORE || self.loaded.contains(&name)
    }

    /// What the modules keep in a worker, made anew.
    pub fn kept(&self) -> Vec<Box<dyn Any + Send>> {
        self.keeps.iter().map(|make| make(self)).collect()
    }

    /// Takes a language's scripts in, and has it count with the program's counters.
    pub fn add_scripts(&mut self, module: &'static str, language: Arc<dyn Language>) {
        language.count_with(&self.languages);
        self.scripts.push((module, language));
    }

    /// The listen socket of this text or name; see [`Self::sockets`].
    pub fn socket(&self, wanted: &[u8]) -> Option<SocketId> {
        let pool = &self.pool;
        let found = self.sockets.iter().position(|socket| {
            socket.text.of(pool).eq_ignore_ascii_case(wanted)
                || socket.name.is_some_and(|name| name.of(pool) == wanted)
        });
        found.and_then(|at| u16::try_from(at).ok()).map(SocketId)
    }
}

/// A listen socket that `$fs` can name.
pub struct Socket {
    /// `udp:192.0.2.1:5060`.
    pub text: StrRef,
    /// The name in its listen line.
    pub name: Option<StrRef>,
}
