//! What log lines call a statement's place.

use super::load;

#[test]
fn statement_of_an_included_file_is_named_by_that_file() {
    let folder = std::env::temp_dir().join(format!("corex-places-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let main = folder.join("main.cfg");
    std::fs::write(
        &main,
        "import_file \"none\"\nrequest_route {\n  $var(a) = 1;\n  include_file \"part.inc\"\n  $var(c) = 3;\n}\n",
    )
    .unwrap();
    std::fs::write(folder.join("part.inc"), "\n$var(b) = 2;\n").unwrap();
    let loaded = load(&main);
    std::fs::remove_dir_all(&folder).unwrap();
    let program = loaded.config.expect("a right configuration").program;
    let prefix = format!("{}/", folder.display());
    let places: Vec<String> = program.routes[0]
        .iter()
        .map(|statement| program.place(statement.line).to_string())
        .map(|place| place.replace(&prefix, ""))
        .collect();
    assert_eq!(places, ["main.cfg:3", "part.inc:2", "main.cfg:5"]);
}
