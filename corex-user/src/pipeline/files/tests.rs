use super::*;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("corex-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("in/sub")).unwrap();
        Folder(path)
    }

    fn files(&self, max_size: usize) -> Files {
        self.files_but(max_size, &[])
    }

    /// But nothing can be written in some directories.
    fn files_but(&self, max_size: usize, guarded: &[&str]) -> Files {
        let root = vec![self.0.join("in")];
        let roots = FileRoots {
            read: root.clone(),
            write: root,
            guarded: guarded.iter().map(|path| self.0.join(path)).collect(),
        };
        Files::start(roots, max_size).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A loaded machine's disk may be slow; the answer comes all the same, a little later.
fn read(files: &Files, path: impl AsRef<Path>) -> Result<Arc<[u8]>, FileError> {
    loop {
        match files.read(path.as_ref()) {
            Err(FileError::Slow) => thread::sleep(PATIENCE),
            result => return result,
        }
    }
}

#[test]
fn what_is_written_is_read_and_lies_on_disk_whole() {
    let folder = Folder::new("files");
    let files = folder.files(100);
    let bytes: Vec<u8> = (0..100).collect();
    files.write(Path::new("sub/a"), &bytes).unwrap();
    assert_eq!(*read(&files, "sub/a").unwrap(), *bytes);
    let path = folder.0.join("in/sub/a");
    while !path.exists() {
        thread::sleep(PATIENCE);
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(*read(&files, &path).unwrap(), *bytes);
    assert_eq!(fs::read_dir(folder.0.join("in/sub")).unwrap().count(), 1);
}

#[test]
fn no_path_and_no_link_leads_out_of_the_allowed_directory() {
    let folder = Folder::new("escape");
    let files = folder.files(100);
    fs::write(folder.0.join("secret"), "s").unwrap();
    std::os::unix::fs::symlink("../secret", folder.0.join("in/link")).unwrap();
    std::os::unix::fs::symlink(folder.0.join("secret"), folder.0.join("in/absolute")).unwrap();
    std::os::unix::fs::symlink("sub", folder.0.join("in/inside")).unwrap();
    for path in [
        "../secret",
        "sub/../../secret",
        "link",
        "absolute",
        "/etc/passwd",
        "",
        "/",
    ] {
        assert!(read(&files, path).is_err(), "{path}");
    }
    for path in ["../new", "/etc/corex-new"] {
        assert!(files.write(Path::new(path), b"x").is_err(), "{path}");
    }
    files.write(Path::new("link"), b"x").unwrap();
    assert_eq!(*read(&files, "link").unwrap(), *b"x");
    assert_eq!(fs::read(folder.0.join("secret")).unwrap(), b"s");
    files.write(Path::new("inside/b"), b"y").unwrap();
    assert_eq!(*read(&files, "sub/b").unwrap(), *b"y");
}

#[test]
fn size_is_bounded_both_ways_and_a_directory_or_fifo_is_no_file() {
    let folder = Folder::new("size");
    let files = folder.files(3);
    fs::write(folder.0.join("in/four"), "1234").unwrap();
    fs::write(folder.0.join("in/three"), "123").unwrap();
    assert!(matches!(read(&files, "four"), Err(FileError::TooLong(3))));
    assert_eq!(*read(&files, "three").unwrap(), *b"123");
    assert!(matches!(
        files.write(Path::new("five"), b"12345"),
        Err(FileError::TooLong(3))
    ));
    assert!(read(&files, "sub").is_err());
    assert!(read(&files, "absent").is_err());
}

/// Whether a file is written, be it late: what comes behind it in the queue is answered after it.
fn is_written(files: &Files, root: &Path, path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    // A name that nothing is kept of yet.
    static BEHIND: AtomicUsize = AtomicUsize::new(0);
    let behind = format!("behind-{}", BEHIND.fetch_add(1, Ordering::Relaxed));
    let answer = files.write(path, b"x");
    assert!(read(files, behind).is_err());
    let is_there = fs::read(root.join(path)).is_ok_and(|content| content == b"x");
    assert!(answer.is_ok() || !is_there, "{}", path.display());
    is_there
}

#[test]
fn nothing_is_written_beside_configuration_or_scripts_or_below() {
    let folder = Folder::new("guarded");
    let root = folder.0.join("in");
    let files = folder.files_but(100, &["in/sub", "elsewhere"]);
    fs::create_dir_all(folder.0.join("in/sub/deep")).unwrap();
    fs::write(folder.0.join("in/sub/edge.cfg"), "c").unwrap();
    std::os::unix::fs::symlink("sub", folder.0.join("in/link")).unwrap();
    for path in [
        "sub/edge.cfg",
        "sub/new",
        "sub/deep/new",
        "./sub/new",
        "link/new",
    ] {
        assert!(!is_written(&files, &root, path), "{path}");
    }
    let text = files
        .write(Path::new("sub/new"), b"x")
        .map_err(|e| e.to_string());
    if let Err(text) = text {
        assert!(text.contains("file_root"), "{text}");
    }
    assert!(!is_written(&files, &root, folder.0.join("in/sub/edge.cfg")));
    assert_eq!(fs::read(folder.0.join("in/sub/edge.cfg")).unwrap(), b"c");
    assert_eq!(fs::read_dir(folder.0.join("in/sub")).unwrap().count(), 2);
    // All else can be written, and the guarded read.
    assert!(is_written(&files, &root, "free"));
    assert_eq!(*read(&files, "sub/edge.cfg").unwrap(), *b"c");
    // So can a folder below that was named for it.
    let roots = FileRoots {
        read: Vec::new(),
        write: vec![folder.0.join("in/sub/deep")],
        guarded: vec![folder.0.join("in/sub")],
    };
    let files = Files::start(roots, 100).unwrap();
    assert!(is_written(&files, &root.join("sub/deep"), "new"));
}

#[test]
fn a_directory_to_read_in_is_not_written_and_what_was_written_is_found() {
    let folder = Folder::new("two");
    let (etc, state) = (folder.0.join("in"), folder.0.join("in/sub"));
    fs::write(etc.join("list"), "theirs").unwrap();
    let roots = FileRoots {
        read: vec![etc.clone()],
        write: vec![state.clone()],
        guarded: vec![etc.clone()],
    };
    let files = Files::start(roots, 100).unwrap();
    assert!(!is_written(&files, &state, etc.join("list")));
    assert!(is_written(&files, &state, "list"));
    assert!(is_written(&files, &state, "own"));
    assert_eq!(
        *read(&files, "list").unwrap(),
        *b"theirs",
        "the first counts"
    );
    assert_eq!(*read(&files, "own").unwrap(), *b"x");
    assert_eq!(*read(&files, state.join("own")).unwrap(), *b"x");
    assert_eq!(fs::read(etc.join("list")).unwrap(), b"theirs");
    assert_eq!(fs::read(state.join("list")).unwrap(), b"x");
    let none = Files::start(FileRoots::default(), 100).unwrap();
    assert!(matches!(
        none.write(Path::new("a"), b""),
        Err(FileError::Nowhere)
    ));
}
