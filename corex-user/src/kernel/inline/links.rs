//! The programs' attachments. Pinned, they outlive the daemon; the next one puts its own
//! programs into them, without a moment in which there are none.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp,
    links::{FdLink, Link, LinkError, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};

use crate::kernel::{
    attach::{self, AttachError, Mode, ModeChoice},
    interfaces::Interface,
    presence::{Hook, Place},
    root_files,
};

/// Where a clsact filter of ours is, so that a successor finds it: behind those that have a
/// priority by default (49152 and below).
const PRIORITY: u16 = 0xc0ce;
const HANDLE: TcHandle = TcHandle::new(0, 0xc0ce);

/// How TC programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TcChoice {
    /// TCX where the kernel has it (Linux 6.6), else clsact.
    #[default]
    Auto,
    /// TCX, or fail.
    Tcx,
    /// A filter of the clsact qdisc.
    Clsact,
}

/// Why a program couldn't be attached.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// XDP refused.
    #[error(transparent)]
    Xdp(#[from] AttachError),
    /// TC refused.
    #[error("attach {program} to {interface}'s {side}: {source}")]
    Tc {
        /// The program.
        program: &'static str,
        /// The interface.
        interface: String,
        /// `ingress` or `egress`.
        side: &'static str,
        /// The kernel's answer.
        source: Box<ProgramError>,
    },
    /// The kernel doesn't say what the program is.
    #[error("{interface}: read the XDP program's number: {source}")]
    Info {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: Box<ProgramError>,
    },
    /// The link can't be kept.
    #[error("keep the link of a program: {0}")]
    Link(#[from] LinkError),
    /// The file system for pins refuses.
    #[error("pin a link as {path}: {reason}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// The file system's answer.
        reason: String,
    },
}

/// A filter of a clsact qdisc: it stays until somebody takes it off.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The interface that it is on.
    pub interface: String,
    /// Whether it is on egress; else on ingress.
    pub egress: bool,
    /// The program's name.
    pub program: &'static str,
}

/// A link, with its pin.
struct Held {
    /// Where the program is.
    at: Place,
    place: Option<PathBuf>,
    link: FdLink,
}

impl Held {
    fn end(self) {
        if let Some(path) = &self.place {
            // A pin that stays keeps the program attached: worth a word.
            if let Err(error) = root_files::remove_file(path) {
                tracing::warn!("{}: {error}", path.display());
            }
        }
        drop(self.link);
    }
}

/// Attachments that end together: the links that are held, with their pins, and the filters.
pub struct Links {
    /// Where links are pinned; `None`: they end with the process.
    folder: Option<PathBuf>,
    held: Vec<Held>,
    /// With the indices of their interfaces.
    filters: Vec<(u32, Filter)>,
    choice: TcChoice,
}

impl Links {
    /// Links that are pinned in `folder`, which is made.
    pub fn new(folder: Option<PathBuf>, choice: TcChoice) -> Self {
        if let Some(folder) = &folder {
            // What is wrong shows when the first link is pinned.
            let _ = fs::create_dir_all(folder);
        }
        Self {
            folder,
            held: Vec::new(),
            filters: Vec::new(),
            choice,
        }
    }

    fn place(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    fn hold(&mut self, at: Place, link: FdLink, place: Option<PathBuf>) -> Result<(), LinksError> {
        let link = match &place {
            Some(path) if !path.exists() => {
                let pinned = link.pin(path).map_err(|error| LinksError::Pin {
                    path: path.clone(),
                    reason: describe(&error),
                })?;
                FdLink::from(pinned)
            }
            _ => link,
        };
        self.held.push(Held { at, place, link });
        Ok(())
    }

    /// Attaches an XDP program, or puts it into the link that an earlier daemon left.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn xdp(
        &mut self,
        program: &mut Xdp,
        interface: &Interface,
        choice: ModeChoice,
    ) -> Result<Mode, LinksError> {
        let at = |program: &Xdp| -> Result<Place, LinksError> {
            let info = program.info().map_err(|source| LinksError::Info {
                interface: interface.name.clone(),
                source: Box::new(source),
            })?;
            let hook = Hook::Xdp(info.id());
            let index = interface.index;
            Ok(Place { index, hook })
        };
        for mode in [Mode::Native, Mode::Skb] {
            let Some(path) = self.place(&xdp_name(interface, mode)) else {
                continue;
            };
            let Some(link) = pinned(&path) else { continue };
            let wanted = match choice {
                ModeChoice::Auto => true,
                ModeChoice::Native => mode == Mode::Native,
                ModeChoice::Skb => mode == Mode::Skb,
            };
            if wanted
                && let Ok(link) = link.try_into()
                && let Ok(id) = program.attach_to_link(link)
                && let Ok(link) = program.take_link(id)
            {
                self.hold(at(program)?, link.try_into()?, Some(path))?;
                return Ok(mode);
            }
            // Of an interface that is gone, or attached in the other mode.
            let _ = fs::remove_file(&path);
        }
        let attachment = attach::attach(program, interface, choice, attach::pinnable)?;
        let mode = attachment.mode;
        let place = self.place(&xdp_name(interface, mode));
        self.hold(at(program)?, attachment.link, place)?;
        Ok(mode)
    }

