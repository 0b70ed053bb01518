//! The checker: from a syntax tree to settings and a program, or to what is wrong with it.
//!
//! It goes on after a mistake, so that one run shows as many as it can.

mod by_name;
mod call;
mod core;
mod expr;
mod module;
mod names;
mod pseudo;
mod review;
mod route;
mod stmt;

pub use self::core::CORE as CORE_PARAMETERS;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use regex::bytes::Regex;

use self::review::{Reviewed, Written};
use self::route::Declared;
use crate::function::{ConstantCall, Function, LoadError, Module, Modules, Sources};
use crate::language_counters::Languages;

use self::names::Names;
use crate::run::node::{AvpId, Block, Expr, Lvalue, Pv, Stmt, StmtKind, VarId};
use crate::run::program::{Program, Socket};
use crate::run::tables::Tables;
use crate::run::value::{Source, StrRef};
use crate::settings::{Listen, Settings};
use crate::syntax::Parsed;
use crate::syntax::ast::{File, ItemKind};
use crate::syntax::diag::{Diagnostic, Report};
use crate::syntax::span::Span;
use corex_sip::Transport;

/// The checker, with what it has gathered of the configuration so far.
struct Checker {
    report: Report,
    /// All modules that there are.
    modules: Modules,
    settings: Settings,
    /// What `loadmodule` named, in order.
    loaded: Vec<&'static Module>,
    pool: Pool,
    regexes: Vec<Regex>,
    avps: Names,
    vars: Names,
    msg_avp: Option<AvpId>,
    /// Where user and group are set.
    run_as: [Span; 2],
    /// The lines that set parameters of modules, in order.
    written: Vec<Written>,
    routes: Vec<Declared>,
    /// Functions that were called, with the index of the block that calls.
    uses: Vec<(usize, &'static Function, Span)>,
    /// Calls with constants.
    constant_calls: Vec<ConstantCall>,
    /// Blocks that call blocks.
    calls: Vec<(usize, usize)>,
    /// The block that is being compiled.
    route: usize,
    /// How many `while` and `switch` are open.
    loops: u32,
}

/// Constant strings, each once.
struct Pool {
    source: Source,
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, StrRef>,
}

impl Pool {
    /// An empty one, whose strings are of this source.
    fn of(source: Source) -> Pool {
        Pool {
            source,
            bytes: Vec::new(),
            known: HashMap::new(),
        }
    }

    fn add(&mut self, text: &[u8]) -> StrRef {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        // Below 4 GiB: configurations are bounded.
        let string = StrRef {
            source: self.source,
            offset: self.bytes.len() as u32,
            len: text.len() as u32,
        };
        self.bytes.extend_from_slice(text);
        self.known.insert(text.to_vec(), string);
        string
    }
}

/// What a check yields.
pub(crate) struct Checked {
    pub report: Report,
    /// `None` if the report has errors.
    pub sound: Option<(Settings, Program)>,
}

/// Takes note of who corex is to run as, before scripts are loaded.
///
/// # Errors
/// Why that can't be; the report has it where it was set.
pub type Settled<'a> = dyn Fn(&Settings) -> Result<(), RunAsError> + 'a;

/// Why corex can't run as who it is told to.
pub struct RunAsError {
    /// Whether it is the group that is wrong.
    pub is_group: bool,
    /// In words, with the remedy.
    pub reason: String,
}

/// Checks what the front end made of a configuration. Scripts whose loading starts processes are
/// loaded only where somebody wants to know what is settled before.
pub(crate) fn check(
    parsed: Parsed,
    folder: &Path,
    modules: Modules,
    settled: Option<&Settled<'_>>,
) -> Checked {
    let Parsed { file, report } = parsed;
    let mut checker = Checker::new(
        report,
        modules,
        Settings {
            folder: folder.to_owned(),
            ..Settings::default()
        },
        Vec::new(),
        Names::default(),
        Names::default(),
    );
    let mut program = checker.file(&file);
    checker.load_scripts(&mut program, folder, false);
    if let Some(settled) = settled
        && !checker.report.has_errors()
    {
        checker.settle(settled);
    }
    checker.make_shared(&mut program, folder);
    if settled.is_some() && !checker.report.has_errors() {
        checker.load_scripts(&mut program, folder, true);
    }
    let Checker {
        report, settings, ..
    } = checker;
    let sound = (!report.has_errors()).then_some((settings, program));
    Checked { report, sound }
}

/// Checks what a configuration sets of one module, and nothing else of it.
pub(crate) fn parameters(parsed: Parsed, modules: Modules, module: &str) -> (Report, Settings) {
    let Parsed { file, report } = parsed;
    let mut checker = Checker::new(
        report,
        modules,
        Settings::default(),
        Vec::new(),
        Names::default(),
        Names::default(),
    );
    for item in &file.items {
        if let ItemKind::LoadModule(name) = &item.kind {
            checker.load_module(name);
        }
    }
    for item in &file.items {
        if let ItemKind::ModParam(param) = &item.kind
            && param.modules.kind.as_str() == Some(module)
        {
            checker.mod_param(param);
        }
    }
    (checker.report, checker.settings)
}

impl Checker {
    fn new(
        report: Report,
        modules: Modules,
        settings: Settings,
        loaded: Vec<&'static Module>,
        avps: Names,
        vars: Names,
    ) -> Checker {
        Checker {
            report,
            modules,
            settings,
            loaded,
            pool: Pool::of(Source::Pool),
            regexes: Vec::new(),
            avps,
            vars,
            msg_avp: None,
            run_as: [Span::NONE; 2],
            written: Vec::new(),
            routes: Vec::new(),
            uses: Vec::new(),
            constant_calls: Vec::new(),
            calls: Vec::new(),
            route: 0,
            loops: 0,
        }
    }

