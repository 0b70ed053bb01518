//! The predecessor's side: it waits for a successor, and hands over.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, oneshot};

use super::{
    estate::{Ask, Estate, Farewell, Frozen, Item, Tell, VERSION},
    place,
    wire::Connection,
};
use crate::{daemon::service, kernel::root_files};

/// How long a successor may take for a word, and to take one.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to make itself ready: it reads scripts, and the kernel its programs.
const PREPARATION: Duration = Duration::from_secs(120);
/// Between two tries to accept when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How things stand once all has stopped.
pub struct Halt {
    /// What the successor is told.
    pub frozen: Frozen,
    /// Of the connections among it, in their order.
    pub descriptors: Vec<Arc<OwnedFd>>,
}

/// What the successor needs of the control thread.
pub enum Step {
    /// Name all that can be handed over, with copies of the descriptors.
    Look(oneshot::Sender<io::Result<Estate>>),
    /// Have the workers park and the connections stand still.
    Freeze(oneshot::Sender<io::Result<Halt>>),
    /// Have them go on: nothing came of it.
    Resume,
    /// The successor has all. End.
    Leave(oneshot::Sender<Farewell>),
}

/// The socket that a successor connects to.
pub struct Offer {
    listener: UnixListener,
    path: PathBuf,
    /// Whether the file goes with this value.
    is_ours: bool,
}

impl Offer {
    /// Opens the socket of an instance.
    ///
    /// # Errors
    /// `AddrInUse` when another corex of that name runs; what the kernel says.
    pub fn open(instance: &str) -> io::Result<Offer> {
        let path = place::path(instance)?;
        Ok(Offer {
            listener: place::listen(&path)?,
            path,
            is_ours: true,
        })
    }

    /// The socket that a predecessor hands over; its file is [ours](Self::own) later.
    ///
    /// # Errors
    /// Why it has no place.
    pub fn received(instance: &str, socket: OwnedFd) -> io::Result<Offer> {
        Ok(Offer {
            listener: socket.into(),
            path: place::path(instance)?,
            is_ours: false,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds it to what is handed over.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn add_to(&self, estate: &mut Estate) -> io::Result<()> {
        estate.add(Item::Offer, self.listener.as_fd().try_clone_to_owned()?);
        Ok(())
    }

    /// Leaves the file: a successor listens there.
    pub fn leave(&mut self) {
        self.is_ours = false;
    }

    /// Lets the file go with this value, and tells those who connect from now on that this process
    /// is the one at the other end (unix(7), SO_PEERCRED: who called listen(2) last).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn own(&mut self) -> io::Result<()> {
        self.is_ours = true;
        place::listen_again(&self.listener)
    }

    /// Serves successors, one at a time, by a thread of its own; what they need goes to `steps`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn serve(&self, steps: mpsc::UnboundedSender<Step>) -> io::Result<()> {
        let listener = self.listener.try_clone()?;
        let run = move || {
            for successor in listener.incoming() {
                match successor {
                    Ok(successor) => match converse(successor, &steps) {
                        Ok(true) => return,
                        Ok(false) => {}
                        Err(error) => {
                            tracing::warn!("a successor didn't take over: {error:#}; going on");
                        }
                    },
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        };
        let builder = thread::Builder::new().name("corex-heir".to_owned());
        builder.spawn(run).map(drop)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.is_ours {
            // What stays is replaced by the next one.
            let _ = root_files::remove_file(&self.path);
        }
    }
}

/// Has the control thread do something.
fn ask<R>(
    steps: &mpsc::UnboundedSender<Step>,
    step: impl FnOnce(oneshot::Sender<R>) -> Step,
) -> anyhow::Result<R> {
    let (answer, done) = oneshot::channel();
    // When it is ending nobody answers.
    let _ = steps.send(step(answer));
    done.blocking_recv().context("this corex is stopping")
}

/// Hands over to a successor. Whether it has taken over; false: it wanted nothing.
fn converse(successor: UnixStream, steps: &mpsc::UnboundedSender<Step>) -> anyhow::Result<bool> {
    let pid = place::trusted(&successor)?;
    let mut connection = Connection::new(successor);
    connection.patience(PATIENCE)?;
    let none: &[OwnedFd] = &[];
    match connection.receive()?.0 {
        Ask::Hello { version, .. } if version != VERSION => {
            let why = format!(
                "it speaks version {VERSION} of the hand-over, and the successor {version}"
            );
            connection.send(&Tell::Refused { why: why.clone() }, none)?;
            bail!(why);
        }
        Ask::Hello { corex, .. } => {
            tracing::info!("process {pid}, corex {corex}, asks to take over");
        }
        other => bail!("it says {other:?} first"),
    }
    let estate = match ask(steps, Step::Look)? {
        Ok(estate) => estate,
        Err(error) => {
            let why = error.to_string();
            connection.send(&Tell::Refused { why }, none)?;
            return Err(error.into());
        }
    };
    let (items, descriptors): (Vec<_>, Vec<_>) = estate.items.into_iter().unzip();
    let words = Tell::Estate {
        corex: env!("CARGO_PKG_VERSION").to_owned(),
        items,
        reply_key: estate.reply_key,
        tables: estate.tables,
        guard: estate.guard,
        peers: estate.peers,
    };
    connection.send(&words, &descriptors)?;
    drop(descriptors);
    connection.patience(PREPARATION)?;
    match connection.receive()?.0 {
        Ask::Freeze => {}
        other => bail!("it says {other:?} instead of being ready"),
    }
    connection.patience(PATIENCE)?;
    let Halt {
        frozen,
        descriptors,
    } = ask(steps, Step::Freeze)??;
    let agreed = (|| -> anyhow::Result<()> {
        let sent = connection.send(&Tell::Frozen(frozen), &descriptors);
        // Those who lent them may want them back.
        drop(descriptors);
        sent?;
        match connection.receive()?.0 {
            Ask::Commit => Ok(connection.send(&Tell::Go, none)?),
            other => bail!("it says {other:?} instead of taking over"),
        }
    })();
    if let Err(error) = agreed {
        let _ = steps.send(Step::Resume);
        // Else it takes this one for dead.
        let why = error.to_string();
        let _ = connection.send(&Tell::Refused { why }, none);
        return Err(error);
    }
    // Before this process ends: it would be the service's end.
    service::succeeded_by(pid);
    let farewell = ask(steps, Step::Leave)?;
    // It counts less then.
    let _ = connection.send(&Tell::Farewell(farewell), none);
    Ok(true)
}
