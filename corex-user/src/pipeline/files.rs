//! Files that scripts read and write: file_read() and file_write().
//!
//! A thread of its own does the work, so that a slow disk never stops a worker for more than
//! `PATIENCE`. What was read is kept for `FRESH`. Paths are resolved inside the directories
//! that are allowed, and no symbolic link leads out of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, Read as _, Write as _},
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use cap_std::{ambient_authority, fs::Dir};

use corex_script::host::FileError;

/// How long a worker waits for the disk.
const PATIENCE: Duration = Duration::from_millis(5);
/// How long nobody waits after the disk took longer than that.
const PENALTY: Duration = Duration::from_secs(10);
/// How long a file's content counts as current.
const FRESH: Duration = Duration::from_secs(1);
/// Jobs that may wait for the disk.
const QUEUE: usize = 64;
/// Files whose content is kept.
const KEPT: usize = 256;

/// Where files may lie. All that is below a directory is meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileRoots {
    /// Directories to read in; relative paths start at the first.
    pub read: Vec<PathBuf>,
    /// Directories to write and to read in; relative paths of what is written start at the first.
    pub write: Vec<PathBuf>,
    /// Directories to write nothing in, as configuration or scripts lie there. One to write in may
    /// lie below: it was named on purpose.
    pub guarded: Vec<PathBuf>,
}

impl FileRoots {
    /// Whether nothing in this directory can be written.
    pub fn is_guarded(&self, root: &Path) -> bool {
        let root = canonical(root);
        self.guarded.iter().any(|path| canonical(path) == root)
    }
}

/// A directory's own path; as it is where it doesn't exist.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The allowed directories and the thread behind them. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    roots: Arc<[Root]>,
    max_size: usize,
    jobs: SyncSender<Job>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    kept: HashMap<Place, Kept>,
    slow_until: Option<Instant>,
}

struct Root {
    path: PathBuf,
    is_writable: bool,
    /// A guarded directory lies there: what is written may yet be refused.
    is_doubtful: bool,
}

struct Kept {
    /// `None`: there is no such file.
    content: Option<Arc<[u8]>>,
    at: Instant,
}

/// A file: the index of its root, and its path from there.
type Place = (usize, PathBuf);

struct Job {
    place: Place,
    /// What to write; `None`: read.
    content: Option<Arc<[u8]>>,
    done: SyncSender<Result<Arc<[u8]>, FileError>>,
}

