//! How the catalogue is divided.

/// A part of the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, clap::ValueEnum)]
pub enum Chapter {
    /// Blocks that run by themselves
    Routes,
    /// Functions that routes can call
    Functions,
    /// Pseudo-variables
    Variables,
    /// Transformations of pseudo-variables
    Transformations,
    /// Core parameters, and what modparam() sets
    Parameters,
    /// Modules
    Modules,
    /// Functions of Kamailio's modules that aren't here, and why
    Absent,
}

impl Chapter {
    /// Whether its entries are told apart by their modules.
    pub fn is_by_module(self) -> bool {
        matches!(self, Self::Parameters | Self::Functions | Self::Absent)
    }
}
