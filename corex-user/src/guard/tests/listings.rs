use std::{fs, path::PathBuf};

use super::*;

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("corex-guard-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn blocking(path: PathBuf) -> GuardSettings {
    GuardSettings {
        block: vec![
            GuardSource::Network(network("192.0.2.1").unwrap()),
            GuardSource::File(path),
        ],
        ..GuardSettings::default()
    }
}

#[test]
fn a_file_has_a_network_on_each_line_and_comments() {
    let folder = Folder::new("lines");
    let text = "# junk\n\n203.0.113.0/24 # a scanner\r\n  2001:db8::/32; udp; 5060\n198.51.100.1";
    let listings = Listings::load(&blocking(folder.write("block", text))).unwrap();
    let expected = [
        "192.0.2.1",
        "203.0.113.0/24",
        "2001:db8::/32;udp;5060",
        "198.51.100.1",
    ];
    assert_eq!(listings.block, expected.map(|text| network(text).unwrap()));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_file_line_and_column() {
    let folder = Folder::new("wrong");
    let long = format!("192.0.2.1\n{}\n", "1".repeat(5000));
    for (text, at) in [
        (&b"192.0.2.1\n  192.0.2.300\n"[..], ":2:3: "),
        (b"192.0.2.1; udp; x\n", ":1:17: "),
        (b"192.0.2.1\n\n192.0.2.2/40 # no\n", ":3:1: "),
        (b"192.0.2.1\nabc\xff\n", ":2:4: "),
        (long.as_bytes(), ":2:1024: "),
    ] {
        let path = folder.write("block", text);
        let unusable = Listings::load(&blocking(path.clone())).unwrap_err();
        let expected = format!("{}{at}", path.display());
        assert!(unusable.what.starts_with(&expected), "{}", unusable.what);
        assert_eq!((unusable.parameter, unusable.at), ("block", 1));
    }
    for path in [
        folder.0.join("none"),
        folder.0.clone(),
        PathBuf::from("/dev/zero"),
    ] {
        let unusable = Listings::load(&blocking(path.clone())).unwrap_err();
        assert!(unusable.what.contains(&path.display().to_string()));
    }
}

#[test]
fn what_was_kept_is_read_if_it_is_there_and_must_be_right() {
    let folder = Folder::new("kept");
    let settings = |path: &Path| GuardSettings {
        file: Some(path.to_owned()),
        ..GuardSettings::default()
    };
    let path = folder.0.join("guard");
    assert_eq!(Listings::load(&settings(&path)).unwrap().kept, []);
    folder.write(
        "guard",
        "# kept\nallow by=script hits=5 192.0.2.0/24; tcp\n",
    );
    let listings = Listings::load(&settings(&path)).unwrap();
    assert_eq!(listings.kept[0].hits, 5);
    folder.write("guard", "allow 192.0.2.0/24\nbl");
    let unusable = Listings::load(&settings(&path)).unwrap_err();
    assert!(unusable.what.contains("guard:2:1: "), "{}", unusable.what);
    assert_eq!(unusable.parameter, "guard_file");
}
