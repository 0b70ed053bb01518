//! docs/maps.md: the pinned maps, for those who look at them with bpftool.

use std::fmt::Write as _;

use corex_common::shown::SHOWN;

const INTRODUCTION: &str = "\
# The maps

With AF_XDP, what corex counts and goes by is in eBPF maps, pinned in
`/sys/fs/bpf/corex/INSTANCE/` under these names. INSTANCE is what `corex run --instance` says,
else the configuration's file without its ending. They carry BTF, so bpftool prints every field
by its name:

    bpftool map dump pinned /sys/fs/bpf/corex/edge/COUNTERS
    bpftool map dump pinned /sys/fs/bpf/corex/edge/SOCKETS

What the programs count has an entry for each CPU: their sum counts.

`min_msg_len` is the second number of CONFIG. To make it 200 (0xc8) at once, for the XDP program
and the workers, read the others first and write all five (32-bit, little-endian):

    bpftool map lookup pinned /sys/fs/bpf/corex/edge/CONFIG key 0 0 0 0
    bpftool map update pinned /sys/fs/bpf/corex/edge/CONFIG key hex 00 00 00 00 \\
        value hex 20 00 00 00  c8 00 00 00  … … … …  … … … …  … … … …

`corex list maps` prints this document.
";

/// The document.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for map in SHOWN {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n## {} ({})\n\n{}\n\n| | field | |\n|---|---|---|\n",
            map.name, map.kind, map.doc
        );
        for (name, doc) in map.key {
            let _ = writeln!(text, "| key | {} | {doc} |", field(name));
        }
        for (name, doc) in map.value.0.iter().zip(map.value.1) {
            let doc = doc.trim().replace("[`", "`").replace("`]", "`");
            let _ = writeln!(text, "| value | {} | {doc} |", field(name));
        }
    }
    text
}

/// A map may hold a mere number.
fn field(name: &str) -> String {
    match name {
        "" => "an integer".to_owned(),
        name => format!("`{name}`"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_is_what_the_tables_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/maps.md");
        let document = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            document == super::markdown(),
            "docs/maps.md isn't what the tables say: \
             run `cargo run --bin corex list maps > docs/maps.md`"
        );
    }
}
