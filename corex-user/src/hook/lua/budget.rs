//! How much one call may take: instructions, steps of pattern matching, time.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mlua::{HookTriggers, Lua, VmState};

/// After so many instructions the budget is looked at. One instruction may copy as many bytes as
/// there may be memory, so this is how coarse the bound in time is.
const INSTRUCTIONS: u32 = 100;

/// Why everything that is called, `pcall` included, is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Nothing ends.
    None,
    /// The budget is spent.
    Spent,
    /// `KSR.x.exit()` and what ends the configuration's script as well.
    Wanted,
}

/// What one outermost call has left. One thread uses it; a Lua state that may be handed to another
/// thread takes nothing that can't be.
#[derive(Debug)]
pub(super) struct Budget {
    instructions: AtomicU64,
    /// In nanoseconds since `origin`.
    deadline: AtomicU64,
    origin: Instant,
    ending: AtomicU8,
}

impl Budget {
    pub fn new() -> Budget {
        Budget {
            instructions: AtomicU64::new(u64::MAX),
            deadline: AtomicU64::new(u64::MAX),
            origin: Instant::now(),
            ending: AtomicU8::new(0),
        }
    }

    /// Begins an outermost call.
    pub fn begin(&self, now: Instant, instructions: u64, time: Duration) {
        let deadline = now.saturating_duration_since(self.origin) + time;
        let nanoseconds = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        self.deadline.store(nanoseconds, Relaxed);
        self.instructions.store(instructions, Relaxed);
        self.set_ending(Ending::None);
    }

    pub fn ending(&self) -> Ending {
        match self.ending.load(Relaxed) {
            1 => Ending::Spent,
            2 => Ending::Wanted,
            _ => Ending::None,
        }
    }

    pub fn set_ending(&self, ending: Ending) {
        let code = match ending {
            Ending::None => 0,
            Ending::Spent => 1,
            Ending::Wanted => 2,
        };
        self.ending.store(code, Relaxed);
    }

    /// How many instructions, or steps of something that takes about as long, are left.
    pub fn left(&self) -> u64 {
        self.instructions.load(Relaxed)
    }

    /// Takes steps off the budget.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn spend(&self, steps: u64) -> Result<(), Spent> {
        let left = self.left();
        self.instructions.store(left.saturating_sub(steps), Relaxed);
        if left < steps || self.is_late() {
            self.set_ending(Ending::Spent);
            return Err(Spent);
        }
        Ok(())
    }

    fn is_late(&self) -> bool {
        let now = self.origin.elapsed().as_nanos();
        now > u128::from(self.deadline.load(Relaxed))
    }
}

/// A call has taken all that it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it takes too long (max_instructions, max_time)")]
pub struct Spent;

/// Lets the state end calls whose budget is spent.
pub(super) fn watch(lua: &Lua, budget: &std::sync::Arc<Budget>) -> mlua::Result<()> {
    let budget = std::sync::Arc::clone(budget);
    let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS);
    lua.set_global_hook(triggers, move |_, _| {
        budget
            .spend(INSTRUCTIONS.into())
            .map_err(mlua::Error::external)?;
        Ok(VmState::Continue)
    })
}
