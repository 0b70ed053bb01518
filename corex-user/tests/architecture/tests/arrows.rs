//! Arrows of small workspaces, and what the rules say of them.

use crate::{
    document,
    modules::{Files, Modules},
    rules,
};

const HEAD: &str = "| Room | Its one job | Knows |\n|---|---|---|\n";

/// The crate corex-user with the given files below `src/`, and the crate corex-sip.
fn corex(files: &[(&str, &str)]) -> Modules {
    let fixed = [
        ("corex-user/Cargo.toml", "[package]\nname = \"corex-user\""),
        (
            "corex-user/sip/Cargo.toml",
            "[package]\nname = \"corex-sip\"",
        ),
        ("corex-user/sip/src/lib.rs", "pub mod view;"),
        ("corex-user/sip/src/view.rs", ""),
    ];
    let mut all: Files = fixed
        .iter()
        .map(|(file, text)| (file.to_string(), text.to_string()))
        .collect();
    for (file, text) in files {
        all.insert(format!("corex-user/src/{file}"), text.to_string());
    }
    Modules::read(&all)
}

/// What is wrong with the arrows, by a table whose rows are given as `path: knows`.
fn faults(modules: &Modules, rows: &[&str]) -> String {
    let rows = rows.iter().map(|row| {
        let (path, knows) = row.split_once(": ").expect("a path and what it knows");
        format!("| `{path}` | job | {knows} |\n")
    });
    let document = format!("text\n\n{HEAD}{}\ntext", rows.collect::<String>());
    let rooms = document::rooms(&document).expect("the table can be read");
    let faults = [
        rules::known(modules, &rooms),
        rules::table(&rooms),
        rules::rows(modules, &rooms),
    ];
    faults.concat().join("\n")
}

const IO_AND_RPC: [&str; 4] = [
    "corex-user/sip/: nothing",
    "corex-user/src/*.rs: nothing",
    "corex-user/src/io/: nothing",
    "corex-user/src/rpc/: nothing",
];

#[test]
fn an_arrow_that_the_table_lacks_is_named_with_its_place() {
    for (text, place) in [
        ("use crate::rpc::Call;", "1: crate::rpc::Call"),
        ("\nuse crate::{rpc};", "2: crate::rpc"),
        (
            "fn f() {\n crate::rpc::Call::new() }",
            "2: crate::rpc::Call::new",
        ),
        ("use super::rpc::Call;", "1: super::rpc::Call"),
        (
            "mod m { fn f() { super::super::rpc::g() } }",
            "1: super::super::rpc::g",
        ),
    ] {
        let modules = corex(&[
            ("lib.rs", "mod io; mod rpc;"),
            ("io/mod.rs", text),
            ("rpc/mod.rs", "pub struct Call;"),
        ]);
        let faults = faults(&modules, &IO_AND_RPC);
        let begin = "io -> rpc, but docs/architecture.md doesn't say that io knows rpc:\n    \
                     corex-user/src/io/mod.rs:";
        assert!(
            faults.starts_with(&format!("{begin}{place}\n")),
            "{text}: {faults}"
        );
    }
}

#[test]
fn what_one_room_knows_is_not_known_to_others() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc; mod top;"),
        ("io/mod.rs", "use crate::rpc::Call;"),
        ("rpc/mod.rs", ""),
        ("top/mod.rs", "use crate::rpc::Call;"),
    ]);
    let rows = [IO_AND_RPC.as_slice(), &["corex-user/src/top/: rpc"]].concat();
    let faults = faults(&modules, &rows);
    assert!(faults.starts_with("io -> rpc, but"), "{faults}");
    assert!(!faults.contains("top -> rpc"), "{faults}");
}

#[test]
fn what_stands_in_the_crates_root_belongs_to_its_room() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc; pub const MOST: u8 = 1;"),
        ("io/mod.rs", "use crate::MOST;"),
        ("rpc/mod.rs", ""),
    ]);
    let faults = faults(&modules, &IO_AND_RPC);
    assert!(faults.starts_with("io -> corex, but"), "{faults}");
}

#[test]
fn what_is_no_import_draws_no_arrow() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc;"),
        (
            "io/mod.rs",
            "//! [`crate::rpc::Call`]
            #[cfg(test)] mod tests;
            #[cfg(test)] use crate::rpc::Call;
            pub(in crate::rpc) const TEXT: &str = \"crate::rpc::Call\";",
        ),
        ("io/tests.rs", "use crate::rpc::Call;"),
        ("rpc/mod.rs", ""),
    ]);
    assert_eq!(faults(&modules, &IO_AND_RPC), "");
}

