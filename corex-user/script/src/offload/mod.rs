//! Roads: messages of which the configuration alone says what becomes of them, so that the kernel
//! can send them on or drop them without user space.
//!
//! A listener's messages are divided by their source, into the networks that the configuration
//! compares sources with, and by their kind: replies, and requests by method. For each of these
//! cells the routes are run once, with nothing known but that; what they ask beyond it, or do
//! beyond `send()` of the unchanged message, `drop` and `exit`, is the [`Obstacle`]. So whatever is
//! in doubt is no road. What `$(si{s.corehash,N})` and `$(ci{s.corehash,N})` yield is known, too: the
//! routes are run with each of the values.

mod explain;
mod networks;
mod run;
mod value;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use corex_common::road::{KINDS, METHODS, OTHER, REPLY};
use corex_sip::Transport;

use self::networks::Network;
use self::run::{Run, Stop};
use crate::function::Modules;
use crate::settings::Settings;
use crate::syntax::ast::{File, ItemKind, Route, RouteKind};
use crate::syntax::span::{Sources, Span};

pub use self::explain::explain;

/// What of a configuration roads follow from.
#[derive(Debug)]
pub struct Offload {
    file: File,
    sources: Sources,
    modules: Modules,
    /// What `loadmodule` named.
    loaded: Vec<&'static str>,
}

/// A listen socket, as far as roads go.
#[derive(Clone, Debug)]
pub struct Listener {
    /// How people know it.
    pub name: String,
    /// Its transport.
    pub transport: Transport,
    /// Its address; `None`: that isn't known yet.
    pub address: Option<SocketAddr>,
}

/// The roads that lead from a listener.
#[derive(Clone, Debug)]
pub struct ListenerPlan {
    /// The listener.
    pub listener: Listener,
    /// Why no roads lead from it at all.
    pub obstacle: Option<Obstacle>,
    /// Why messages of at least `min_msg_len` bytes have none.
    pub hook: Option<Obstacle>,
    /// What becomes of messages from each class of sources. Of those networks that a source is in
    /// the smallest one counts. The first is all others.
    pub classes: Vec<SourceClass>,
}

/// What becomes of the messages from one class of sources.
#[derive(Clone, Debug)]
pub struct SourceClass {
    /// The network, without those in it that have a class of their own; of length 0: all.
    pub network: (IpAddr, u8),
    /// By kind: see [`kind_name`].
    pub fates: Box<[Result<Fate, Obstacle>; KINDS]>,
}

/// What becomes of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The same for all.
    One(Outcome),
    /// What the hash of the source chooses; as many as a power of two.
    BySource(Vec<Outcome>),
    /// What the hash of the Call-ID chooses; as many as a power of two.
    ByCallId(Vec<Outcome>),
}

/// What the hash is of that decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hashed {
    Source,
    CallId,
}

/// The end of a road.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It is sent there, unchanged.
    Send(SocketAddr),
    /// It is dropped, as the script says.
    Drop,
    /// It is dropped, since the script sends it nowhere.
    Unrouted,
}

/// Why there is no road.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obstacle {
    /// `file:line:column` of what is in the way; empty where nothing written is.
    pub place: String,
    /// What is in the way.
    pub reason: String,
    /// What can be done about it.
    pub remedy: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Send(to) => write!(f, "send to {to}"),
            Outcome::Drop => f.write_str("drop"),
            Outcome::Unrouted => f.write_str("drop, sent nowhere"),
        }
    }
}

/// What people call a kind of messages.
pub fn kind_name(kind: usize) -> &'static str {
    const NAMES: [&str; KINDS] = [
        "replies",
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "REGISTER",
        "PRACK",
        "SUBSCRIBE",
        "NOTIFY",
        "PUBLISH",
        "INFO",
        "REFER",
        "MESSAGE",
        "UPDATE",
        "other methods",
    ];
    NAMES.get(kind).copied().unwrap_or_default()
}

/// The method of the requests of a kind; `None` for replies and [`OTHER`].
fn method(kind: usize) -> Option<&'static [u8]> {
    let with_space = METHODS.get(kind.checked_sub(REPLY + 1)?)?;
    with_space.strip_suffix(b" ")
}

impl Offload {
    /// Keeps what roads follow from.
    pub(crate) fn new(
        file: File,
        sources: Sources,
        modules: Modules,
        loaded: Vec<&'static str>,
    ) -> Offload {
        Offload {
            file,
            sources,
            modules,
            loaded,
        }
    }

