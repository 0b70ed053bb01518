use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

fn parse(text: &str) -> SecretFile {
    SecretFile::parse(text).unwrap()
}

#[test]
fn a_line_names_a_key_its_id_and_its_source() {
    let file = |path: &str| KeySource::File(path.into());
    for (text, name, id, source) in [
        ("edge=file:/etc/k", "edge", 1, file("/etc/k")),
        ("edge=7:file:/etc/a=b:c", "edge", 7, file("/etc/a=b:c")),
        (
            " edge = 255 : env:COREX_KEY ",
            "edge",
            255,
            KeySource::Environment("COREX_KEY".into()),
        ),
        (
            "e-1=0:credential:sip.key",
            "e-1",
            0,
            KeySource::Credential("sip.key".into()),
        ),
    ] {
        let expected = SecretFile {
            name: name.to_owned(),
            id,
            source,
        };
        assert_eq!(parse(text), expected, "{text}");
    }
    for (text, at) in [
        ("edge", "edge"),
        ("=file:/x", ""),
        ("a b=file:/x", "a b"),
        ("edge=256:file:/x", "256"),
        ("edge=file:x", "file:x"),
        ("edge=/etc/k", "/etc/k"),
        ("edge=7:/etc/k", "/etc/k"),
        ("edge=env:A B", "env:A B"),
        ("edge=credential:../x", "credential:../x"),
        ("edge=credential:..", "credential:.."),
        ("edge=vault:x", "vault:x"),
    ] {
        let mistake = SecretFile::parse(text).unwrap_err();
        assert_eq!(&text[mistake.at.clone()], at, "{text}: {mistake}");
        assert!(mistake.help.contains("file:PATH"));
    }
}

/// A file in a folder of the test's own.
fn file(test: &str, content: &[u8], mode: u32) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("corex-keys-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("key");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// Who owns what tests write.
fn user() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

fn reader() -> SecretReader<'static> {
    SecretReader {
        open: &|path| File::open(path),
        user: user(),
    }
}

fn read(path: &std::path::Path) -> Result<Secret, String> {
    let line = parse(&format!("k=file:{}", path.display()));
    line.read(&reader()).map_err(|error| error.to_string())
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    for (mode, is_good) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o622, false),
    ] {
        let path = file("mode", b"secret", mode);
        let result = read(&path);
        assert_eq!(result.is_ok(), is_good, "{mode:o}");
        if let Err(error) = result {
            assert!(
                error.contains("chmod 600") && error.contains("/key"),
                "{error}"
            );
        }
    }
}

#[test]
fn what_is_empty_too_long_missing_or_no_file_is_refused() {
    for (content, why) in [(&b""[..], "empty"), (&[b'x'; 65_537], "longer")] {
        let error = read(&file("length", content, 0o600)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(read(&file("length", &[b'x'; 65_536], 0o600)).is_ok());
    assert!(read(std::path::Path::new("/nonexistent/key")).is_err());
    assert!(read(&std::env::temp_dir()).unwrap_err().contains("regular"));
}

#[test]
fn other_sources_say_what_is_missing() {
    let error = parse("k=env:COREX_NO_SUCH_KEY")
        .read(&reader())
        .unwrap_err();
    assert!(error.to_string().contains("COREX_NO_SUCH_KEY"), "{error}");
    if std::env::var_os("CREDENTIALS_DIRECTORY").is_none() {
        let error = parse("k=credential:x").read(&reader()).unwrap_err();
        assert!(error.to_string().contains("LoadCredential="), "{error}");
    }
}

#[test]
fn nothing_prints_a_secret() {
    let secret = Secret::new(3, b"hush");
    assert!(!format!("{secret:?}").contains("hush"));
    let keys = Keys::new(vec![secret]).unwrap();
    assert!(!format!("{keys:?}").contains("hush"));
}

#[test]
fn the_end_of_a_line_is_no_part_of_a_key_but_for_32_bytes() {
    let bytes = |content: &[u8]| Key::new(Secret::new(1, content)).bytes().to_vec();
    assert_eq!(bytes(b"mask\n"), b"mask");
    assert_eq!(bytes(b"mask\r\n"), b"mask");
    assert_eq!(bytes(b"mask"), b"mask");
    assert_eq!(bytes(b"\n"), b"\n");
    let mut key = [b'k'; 32];
    key[31] = b'\n';
    assert_eq!(bytes(&key), key);
    let line = [&[b'k'; 32][..], b"\n"].concat();
    let of_line = Key::new(Secret::new(1, &line)).of_32_bytes();
    assert_eq!(of_line.as_deref(), Some(&[b'k'; 32]));
    assert!(
        Key::new(Secret::new(1, &line[..31]))
            .of_32_bytes()
            .is_none()
    );
    let of_32 = Key::new(Secret::new(1, &key)).of_32_bytes();
    assert_eq!(of_32.as_deref(), Some(&key));
}

#[test]
fn a_file_of_another_user_is_refused_and_a_credential_may_be_the_groups() {
    let path = file("owner", b"secret", 0o600);
    let stranger = SecretReader {
        user: user() + 1,
        ..reader()
    };
    let line = parse(&format!("k=file:{}", path.display()));
    let result = line.read(&stranger).map_err(|error| error.to_string());
    // Root's are good for everybody.
    if user() == 0 {
        assert!(result.is_ok());
    } else {
        assert!(result.unwrap_err().contains("belongs to neither"));
    }
    for (mode, is_good) in [(0o440, true), (0o400, true), (0o444, false)] {
        let path = file("group", b"secret", mode);
        let read = read_file(&reader(), &path, OTHERS_OF_CREDENTIAL);
        assert_eq!(read.is_ok(), is_good, "{mode:o}");
    }
}