#[test]
fn other_crates_are_rooms() {
    let modules = corex(&[
        ("lib.rs", "mod io;"),
        ("io/mod.rs", "use corex_sip::view::View;"),
    ]);
    let rows = [
        "corex-user/sip/: nothing",
        "corex-user/src/*.rs: nothing",
        "corex-user/src/io/: sip",
    ];
    assert_eq!(faults(&modules, &rows), "");
}

#[test]
fn a_reexport_of_the_crates_root_leads_to_the_room() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc; pub use rpc::Call;"),
        ("io/mod.rs", "use crate::Call;"),
        ("rpc/mod.rs", "pub struct Call;"),
    ]);
    let rows = [
        "corex-user/sip/: nothing",
        "corex-user/src/*.rs: rpc",
        "corex-user/src/io/: rpc",
        "corex-user/src/rpc/: nothing",
    ];
    assert_eq!(faults(&modules, &rows), "");
}

#[test]
fn what_the_table_says_too_much_is_named() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc;"),
        ("io/mod.rs", ""),
        ("rpc/mod.rs", ""),
    ]);
    let rows = [
        "corex-user/sip/: nothing",
        "corex-user/src/*.rs: nothing",
        "corex-user/src/io/: rpc, telephone",
        "corex-user/src/rpc/: nothing",
        "corex-user/src/top/: nothing",
    ];
    let faults = faults(&modules, &rows);
    let faults: Vec<&str> = faults.lines().collect();
    assert_eq!(
        faults,
        [
            "docs/architecture.md:7: io knows rpc, but imports nothing from it: take rpc out",
            "docs/architecture.md:7: io knows telephone, which is no room",
            "docs/architecture.md:9: corex-user/src/top/ has no source that is compiled: take the \
             row out, or correct it",
        ]
    );
}

#[test]
fn a_folder_without_a_row_is_named() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc; mod new;"),
        ("io/mod.rs", "mod inner;"),
        ("io/inner/mod.rs", ""),
        ("rpc.rs", ""),
        ("new/mod.rs", ""),
    ]);
    let rows = [
        "corex-user/sip/: nothing",
        "corex-user/src/*.rs: nothing",
        "corex-user/src/io/: nothing",
    ];
    assert_eq!(
        faults(&modules, &rows),
        "corex-user/src/new/ has no row in the table of docs/architecture.md: write one"
    );
}

#[test]
fn rooms_may_have_rooms_inside() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc;"),
        ("io/mod.rs", "mod a; mod b; mod c; use a::A;"),
        (
            "io/a.rs",
            "use super::b::B; use crate::rpc::Call; use super::c::C;",
        ),
        ("io/b/mod.rs", "use crate::rpc::Call;"),
        ("io/c.rs", ""),
        ("rpc/mod.rs", ""),
    ]);
    let with = |a, b| {
        faults(
            &modules,
            &[
                "corex-user/sip/: nothing",
                "corex-user/src/*.rs: nothing",
                "corex-user/src/io/: rpc",
                &format!("corex-user/src/io/a.rs: {a}"),
                b,
                "corex-user/src/rpc/: nothing",
            ],
        )
    };
    let b = "corex-user/src/io/b/: nothing";
    assert_eq!(with("b", b), "");
    assert!(with("nothing", b).starts_with("a -> b, but"));
    // A folder beside inner rooms must be one, too.
    let missing = with("nothing", "corex-user/src/io/c.rs: nothing");
    assert!(
        missing.contains("corex-user/src/io/b/ has no row"),
        "{missing}"
    );
}

#[test]
fn a_circle_of_rooms_is_named() {
    let modules = corex(&[
        ("lib.rs", "mod io; mod rpc;"),
        ("io/mod.rs", "use crate::rpc::A;"),
        ("rpc/mod.rs", "use crate::io::B;"),
    ]);
    let rows = [
        "corex-user/sip/: nothing",
        "corex-user/src/*.rs: nothing",
        "corex-user/src/io/: rpc",
        "corex-user/src/rpc/: io",
    ];
    assert_eq!(
        faults(&modules, &rows),
        "docs/architecture.md: rooms know each other in a circle: io -> rpc -> io. One of the \
         arrows must go."
    );
}

/// The circles through folders in a crate whose room io has these files.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let mut all = vec![("lib.rs", "mod io;")];
    all.extend(files);
    let faults = rules::folders(&corex(&all));
    let circles = faults.iter().map(|fault| {
        let arrows = fault.lines().filter(|line| line.contains(" -> "));
        let arrows: Vec<&str> = arrows.map(str::trim).collect();
        arrows.join(", ")
    });
    circles.collect()
}