    /// The roads that lead from each listener; `settings` are those of the same configuration.
    pub fn plan(&self, settings: &Settings, listeners: &[Listener]) -> Vec<ListenerPlan> {
        let hook = self.hook(settings);
        listeners
            .iter()
            .map(|listener| {
                let obstacle = self.listener_obstacle(settings, listener, listeners.len());
                let classes = match (&obstacle, listener.address) {
                    (None, Some(address)) => self.classes(settings, address),
                    _ => Ok(Vec::new()),
                };
                let (obstacle, classes) = match classes {
                    Ok(classes) => (obstacle, classes),
                    Err(obstacle) => (Some(obstacle), Vec::new()),
                };
                ListenerPlan {
                    listener: listener.clone(),
                    obstacle,
                    hook: hook.clone(),
                    classes,
                }
            })
            .collect()
    }

    fn classes(
        &self,
        settings: &Settings,
        local: SocketAddr,
    ) -> Result<Vec<SourceClass>, Obstacle> {
        let all = Network::all(local.is_ipv4());
        let networks = networks::of(&self.file, local.is_ipv4()).map_err(|span| {
            self.obstacle(
                span,
                format!(
                    "the routes compare sources with more than {} networks",
                    networks::MAX
                ),
                "compare with fewer and larger networks",
            )
        })?;
        let networks = std::iter::once(all).chain(networks);
        Ok(networks
            .map(|network| SourceClass {
                network: (network.address, network.len),
                fates: Box::new(std::array::from_fn(|kind| {
                    match self.before_route(settings, kind) {
                        Some(obstacle) => Err(obstacle),
                        None => self.fate(local, network, kind),
                    }
                })),
            })
            .collect())
    }

    /// What deals with some messages of a kind before their route does.
    fn before_route(&self, settings: &Settings, kind: usize) -> Option<Obstacle> {
        (settings.corex.options_ping && method(kind) == Some(b"OPTIONS")).then(|| {
            self.obstacle(
                self.parameter("options_ping"),
                "OPTIONS to our own address is answered".to_owned(),
                "leave options_ping out",
            )
        })
    }

    fn fate(&self, local: SocketAddr, source: Network, kind: usize) -> Result<Fate, Obstacle> {
        let run = |hash| Run::new(self, local, source, kind, hash).outcome();
        match run(None) {
            Ok(outcome) => Ok(Fate::One(outcome)),
            Err(Stop::Hash(of, count, span)) => {
                let mut outcomes = Vec::new();
                for value in 0..count {
                    match run(Some((of, count, value))) {
                        Ok(outcome) => outcomes.push(outcome),
                        Err(Stop::Obstacle(obstacle)) => return Err(obstacle),
                        Err(_) => {
                            return Err(self.obstacle(
                                span,
                                "two hashes decide, of different sizes or things".to_owned(),
                                "use one hash of one size",
                            ));
                        }
                    }
                }
                Ok(match of {
                    Hashed::Source => Fate::BySource(outcomes),
                    Hashed::CallId => Fate::ByCallId(outcomes),
                })
            }
            Err(Stop::Obstacle(obstacle)) => Err(obstacle),
            Err(Stop::End { .. }) => Ok(Fate::One(Outcome::Unrouted)),
        }
    }

    /// What keeps all of a listener's messages from roads.
    fn listener_obstacle(
        &self,
        settings: &Settings,
        listener: &Listener,
        listeners: usize,
    ) -> Option<Obstacle> {
        let of_parameter = |name: &str, reason: &str, remedy: &str| {
            let span = self.parameter(name);
            Some(self.obstacle(span, reason.to_owned(), remedy))
        };
        let of_listener =
            |reason: &str, remedy: &str| Some(self.obstacle(Span::NONE, reason.to_owned(), remedy));
        let all_see = self
            .modules
            .iter()
            .find(|module| module.sees_all && self.loaded.contains(&module.name));
        if let Some(module) = all_see {
            return of_listener(
                &format!("the module {} looks at every message", module.name),
                "leave the module out",
            );
        }
        if settings.corex.inline.is_on {
            return of_parameter(
                "mode",
                "in inline mode messages belong to the protected server",
                "roads are for proxy mode",
            );
        }
        if listener.transport != Transport::Udp {
            return of_listener(
                "a stream, which the kernel's stack puts together",
                "use UDP",
            );
        }
        if settings.mhomed && listeners > 1 {
            return of_listener(
                "with mhomed the kernel's routes say which socket sends",
                "leave mhomed out",
            );
        }
        match listener.address {
            None => of_listener(
                "what addresses it has isn't known yet",
                "name an address; or look at corex.roads while it runs",
            ),
            Some(address) if address.ip().is_unspecified() => of_listener(
                "it listens on all addresses, so what is sent has no certain source",
                "name the address: listen=udp:ADDRESS:PORT",
            ),
            Some(SocketAddr::V6(address)) if address.ip().is_unicast_link_local() => {
                of_listener("a link-local address", "use another address")
            }
            Some(_) => None,
        }
    }

