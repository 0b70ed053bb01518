//! The table of fuzz targets.

use clap::builder::PossibleValue;

/// What is fed with inputs.
#[derive(Debug)]
pub struct Target {
    /// Its name; that of its binary, and of its folders of seeds and corpora.
    pub name: &'static str,
    /// What reads the input.
    about: &'static str,
    /// The file of words to put into inputs, in corex-user/fuzz; empty: none.
    pub words: &'static str,
    /// The longest input, in bytes: what the code can be made to read.
    pub longest: u32,
    /// Folders of inputs to begin with beside its own seeds, relative to the workspace.
    others: &'static [&'static str],
}

/// The one that isn't libFuzzer's: frames through the XDP programs.
pub const XDP: &str = "xdp";

const fn target(
    name: &'static str,
    words: &'static str,
    longest: u32,
    about: &'static str,
) -> Target {
    Target {
        name,
        about,
        words,
        longest,
        others: &[],
    }
}

impl Target {
    const fn and(self, others: &'static [&'static str]) -> Target {
        Target { others, ..self }
    }

    /// Folders of inputs to begin with, relative to the workspace.
    pub fn seeds(&self) -> Vec<String> {
        let own = format!("corex-user/fuzz/seeds/{}", self.name);
        let others = self.others.iter().map(|folder| (*folder).to_owned());
        std::iter::once(own).chain(others).collect()
    }
}

const SIP: &str = "sip.dict";
const CODEC: &str = "codec.dict";
const RPC: &str = "rpc.dict";
const DIALECT: &str = "dialect.dict";
const SIP_SEEDS: &[&str] = &["corex-user/fuzz/seeds/sip"];

/// All of them, in the order in which they are run.
#[rustfmt::skip]
pub const ALL: [Target; 31] = [
    target("dialect", DIALECT, 8192, "The configuration language: parser and checker")
        .and(&["tests/configs/bad", "tests/demo", "xtask/src/bench", "examples"]),
    target("pattern", DIALECT, 512, "Regular expressions of scripts, and texts that they match"),
    target("transform", DIALECT, 1024, "Transformations of scripts, and values"),
    target("lua_pattern", "", 512, "Patterns of Lua scripts, and texts that they match"),
    target("route", SIP, 4096, "SIP messages: the functions of modules, and pseudo-variables"),
    target("sip", SIP, 4096, "SIP messages: every accessor"),
    target("compose", SIP, 4096, "SIP messages: what a stateless proxy sends on").and(SIP_SEEDS),
    target("strict", SIP, 4096, "SIP messages: what forward() asks of them").and(SIP_SEEDS),
    target("stream", SIP, 2048, "Streams: where a message ends, in SIP and HTTP"),
    target("answer", "", 256, "Keep-alives and STUN requests"),
    target("inline", "frame.dict", 8192, "Frames of inline mode: fragments put together, datagrams rewritten"),
    target("signature", SIP, 1024, "The guard's signatures, and messages"),
    target("lists", DIALECT, 2048, "Files of addresses, rules, peers and networks"),
    target("binrpc", RPC, 4096, "binrpc packets, as kamcmd sends them"),
    target("json", RPC, 8192, "JSON-RPC documents"),
    target("perl", "", 1024, "What a Perl process says"),
    target("record", "", 256, "What a store of keys has"),
    target("netlink", "", 512, "Why the kernel refuses a program"),
    target("dns", "", 1024, "What a name server answers"),
    target("capture", "", 4096, "Captures that dictionaries are made of"),
    target("deflate", CODEC, 8192, "Codecs: gzip, zlib and deflate"),
    target("zstd", CODEC, 8192, "Codecs: zstd, without and with a dictionary"),
    target("text", CODEC, 4096, "Codecs: base64, hex and XOR"),
    target("aead", CODEC, 2048, "Codecs: authenticated encryption"),
    target("device", CODEC, 2048, "Codecs: authenticated encryption with the keys of devices"),
    target("enrol", CODEC, 2048, "Enrolments, and what servers answer"),
    target("http", CODEC, 4096, "Codecs: HTTP"),
    target("itv", CODEC, 4096, "Codecs: ITV"),
    target("chain_text", CODEC, 512, "The text of codec chains, and of files of keys"),
    target("decode_lines", CODEC, 4096, "What `corex decode --lines` is asked"),
    target(XDP, "", 0, "Frames through the XDP programs, and through user space (root)"),
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// As the command line has them.
pub fn values() -> Vec<PossibleValue> {
    let values = ALL.iter();
    values
        .map(|target| PossibleValue::new(target.name).help(target.about))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::workspace;

    #[test]
    fn every_target_has_its_program_its_seeds_and_words() {
        let fuzz = workspace().join("corex-user/fuzz");
        for target in ALL.iter().filter(|target| target.name != XDP) {
            let program = format!("fuzz_targets/{}.rs", target.name);
            assert!(fuzz.join(&program).is_file(), "{program}");
            for folder in target.seeds() {
                // compose has those of sip alone.
                let is_there = workspace().join(&folder).is_dir();
                assert!(is_there || target.name == "compose", "{folder}");
            }
            assert!(fuzz.join(target.words).exists(), "{}", target.words);
        }
        let programs = std::fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
        assert_eq!(programs.count(), ALL.len() - 1);
    }
}
