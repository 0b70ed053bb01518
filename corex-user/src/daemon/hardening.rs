//! What corex gives up once it is set up.

use std::path::{Path, PathBuf};

use super::{engine::PacketEngine, options::Options};
use crate::{
    kernel::{
        confine::{self, Reach},
        privileges,
    },
    pipeline::files::FileRoots,
};
use corex_script::{
    Config,
    settings::control::{BinrpcAddress, DatagramAddress},
};

/// Gives up every capability, and the files that nothing here needs: for the calling thread and
/// all that it starts from now on. Scripts reach files in `roots`. What can't be given up is logged, and corex runs on.
pub fn harden(config: &Config, options: &Options, engine: &PacketEngine, roots: FileRoots) {
    if let Err(error) = privileges::drop_all() {
        tracing::warn!("{error}");
    }
    match confine::confine(&reach(config, options, engine, roots)) {
        Ok(true) => tracing::debug!("files are confined by Landlock"),
        Ok(false) => tracing::info!("this kernel has no Landlock: files are not confined"),
        Err(error) => tracing::warn!("files are not confined: {error}"),
    }
}

fn reach(config: &Config, options: &Options, engine: &PacketEngine, roots: FileRoots) -> Reach {
    let settings = &config.settings;
    // Lua's require() looks beside the scripts.
    let beside = |file: &Path| config.folder.join(file).parent().map(Path::to_owned);
    let mut read: Vec<PathBuf> = vec![config.folder.clone()];
    read.extend(settings.lua.load.iter().filter_map(|file| beside(file)));
    read.extend(settings.corex.tls_ca_list.clone());
    // Read again at a reload, when another file may be in its place.
    read.extend(settings.corex.reply_key_file.as_deref().and_then(beside));
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
    write.extend(engine.pins().and_then(Path::parent).map(Path::to_owned));
    Reach { read, write }
}