    /// What keeps messages from roads that the hook sees.
    fn hook(&self, settings: &Settings) -> Option<Obstacle> {
        let corex = &settings.corex;
        let network = self
            .routes()
            .find(|route| route.kind.kind == RouteKind::Event && route.name.is_some());
        let (name, what) = if corex.network_io_intercept {
            ("network_io_intercept", "the hook may change messages")
        } else if !corex.codec_in.is_empty() {
            ("codec_in", "a chain of codecs may change messages")
        } else if !corex.codec_out.is_empty() {
            ("codec_out", "a chain of codecs may change messages")
        } else {
            return None;
        };
        let span = match network {
            Some(route) if name == "network_io_intercept" => route.kind.span,
            _ => self.parameter(name),
        };
        Some(self.obstacle(
            span,
            what.to_owned(),
            "set min_msg_len, below which messages skip it; or leave it out",
        ))
    }

    /// Where a parameter of a module is set by this name or another one that it has.
    fn parameter(&self, name: &str) -> Span {
        let names = |module: &'static crate::function::Module| {
            let mut parameters = module.parameters.iter();
            parameters.find(|parameter| parameter.name == name)
        };
        let aliases = self
            .modules
            .iter()
            .find_map(names)
            .map_or(&[][..], |parameter| parameter.aliases);
        let mut spans = self.file.items.iter().filter_map(|item| match &item.kind {
            ItemKind::ModParam(param) => {
                let text = param.name.kind.as_str()?;
                (text == name || aliases.contains(&text)).then_some(item.span)
            }
            _ => None,
        });
        spans.next_back().unwrap_or(Span::NONE)
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.file.items.iter().filter_map(|item| match &item.kind {
            ItemKind::Route(route) => Some(route),
            _ => None,
        })
    }

    /// The block that runs for all messages of a kind.
    fn main_route(&self, kind: usize) -> Option<&Route> {
        let wanted = if kind == REPLY {
            RouteKind::Reply
        } else {
            RouteKind::Request
        };
        self.routes().find(|route| {
            let name = route.name.as_ref().map(|name| name.kind.as_str());
            route.kind.kind == wanted && matches!(name, None | Some("0"))
        })
    }

    /// The block that is called by this name.
    fn named_route(&self, name: &str) -> Option<&Route> {
        self.routes().find(|route| {
            let own = route.name.as_ref().map(|name| name.kind.as_str());
            route.kind.kind == RouteKind::Request && own == Some(name) && name != "0"
        })
    }

    fn obstacle(&self, span: Span, reason: String, remedy: &str) -> Obstacle {
        let location = self.sources.location(span);
        Obstacle {
            place: location.map_or(String::new(), |location| location.to_string()),
            reason,
            remedy: remedy.to_owned(),
        }
    }

    /// Whether a module is loaded that is done with ACKs before the route.
    fn absorbs(&self) -> Option<&'static str> {
        let mut modules = self.modules.iter();
        let found = modules
            .find(|module| module.absorbs.is_some() && self.loaded.contains(&module.name))?;
        Some(found.name)
    }

    /// Whether something happens to replies after their route.
    fn acts_on_replies(&self) -> bool {
        let mut modules = self.modules.iter();
        modules.any(|module| {
            module.after_route.is_some()
                && (module.name == crate::function::CORE || self.loaded.contains(&module.name))
        })
    }
}

/// Whether requests of a kind have a method that is known.
fn is_named(kind: usize) -> bool {
    kind != REPLY && kind != OTHER
}
