//! From a configuration to the context that the pipelines work in.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;

use crate::{
    io::{listen, outbox::AsyncOutbox},
    kernel::knobs::Knobs,
    pipeline::{Listener, PipelineContext, files::Files, own_sockets},
    telemetry::trace::Tap,
};
use corex_script::{Config, settings::OwnSockets};
use corex_sip::alias;

/// Makes the context for a configuration; the tap, the knobs and the outbox outlive it.
///
/// # Errors
/// When the thread for files can't be started.
pub fn build(
    config: Config,
    tap: Arc<Tap>,
    listeners: Vec<Listener>,
    knobs: Knobs,
    outbox: AsyncOutbox,
) -> anyhow::Result<PipelineContext> {
    let entries = listen::entries(&listeners);
    let aliases = alias::Table::new(
        entries.iter().chain(&config.settings.alias),
        &config.settings.corex.alias_subdomains,
    );
    let own = if config.settings.corex.inline.is_on {
        // The addresses are the server's.
        OwnSockets::default()
    } else {
        own_sockets(&listeners)
    };
    let files = start_files(&config)?;
    Ok(PipelineContext {
        config,
        listeners,
        own: Arc::new(own),
        aliases,
        knobs,
        tap,
        outbox: Box::new(outbox),
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
