//! Route blocks: which there are, what calls what, and where that can end up.

use super::Checker;
use crate::function::Routes;
use crate::nearest::nearest;
use crate::run::node::{Block, RouteId};
use crate::syntax::ast::{File, ItemKind, Route, RouteKind};
use crate::syntax::diag::Diagnostic;
use crate::syntax::span::Span;

const NETWORK_MSG: &str = "network:msg";
const GUARD_LIMIT: &str = "guard:limit";

/// When a block runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// For every request.
    Request,
    /// For every reply.
    Reply,
    /// For every message received or about to be sent.
    Network,
    /// For requests above a rate.
    Limit,
    /// Where it is called by this name.
    Named(String),
    /// Never here; its statements are checked all the same.
    Nowhere,
}

impl Place {
    /// The kind of block that it makes one; none where it is run only when it is called.
    pub fn kind(&self) -> Routes {
        match self {
            Place::Request | Place::Limit => Routes::REQUEST,
            Place::Reply => Routes::REPLY,
            Place::Network => Routes::NETWORK,
            Place::Named(_) | Place::Nowhere => Routes::NONE,
        }
    }
}

/// A block that was found.
pub(super) struct Declared {
    pub place: Place,
    pub span: Span,
}

impl Checker {
    /// Takes note of a block.
    pub(super) fn declare(&mut self, route: &Route) {
        let name = route.name.as_ref().map(|name| name.kind.as_str());
        let span = route.kind.span;
        let named = route.name.as_ref().map_or(span, |name| name.span);
        let nowhere = |what: &str, help: &str| {
            (
                Place::Nowhere,
                Some(
                    Diagnostic::error(span, format!("nothing here runs {what}"))
                        .help(help.to_owned()),
                ),
            )
        };
        let (place, diagnostic) = match (route.kind.kind, name) {
            (RouteKind::Request, None | Some("0")) => (Place::Request, None),
            (RouteKind::Request, Some(name)) => (Place::Named(name.to_owned()), None),
            (RouteKind::Reply, None | Some("0")) => (Place::Reply, None),
            (RouteKind::Reply, Some(_)) => nowhere(
                "a reply_route with a name",
                "it would be armed for a transaction, and there are none; write reply_route { … }",
            ),
            (RouteKind::Failure, _) => nowhere(
                "failure_route",
                "it belongs to transactions, and there are none",
            ),
            (RouteKind::Branch, _) => nowhere(
                "branch_route",
                "it belongs to transactions, and there are none",
            ),
            (RouteKind::OnSend, _) => nowhere(
                "onsend_route",
                "what is about to be sent comes by in event_route[network:msg]",
            ),
            (RouteKind::Event, Some(NETWORK_MSG)) => (Place::Network, None),
            (RouteKind::Event, Some(GUARD_LIMIT)) => (Place::Limit, None),
            (RouteKind::Event, name) => {
                let name = name.unwrap_or_default();
                let diagnostic =
                    Diagnostic::error(named, format!("nothing here raises the event `{name}`"))
                        .label(format!("expected {NETWORK_MSG} or {GUARD_LIMIT}"));
                let diagnostic = match nearest(name, [NETWORK_MSG, GUARD_LIMIT]) {
                    Some(near) => diagnostic.help(format!("did you mean event_route[{near}]?")),
                    None => diagnostic,
                };
                (Place::Nowhere, Some(diagnostic))
            }
        };
        if let Some(diagnostic) = diagnostic {
            self.report(diagnostic);
        }
        let before = self
            .routes
            .iter()
            .find(|known| known.place == place && place != Place::Nowhere);
        if let Some(before) = before {
            let diagnostic = Diagnostic::error(named, "there is such a route block already")
                .related(before.span, "it is here")
                .help("give it another name, or put both blocks' statements in one");
            self.report(diagnostic);
        }
        self.routes.push(Declared { place, span: named });
    }

    pub(super) fn find_route(&self, name: &str) -> Option<usize> {
        self.routes
            .iter()
            .position(|route| matches!(&route.place, Place::Named(known) if known == name))
    }

    pub(super) fn route_names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| match &route.place {
            Place::Named(name) => Some(name.as_str()),
            _ => None,
        })
    }

    pub(super) fn main_route(&self, place: Place) -> Option<RouteId> {
        let at = self.routes.iter().position(|route| route.place == place)?;
        RouteId::try_from(at).ok()
    }

    /// Whether the block that is being compiled is the hook itself.
    pub(super) fn in_hook(&self) -> bool {
        self.routes
            .get(self.route)
            .is_some_and(|route| route.place == Place::Network)
    }

    /// Compiles all blocks, in the order in which they were declared.
    pub(super) fn compile_routes(&mut self, file: &File) -> Vec<Block> {
        let mut blocks = Vec::new();
        for item in &file.items {
            if let ItemKind::Route(route) = &item.kind {
                self.route = blocks.len();
                self.loops = 0;
                blocks.push(self.block(&route.body.statements));
            }
        }
        blocks
    }

    /// Reports functions that can be reached from a kind of route in which they can't run.
    pub(super) fn check_uses(&mut self) {
        let mut reached: Vec<Routes> = self.routes.iter().map(|route| route.place.kind()).collect();
        loop {
            let mut changed = false;
            for (caller, callee) in &self.calls {
                let from = reached.get(*caller).copied().unwrap_or(Routes::NONE);
                if let Some(to) = reached.get_mut(*callee)
                    && from.without(*to) != Routes::NONE
                {
                    *to = to.or(from);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        for (route, function, span) in std::mem::take(&mut self.uses) {
            let from = reached.get(route).copied().unwrap_or(Routes::NONE);
            let wrong = from.without(function.routes);
            if wrong == Routes::NONE {
                continue;
            }
            let is_called = matches!(
                self.routes.get(route).map(|route| &route.place),
                Some(Place::Named(_))
            );
            let places = wrong.names().join(" or ");
            let mut diagnostic = Diagnostic::error(
                span,
                format!("{}() can't be used in {places}", function.name),
            )
            .label(format!("only in {}", function.routes.names().join(" and ")));
            if is_called {
                diagnostic = diagnostic.help(format!("this block is called from {places}"));
            }
            self.report(diagnostic);
        }
    }
}
