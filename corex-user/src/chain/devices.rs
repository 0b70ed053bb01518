//! What a configuration says of the keys of devices: where they are kept, and what devices enrol with.

use std::sync::Arc;

use corex_codec::enrol::{Enroller, ServerKey};
use corex_codec::{Mistake, Secret, SecretFile};
use corex_script::settings::Settings;
use zeroize::Zeroizing;

use super::{Unusable, secret_reader};
use crate::keystore::{KeyMaterial, StorePlace};

/// `modparam` of the module codec that says where keys of devices are kept.
pub const KEYSTORE: &str = "keystore";
/// The one that says where the password for that is.
pub const KEYSTORE_PASSWORD: &str = "keystore_password";
/// The one that names a key that entries there are sealed with.
pub const KEYSTORE_KEY: &str = "keystore_key";
/// The one that names what devices enrol with.
pub const ENROL_KEY: &str = "enrol_key";

const HELP: &str = "see docs/enrolment.md on keys to enrol with";

/// So many seconds may the clocks of device and server differ.
const CLOCK: u64 = 300;

/// Reads `[ID:]SOURCE`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn source(text: &str) -> Result<SecretFile, Mistake> {
    const NAME: &str = "secret=";
    SecretFile::parse(&format!("{NAME}{text}")).map_err(|mistake| Mistake {
        at: mistake.at.start.saturating_sub(NAME.len())..mistake.at.end.saturating_sub(NAME.len()),
        help: "its form is [ID:]file:PATH, env:VARIABLE or credential:NAME, as in \
               \"7:file:/etc/corex/enrol-7.key\""
            .to_owned(),
        ..mistake
    })
}

fn read(parameter: &'static str, at: usize, text: &str) -> Result<(u8, Secret), Unusable> {
    let file = source(text).map_err(|mistake| Unusable::part(parameter, at, mistake))?;
    let secret = file.read(&secret_reader()).map_err(|error| {
        let what = format!("it can't be read: {error}");
        Unusable::new(
            parameter,
            at,
            what,
            "see docs/codecs.md on where keys may be",
        )
    })?;
    Ok((file.id, secret))
}

fn of_32_bytes(
    parameter: &'static str,
    at: usize,
    secret: &Secret,
) -> Result<Zeroizing<[u8; 32]>, Unusable> {
    secret.of_32_bytes().ok_or_else(|| {
        let what = "it isn't 32 bytes, plain, in hexadecimal digits or in base64".to_owned();
        Unusable::new(parameter, at, what, "make one: openssl rand -hex 32")
    })
}

/// Reads the secrets; `is_used`: a chain has keys of devices.
pub(super) fn material(settings: &Settings, is_used: bool) -> Result<KeyMaterial, Unusable> {
    let devices = &settings.codec.devices;
    let place = match &devices.keystore {
        // It was read when it was set.
        Some(text) => StorePlace::parse(&text.0).unwrap_or(StorePlace::Memory),
        None => StorePlace::Memory,
    };
    let password = match &devices.password {
        Some(text) => {
            let (_, secret) = read(KEYSTORE_PASSWORD, 0, text)?;
            let text = std::str::from_utf8(secret.bytes()).map_err(|_| {
                let what = "it isn't UTF-8".to_owned();
                Unusable::new(KEYSTORE_PASSWORD, 0, what, "take another password")
            })?;
            Some(Zeroizing::new(
                text.trim_end_matches(['\r', '\n']).to_owned(),
            ))
        }
        None => None,
    };
    let mut seals: Vec<(u8, Zeroizing<[u8; 32]>)> = Vec::new();
    for (at, text) in devices.seals.iter().enumerate() {
        let (id, secret) = read(KEYSTORE_KEY, at, text)?;
        if seals.iter().any(|(other, _)| *other == id) {
            let what = format!("there is a key of ID {id} already");
            return Err(Unusable::new(
                KEYSTORE_KEY,
                at,
                what,
                "write another ID in front: ID:SOURCE",
            ));
        }
        seals.push((id, of_32_bytes(KEYSTORE_KEY, at, &secret)?));
    }
    let mut enrol_keys = Vec::new();
    for (at, text) in devices.enrol_keys.iter().enumerate() {
        let (id, secret) = read(ENROL_KEY, at, text)?;
        let key = ServerKey::new(&secret);
        let key = key.map_err(|error| Unusable::new(ENROL_KEY, at, error.to_string(), HELP))?;
        enrol_keys.push(key);
        if enrol_keys.iter().filter(|key| key.id() == id).count() > 1 {
            let what = format!("there is a key of ID {id} already");
            return Err(Unusable::new(
                ENROL_KEY,
                at,
                what,
                "write another ID in front: ID:SOURCE",
            ));
        }
    }
    // Their IDs differ.
    let enroller = (!enrol_keys.is_empty())
        .then(|| Enroller::new(enrol_keys, CLOCK, devices.expires))
        .flatten()
        .map(Arc::new);
    Ok(KeyMaterial {
        place,
        password,
        ca: settings.corex.tls_ca_list.clone(),
        seals,
        max_sessions: devices.max_sessions,
        enroller,
        enrol_rate: devices.enrol_rate,
        is_used,
    })
}