impl Files {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(roots: FileRoots, max_size: usize) -> io::Result<Files> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        let FileRoots {
            read,
            write,
            guarded,
        } = roots;
        let guarded: Vec<PathBuf> = guarded.iter().map(|path| canonical(path)).collect();
        let only_read = read.iter().filter(|path| !write.contains(path));
        let roots: Arc<[Root]> = only_read
            .map(|path| (path, false))
            .chain(write.iter().map(|path| (path, true)))
            .map(|(path, is_writable)| Root {
                path: path.clone(),
                is_writable,
                is_doubtful: {
                    let root = canonical(path);
                    guarded.iter().any(|path| path.starts_with(&root))
                },
            })
            .collect();
        let state = Arc::new(Mutex::new(State::default()));
        let its_state = Arc::clone(&state);
        let mut disk = Disk {
            roots: Arc::clone(&roots),
            guarded,
            max_size,
            directories: HashMap::new(),
        };
        thread::Builder::new()
            .name("corex-files".into())
            .spawn(move || {
                for job in queue {
                    let result = disk.work(&job);
                    let mut state = its_state.lock().unwrap_or_else(PoisonError::into_inner);
                    match &result {
                        Ok(content) => state.keep(job.place.clone(), Some(Arc::clone(content))),
                        Err(error) if error.is_absence() && job.content.is_none() => {
                            state.keep(job.place.clone(), None);
                        }
                        Err(_) => {
                            state.kept.remove(&job.place);
                        }
                    }
                    drop(state);
                    if let (Err(error), Err(_), Some(_)) =
                        (&result, job.done.try_send(result.clone()), &job.content)
                    {
                        tracing::warn!("{}: not written: {error}", job.place.1.display());
                    }
                }
            })?;
        Ok(Files {
            roots,
            max_size,
            jobs,
            state,
        })
    }

    /// The content of a file. A relative path that isn't there is looked for where
    /// [`Self::write`] would put it.
    ///
    /// # Errors
    /// When it can't be read, or not soon enough and nothing is kept of it.
    pub fn read(&self, path: &Path) -> Result<Arc<[u8]>, FileError> {
        match self.read_at(self.place(path, false)?) {
            Err(error) if error.is_absence() && path.is_relative() => {
                match self.place(path, true) {
                    Ok(written) => self.read_at(written),
                    Err(_) => Err(error),
                }
            }
            result => result,
        }
    }

    fn read_at(&self, place: Place) -> Result<Arc<[u8]>, FileError> {
        let kept = self.with_state(|state| {
            let kept = state.kept.get(&place)?;
            Some((kept.content.clone(), kept.at.elapsed() < FRESH))
        });
        let absent = || io::Error::from(io::ErrorKind::NotFound).into();
        if let Some((content, true)) = kept {
            return content.ok_or_else(absent);
        }
        match self.ask(place, None) {
            Err(FileError::Slow) => match kept {
                Some((content, _)) => content.ok_or_else(absent),
                None => Err(FileError::Slow),
            },
            result => result,
        }
    }

    /// Writes a file, whole or not at all. A disk that takes too long gets it done later; what
    /// goes wrong then is logged.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), FileError> {
        if content.len() > self.max_size {
            return Err(FileError::TooLong(self.max_size));
        }
        let place = self.place(path, true)?;
        match self.ask(place, Some(content.into())) {
            Ok(_) | Err(FileError::Slow) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn ask(&self, place: Place, content: Option<Arc<[u8]>>) -> Result<Arc<[u8]>, FileError> {
        let (done, answer) = mpsc::sync_channel(1);
        let is_doubtful = self.roots.get(place.0).is_none_or(|root| root.is_doubtful);
        if let Some(content) = content.as_ref().filter(|_| !is_doubtful) {
            // What was written is what is read from now on, however slow the disk.
            self.with_state(|state| state.keep(place.clone(), Some(Arc::clone(content))));
        }
        let job = Job {
            place,
            content,
            done,
        };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.with_state(|state| state.kept.remove(&job.place));
                return Err(FileError::Full);
            }
        }
        let is_slow = |state: &mut State| state.slow_until.is_some_and(|t| Instant::now() < t);
        if self.with_state(is_slow) {
            return Err(FileError::Slow);
        }
        match answer.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.with_state(|state| state.slow_until = Some(Instant::now() + PENALTY));
                Err(FileError::Slow)
            }
        }
    }

    fn with_state<R>(&self, with: impl FnOnce(&mut State) -> R) -> R {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The root that a path is in, and the path from there; `to_write`: of those that can be
    /// written in.
    fn place(&self, path: &Path, to_write: bool) -> Result<Place, FileError> {
        let allowed = || {
            let all = self.roots.iter().enumerate();
            all.filter(move |(_, root)| root.is_writable || !to_write)
        };
        let outside = || {
            let paths: Vec<_> = allowed()
                .map(|(_, r)| r.path.display().to_string())
                .collect();
            FileError::Outside(paths.join(", "))
        };
        let Some((first, _)) = allowed().next() else {
            return Err(FileError::Nowhere);
        };
        let (root, inside) = if path.is_absolute() {
            allowed()
                .filter_map(|(at, root)| Some((at, root, path.strip_prefix(&root.path).ok()?)))
                // Of several, the innermost: a file has one place.
                .max_by_key(|(_, root, _)| root.path.components().count())
                .map(|(at, _, inside)| (at, inside))
                .ok_or_else(outside)?
        } else {
            (first, path)
        };
        let is_plain =
            |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if inside.file_name().is_none() || !inside.components().all(is_plain) {
            return Err(FileError::Path);
        }
        Ok((root, inside.to_owned()))
    }
}

