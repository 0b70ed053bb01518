//! What corex gives up once it is set up.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use super::{engine::PacketEngine, handover::Offer, options::Options};
use crate::{
    kernel::{
        confine::{self, Reach},
        identity::Identity,
        privileges::{self, PrivilegeError},
        root_files::{self, Kept},
        syscalls,
    },
    pipeline::files::FileRoots,
};
use corex_script::{
    Config,
    settings::control::{BinrpcAddress, DatagramAddress},
};

/// Gives up root, every capability, the system calls and the files that nothing here needs: for the
/// calling thread and all that it starts from now on. Scripts reach files in `roots`. What else can't
/// be given up is logged, and corex runs on.
///
/// # Errors
/// When corex can't be who it is to be.
pub fn harden(
    config: &Config,
    options: &Options,
    engine: &PacketEngine,
    offer: Option<&Offer>,
    roots: FileRoots,
) -> anyhow::Result<()> {
    if let Some(identity) = privileges::identity() {
        let how = if identity.is_fallback {
            "; `user` in the configuration, or -u, names another one"
        } else {
            ""
        };
        tracing::info!("goes on as {identity}{how}");
        if let Some(pins) = engine.pins() {
            // Links are pinned anew when a NIC comes back.
            hand_over(pins, identity);
        }
        if let Err(error) = root_files::start(&kept(config, options, engine, offer, &roots)) {
            tracing::warn!(
                "what only root can write stays as it is when corex stops, and what only root can \
                 read can't be read again: {error}"
            );
        }
    }
    match privileges::drop_all() {
        Ok(()) => {}
        Err(error @ PrivilegeError::User(..)) => return Err(error.into()),
        Err(error) => tracing::warn!("{error}"),
    }
    // Perl is started by a thread that was made before.
    if let Err(error) = syscalls::forbid_programs() {
        tracing::warn!("{error}");
    }
    match confine::confine(&reach(config, options, engine, offer, roots)) {
        Ok(true) => tracing::debug!("files are confined by Landlock"),
        Ok(false) => tracing::info!("this kernel has no Landlock: files are not confined"),
        Err(error) => tracing::warn!("files are not confined: {error}"),
    }
    Ok(())
}

/// Gives an instance's folder of pins, with the folders in it, to who corex goes on as.
fn hand_over(pins: &Path, identity: &Identity) {
    let (user, group) = (identity.user().as_raw(), identity.group().as_raw());
    let inside = fs::read_dir(pins).into_iter().flatten().flatten();
    let folders = inside
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    for folder in folders.chain([pins.to_owned()]) {
        if let Err(error) = chown(&folder, Some(user), Some(group)) {
            tracing::warn!("{}: {error}", folder.display());
        }
    }
}

/// What takes root once corex isn't root any more.
fn kept(
    config: &Config,
    options: &Options,
    engine: &PacketEngine,
    offer: Option<&Offer>,
    roots: &FileRoots,
) -> Kept {
    let control = &config.settings.control;
    let mut remove: Vec<PathBuf> = control
        .listeners()
        .into_iter()
        .filter_map(|address| match address {
            BinrpcAddress::UnixStream(path) | BinrpcAddress::UnixDatagram(path) => Some(path),
            _ => None,
        })
        .collect();
    remove.push(control.json.fifo.clone());
    remove.extend(offer.map(|offer| offer.path().to_owned()));
    if let DatagramAddress::Unix(path) = &control.json.datagram {
        remove.push(path.clone());
    }
    let writable = roots.write.iter().filter(|root| !roots.holds_guarded(root));
    Kept {
        replace: options
            .books
            .iter()
            .chain(&config.settings.corex.guard.file)
            .cloned()
            .collect(),
        remove: remove
            .into_iter()
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
        remove_below: engine.pins().map(Path::to_owned).into_iter().collect(),
        write_below: writable.cloned().collect(),
        read_below: roots.guarded.clone(),
        answer_below: vec![std::env::temp_dir(), control.json.fifo_reply_dir.clone()],
        sockets: 0,
    }
}

fn reach(
    config: &Config,
    options: &Options,
    engine: &PacketEngine,
    offer: Option<&Offer>,
    roots: FileRoots,
) -> Reach {
    let settings = &config.settings;
    // Lua's require() looks beside the scripts.
    let beside = |file: &Path| config.folder.join(file).parent().map(Path::to_owned);
    let mut read: Vec<PathBuf> = vec![config.folder.clone()];
    read.extend(settings.lua.load.iter().filter_map(|file| beside(file)));
    read.extend(settings.corex.tls_ca_list.clone());
    // Read again at a reload, when another file may be in its place.
    read.extend(settings.corex.reply_key_file.as_deref().and_then(beside));
    let records = settings.dns.files.iter().map(PathBuf::as_path);
    let lists = settings.corex.guard.files().chain(records);
    read.extend(lists.filter_map(Path::parent).map(Path::to_owned));
    let (guarded, mut write): (Vec<_>, Vec<_>) = roots
        .write
        .iter()
        .cloned()
        .partition(|root| roots.is_guarded(root));
    read.extend(roots.read.into_iter().chain(guarded));
    // The books are written beside their place and then moved there.
    write.extend(
        options
            .books
            .as_deref()
            .and_then(|books| match books.parent() {
                Some(folder) if folder.as_os_str().is_empty() => Some(PathBuf::from(".")),
                folder => folder.map(Path::to_owned),
            }),
    );
    // As above.
    let kept = settings.corex.guard.file.as_deref();
    write.extend(kept.and_then(Path::parent).map(Path::to_owned));
    // Sockets and pins go when corex stops.
    for address in settings.control.listeners() {
        if let BinrpcAddress::UnixStream(path) | BinrpcAddress::UnixDatagram(path) = address {
            write.extend(path.parent().map(Path::to_owned));
        }
    }
    let json = &settings.control.json;
    write.extend(json.fifo.parent().map(Path::to_owned));
    write.push(json.fifo_reply_dir.clone());
    if let DatagramAddress::Unix(path) = &json.datagram {
        write.extend(path.parent().map(Path::to_owned));
    }
    write.extend(
        offer
            .and_then(|offer| offer.path().parent())
            .map(Path::to_owned),
    );
    write.extend(engine.pins().and_then(Path::parent).map(Path::to_owned));
    Reach { read, write }
}
