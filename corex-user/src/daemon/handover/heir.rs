//! The successor's side: it gets what its predecessor serves, and takes its place.

use std::{
    fs, io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use corex_xdp::{Bound, QueueSocket, Umem};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    estate::{Ask, Estate, Farewell, Frozen, Item, Tell, VERSION},
    guard::GuardCopy,
    peers::PeersCopy,
    place,
    tables::TableCopy,
    wire::Connection,
};
use crate::{
    daemon::reply_keys,
    kernel::{attach::Mode, interfaces::Interface},
};

/// How long the predecessor may take for a word: its workers end the messages that they are at.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to stop, where it can't hand over.
const STOPPING: Duration = Duration::from_secs(15);
/// How long a process may take to be gone once it has closed its sockets.
const DYING: Duration = Duration::from_millis(500);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(1);

/// The predecessor that is to be succeeded, and what it hands over. Dropped before
/// [the last word](Self::commit), it lets the predecessor go on.
pub struct Heir {
    connection: Connection,
    pid: Pid,
    estate: Estate,
}

impl Heir {
    /// Asks the corex of that name for all that it serves. `None`: there is none, or it can't.
    pub fn ask(instance: &str) -> Option<Heir> {
        let path = place::path(instance).ok()?;
        let socket = match UnixStream::connect(&path) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!("{}: {error}", path.display());
                return None;
            }
        };
        match Self::meet(socket) {
            Ok(heir) => Some(heir),
            Err(error) => {
                tracing::warn!("the corex that runs hands nothing over: {error:#}");
                None
            }
        }
    }

    fn meet(socket: UnixStream) -> anyhow::Result<Heir> {
        let pid = place::trusted(&socket)?;
        let mut connection = Connection::new(socket);
        connection.patience(PATIENCE)?;
        let hello = Ask::Hello {
            version: VERSION,
            corex: env!("CARGO_PKG_VERSION").to_owned(),
        };
        connection.send(&hello, &[] as &[OwnedFd])?;
        match connection.receive()? {
            (
                Tell::Estate {
                    corex,
                    items,
                    reply_key,
                    tables,
                    guard,
                    peers,
                },
                descriptors,
            ) => {
                if items.len() != descriptors.len() {
                    bail!("{} of {} descriptors came", descriptors.len(), items.len());
                }
                tracing::info!(
                    "taking over from process {pid}, corex {corex}: {} descriptors",
                    items.len()
                );
                let items = items.into_iter().zip(descriptors).collect();
                Ok(Heir {
                    connection,
                    pid,
                    estate: Estate {
                        items,
                        reply_key,
                        tables,
                        guard,
                        peers,
                    },
                })
            }
            (Tell::Refused { why }, _) => bail!(why),
            (other, _) => bail!("it says {other:?}"),
        }
    }

    /// Whether there are AF_XDP queues among what is handed over.
    pub fn has_xdp(&self) -> bool {
        self.estate.has(|item| matches!(item, Item::Queue { .. }))
    }

    /// Whether a UDP socket on that address is handed over.
    pub fn has_datagrams(&self, wanted: SocketAddr) -> bool {
        self.estate
            .has(|item| matches!(item, Item::Datagrams { address, .. } if *address == wanted))
    }

    /// A worker's UDP socket on an address.
    pub fn datagrams(&mut self, worker: usize, address: SocketAddr) -> Option<OwnedFd> {
        self.take(&Item::Datagrams { worker, address })
    }

    /// The TCP listener on an address.
    pub fn listener(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        self.take(&Item::Listener { address })
    }

    /// The socket of a front end, by its name.
    pub fn front_end(&mut self, name: &str) -> Option<OwnedFd> {
        let name = name.to_owned();
        self.take(&Item::FrontEnd { name })
    }

    /// The key that replies to what the predecessor forwarded bring.
    pub fn reply_key(&self) -> [u8; reply_keys::LEN] {
        self.estate.reply_key
    }

    /// What scripts kept when the predecessor was asked.
    pub fn tables(&mut self) -> Vec<TableCopy> {
        std::mem::take(&mut self.estate.tables)
    }

    /// The guard's entries when the predecessor was asked.
    pub fn guard(&mut self) -> GuardCopy {
        std::mem::take(&mut self.estate.guard)
    }

    /// The peers that were known when the predecessor was asked.
    pub fn peers(&mut self) -> PeersCopy {
        std::mem::take(&mut self.estate.peers)
    }

    /// The map with the buckets of sources, and the rules that they are of.
    pub fn buckets(&mut self) -> Option<(String, OwnedFd)> {
        self.estate.take(|item| match item {
            Item::Buckets { rates } => Some(rates.clone()),
            _ => None,
        })
    }

    /// The lock of the instance's name.
    pub fn name(&mut self) -> Option<OwnedFd> {
        self.take(&Item::Name)
    }

    /// The socket that successors connect to.
    pub fn offer(&mut self) -> Option<OwnedFd> {
        self.take(&Item::Offer)
    }

    fn take(&mut self, wanted: &Item) -> Option<OwnedFd> {
        let found = self.estate.take(|item| (item == wanted).then_some(()));
        found.map(|((), descriptor)| descriptor)
    }

    /// Whether as many workers can go on with what those of the predecessor have.
    ///
    /// # Errors
    /// There are too few.
    pub fn check_workers(&self, workers: u32) -> anyhow::Result<()> {
        let of = |item: &Item| match item {
            Item::Datagrams { worker, .. } | Item::Queue { worker, .. } => Some(*worker),
            _ => None,
        };
        let last = self
            .estate
            .items
            .iter()
            .filter_map(|(item, _)| of(item))
            .max();
        match last {
            Some(last) if last >= workers as usize => {
                bail!(
                    "it has {} workers, and this one is to have {workers}",
                    last + 1
                )
            }
            _ => Ok(()),
        }
    }

    /// The link of the program on an interface.
    ///
    /// # Errors
    /// There is none.
    pub fn link(&mut self, interface: &Interface) -> anyhow::Result<(Mode, OwnedFd)> {
        let found = self.estate.take(|item| match item {
            Item::Link { ifindex, is_native } if *ifindex == interface.index => Some(*is_native),
            _ => None,
        });
        let (is_native, link) =
            found.with_context(|| format!("it isn't attached to {}", interface.name))?;
        let mode = if is_native { Mode::Native } else { Mode::Skb };
        Ok((mode, link))
    }

    /// Whether all links have been taken.
    ///
    /// # Errors
    /// The predecessor is attached to another interface.
    pub fn check_links(&self) -> anyhow::Result<()> {
        if self.estate.has(|item| matches!(item, Item::Link { .. })) {
            bail!("it is attached to other interfaces, too");
        }
        Ok(())
    }

    /// A worker's packet memory and AF_XDP sockets, mapped; they are used when
    /// [the predecessor has stopped](Self::freeze).
    ///
    /// # Errors
    /// They aren't those of these queues (interface index and queue), or the memory's chunks have
    /// another size.
    pub fn queues(
        &mut self,
        worker: usize,
        queues: &[(u32, u32)],
        chunk_size: u32,
    ) -> anyhow::Result<(Umem, Vec<QueueSocket>)> {
        let found = self.estate.take(|item| match item {
            Item::PacketMemory {
                worker: of,
                chunks,
                chunk_size,
            } if *of == worker => Some((*chunks, *chunk_size)),
            _ => None,
        });
        let ((chunks, had), memory) =
            found.with_context(|| format!("its worker {worker} serves no queue"))?;
        if had != chunk_size {
            bail!("frames are to have {chunk_size} bytes, and its have {had}");
        }
        let umem = Umem::attach(memory, chunks, chunk_size).context("attach the packet memory")?;
        let mut sockets = Vec::new();
        for (ifindex, queue) in queues {
            let found = self.estate.take(|item| match item {
                Item::Queue {
                    worker: of,
                    ifindex: at,
                    queue: number,
                    zero_copy,
                } if (*of, at, number) == (worker, ifindex, queue) => Some(*zero_copy),
                _ => None,
            });
            let (zero_copy, socket) = found.with_context(|| {
                format!("its worker {worker} doesn't serve queue {queue} of interface {ifindex}")
            })?;
            let bound = Bound {
                ifindex: *ifindex,
                queue: *queue,
                zero_copy,
                refusal: None,
            };
            sockets.push(
                QueueSocket::attach(socket, bound, &umem).context("attach an AF_XDP socket")?,
            );
        }
        let is_left = |item: &Item| matches!(item, Item::Queue { worker: of, .. } if *of == worker);
        if self.estate.has(is_left) {
            bail!("its worker {worker} serves more queues");
        }
        Ok((umem, sockets))
    }

    /// Ends the predecessor, which can't hand over what is wanted, and waits until it is gone.
    ///
    /// # Errors
    /// It stays.
    pub fn make_way(self) -> anyhow::Result<()> {
        let Heir {
            connection, pid, ..
        } = self;
        drop(connection);
        // Gone already is as good.
        let _ = kill(pid, Signal::SIGUSR2);
        if !wait_for_end(pid, STOPPING) {
            bail!(
                "process {pid} hasn't made way in {} s; this one gives up. Where the other's log \
                 says \"SIGUSR2\" it is stopping and will be gone, else it runs on as before",
                STOPPING.as_secs()
            );
        }
        Ok(())
    }

    /// Has the predecessor's workers stop. Returns how things stand, with the descriptors of TCP
    /// connections.
    ///
    /// # Errors
    /// It doesn't say that they have; there are fewer descriptors left than it has connections.
    pub fn freeze(&mut self) -> io::Result<(Frozen, Vec<OwnedFd>)> {
        self.say(&Ask::Freeze)?;
        match self.connection.receive()? {
            (Tell::Frozen(frozen), descriptors)
                if frozen.streams.streams.open.len() == descriptors.len() =>
            {
                Ok((frozen, descriptors))
            }
            (other, _) => Err(io::Error::other(format!("it says {other:?}"))),
        }
    }

    /// Takes over: from here on the predecessor does nothing more.
    ///
    /// # Errors
    /// It doesn't agree, and goes on itself.
    pub fn commit(&mut self) -> io::Result<()> {
        self.say(&Ask::Commit)?;
        match self.hear()? {
            Tell::Go => Ok(()),
            other => Err(io::Error::other(format!("it says {other:?}"))),
        }
    }

    /// Whether the predecessor has died, which ends the connection as well: then it doesn't go on.
    pub fn is_gone(&self) -> bool {
        wait_for_end(self.pid, DYING)
    }

    /// The predecessor's last word.
    ///
    /// # Errors
    /// It had none.
    pub fn farewell(mut self) -> io::Result<Farewell> {
        match self.hear()? {
            Tell::Farewell(farewell) => Ok(farewell),
            other => Err(io::Error::other(format!("it says {other:?}"))),
        }
    }

    fn say(&mut self, word: &Ask) -> io::Result<()> {
        self.connection.send(word, &[] as &[OwnedFd])
    }

    fn hear(&mut self) -> io::Result<Tell> {
        self.connection.receive().map(|(word, _)| word)
    }
}

/// Waits until a process has ended. False: it runs still.
fn wait_for_end(pid: Pid, patience: Duration) -> bool {
    let stat = format!("/proc/{pid}/stat");
    let deadline = Instant::now() + patience;
    loop {
        // proc_pid_stat(5): the state follows the name, which is in brackets.
        let state = fs::read_to_string(&stat).ok().and_then(|text| {
            let (_, rest) = text.rsplit_once(") ")?;
            rest.chars().next()
        });
        match state {
            None | Some('Z' | 'X') => return true,
            Some(_) if Instant::now() > deadline => return false,
            Some(_) => thread::sleep(LOOK),
        }
    }
}
