//! `include_file` and `import_file`.

use super::super::diag::Severity;
use super::super::{Parsed, parse_file, parse_str, read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of configurations, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("corex-include-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        for (name, text) in files {
            let path = folder.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn parse(&self) -> Parsed {
        parse_file(&self.0.join("main.cfg"), &read)
    }

    /// The report, with the folder's name taken out.
    fn report(&self) -> String {
        let report = self.parse().report.render(false);
        report.replace(&format!("{}/", self.0.display()), "")
    }

    /// The settings of a configuration that is right, on one line.
    fn settings(&self) -> String {
        let Parsed { file, report } = self.parse();
        assert!(report.diagnostics().is_empty(), "{report}");
        file.to_string().trim_end().replace('\n', "; ")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn files_stand_where_they_are_included_in_all_spellings() {
    let folder = Folder::new(&[
        (
            "main.cfg",
            "a=1\ninclude_file \"b.inc\"\nc=3\n#!include_file \"d.inc\" # comment\n\
             !!import_file\n\"e.inc\"\nimport_file \"b.inc\"\n",
        ),
        ("b.inc", "b=2"),
        ("d.inc", "d=4"),
        ("e.inc", "e=5"),
    ]);
    assert_eq!(
        folder.settings(),
        "a = 1; b = 2; c = 3; d = 4; e = 5; b = 2"
    );
    let parsed = folder.parse();
    let names: Vec<&str> = parsed
        .report
        .sources
        .paths()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["main.cfg", "b.inc", "d.inc", "e.inc", "b.inc"]);
}

#[test]
fn file_may_hold_a_part_of_a_block_or_of_an_expression() {
    let folder = Folder::new(&[
        (
            "main.cfg",
            "request_route {\ninclude_file \"head.inc\"\n$var(x) = 1 +\ninclude_file \"two.inc\"\n;\ninclude_file \"tail.inc\"\n",
        ),
        ("head.inc", "if ($var(y)) {"),
        ("two.inc", "2"),
        ("tail.inc", "} }"),
    ]);
    let text = folder.settings();
    assert!(text.contains("$var(x) = 1 + 2;"), "{text}");
}

#[test]
fn relative_path_is_tried_from_the_including_files_folder() {
    let folder = Folder::new(&[
        ("main.cfg", "include_file \"sub/one.inc\"\n"),
        ("sub/one.inc", "one=1\ninclude_file \"deeper/two.inc\"\n"),
        ("sub/deeper/two.inc", "two=2\ninclude_file \"three.inc\"\n"),
        ("sub/deeper/three.inc", "three=3\n"),
        ("three.inc", "three=0\n"),
    ]);
    assert_eq!(folder.settings(), "one = 1; two = 2; three = 3");
}

#[test]
fn text_without_a_folder_includes_from_the_working_directory() {
    // Tests run in the package's folder.
    let parsed = parse_str("any.cfg", "include_file \"Cargo.toml\"");
    let paths: Vec<&Path> = parsed.report.sources.paths().collect();
    assert_eq!(paths, [Path::new("Cargo.toml")]);
}

#[test]
fn definitions_reach_from_file_to_file_in_order() {
    let folder = Folder::new(&[
        (
            "main.cfg",
            "#!define A 1\ninclude_file \"b.inc\"\nb=B\n#!ifdef C\nc=1\n#!endif\n",
        ),
        ("b.inc", "a=A\n#!define B 2\n#!define C\n"),
    ]);
    assert_eq!(folder.settings(), "a = 1; b = 2; c = 1");
}

#[test]
fn condition_may_begin_and_end_in_different_files_as_in_kamailio() {
    let folder = Folder::new(&[
        (
            "main.cfg",
            "include_file \"open.inc\"\na=1\n#!ifdef Y\n#!else\nb=2\n#!endif\n#!else\nc=3\n#!endif\nd=4\n",
        ),
        ("open.inc", "#!ifdef X\n"),
    ]);
    assert_eq!(folder.settings(), "c = 3; d = 4");
    let folder = Folder::new(&[
        (
            "main.cfg",
            "#!ifndef X\na=1\ninclude_file \"close.inc\"\nb=2\n",
        ),
        ("close.inc", "#!else\n(\n#!endif"),
    ]);
    assert_eq!(folder.settings(), "a = 1; b = 2");
}

#[test]
fn what_a_condition_switches_off_is_not_included() {
    let folder = Folder::new(&[(
        "main.cfg",
        "#!ifdef X\ninclude_file \"missing.inc\"\n#!include_file \"missing.inc\"\n#!endif\na=1\n",
    )]);
    assert_eq!(folder.settings(), "a = 1");
}

#[test]
fn missing_file_is_an_error_at_its_name_and_left_out_when_imported() {
    let folder = Folder::new(&[(
        "main.cfg",
        "import_file \"missing.inc\"\na=1\ninclude_file \"missing.inc\"\n",
    )]);
    let report = folder.report();
    for words in [
        "no such file",
        "main.cfg:3:15",
        "looked for missing.inc and missing.inc",
        "\n\n1 error\n",
    ] {
        assert!(report.contains(words), "{words} not in\n{report}");
    }
}

#[test]
fn file_that_is_there_but_cannot_be_read_is_told() {
    let folder = Folder::new(&[
        ("main.cfg", "import_file \"sub\"\ninclude_file \"sub\"\n"),
        ("sub/x", ""),
    ]);
    let parsed = folder.parse();
    let severities: Vec<Severity> = parsed
        .report
        .diagnostics()
        .iter()
        .map(|diagnostic| diagnostic.severity)
        .collect();
    assert_eq!(severities, [Severity::Warning, Severity::Error]);
    let shown = parsed.report.render(false);
    assert!(shown.contains("directory"), "{shown}");
    let device = parse_str("a.cfg", "include_file \"/dev/zero\"").report;
    assert!(
        device.render(false).contains("not a regular file"),
        "{device}"
    );
}

#[test]
fn mistake_in_an_included_file_has_its_place_and_the_way_to_it() {
    let folder = Folder::new(&[
        ("main.cfg", "a=1\n  include_file \"one.inc\"\n"),
        ("one.inc", "\n#!include_file \"two.inc\"\n"),
        ("two.inc", "request_route {\n  xlog(;\n}\n"),
    ]);
    let expected = "\
error: unexpected `;`
 --> two.inc:2:8
  |
2 |   xlog(;
  |        ^ expected an expression
  |
  = note: included from one.inc:2:17
  = note: included from main.cfg:2:17
";
    let report = folder.report();
    assert!(report.starts_with(expected), "{report}");
}

#[test]
fn files_that_include_each_other_are_reported_once_with_the_circle() {
    let folder = Folder::new(&[
        ("main.cfg", "include_file \"a.inc\"\n"),
        ("a.inc", "include_file \"b.inc\"\ninclude_file \"b.inc\"\n"),
        ("b.inc", "include_file \"a.inc\"\ninclude_file \"a.inc\"\n"),
    ]);
    let report = folder.report();
    for words in [
        "a.inc includes itself without end",
        "b.inc:1:15",
        "a.inc -> b.inc -> a.inc",
        "included from a.inc:1:15",
        "included from main.cfg:1:15",
        "\n\n1 error\n",
    ] {
        assert!(report.contains(words), "{words} not in\n{report}");
    }
}

#[test]
fn circle_that_a_condition_ends_is_fine() {
    let folder = Folder::new(&[
        ("main.cfg", "include_file \"a.inc\"\n"),
        (
            "a.inc",
            "#!ifndef GUARD\n#!define GUARD\na=1\ninclude_file \"b.inc\"\n#!endif\n",
        ),
        ("b.inc", "b=2\ninclude_file \"a.inc\"\n"),
    ]);
    assert_eq!(folder.settings(), "a = 1; b = 2");
}

#[test]
fn ten_files_may_include_each_other_in_a_row_but_not_eleven() {
    let chain = |len: usize| {
        let names: Vec<String> = (0..=len).map(|index| format!("{index}.inc")).collect();
        let texts: Vec<String> = (1..=len + 1)
            .map(|next| match next > len {
                true => "deepest=1\n".to_owned(),
                false => format!("include_file \"{next}.inc\"\n"),
            })
            .collect();
        let mut files: Vec<(&str, &str)> = names
            .iter()
            .zip(&texts)
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        files[0].0 = "main.cfg";
        Folder::new(&files)
    };
    assert_eq!(chain(10).settings(), "deepest = 1");
    let report = chain(11).report();
    assert!(report.contains("more than 10 levels deep"), "{report}");
    assert!(report.contains("10.inc:1:15"), "{report}");
}

#[test]
fn number_and_size_of_included_files_are_bounded() {
    let many = "include_file \"empty.inc\"\n".repeat(5000);
    let folder = Folder::new(&[("main.cfg", &many), ("empty.inc", "")]);
    let report = folder.report();
    assert!(report.contains("more than 1000 files"), "{report}");
    let comment = format!("#{}\n", "x".repeat(1 << 20));
    let five = "include_file \"big.inc\"\n".repeat(5);
    let folder = Folder::new(&[("main.cfg", &five), ("big.inc", &comment)]);
    let report = folder.report();
    assert!(report.contains("larger than 4 MiB"), "{report}");
    assert!(report.contains("main.cfg:4:15"), "{report}");
}

#[test]
fn string_without_end_in_one_file_leaves_strings_of_several_lines_in_others_alone() {
    let folder = Folder::new(&[
        (
            "main.cfg",
            "#!define A 1\ndescription=\"two\nlines\"\ninclude_file \"a.inc\"\ninclude_file \"b.inc\"\nx=A\n",
        ),
        ("a.inc", "\na=\"no end\nb=2\n"),
        ("b.inc", "\n\nd='no end\n"),
    ]);
    let parsed = folder.parse();
    let report = folder.report();
    assert_eq!(parsed.report.error_count(), 2, "{report}");
    assert!(report.contains("--> a.inc:2:3"), "{report}");
    assert!(report.contains("--> b.inc:3:3"), "{report}");
    assert!(report.contains("included from main.cfg:4:15"), "{report}");
}

#[test]
fn included_file_that_is_not_text_is_told_at_its_byte() {
    let folder = Folder::new(&[("main.cfg", "a=1\ninclude_file \"b.inc\"\n")]);
    std::fs::write(folder.0.join("b.inc"), b"b=1\n# \xff\n").unwrap();
    let report = folder.report();
    assert!(report.contains("b.inc:2:3"), "{report}");
    assert!(report.contains("included from main.cfg:2:15"), "{report}");
}

#[test]
fn condition_without_end_in_an_included_file_is_reported_there() {
    let folder = Folder::new(&[
        ("main.cfg", "include_file \"a.inc\"\n"),
        ("a.inc", "#!ifndef X\na=1\n"),
    ]);
    let report = folder.report();
    assert!(report.contains("end of the configuration"), "{report}");
    assert!(report.contains("a.inc:1:1"), "{report}");
}
