//! How the catalogue is divided.

/// A part of the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, clap::ValueEnum)]
pub enum Chapter {
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
}
