//! What `modparam("codec", …)` sets.

use std::path::Path;

use corex_codec::{ChainSpec, Dictionary, Mistake, SecretFile};
use corex_script::function::{Parameter, ParameterKind, PartMistake};
use corex_script::settings::{NamedText, Settings};

use super::devices;
use crate::chain::{CHAIN, DICTIONARY, ENROL_KEY, KEY, KEYSTORE, KEYSTORE_KEY, KEYSTORE_PASSWORD};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "max_output",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 65_535,
            set: |settings, value| settings.codec.max_output = value as u32,
        },
        doc: "The most bytes that a transformation may yield, and each codec of a chain. Default: \
              65535.",
    },
    Parameter {
        name: LEVEL,
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 12,
            set: |settings, value| {
                settings.codec.of_codecs.insert(LEVEL, value);
            },
        },
        doc: "Compression level of gzip, where that is used by its name alone: 0 (none), 1 \
              (fastest) to 12 (slowest). Default: 6.",
    },
    Parameter {
        name: CHAIN,
        aliases: &[],
        kind: ParameterKind::Notation { set: set_chain },
        doc: "NAME=CODEC(ARGUMENTS) | CODEC | …: codecs that run one after the other, from left to \
              right to encode, from right to left to decode, as in \"edge=zstd(sip) | \
              aead(chacha20-poly1305, key=edge) | http(post, host=cdn.example.org)\". \
              NAME(client)=… makes the other side's: a phone's, or a proxy's towards another one. \
              docs/codecs.md has the codecs and their arguments. May be set many times.",
    },
    Parameter {
        name: KEY,
        aliases: &[],
        kind: ParameterKind::Notation { set: set_key },
        doc: "NAME=[ID:]SOURCE: a secret that chains name; SOURCE is file:/PATH (mode 0600, of root \
              or the user that runs corex), env:VARIABLE, or credential:NAME (systemd's). Of \
              several lines with one NAME all decode, told apart by their IDs, 0 to 255, and the \
              first encodes; without one the ID is 1. Read at the start and when the configuration \
              is reloaded.",
    },
    Parameter {
        name: DICTIONARY,
        aliases: &[],
        kind: ParameterKind::Notation {
            set: set_dictionary,
        },
        doc: "NAME=/PATH: a dictionary that zstd(NAME) of a chain uses, as `corex dictionary train` \
              or `zstd --train` makes it. Of several lines with one NAME all decode, and the first \
              encodes. `sip` comes with corex.",
    },
    Parameter {
        name: KEYSTORE,
        aliases: &[],
        kind: ParameterKind::Notation {
            set: devices::set_keystore,
        },
        doc: "Where the keys of devices are kept that key=device of a chain stands for: \"memory\"; \
              or, for instances that share them, \"redis://USER:PASSWORD@HOST:PORT/DB\", \
              \"rediss://…\" within TLS, or \"memcached://HOST:PORT\". Default: \"memory\".",
    },
    Parameter {
        name: KEYSTORE_PASSWORD,
        aliases: &[],
        kind: ParameterKind::Notation {
            set: devices::set_password,
        },
        doc: "SOURCE: the password for redis, from where keys may be (see `key`), instead of one in \
              the line of keystore.",
    },
    Parameter {
        name: KEYSTORE_KEY,
        aliases: &[],
        kind: ParameterKind::Notation {
            set: devices::set_seal,
        },
        doc: "[ID:]SOURCE: a key of 32 bytes that all instances have. What they put into redis or \
              memcached is sealed with it, so that nobody else reads or makes keys there. Of \
              several lines all open, and the first seals.",
    },
    Parameter {
        name: "max_sessions",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 1_000_000,
            set: |settings, value| settings.codec.devices.max_sessions = value as u32,
        },
        doc: "The most keys of devices that this process knows, of about 4 KiB each. Beyond that, \
              those go that were silent for longest: with the keystore \"memory\" they must enrol \
              again. Default: 100000.",
    },
    Parameter {
        name: "session_expires",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 60,
            max: 31_536_000,
            set: |settings, value| settings.codec.devices.expires = value as u32,
        },
        doc: "How long a device's key is good, in seconds: before that it must enrol with another \
              one. Default: 86400.",
    },
    Parameter {
        name: ENROL_KEY,
        aliases: &[],
        kind: ParameterKind::Notation {
            set: devices::set_enrol_key,
        },
        doc: "[ID:]SOURCE: what devices enrol with, as `corex keys` makes it: a private X25519 key \
              (HPKE, what new deployments should use), a private RSA key (RSA-OAEP), or a secret of \
              32 bytes that devices have, too. Of several lines all are good, told apart by their \
              IDs.",
    },
    Parameter {
        name: "enrol_rate",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 10_000,
            set: |settings, value| settings.codec.devices.enrol_rate = value as u32,
        },
        doc: "Enrolments of one source, an IPv4 address or an IPv6 /64, that are looked at each \
              second; at once, twice as many. What is more is dropped. Default: 5.",
    },
    Parameter {
        name: "on_error",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.codec.passes_errors = match text {
                    "drop" => false,
                    "pass" => true,
                    _ => return Err("it is neither \"drop\" nor \"pass\"".to_owned()),
                };
                Ok(())
            },
            help: "write \"drop\" or \"pass\"",
        },
        doc: "What becomes of a message that the chain of codec_in can't decode. \"drop\": it is \
              dropped, and counted. \"pass\": it goes on as it came, with the reason in \
              $codec_error. What can't be encoded is always dropped. Default: \"drop\".",
    },
];

