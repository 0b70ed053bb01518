//! The parameters of the module app_lua.

use std::path::PathBuf;

/// What bounds scripts, and which there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LuaSettings {
    /// Script files, in the order in which they are run. Relative ones lie in the configuration's
    /// directory.
    pub load: Vec<PathBuf>,
    /// The most instructions of one call.
    pub max_instructions: u64,
    /// The most KiB of one worker.
    pub max_memory: u32,
    /// The most milliseconds of one call.
    pub max_time: u32,
    /// Whether the scripts may be read again while corex runs.
    pub reload: bool,
}

impl Default for LuaSettings {
    fn default() -> LuaSettings {
        LuaSettings {
            load: Vec::new(),
            max_instructions: 10_000_000,
            max_memory: 65_536,
            max_time: 500,
            reload: true,
        }
    }
}
