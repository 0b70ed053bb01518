//! From a configuration to the context that the pipelines work in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;

use crate::{
    guard::Guard,
    hep::Exporter,
    io::{listen, outbox::AsyncOutbox},
    kernel::knobs::Knobs,
    pipeline::{
        Listener, PipelineContext,
        files::{FileRoots, Files},
        fixed::Fixed,
        own_sockets,
    },
    telemetry::trace::Tap,
};
use corex_script::{Config, settings::OwnSockets};
use corex_sip::{alias, compose::ReplyKeys};

/// Makes the context for a configuration; the tap, the exporter, the knobs, the guard and the outbox outlive it.
/// `state_folder`: where scripts write files unless the configuration says otherwise.
/// `reply_keys`: what replies must bring back.
///
/// # Errors
/// When the thread for files can't be started.
#[expect(clippy::too_many_arguments, reason = "what a context is made of")]
pub fn build(
    config: Config,
    tap: Arc<Tap>,
    exporter: Arc<Exporter>,
    listeners: Vec<Listener>,
    knobs: Knobs,
    guard: Guard,
    outbox: AsyncOutbox,
    state_folder: Option<&Path>,
    reply_keys: Option<ReplyKeys>,
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
    let roots = file_roots(&config, state_folder);
    for root in roots.write.iter().filter(|root| roots.is_guarded(root)) {
        tracing::warn!(
            "file_root {}: configuration or scripts lie there, so file_read() may use it and \
             file_write() may not",
            root.display()
        );
    }
    let max_size = config.settings.corex.file_max_size as usize;
    let files = Files::start(roots, max_size).context("start the thread for files")?;
    Ok(PipelineContext {
        fixed: Fixed::new(&config, &listeners),
        config,
        listeners,
        own: Arc::new(own),
        aliases,
        knobs,
        guard,
        tap,
        exporter,
        outbox: Box::new(outbox),
        files,
        reply_keys,
    })
}

/// Where scripts may read and write files.
pub fn file_roots(config: &Config, state_folder: Option<&Path>) -> FileRoots {
    let named = &config.settings.corex.file_roots;
    let (read, write) = if named.is_empty() {
        let state = state_folder.map(Path::to_owned);
        (
            vec![config.folder.clone(), std::env::temp_dir()],
            state.into_iter().collect(),
        )
    } else {
        (named.clone(), named.clone())
    };
    FileRoots {
        read,
        write,
        guarded: sources(config),
    }
}

/// The folders that the configuration is made of: its own, and those of what it includes, of
/// scripts, and of files that it names.
fn sources(config: &Config) -> Vec<PathBuf> {
    let settings = &config.settings;
    let perl = &settings.perl;
    let files = settings
        .lua
        .load
        .iter()
        .chain(&perl.script)
        .chain(&settings.corex.tls_ca_list)
        .chain(&settings.control.http_token_file)
        .chain(&settings.corex.reply_key_file)
        .chain(&settings.codec.files)
        .chain(&settings.dns.files)
        .map(PathBuf::as_path)
        .chain(settings.corex.guard.files());
    let named = [
        &settings.permissions.address_file,
        &settings.permissions.trusted_file,
        &settings.secfilter.file,
    ];
    let named = named.into_iter().flatten().map(Path::new);
    let parent = |file: &Path| config.folder.join(file).parent().map(Path::to_owned);
    let mut folders = vec![config.folder.clone()];
    folders.extend(files.chain(named).filter_map(parent));
    folders.extend(perl.include.iter().map(|path| config.folder.join(path)));
    // As they were opened: from the working directory.
    let included = config.files.iter().filter_map(|file| file.parent());
    folders.extend(included.map(|folder| match folder {
        folder if folder.as_os_str().is_empty() => PathBuf::from("."),
        folder => folder.to_owned(),
    }));
    folders
}
