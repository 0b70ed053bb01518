//! Files that scripts read and write: file_read() and file_write().
//!
//! A thread of its own does the work, so that a slow disk never stops a worker for more than
//! `PATIENCE`. What was read is kept for `FRESH`. Paths are resolved inside the directories
//! that are allowed, and no symbolic link leads out of them.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use cap_std::{ambient_authority, fs::Dir};

use crate::kernel::root_files;
use corex_script::{host::FileError, limiter::Limiter};

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

    /// Whether configuration or scripts lie in this directory or below.
    pub fn holds_guarded(&self, root: &Path) -> bool {
        let root = canonical(root);
        let mut guarded = self.guarded.iter();
        guarded.any(|path| canonical(path).starts_with(&root))
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
        let mut complaints = Limiter::default();
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
                        && let Some(held_back) = complaints.allow()
                    {
                        let path = job.place.1.display();
                        tracing::warn!(held_back, "{path}: not written: {error}");
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
                root_files::replace_below(&root.path, directory, path, content)?;
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
