//! Runs every seed once, so that what was found once stays mended.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of folders, which are relative to the workspace.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(workspace.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn dialect_survives_its_seeds() {
    let files = files(&[
        "corex-user/fuzz/seeds/dialect",
        "tests/configs/bad",
        "tests/demo",
    ]);
    assert!(files.len() > 30, "{files:?}");
    for file in files {
        crate::dialect(&fs::read(&file).unwrap());
    }
}

#[test]
fn sip_survives_its_seeds() {
    let files = files(&["corex-user/fuzz/seeds/sip"]);
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let message = fs::read(&file).unwrap();
        crate::sip(&message);
        crate::compose(&message);
    }
}

#[test]
fn strict_survives_its_seeds() {
    let files = files(&["corex-user/fuzz/seeds/sip", "corex-user/fuzz/seeds/strict"]);
    assert!(files.len() > 12, "{files:?}");
    for file in files {
        let message = fs::read(&file).unwrap();
        crate::strict(&message);
        // What it does with any of a message's beginnings is defined, too.
        for end in 0..message.len() {
            crate::strict(&message[..end]);
        }
    }
}

#[test]
fn binrpc_survives_its_seeds() {
    let files = files(&["corex-user/fuzz/seeds/binrpc"]);
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        crate::binrpc(&fs::read(&file).unwrap());
    }
}

#[test]
fn json_survives_its_seeds() {
    let files = files(&["corex-user/fuzz/seeds/json"]);
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        crate::json(&fs::read(&file).unwrap());
    }
}

#[test]
fn inline_survives_its_seeds() {
    let files = files(&["corex-user/fuzz/seeds/inline"]);
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        crate::inline(&fs::read(&file).unwrap());
    }
}

type Target = (&'static str, fn(&[u8]));

/// Runs each target on the files of its folder.
fn survive(targets: &[Target]) {
    for (name, target) in targets {
        let files = files(&[&format!("corex-user/fuzz/seeds/{name}")]);
        assert!(files.len() > 2, "{name}: {files:?}");
        for file in files {
            target(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn codecs_survive_their_seeds() {
    survive(&[
        ("deflate", crate::deflate),
        ("zstd", crate::zstd),
        ("text", crate::text),
        ("aead", crate::aead),
        ("device", crate::device),
        ("enrol", crate::enrol),
        ("http", crate::http),
        ("itv", crate::itv),
        ("chain_text", crate::chain_text),
        ("decode_lines", crate::decode_lines),
    ]);
}

#[test]
fn scripts_and_their_files_survive_their_seeds() {
    survive(&[
        ("route", crate::route),
        ("pattern", crate::pattern),
        ("transform", crate::transform),
        ("lua_pattern", crate::lua_pattern),
        ("perl", crate::perl),
        ("lists", crate::lists),
        ("signature", crate::signature),
    ]);
}

#[test]
fn what_comes_from_others_than_phones_survives_its_seeds() {
    survive(&[
        ("answer", crate::answer),
        ("stream", crate::stream),
        ("record", crate::record),
        ("netlink", crate::netlink),
        ("capture", crate::capture),
        ("dns", crate::dns),
    ]);
}
