//! What `modparam("codec", …)` sets of the keys of devices.

use std::path::Path;

use corex_codec::SecretFile;
use corex_script::function::PartMistake;
use corex_script::settings::{Hidden, Settings};

use crate::chain::source;
use crate::keystore::StorePlace;

pub(super) fn set_keystore(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    StorePlace::parse(text).map_err(|mistake| PartMistake {
        part: mistake.part,
        what: mistake.what.to_owned(),
        help: "write \"memory\", \"redis://HOST:PORT/DB\", \"rediss://HOST:PORT/DB\" or \
               \"memcached://HOST:PORT\""
            .to_owned(),
    })?;
    settings.codec.devices.keystore = Some(Hidden(text.to_owned()));
    Ok(())
}

pub(super) fn set_password(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    note(settings, text)?;
    settings.codec.devices.password = Some(text.to_owned());
    Ok(())
}

pub(super) fn set_seal(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    note(settings, text)?;
    settings.codec.devices.seals.push(text.to_owned());
    Ok(())
}

pub(super) fn set_enrol_key(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    note(settings, text)?;
    settings.codec.devices.enrol_keys.push(text.to_owned());
    Ok(())
}

/// Checks a source, and notes its file among those that scripts can't write to.
fn note(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    let SecretFile { source, .. } = source(text).map_err(super::parameters::part_mistake)?;
    let path = source.path().map(Path::to_owned);
    settings.codec.files.extend(path);
    Ok(())
}
