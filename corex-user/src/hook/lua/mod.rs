//! Scripts in Lua, for the module app_lua: what `lua_run()` and its like do.
//!
//! One LuaJIT state for each worker. A script that runs too long, wants too much memory or fails in
//! any other way ends its call and nothing else: `state` makes what scripts run in, `sandbox.lua`
//! the standard functions they find, `ksr.lua` the interface of Kamailio's, `dispatch` answers it.

mod budget;
mod dispatch;
mod log;
mod names;
pub mod pattern;
mod shared;
mod source;
mod state;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mlua::{Function, String as LuaString, Value, Variadic};

use self::budget::Ending;
use self::dispatch::LuaCall;
use self::log::Kind;
use self::state::State;
use super::backoff::Backoff;
use corex_script::language::Engine;
use corex_script::language_counters::LanguageCounters;
use corex_script::quarantine::Spread;
use corex_script::run::StrRef;
use corex_script::run::{Exec, Halt};

use self::shared::LuaScripts;
pub(crate) use self::shared::load;

/// The language, by the name that it has in reports.
const NAME: &str = "lua";

/// How deep calls from the configuration may nest, by messages that scripts send and whose hooks
/// run scripts.
const MAX_DEPTH: u32 = 8;

/// One worker's Lua: a state in which the shared scripts have been run.
pub(crate) struct LuaEngine {
    shared: Arc<LuaScripts>,
    /// `None` after it was lost: made anew before the next call.
    state: Option<Arc<State>>,
    /// The generation of the scripts in the state.
    generation: u64,
    backoff: Backoff,
    /// How many calls are open.
    depth: u32,
}

impl Engine for LuaEngine {
    fn memory(&self) -> (&'static str, usize) {
        ("Lua", self.state.as_ref().map_or(0, |state| state.memory()))
    }
}

/// What a configuration asks to run.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// A global function, whose arguments are strings.
    Function,
    /// The script in a file.
    File,
    /// Lua code, given as text.
    Text,
}

impl LuaEngine {
    /// An engine with the scripts loaded.
    fn new(shared: Arc<LuaScripts>) -> LuaEngine {
        let mut engine = LuaEngine {
            generation: shared.generation(),
            shared,
            state: None,
            backoff: Backoff::default(),
            depth: 0,
        };
        // It was tried when the configuration was loaded; should it fail now, it is tried again.
        engine.state = engine.shared.make().ok().map(Arc::new);
        engine
    }

    /// Lets calls run again that the back-off holds up.
    #[cfg(test)]
    pub fn wake(&mut self) {
        self.backoff.succeeded();
    }

    /// Takes over scripts that were read again, and makes a state where there is none.
    ///
    /// # Errors
    /// Those of the scripts, where there is no state to go on with.
    fn ready(&mut self, counters: &LanguageCounters) -> mlua::Result<Arc<State>> {
        let generation = self.shared.generation();
        if let Some(state) = &self.state {
            // Who runs now goes on with what it began with.
            if generation == self.generation || self.depth > 0 {
                return Ok(Arc::clone(state));
            }
        }
        self.generation = generation;
        match self.shared.make().map(Arc::new) {
            Ok(state) => {
                if self.state.is_none() {
                    counters.add(|c| &c.restarts);
                }
                // It may be made for a nested call, which begins no budget.
                state.begin(Instant::now(), 1);
                self.state = Some(Arc::clone(&state));
                Ok(state)
            }
            Err(error) => match &self.state {
                Some(old) => {
                    counters.add(|c| &c.reload_errors);
                    tracing::error!(
                        "the Lua scripts stay as they were: {}",
                        log::one_line(&error)
                    );
                    Ok(Arc::clone(old))
                }
                None => Err(error),
            },
        }
    }
}

