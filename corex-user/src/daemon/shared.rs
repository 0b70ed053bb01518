//! From a configuration to what the workers go by.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;

use crate::{
    io::{courier::Courier, listen},
    kernel::knobs::Knobs,
    pipeline::{Listener, Shared, files::Files},
    script::Config,
    telemetry::trace::Tap,
};
use corex_sip::alias;

/// All that the workers go by.
///
/// # Errors
/// When the thread for files can't be started.
pub fn shared(
    config: Config,
    tap: Arc<Tap>,
    listeners: Vec<Listener>,
    knobs: Knobs,
    courier: Courier,
) -> anyhow::Result<Shared> {
    let own = listen::entries(&listeners);
    let aliases = alias::Table::new(
        own.iter().chain(&config.settings.alias),
        &config.settings.corex.alias_subdomains,
    );
    let files = start_files(&config)?;
    Ok(Shared {
        config,
        listeners,
        aliases,
        knobs,
        tap,
        carrier: Box::new(courier),
        files,
    })
}

/// Where scripts may read and write files.
pub fn file_roots(config: &Config) -> Vec<PathBuf> {
    let roots = &config.settings.corex.file_roots;
    if roots.is_empty() {
        vec![config.folder.clone(), std::env::temp_dir()]
    } else {
        roots.clone()
    }
}

fn start_files(config: &Config) -> anyhow::Result<Files> {
    let max_size = config.settings.corex.file_max_size as usize;
    Files::start(file_roots(config), max_size).context("start the thread for files")
}