    /// Attaches a TC program, likewise. Ours goes behind the programs of others, so that they
    /// see what the server sent.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn tc(
        &mut self,
        program: &mut SchedClassifier,
        name: &'static str,
        interface: &Interface,
        egress: bool,
    ) -> Result<(), LinksError> {
        let (hook, side) = if egress {
            (TcAttachType::Egress, "egress")
        } else {
            (TcAttachType::Ingress, "ingress")
        };
        let refused = |source: ProgramError| LinksError::Tc {
            program: name,
            interface: interface.name.clone(),
            side,
            source: Box::new(source),
        };
        if self.choice != TcChoice::Clsact {
            let info = program.info().map_err(refused)?;
            let at = Place {
                index: interface.index,
                hook: Hook::Tcx {
                    program: info.id(),
                    egress,
                },
            };
            let place = self.place(&format!("{name}-{}", interface.index));
            if let Some(path) = &place
                && let Some(link) = pinned(path)
            {
                if let Ok(link) = link.try_into()
                    && let Ok(id) = program.attach_to_link(link)
                    && let Ok(link) = program.take_link(id)
                {
                    return self.hold(at, link.try_into()?, place);
                }
                let _ = fs::remove_file(path);
            }
            let order = TcAttachOptions::TcxOrder(LinkOrder::last());
            match program.attach_with_options(&interface.name, hook, order) {
                Ok(id) => {
                    let link = program.take_link(id).map_err(refused)?;
                    return self.hold(at, link.try_into()?, place);
                }
                Err(error) if self.choice == TcChoice::Tcx => return Err(refused(error)),
                Err(_) => {}
            }
        }
        match tc::qdisc_add_clsact(&interface.name) {
            Ok(()) | Err(TcError::AlreadyAttached) => {}
            // Who has one already answers with EEXIST; else the filter's own error follows.
            Err(error) => tracing::debug!("{}: clsact: {error}", interface.name),
        }
        // In place of an earlier daemon's, without a moment in which there is none.
        let earlier = SchedClassifierLink::attached(&interface.name, hook, PRIORITY, HANDLE, None)
            .map_err(|error| refused(TcError::from(error).into()))?;
        let id = match program.attach_to_link(earlier) {
            Ok(id) => id,
            Err(_) => program
                .attach_with_options(
                    &interface.name,
                    hook,
                    TcAttachOptions::Netlink(NlOptions {
                        priority: PRIORITY,
                        handle: HANDLE,
                        classid: None,
                    }),
                )
                .map_err(refused)?,
        };
        // The filter stays until it is taken off by name, by who may: not when this is dropped.
        std::mem::forget(program.take_link(id).map_err(refused)?);
        let filter = Filter {
            interface: interface.name.clone(),
            egress,
            program: name,
        };
        self.filters.push((interface.index, filter));
        Ok(())
    }

    /// Ends those to an interface that is gone, with the filters on it.
    pub fn forget(&mut self, interface: &Interface) {
        let of_interface = |held: &mut Held| held.at.index == interface.index;
        self.held.extract_if(.., of_interface).for_each(Held::end);
        self.filters
            .retain(|(_, filter)| filter.interface != interface.name);
    }

    /// Ends the attachment of an XDP program, so that it can be attached anew.
    pub fn forget_xdp(&mut self, interface: &Interface) {
        let is_it = |held: &mut Held| {
            matches!(held.at.hook, Hook::Xdp(_)) && held.at.index == interface.index
        };
        self.held.extract_if(.., is_it).for_each(Held::end);
    }

    /// Ends all attachments but clsact filters, which are returned.
    pub fn end(&mut self) -> Vec<Filter> {
        self.held.drain(..).for_each(Held::end);
        if let Some(folder) = &self.folder {
            let _ = root_files::remove_dir(folder);
        }
        let filters = std::mem::take(&mut self.filters);
        filters.into_iter().map(|(_, filter)| filter).collect()
    }

    /// Where programs must be found on the interface with that index.
    pub fn places(&self, index: u32) -> impl Iterator<Item = Place> {
        let held = self.held.iter().map(|held| held.at);
        let filters = self.filters.iter().map(|(index, filter)| Place {
            index: *index,
            hook: Hook::Filter {
                priority: PRIORITY,
                handle: HANDLE,
                egress: filter.egress,
            },
        });
        held.chain(filters).filter(move |at| at.index == index)
    }
}

/// Takes our clsact filter off an interface. It is found by its priority and handle: aya's search
/// by name gives up where others have filters of other kinds.
pub fn detach_filter(interface: &str, egress: bool, program: &str) {
    let hook = if egress {
        TcAttachType::Egress
    } else {
        TcAttachType::Ingress
    };
    let detached = SchedClassifierLink::attached(interface, hook, PRIORITY, HANDLE, None)
        .map_err(|error| ProgramError::from(TcError::from(error)))
        .and_then(Link::detach);
    // None there is as good.
    if let Err(error) = detached {
        tracing::debug!("{interface}: no filter {program} taken off: {error}");
    }
}

/// Removes the links that a daemon left in `folder`, but for those that `kept` hold: its programs
/// are attached no more. Returns the indices of interfaces of which nothing is kept.
pub fn clear(folder: &Path, kept: &[&Links]) -> Vec<u32> {
    let held: Vec<&PathBuf> = kept
        .iter()
        .flat_map(|links| links.held.iter().filter_map(|held| held.place.as_ref()))
        .collect();
    let index = |path: &Path| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.rsplit_once('-')?.1.parse().ok()
    };
    let kept: Vec<u32> = held.iter().filter_map(|path| index(path)).collect();
    let mut left = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if held.contains(&&path) {
            continue;
        }
        left.extend(index(&path).filter(|index| !kept.contains(index)));
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!("{}: {error}", path.display());
        }
    }
    let _ = fs::remove_dir(folder);
    left.sort_unstable();
    left.dedup();
    left
}

fn xdp_name(interface: &Interface, mode: Mode) -> String {
    format!("xdp-{mode}-{}", interface.index)
}

fn pinned(path: &Path) -> Option<FdLink> {
    PinnedLink::from_pin(path).ok().map(FdLink::from)
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