    fn file(&mut self, file: &File) -> Program {
        // Modules and blocks may be named before the line that brings them.
        for item in &file.items {
            match &item.kind {
                ItemKind::LoadModule(name) => self.load_module(name),
                ItemKind::Route(route) => self.declare(route),
                _ => {}
            }
        }
        for item in &file.items {
            match &item.kind {
                ItemKind::Setting(setting) => self.setting(setting),
                ItemKind::ModParam(param) => self.mod_param(param),
                ItemKind::LoadPath(path) => self.report(
                    Diagnostic::warning(path.span, "this path has no meaning here")
                        .help("all modules are built in; the line can be removed"),
                ),
                ItemKind::LoadModule(_) | ItemKind::Route(_) => {}
            }
        }
        // Datagram sockets come first everywhere, as in Kamailio's list.
        let is_stream = |listen: &Listen| listen.transport != Transport::Udp;
        self.settings.listen.sort_by_key(is_stream);
        let blocks = self.compile_routes(file);
        self.check_uses();
        self.review();
        self.program(blocks)
    }

    /// Has every module review the configuration as a whole.
    fn review(&mut self) {
        for module in self.modules.iter() {
            if let Some(review) = module.review {
                review(&mut Reviewed {
                    module: module.name,
                    checker: self,
                });
            }
        }
    }

    fn settle(&mut self, settled: &Settled<'_>) {
        if let Err(error) = settled(&self.settings) {
            let [user, group] = self.run_as;
            let place = if error.is_group { group } else { user };
            self.report(Diagnostic::error(place, error.reason));
        }
    }

    /// Loads the scripts that modules run, and reports what is wrong with them.
    fn load_scripts(&mut self, program: &mut Program, folder: &Path, with_processes: bool) {
        for module in self.loaded.clone() {
            let Some(loader) = module.language else {
                continue;
            };
            if loader.starts_processes != with_processes {
                continue;
            }
            let sources = self.sources(module, folder);
            match (loader.load)(&sources) {
                Ok(language) => program.add_scripts(module.name, language),
                Err(error) => self.report_unloaded(module, error),
            }
        }
    }

    fn sources<'a>(&'a self, module: &Module, folder: &'a Path) -> Sources<'a> {
        Sources {
            settings: &self.settings,
            folder,
            modules: self.modules,
            is_loaded: self.is_loaded(module.name),
            calls: &self.constant_calls,
        }
    }

    /// Has modules make what workers share, unless something is wrong already.
    fn make_shared(&mut self, program: &mut Program, folder: &Path) {
        for module in self.modules.iter() {
            let Some(share) = module.shares else {
                continue;
            };
            if self.report.has_errors() {
                return;
            }
            let shared = share(&self.sources(module, folder));
            match shared {
                Ok(shared) => program.shares.extend(shared),
                Err(error) => self.report_unloaded(module, error),
            }
        }
    }

    fn report_unloaded(&mut self, module: &Module, error: LoadError) {
        let mut diagnostic = *error.diagnostic;
        if let Some((parameter, at)) = error.parameter {
            let mut lines = self.written.iter().filter(|line| {
                line.module == module.name && line.parameter == parameter && line.is_taken
            });
            diagnostic.span =
                lines
                    .nth(at)
                    .map_or(Span::NONE, |line| match (&line.text, error.part) {
                        (Some(text), Some(part)) => text.kind.locate(part, line.span),
                        _ => line.span,
                    });
        }
        self.report(diagnostic);
    }

