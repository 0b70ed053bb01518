//! The table of commands.

use std::collections::BTreeMap;

use super::command::Command;
use super::commands;
use super::fault::Fault;

/// Commands by name. `system.listMethods` shows them in this order.
pub struct Registry {
    commands: BTreeMap<&'static str, &'static Command>,
}

impl Registry {
    /// All commands that there are.
    pub fn all() -> Registry {
        let commands = commands::ALL
            .iter()
            .flat_map(|table| table.iter())
            .map(|command| (command.name, command))
            .collect();
        Registry { commands }
    }

    /// The command of this name.
    pub fn find(&self, name: &str) -> Option<&'static Command> {
        self.commands.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static Command> {
        self.commands.values().copied()
    }
}

/// The fault for a name that no command has.
pub fn not_found(name: &str) -> Fault {
    Fault::failed(format!("command {name} not found"))
}
