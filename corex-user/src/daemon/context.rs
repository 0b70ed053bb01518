//! From a configuration to the context that the pipelines work in.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;

use crate::{
    io::{listen, outbox::AsyncOutbox},
    kernel::knobs::Knobs,
    pipeline::{Listener, PipelineContext, files::Files},
    telemetry::trace::Tap,
};
use corex_script::Config;
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
    let own = listen::entries(&listeners);
    let aliases = alias::Table::new(
        own.iter().chain(&config.settings.alias),
        &config.settings.corex.alias_subdomains,
    );
    let files = start_files(&config)?;
    Ok(PipelineContext {
        config,
        listeners,
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