/// Runs Lua: its return code, 1 or -1 after an error. What a script that failed had changed in
/// AVPs is undone.
///
/// # Errors
/// What functions that the script called end the configuration's script with.
pub(crate) fn run(
    exec: &mut Exec<'_>,
    call: Call,
    what: StrRef,
    args: &[StrRef],
) -> Result<i64, Halt> {
    let program = exec.program;
    let counters = &program.languages.lua;
    let now = Instant::now();
    let sender = exec.rt.sender;
    let Some(engine) = exec.rt.engine::<LuaEngine>() else {
        return Ok(-1);
    };
    let is_held = engine.depth == 0
        && sender.is_some_and(|it| program.languages.quarantine.holds(NAME, it, now));
    if engine.backoff.holds(now) || is_held {
        counters.add(|c| &c.held);
        if is_held {
            counters.add(|c| &c.quarantined);
        }
        exec.rt.language_failed = true;
        return Ok(-1);
    }
    if engine.depth >= MAX_DEPTH {
        counters.add(|c| &c.errors);
        exec.rt.language_failed = true;
        exec.complain(format_args!("calls of Lua nest deeper than {MAX_DEPTH}"));
        return Ok(-1);
    }
    counters.add(|c| &c.runs);
    let outermost = engine.depth == 0;
    let state = match engine.ready(counters) {
        Ok(state) => state,
        Err(error) => {
            engine.backoff.failed(now);
            counters.add(|c| &c.errors);
            exec.rt.language_failed = true;
            exec.complain(format_args!("Lua: {}", log::one_line(&error)));
            return Ok(-1);
        }
    };
    engine.depth += 1;
    if outermost {
        state.begin(now, 1);
    }
    let before = exec.before();
    let (mark, depth) = (exec.mark(), exec.rt.depth);
    let mut halt = None;
    let result = call_script(exec, &state, call, what, args, &mut halt);
    exec.release(mark);
    exec.rt.depth = depth;
    if let Some(engine) = exec.rt.engine::<LuaEngine>() {
        engine.depth = engine.depth.saturating_sub(1);
    }
    let ending = state.budget.ending();
    if ending == Ending::Wanted {
        // It is this call's: one that waits for it goes on.
        state.budget.set_ending(Ending::None);
    }
    let error = match result {
        Ok(()) => None,
        Err(_) if ending == Ending::Wanted => None,
        Err(error) => Some(error),
    };
    let Some(error) = error else {
        if outermost {
            after(exec, &state);
        }
        return halt.map_or(Ok(1), Err);
    };
    exec.undo(before);
    exec.rt.language_failed = true;
    counters.add(|c| &c.errors);
    let kind = match ending {
        Ending::Spent => Kind::Timeout,
        _ => log::kind(&error),
    };
    match kind {
        Kind::Timeout => counters.add(|c| &c.timeouts),
        Kind::Memory => counters.add(|c| &c.memory),
        Kind::Script => {}
    }
    // A nested call's sender is held when the outermost has failed, as it does then.
    let spread = match sender {
        Some(sender) if kind != Kind::Script && outermost => {
            let quarantine = &program.languages.quarantine;
            quarantine.failed(NAME, sender, 0, Instant::now())
        }
        Some(_) => Spread::Few,
        None => Spread::Many,
    };
    if let Some(engine) = exec.rt.engine::<LuaEngine>() {
        if kind != Kind::Script && spread == Spread::Many {
            engine.backoff.failed(Instant::now());
        }
        if kind == Kind::Memory {
            // Whatever its globals hold is given back.
            engine.state = None;
        }
    }
    exec.complain(format_args!("Lua: {}", log::one_line(&error)));
    Ok(-1)
}

/// After an outermost call that went well.
fn after(exec: &mut Exec<'_>, state: &State) {
    let is_crowded = state.is_crowded();
    if let Some(engine) = exec.rt.engine::<LuaEngine>() {
        if !is_crowded {
            engine.backoff.succeeded();
            return;
        }
        engine.backoff.failed(Instant::now());
        engine.state = None;
    }
    exec.complain(format_args!(
        "Lua: the scripts hold on to three quarters of max_memory: they begin anew"
    ));
}

fn call_script(
    exec: &mut Exec<'_>,
    state: &Arc<State>,
    call: Call,
    what: StrRef,
    args: &[StrRef],
    halt: &mut Option<Halt>,
) -> mlua::Result<()> {
    let lua = &state.lua;
    let function = match call {
        Call::Function => {
            let name = lua.create_string(exec.bytes(what))?;
            match lua.globals().raw_get(&name)? {
                Value::Function(function) => function,
                _ => {
                    return Err(mlua::Error::runtime(format!(
                        "there is no function {}()",
                        name.to_string_lossy()
                    )));
                }
            }
        }
        Call::Text => {
            let text = exec.bytes(what);
            if text.len() as u64 > source::MAX_BYTES {
                return Err(mlua::Error::runtime("the chunk is too long"));
            }
            state.compile(text, &String::from_utf8_lossy(text))?
        }
        Call::File => state.file(Path::new(&*String::from_utf8_lossy(exec.bytes(what))))?,
    };
    let args: Variadic<LuaString> = args
        .iter()
        .map(|arg| lua.create_string(exec.bytes(*arg)))
        .collect::<mlua::Result<_>>()?;
    let host = LuaCall {
        state,
        exec: RefCell::new(exec),
        halt: RefCell::new(None),
    };
    let result = lua.scope(|scope| {
        let answer: Function = scope.create_function(|lua, args| host.answer(lua, args))?;
        state.with_host(answer, || function.call::<()>(args))
    });
    *halt = host.halt.into_inner();
    result
}
