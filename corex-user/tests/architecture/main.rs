//! docs/architecture.md has a table of rooms, with what each knows. Here it is compared with what
//! the source imports: an arrow that runs back up fails the build.

mod document;
mod graph;
mod modules;
mod paths;
mod rules;
mod source;

mod tests;

use std::{fs, path::Path};

use self::{
    document::{DOCUMENT, Room},
    modules::{Files, Modules},
};

#[test]
fn rooms_import_what_the_table_says() {
    let (modules, rooms) = (modules(), rooms());
    assert_none(rules::known(&modules, &rooms));
}

#[test]
fn every_folder_has_a_row_and_every_row_a_folder() {
    let (modules, rooms) = (modules(), rooms());
    assert_none(rules::rows(&modules, &rooms));
}

#[test]
fn rooms_know_each_other_in_one_direction() {
    assert_none(rules::table(&rooms()));
}

#[test]
fn no_circle_goes_through_a_folder() {
    assert_none(rules::folders(&modules()));
}

#[test]
fn unsafe_stands_where_the_document_says() {
    let places = document::places_of_unsafe(&document());
    assert!(!places.is_empty(), "{DOCUMENT} names no place of `unsafe`");
    assert_none(rules::unsafes(&modules(), &places));
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n\n"));
}

fn modules() -> Modules {
    let mut files = Files::new();
    collect(&top(), "", &mut files);
    Modules::read(&files)
}

fn rooms() -> Vec<Room> {
    document::rooms(&document()).unwrap_or_else(|fault| panic!("{fault}"))
}

fn document() -> String {
    text(&top().join(DOCUMENT))
}

/// The top of the workspace.
fn top() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All manifests and Rust files below `directory`, by their paths from the top.
fn collect(directory: &Path, prefix: &str, files: &mut Files) {
    let entries = fs::read_dir(directory).expect("the workspace can be read");
    for entry in entries {
        let entry = entry.expect("the workspace can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && name != "target" && !name.starts_with('.') {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if name.ends_with(".rs") || name == "Cargo.toml" {
            files.insert(path, text(&entry.path()));
        }
    }
}
