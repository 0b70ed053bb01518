//! A Lua state: sandbox, KSR, scripts.
//!
//! LuaJIT runs as an interpreter here: compiled traces run no count hooks, and nothing else could
//! end a loop. Without its library `jit` the compiler is never turned on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{ChunkMode, Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use super::budget::{self, Budget, Ending};
use super::dispatch::Op;
use super::names::{Callable, callables};
use super::source::{self, Source};
use super::{log, pattern};
use corex_script::function::Modules;
use corex_script::settings::LuaSettings;

/// How many times as much as a call the scripts may take while they are loaded.
const LOADING: u64 = 10;

/// What Lua states are made of: all that one makes hold the same scripts.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub settings: LuaSettings,
    /// The modules whose functions scripts can call.
    pub modules: Modules,
    /// Where the configuration is.
    pub folder: PathBuf,
    /// Where scripts find others, in this order.
    pub folders: Vec<PathBuf>,
    pub sources: Vec<Source>,
}

/// A Lua state with its scripts.
pub(super) struct State {
    pub lua: Lua,
    pub budget: Arc<Budget>,
    /// The modules whose functions scripts can call.
    pub modules: Modules,
    pub callables: Vec<Callable>,
    pub settings: LuaSettings,
    /// Where the configuration is.
    folder: PathBuf,
    enter: Function,
    leave: Function,
}

impl Recipe {
    /// A state in which the scripts have been run.
    ///
    /// # Errors
    /// Those of the scripts.
    pub fn make(&self) -> mlua::Result<State> {
        self.make_or(|_, error| error)
    }

    /// As [`Self::make`]; `wrong` makes the error, and is told the script's place in `sources`.
    ///
    /// # Errors
    /// That of the first script that fails.
    pub fn make_or<E>(&self, wrong: impl Fn(usize, mlua::Error) -> E) -> Result<State, E> {
        let state = self.empty().map_err(|error| wrong(0, error))?;
        for (at, source) in self.sources.iter().enumerate() {
            state.begin(Instant::now(), LOADING);
            let chunk = state.compile(&source.text, &format!("@{}", source.name));
            chunk
                .and_then(|chunk| chunk.call::<()>(()))
                .map_err(|error| wrong(at, error))?;
        }
        state.budget.set_ending(Ending::None);
        Ok(state)
    }

    fn empty(&self) -> mlua::Result<State> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::BIT | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        lua.set_memory_limit(self.settings.max_memory as usize * 1024)?;
        let budget = Arc::new(Budget::new());
        let rust = self.functions(&lua, &budget)?;
        let (enter, leave, host): (Function, Function, Function) = lua
            .load(include_str!("sandbox.lua"))
            .set_name("=[corex]")
            .call(&rust)?;
        let callables = callables(self.modules);
        let rows = lua.create_table()?;
        for (number, callable) in callables.iter().enumerate() {
            rows.push([
                Value::String(lua.create_string(callable.module)?),
                Value::String(lua.create_string(callable.name)?),
                Value::Integer(number as i64),
            ])?;
        }
        lua.load(include_str!("ksr.lua"))
            .set_name("=[corex KSR]")
            .call::<()>((rust, host, Op::table(&lua)?, rows))?;
        budget::watch(&lua, &budget)?;
        Ok(State {
            lua,
            budget,
            modules: self.modules,
            callables,
            settings: self.settings.clone(),
            folder: self.folder.clone(),
            enter,
            leave,
        })
    }

    /// What the Lua part of the sandbox calls.
    fn functions(&self, lua: &Lua, budget: &Arc<Budget>) -> mlua::Result<Table> {
        let rust = lua.create_table()?;
        rust.set("max_source", source::MAX_BYTES)?;
        let places = self.folders.iter().map(|folder| {
            let folder = folder.display();
            format!("{folder}/?.lua;{folder}/?/init.lua")
        });
        rust.set("path", places.collect::<Vec<_>>().join(";"))?;
        let of_ending = Arc::clone(budget);
        rust.set(
            "ending",
            lua.create_function(move |_, ()| Ok(of_ending.ending() != Ending::None))?,
        )?;
        rust.set(
            "traceback",
            lua.create_function(|lua, (value, level): (Value, Option<usize>)| {
                let text = match &value {
                    Value::Nil => None,
                    Value::String(_) | Value::Number(_) | Value::Integer(_) => {
                        Some(value.to_string()?)
                    }
                    // As in Lua: what is no text stays as it is.
                    _ => return Ok(value),
                };
                let traceback = lua.traceback(text.as_deref(), level.unwrap_or(1).min(1_000))?;
                Ok(Value::String(traceback))
            })?,
        )?;
        rust.set("log", lua.create_function(log::log)?)?;
        rust.set("reason", lua.create_function(log::reason)?)?;
        let folders = self.folders.clone();
        rust.set(
            "read_module",
            lua.create_function(move |lua, name: String| {
                let found = source::module_paths(&name)
                    .and_then(|paths| source::read_first(&folders, &paths));
                source_or_reason(lua, found)
            })?,
        )?;
        let folders = self.folders.clone();
        rust.set(
            "read_file",
            lua.create_function(move |lua, path: String| {
                let found = source::inner_path(&path)
                    .and_then(|path| source::read_first(&folders, &[path]));
                source_or_reason(lua, found)
            })?,
        )?;
        pattern::register(lua, &rust, budget)?;
        Ok(rust)
    }
}

