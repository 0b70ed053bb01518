//! From a configuration to roads in the kernel.

use std::collections::HashMap;

use corex_common::road::{
    BY_CALL_ID, KINDS, MAX_ROAD_CLASSES, MAX_ROAD_SOURCES, MAX_ROADS, RoadClass, place,
};
use corex_script::{
    Config,
    offload::{self, Fate, Outcome},
    settings::OwnSockets,
};
use corex_sip::Transport;

use crate::{
    kernel::roads::{Action, Layout, RoadSpec, Roads, SocketSpec},
    pipeline::{Listener, fixed::plans},
};

/// Puts the configuration's roads into the kernel's maps; they are closed until the next look.
pub fn install(roads: &Roads, config: &Config, listeners: &[Listener], own: &OwnSockets) {
    let layout = layout(config, listeners, own);
    let count = layout.roads.len();
    if let Err(error) = roads.install(layout) {
        tracing::warn!(
            "offload: listen sockets whose roads depend on the source have none: {:#}; Linux \
             before 5.19 lets only a new start change them",
            anyhow::Error::from(error)
        );
    }
    tracing::info!(
        "offload: {count} roads; `corex check --explain` says what keeps other messages in user space"
    );
}

fn layout(config: &Config, listeners: &[Listener], own: &OwnSockets) -> Layout {
    let settings = &config.settings;
    let mut layout = Layout {
        traffic_class: settings.datagrams.traffic_class,
        dont_fragment: settings.datagrams.dont_fragment,
        ..Layout::default()
    };
    let (mut classes, mut sources) = (0, 0);
    for (id, (plan, listener)) in plans(config, listeners).iter().zip(listeners).enumerate() {
        let mut numbers = Numbers {
            layout: &mut layout,
            own,
            socket: id as u32,
            listener,
            known: HashMap::new(),
        };
        let of_class = |class: &offload::SourceClass| {
            let places: [u32; KINDS] = std::array::from_fn(|kind| {
                let fate = class.fates.get(kind).and_then(|fate| fate.as_ref().ok());
                fate.map_or(0, |fate| numbers.place(fate))
            });
            let value = RoadClass {
                short: places,
                long: if plan.hook.is_some() {
                    [0; KINDS]
                } else {
                    places
                },
            };
            (class.network, value)
        };
        let spec: Vec<_> = plan.classes.iter().map(of_class).collect();
        let nothing = RoadClass::default();
        if spec.iter().all(|(_, class)| *class == nothing) {
            continue;
        }
        classes += spec.len() as u32;
        sources += spec.len() as u32 - 1;
        if classes > MAX_ROAD_CLASSES || sources > MAX_ROAD_SOURCES {
            tracing::warn!(
                "offload: {listener} has no roads: there are too many classes of sources"
            );
            break;
        }
        layout.sockets.push(SocketSpec {
            socket: id as u32,
            classes: spec,
        });
    }
    layout
}

/// Gives the roads of a listen socket their numbers.
struct Numbers<'a> {
    layout: &'a mut Layout,
    own: &'a OwnSockets,
    socket: u32,
    listener: &'a Listener,
    known: HashMap<Vec<Outcome>, u32>,
}

impl Numbers<'_> {
    /// The place of a fate; 0: it has none.
    fn place(&mut self, fate: &Fate) -> u32 {
        let (outcomes, chosen_by) = match fate {
            Fate::One(outcome) => (vec![*outcome], 0),
            Fate::BySource(outcomes) => (outcomes.clone(), 0),
            Fate::ByCallId(outcomes) => (outcomes.clone(), BY_CALL_ID),
        };
        let place = match self.known.get(&outcomes) {
            Some(known) => *known,
            None => {
                let place = self.number(&outcomes);
                self.known.insert(outcomes, place);
                place
            }
        };
        // 0 stays 0: it is no place.
        if place == 0 { 0 } else { place | chosen_by }
    }

    fn number(&mut self, outcomes: &[Outcome]) -> u32 {
        // What is sent to corex itself, the function refuses and counts. Whether a floating address
        // is here may change.
        let is_own = |outcome: &Outcome| match outcome {
            Outcome::Send(to) => {
                let own = self.own;
                own.at_address(Transport::Udp, to.ip(), to.port(), |_| true)
                    .is_some()
            }
            Outcome::Drop | Outcome::Unrouted => false,
        };
        if outcomes.iter().any(is_own) {
            return 0;
        }
        let first = self.layout.roads.len();
        if first + outcomes.len() > MAX_ROADS as usize {
            tracing::warn!("offload: more than {MAX_ROADS} roads; the others are steered");
            return 0;
        }
        let road = |outcome: &Outcome| RoadSpec {
            socket: self.socket,
            from: self.listener.address,
            action: match outcome {
                Outcome::Send(to) => Action::Send(*to),
                Outcome::Drop => Action::DropScript,
                Outcome::Unrouted => Action::DropUnrouted,
            },
        };
        let roads: Vec<_> = outcomes.iter().map(road).collect();
        self.layout.roads.extend(roads);
        place(first as u32, outcomes.len() as u32)
    }
}