#[test]
fn a_folder_and_a_file_beside_it_are_a_circle() {
    let files = [
        ("io/mod.rs", "mod inline; mod worker;"),
        ("io/worker.rs", "use super::inline::serve;"),
        ("io/inline/mod.rs", "mod fragments;"),
        ("io/inline/fragments.rs", "use crate::io::worker::Side;"),
    ];
    assert_eq!(
        circles(&files),
        ["inline/ -> worker.rs, worker.rs -> inline/"]
    );
}

#[test]
fn files_of_one_folder_may_know_each_other() {
    let files = [
        ("io/mod.rs", "mod a; mod b; use a::A; pub struct C;"),
        ("io/a.rs", "use super::{b::B, C};"),
        ("io/b.rs", "use super::a::A;"),
    ];
    assert_eq!(circles(&files), [""; 0]);
}

#[test]
fn a_folder_and_the_module_above_it_are_a_circle_unless_that_only_hands_on() {
    let with = |above| {
        circles(&[
            ("io/mod.rs", above),
            ("io/inner/mod.rs", "mod deep;"),
            ("io/inner/deep.rs", "use crate::io::Shared; use crate::io;"),
        ])
    };
    let circle = ["inner/ -> mod.rs, mod.rs -> inner/"];
    assert_eq!(with("mod inner; pub struct Shared;"), [""; 0]);
    assert_eq!(
        with("mod inner; pub use inner::A; pub struct Shared;"),
        [""; 0]
    );
    assert_eq!(with("mod inner; use inner::A; pub struct Shared;"), circle);
    assert_eq!(
        with("mod inner; pub use inner::A; pub struct Shared(A);"),
        circle
    );
    assert_eq!(with("mod inner; pub struct Shared(inner::A);"), circle);
}

#[test]
fn to_name_the_folder_above_is_no_arrow() {
    let files = [
        ("io/mod.rs", "mod inner; use inner::A;"),
        ("io/inner/mod.rs", "use crate::io;"),
    ];
    assert_eq!(circles(&files), [""; 0]);
}

#[test]
fn a_reexport_is_followed_to_the_file_that_has_it() {
    // worker.rs isn't used by way of mod.rs, but shared.rs is.
    let files = [
        (
            "io/mod.rs",
            "mod inner; mod shared; pub use shared::Shared; use inner::A;",
        ),
        ("io/shared.rs", ""),
        ("io/inner/mod.rs", "use crate::io::Shared;"),
    ];
    assert_eq!(circles(&files), [""; 0]);
}

#[test]
fn longer_circles_are_found_and_arrows_have_places() {
    let modules = corex(&[
        ("lib.rs", "mod io;"),
        ("io/mod.rs", "mod a; mod b; mod c;"),
        ("io/a/mod.rs", "mod inner;"),
        ("io/a/inner.rs", "use super::super::b::B;"),
        ("io/b.rs", "use super::c::C;"),
        ("io/c.rs", "use super::a::A;"),
    ]);
    assert_eq!(
        rules::folders(&modules),
        ["a circle in corex-user/src/io/:\n\
          \x20 a/ -> b.rs\n    corex-user/src/io/a/inner.rs:1: super::super::b::B\n\
          \x20 b.rs -> c.rs\n    corex-user/src/io/b.rs:1: super::c::C\n\
          \x20 c.rs -> a/\n    corex-user/src/io/c.rs:1: super::a::A\n\
          \x20 Turn one arrow round: move what both need to a file of its own, or pass it in."]
    );
}

#[test]
fn unsafe_has_its_places() {
    let document =
        "`unsafe` stands in `corex-user/src/kernel/` and\n`corex-user/src/io/` only.\n\n`a/b`";
    let places = document::places_of_unsafe(document);
    assert_eq!(places, ["corex-user/src/kernel/", "corex-user/src/io/"]);
    let modules = corex(&[
        ("lib.rs", "mod kernel; mod rpc; mod io;"),
        ("io.rs", ""),
        ("kernel/mod.rs", "unsafe fn f() {}"),
        ("rpc.rs", "\nunsafe impl Send for S {}"),
    ]);
    let faults = rules::unsafes(&modules, &places);
    assert!(faults[0].starts_with("corex-user/src/rpc.rs:2: `unsafe` outside of "));
    assert!(faults[1].contains("no `unsafe` is left in corex-user/src/io/"));
    assert_eq!(faults.len(), 2);
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    for row in [
        "| io | job | nothing |",
        "| `io/` | nothing |",
        "| `io/` | job | |",
        "| `io/` | a | b | c |",
    ] {
        let fault = document::rooms(&format!("{HEAD}{row}\n")).expect_err(row);
        assert!(
            fault.starts_with("docs/architecture.md:3: a row has three cells"),
            "{fault}"
        );
    }
    assert!(document::rooms("no table").is_err());
}