/// Text and name, or nil and what is wrong.
fn source_or_reason(lua: &Lua, found: Result<Source, String>) -> mlua::Result<MultiValue> {
    let (first, second) = match found {
        Ok(source) => (Value::String(lua.create_string(source.text)?), source.name),
        Err(reason) => (Value::Nil, reason),
    };
    Ok([first, Value::String(lua.create_string(second)?)]
        .into_iter()
        .collect())
}

impl State {
    /// Bytes that its scripts hold.
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Begins an outermost call, with so many times the budget of one.
    pub fn begin(&self, now: Instant, times: u64) {
        let instructions = self.settings.max_instructions.saturating_mul(times);
        let time = u64::from(self.settings.max_time).saturating_mul(times);
        self.budget
            .begin(now, instructions, Duration::from_millis(time));
    }

    /// Whether what scripts hold leaves too little for the next call. LuaJIT collects no garbage
    /// when memory runs out, so that is done here where there is little left.
    pub fn is_crowded(&self) -> bool {
        let most = self.settings.max_memory as usize * 1024 / 4 * 3;
        self.lua.used_memory() > most
            && (self.lua.gc_collect().is_err() || self.lua.used_memory() > most)
    }

    /// A chunk, compiled. Bytecode isn't accepted.
    pub fn compile(&self, text: &[u8], name: &str) -> mlua::Result<Function> {
        // As `lua` itself does, for scripts that are run by `#!`.
        let text = match text.first() {
            Some(b'#') => text.get(memchr::memchr(b'\n', text).unwrap_or(text.len())..),
            _ => Some(text),
        };
        self.lua
            .load(text.unwrap_or_default())
            .set_name(name)
            .set_mode(ChunkMode::Text)
            .into_function()
    }

    /// A script file of the configuration's, compiled.
    pub fn file(&self, path: &Path) -> mlua::Result<Function> {
        let source = source::read(&self.folder, path).map_err(mlua::Error::runtime)?;
        self.compile(&source.text, &format!("@{}", source.name))
    }

    /// Runs something while `host` answers what scripts ask for.
    pub fn with_host<R>(
        &self,
        host: Function,
        run: impl FnOnce() -> mlua::Result<R>,
    ) -> mlua::Result<R> {
        self.enter.call::<()>(host)?;
        let result = run();
        let left = self.leave.call::<()>(());
        let result = result?;
        left?;
        Ok(result)
    }
}