const LEVEL: &str = "gzip_level";

fn set_chain(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    let spec = ChainSpec::parse(text).map_err(part_mistake)?;
    let all = &mut settings.codec.chains;
    if all.iter().any(|other| other.name == spec.name()) {
        return Err(PartMistake {
            part: 0..text.len(),
            what: format!("there is a chain `{}` already", spec.name()),
            help: "give it another name, or take one of the two lines out".to_owned(),
        });
    }
    if spec.name() == "none" {
        return Err(PartMistake {
            part: 0..text.len(),
            what: "`none` stands for no chain in codec_in and codec_out".to_owned(),
            help: "give it another name".to_owned(),
        });
    }
    all.push(NamedText {
        name: spec.name().to_owned(),
        text: text.to_owned(),
    });
    Ok(())
}

fn set_key(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    let file = SecretFile::parse(text).map_err(part_mistake)?;
    let path = file.source.path().map(Path::to_owned);
    settings.codec.files.extend(path);
    settings.codec.keys.push(NamedText {
        name: file.name,
        text: text.to_owned(),
    });
    Ok(())
}

fn set_dictionary(settings: &mut Settings, text: &str) -> Result<(), PartMistake> {
    let mistake = |what: &str| {
        Err(PartMistake {
            part: 0..text.len(),
            what: what.to_owned(),
            help: "its form is NAME=/PATH, as in \"fleet=/etc/corex/fleet.dict\"".to_owned(),
        })
    };
    let Some((name, path)) = text.split_once('=') else {
        return mistake("it names no file");
    };
    let (name, path) = (name.trim(), path.trim());
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(is_good) {
        return mistake("a dictionary's name has letters, digits, - and _");
    }
    if Dictionary::shipped(name).is_some() {
        return mistake("a dictionary of that name comes with corex");
    }
    if !path.starts_with('/') {
        return mistake("the path must be absolute");
    }
    settings.codec.files.push(path.into());
    settings.codec.dictionaries.push(NamedText {
        name: name.to_owned(),
        text: path.to_owned(),
    });
    Ok(())
}

pub(super) fn part_mistake(mistake: Mistake) -> PartMistake {
    PartMistake {
        part: mistake.at,
        what: mistake.what,
        help: mistake.help,
    }
}
