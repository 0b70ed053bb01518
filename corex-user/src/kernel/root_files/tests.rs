//! Tests of the process that stays root.

use super::*;

fn asked(kept: &Kept, job: u8, path: &Path, content: &[u8]) -> io::Result<(i32, String)> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    put(&mut ours, path.as_os_str().as_bytes())?;
    put(&mut ours, content)?;
    kept.answer(job.into(), &mut theirs, &[])?;
    let mut errno = [0; 4];
    let mut text = String::new();
    if let Some(fd) = descriptors::receive_with(&ours, &mut errno)?.pop() {
        fs::File::from(fd).read_to_string(&mut text)?;
    }
    Ok((i32::from_le_bytes(errno), text))
}

#[test]
fn it_does_what_it_was_started_for_and_nothing_else() {
    let own = std::env::temp_dir().join(format!("corex-root-files-{}", std::process::id()));
    let _ = fs::remove_dir_all(&own);
    let path = |name: &str| own.join(name);
    for folder in ["pins/links", "etc", "files/deep", "other"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    for file in ["pins/links/link", "socket", "etc/edge.cfg", "other/file"] {
        fs::write(path(file), file).unwrap();
    }
    std::os::unix::fs::symlink(path("other"), path("files/out")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let kept = Kept {
        replace: vec![path("books.json")],
        remove: vec![path("socket")],
        remove_below: vec![path("pins")],
        write_below: vec![path("files")],
        read_below: vec![path("etc")],
        answer_below: vec![path("other")],
        sockets: 0,
    };
    let [open, replace, remove, remove_folder, open_fifo, send] = Job::ALL.map(|job| job as u8);
    let ask = |job, name: &str| asked(&kept, job, &path(name), b"new").unwrap();
    assert_eq!(ask(open, "etc/edge.cfg"), (0, "etc/edge.cfg".to_owned()));
    for (job, name) in [
        (replace, "books.json"),
        (replace, "files/deep/new"),
        (remove, "socket"),
        (remove, "pins/links/link"),
        (remove_folder, "pins/links"),
        (remove_folder, "pins"),
    ] {
        assert_eq!(ask(job, name).0, 0, "{name}");
    }
    assert_eq!(fs::read(path("books.json")).unwrap(), b"new");
    assert_eq!(fs::read(path("files/deep/new")).unwrap(), b"new");
    assert!(!path("socket").exists() && !path("pins").exists());
    for (job, name) in [
        (open, "other/file"),
        (open, "etc/../other/file"),
        (open, "etc"),
        (replace, "etc/edge.cfg"),
        (replace, "other/file"),
        (replace, "files/../other/file"),
        (replace, "files/out/file"),
        (replace, "files"),
        (remove, "etc/edge.cfg"),
        (remove, "files/deep/new"),
        (remove_folder, "other"),
        (open_fifo, "other/file"),
        (open_fifo, "fifo"),
        (send, "socket"),
    ] {
        assert_ne!(ask(job, name).0, 0, "{name}");
    }
    assert_eq!(fs::read(path("other/file")).unwrap(), b"other/file");
    assert_eq!(fs::read(path("etc/edge.cfg")).unwrap(), b"etc/edge.cfg");
    fs::remove_dir_all(own).unwrap();
}

#[test]
fn what_does_not_keep_to_the_protocol_ends_it() {
    let kept = Kept::default();
    let path = Path::new("/x");
    assert!(asked(&kept, 6, path, b"").is_err(), "no such job");
    let long = PathBuf::from("/x".repeat(3000));
    assert!(asked(&kept, 0, &long, b"").is_err());
}

#[test]
fn an_answer_that_comes_too_late_is_nobodys() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let path = Path::new("/books.json");
    assert!(exchange(&mut ours, Job::Replace, path, b"first").is_err());
    // Its side of the stream may be closed already.
    let _ = descriptors::send_with(&theirs, &0i32.to_le_bytes(), &[] as &[OwnedFd]);
    assert!(exchange(&mut ours, Job::Replace, path, b"second").is_err());
}
