//! Files that scripts read and write: file_read() and file_write().
//!
//! A thread of its own does the work, so that a slow disk never stops a worker for more than
//! `PATIENCE`. What was read is kept for `FRESH`. Paths are resolved inside the directories
//! that are allowed, and no symbolic link leads out of them.

use std::{
    collections::HashMap,
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

/// The allowed directories and the thread behind them. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    roots: Arc<[PathBuf]>,
    max_size: usize,
    jobs: SyncSender<Job>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    kept: HashMap<Place, Kept>,
    slow_until: Option<Instant>,
}

struct Kept {
    content: Arc<[u8]>,
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
    /// Starts the thread. The first root is where relative paths start.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(roots: Vec<PathBuf>, max_size: usize) -> io::Result<Files> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        let roots: Arc<[PathBuf]> = roots.into();
        let state = Arc::new(Mutex::new(State::default()));
        let (its_roots, its_state) = (Arc::clone(&roots), Arc::clone(&state));
        thread::Builder::new()
            .name("corex-files".into())
            .spawn(move || {
                let mut directories: HashMap<usize, Dir> = HashMap::new();
                for job in queue {
                    let result = work(&mut directories, &its_roots, max_size, &job);
                    let mut state = its_state.lock().unwrap_or_else(PoisonError::into_inner);
                    match &result {
                        Ok(content) => state.keep(job.place.clone(), Arc::clone(content)),
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

    /// The content of a file.
    ///
    /// # Errors
    /// When it can't be read, or not soon enough and nothing is kept of it.
    pub fn read(&self, path: &Path) -> Result<Arc<[u8]>, FileError> {
        let place = self.place(path)?;
        let kept = self.with_state(|state| {
            let kept = state.kept.get(&place)?;
            Some((Arc::clone(&kept.content), kept.at.elapsed() < FRESH))
        });
        if let Some((content, true)) = kept {
            return Ok(content);
        }
        match self.ask(place, None) {
            Err(FileError::Slow) => kept.map(|(content, _)| content).ok_or(FileError::Slow),
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
        let place = self.place(path)?;
        match self.ask(place, Some(content.into())) {
            Ok(_) | Err(FileError::Slow) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn ask(&self, place: Place, content: Option<Arc<[u8]>>) -> Result<Arc<[u8]>, FileError> {
        let (done, answer) = mpsc::sync_channel(1);
        if let Some(content) = &content {
            // What was written is what is read from now on, however slow the disk.
            self.with_state(|state| state.keep(place.clone(), Arc::clone(content)));
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

    /// The root that a path is in, and the path from there.
    fn place(&self, path: &Path) -> Result<Place, FileError> {
        let (root, inside) = if path.is_absolute() {
            self.roots
                .iter()
                .enumerate()
                .find_map(|(at, root)| Some((at, path.strip_prefix(root).ok()?)))
                .ok_or_else(|| FileError::Outside(self.allowed()))?
        } else {
            (0, path)
        };
        if self.roots.is_empty() {
            return Err(FileError::Outside(self.allowed()));
        }
        let is_plain =
            |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if inside.file_name().is_none() || !inside.components().all(is_plain) {
            return Err(FileError::Path);
        }
        Ok((root, inside.to_owned()))
    }

    fn allowed(&self) -> String {
        let roots: Vec<_> = self.roots.iter().map(|r| r.display().to_string()).collect();
        roots.join(", ")
    }
}

impl State {
    fn keep(&mut self, place: Place, content: Arc<[u8]>) {
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

/// Does one job, on the thread.
fn work(
    directories: &mut HashMap<usize, Dir>,
    roots: &[PathBuf],
    max_size: usize,
    job: &Job,
) -> Result<Arc<[u8]>, FileError> {
    let (root, path) = &job.place;
    let directory = match directories.entry(*root) {
        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::hash_map::Entry::Vacant(entry) => {
            let root = roots.get(*root).ok_or(FileError::Path)?;
            entry.insert(Dir::open_ambient_dir(root, ambient_authority())?)
        }
    };
    match &job.content {
        None => {
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
        Some(content) => {
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
            Ok(Arc::clone(content))
        }
    }
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
            Files::start(vec![self.0.join("in")], max_size).unwrap()
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
}