    fn program(&mut self, routes: Vec<Block>) -> Program {
        let network = self.main_route(route::Place::Network);
        let hook = network.and_then(|route| routes.get(usize::from(route)));
        let network_copies = hook
            .zip(self.msg_avp)
            .is_some_and(|(hook, avp)| is_copy(hook, avp));
        let sockets = self.sockets();
        let settings = self.settings_without_aliases();
        Program {
            files: self.report.sources.names().map(str::to_owned).collect(),
            regexes: std::mem::take(&mut self.regexes),
            request: self.main_route(route::Place::Request),
            reply: self.main_route(route::Place::Reply),
            network,
            network_copies,
            limit: self.main_route(route::Place::Limit),
            msg_avp: self.msg_avp,
            vars: self.vars.len().unwrap_or(u16::MAX),
            started: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs() as i64),
            tables: Tables::new(&self.settings.tables, &self.settings.shared_values),
            server: self.settings.server.clone(),
            absorbs: self.of_loaded(|module| module.absorbs),
            before_route: self.of_loaded(|module| module.before_route?(&self.settings)),
            after_route: self.of_loaded(|module| module.after_route),
            max_forwards: self.settings.max_forwards,
            max_branches: self.settings.max_branches,
            max_while_loops: self.settings.max_while_loops,
            sockets,
            languages: Arc::new(Languages::new(self.settings.corex.hook_quarantine)),
            latencies: Arc::default(),
            make_compiler: self.make_compiler(&settings),
            settings,
            loaded: self.loaded.iter().map(|module| module.name).collect(),
            named_routes: self.named_routes(),
            keeps: self.modules.iter().filter_map(|m| m.keeps).collect(),
            shares: Vec::new(),
            inherits: self.of_loaded(|module| module.inherits),
            reads: self.of_loaded(|module| Some(module.reads)).concat(),
            scripts: Vec::new(),
            pool: std::mem::take(&mut self.pool.bytes),
            routes,
        }
    }

    /// Collects what `what` picks of each module that is loaded or needs no `loadmodule`.
    fn of_loaded<T>(&self, what: impl Fn(&Module) -> Option<T>) -> Vec<T> {
        let modules = self.modules.iter();
        modules
            .filter(|module| self.is_loaded(module.name))
            .filter_map(what)
            .collect()
    }

    /// The listen sockets that `$fs` can name; see [`Program::sockets`].
    fn sockets(&mut self) -> Vec<Socket> {
        let mut sockets: Vec<Socket> = Vec::new();
        for listen in &self.settings.listen {
            let Ok(ip) = listen.host.parse::<std::net::IpAddr>() else {
                break;
            };
            let (transport, port) = (listen.transport, listen.port);
            let text = match &listen.zone {
                Some(zone) => format!("{transport}:[{ip}%{zone}]:{port}"),
                None => format!("{transport}:{}", std::net::SocketAddr::new(ip, port)),
            };
            let text = self.pool.add(text.as_bytes());
            let name = listen
                .name
                .as_ref()
                .map(|name| self.pool.add(name.as_bytes()));
            // A repeated address makes no second socket.
            if !sockets.iter().any(|socket| socket.text == text) {
                sockets.push(Socket { text, name });
            }
        }
        sockets
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.report.push(diagnostic);
    }

    /// The number of a name, or a report that there are too many.
    fn avp(&mut self, name: &str, span: Span) -> Option<AvpId> {
        let id = self.avps.id(name);
        self.too_many(id, span)
    }

    fn var(&mut self, name: &str, span: Span) -> Option<VarId> {
        let id = self.vars.id(name);
        self.too_many(id, span)
    }

    fn too_many(&mut self, id: Option<u16>, span: Span) -> Option<u16> {
        if id.is_none() {
            self.report(Diagnostic::error(
                span,
                "the configuration names more than 65,535 of these",
            ));
        }
        id
    }
}

/// Whether a block puts `$mb` into this AVP, and that is all.
fn is_copy(block: &[Stmt], avp: AvpId) -> bool {
    let [statement] = block else { return false };
    match &statement.kind {
        StmtKind::Assign {
            target: Lvalue::Avp(target) | Lvalue::AvpAll(target),
            value: Expr::Pv(Pv::Message),
        } => *target == avp,
        _ => false,
    }
}
