//! permissions: files that are wrong, missing, or not asked for.

use super::*;

const BEGIN: &str = "#!KAMAILIO\nloadmodule \"permissions.so\"\n";

#[test]
fn a_mistake_in_a_file_stops_the_start_and_names_both_places() {
    let folder = Folder::new();
    folder.write("address.list", "1 10.0.0.1\nx\n");
    folder.write("bad.allow", "ALL\n");
    let address = "modparam(\"permissions\", \"address_file\", \"address.list\")\n";
    let loaded = folder.load_config(&format!("{BEGIN}{address}request_route {{ }}"));
    let report = loaded.report.render(false);
    assert!(loaded.config.is_none(), "{report}");
    assert!(
        report.contains("address.list:2:1: this is not a group's number"),
        "{report}"
    );
    assert!(report.contains("corex.cfg:3:"), "{report}");
    for (call, said) in [
        ("allow_routing(\"bad\")", "bad.allow:1:4: there is no `:`"),
        (
            "allow_register(\"none\")",
            "none.allow: neither this file nor",
        ),
        ("allow_uri(\"bad\", \"$ru\")", "bad.allow:1:4"),
        ("allow_routing(\"x\", \"bad.allow\")", "bad.allow:1:4"),
    ] {
        let loaded = folder.load_config(&format!("{BEGIN}request_route {{ {call}; }}"));
        let report = loaded.report.render(false);
        assert!(loaded.config.is_none(), "{report}");
        assert!(report.contains(said), "{call}: {report}");
        assert!(report.contains("corex.cfg:3:"), "{call}: {report}");
    }
}

#[test]
fn a_database_is_said_to_have_no_meaning_and_what_to_do() {
    let folder = Folder::new();
    let text =
        format!("{BEGIN}modparam(\"permissions\", \"db_url\", \"mysql://x\")\nrequest_route {{ }}");
    let loaded = folder.load_config(&text);
    let report = loaded.report.render(false);
    assert!(loaded.config.is_some(), "{report}");
    assert!(
        report.contains("db_url of permissions has no meaning here"),
        "{report}"
    );
    assert!(report.contains("address_file"), "{report}");
}

#[test]
fn without_the_module_no_file_is_read() {
    let folder = Folder::new();
    folder.write("permissions.allow", "no rule\n");
    let loaded = folder.load_config("#!KAMAILIO\nrequest_route { }");
    assert!(loaded.config.is_some(), "{}", loaded.report.render(false));
    let loaded = folder.load_config(&format!("{BEGIN}request_route {{ }}"));
    assert!(loaded.config.is_none());
}