impl State {
    fn keep(&mut self, place: Place, content: Option<Arc<[u8]>>) {
        if self.kept.len() >= KEPT && !self.kept.contains_key(&place) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.at);
            if let Some(oldest) = oldest.map(|(place, _)| place.clone()) {
                self.kept.remove(&oldest);
            }
        }
        let at = Instant::now();
        self.kept.insert(place, Kept { content, at });
    }
}

/// What the thread knows.
struct Disk {
    roots: Arc<[Root]>,
    /// Directories to write nothing in, by their own paths.
    guarded: Vec<PathBuf>,
    max_size: usize,
    directories: HashMap<usize, Dir>,
}

impl Disk {
    fn work(&mut self, job: &Job) -> Result<Arc<[u8]>, FileError> {
        let (at, path) = &job.place;
        let root = self.roots.get(*at).ok_or(FileError::Path)?;
        let directory = match self.directories.entry(*at) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert(Dir::open_ambient_dir(&root.path, ambient_authority())?)
            }
        };
        match &job.content {
            None => read(directory, path, self.max_size),
            Some(content) => {
                guard(directory, &root.path, path, &self.guarded)?;
                write(directory, path, content)?;
                Ok(Arc::clone(content))
            }
        }
    }
}

/// Refuses what would lie beside configuration or scripts, or below, through whatever links.
fn guard(directory: &Dir, root: &Path, path: &Path, guarded: &[PathBuf]) -> Result<(), FileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let root = canonical(root);
    let folder = root.join(directory.canonicalize(parent)?);
    // A root below a guarded directory was named, or made, to be written in.
    let mut reached = guarded.iter().filter(|path| path.starts_with(&root));
    match reached.find(|path| folder.starts_with(path)) {
        Some(path) => Err(FileError::Guarded(path.display().to_string())),
        None => Ok(()),
    }
}

fn read(directory: &Dir, path: &Path, max_size: usize) -> Result<Arc<[u8]>, FileError> {
    let file = directory.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file").into());
    }
    let mut content = Vec::new();
    file.take(max_size as u64 + 1).read_to_end(&mut content)?;
    if content.len() > max_size {
        return Err(FileError::TooLong(max_size));
    }
    Ok(content.into())
}

fn write(directory: &Dir, path: &Path, content: &[u8]) -> Result<(), FileError> {
    let name = path.file_name().ok_or(FileError::Path)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = directory
        .create(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| directory.rename(&temporary, directory, path));
    if let Err(error) = written {
        // It may never have come to be.
        let _ = directory.remove_file(&temporary);
        return Err(error.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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

    /// As [`read`].
    fn write(files: &Files, path: impl AsRef<Path>) -> Result<(), FileError> {
        let path = path.as_ref();
        files.write(path, b"x")?;
        // A slow disk writes later: then what is read in the end tells.
        thread::sleep(FRESH);
        read(files, path).map(drop)
    }

    #[test]
    fn nothing_is_written_beside_configuration_or_scripts_or_below() {
        let folder = Folder::new("guarded");
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
            assert!(write(&files, path).is_err(), "{path}");
        }
        let text = files
            .write(Path::new("sub/new"), b"x")
            .map_err(|e| e.to_string());
        if let Err(text) = text {
            assert!(text.contains("file_root"), "{text}");
        }
        assert!(write(&files, folder.0.join("in/sub/edge.cfg")).is_err());
        assert_eq!(fs::read(folder.0.join("in/sub/edge.cfg")).unwrap(), b"c");
        assert_eq!(fs::read_dir(folder.0.join("in/sub")).unwrap().count(), 2);
        // All else can be written, and the guarded read.
        write(&files, "free").unwrap();
        assert_eq!(*read(&files, "sub/edge.cfg").unwrap(), *b"c");
        // So can a folder below that was named for it.
        let roots = FileRoots {
            read: Vec::new(),
            write: vec![folder.0.join("in/sub/deep")],
            guarded: vec![folder.0.join("in/sub")],
        };
        write(&Files::start(roots, 100).unwrap(), "new").unwrap();
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
        assert!(write(&files, etc.join("list")).is_err());
        write(&files, "list").unwrap();
        write(&files, "own").unwrap();
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
}
