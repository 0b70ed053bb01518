//! Follows the NICs while corex runs: one that goes, comes back, or has more queues than before.
//!
//! Nothing here waits for a worker: what a worker has to do first is looked at the next time.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
};

use super::{
    Xdp,
    refusal::Refusal,
    units::{self, BoundQueue},
};
use crate::{
    io::order::{Joined, NewQueue, Order},
    kernel::{host::Links, interfaces::Interface, object::ObjectError, offload},
};

/// A worker, to be told what to do.
pub struct Hand {
    /// Leads to it.
    pub orders: Sender<Order>,
    /// Ends its sleep; `None` before it runs.
    pub waker: Option<UnixStream>,
}

impl Hand {
    fn tell(&self, order: Order) {
        // One that is gone has ended corex.
        let _ = self.orders.send(order);
        if let Some(mut waker) = self.waker.as_ref() {
            let _ = waker.write(&[1]);
        }
    }
}

/// A unit.
pub struct Unit {
    /// How far it is.
    pub phase: Phase,
    /// Why the workers couldn't get it.
    pub refusal: Refusal,
}

impl Unit {
    /// One that the workers have.
    pub fn served() -> Self {
        Self {
            phase: Phase::Served,
            refusal: Refusal::default(),
        }
    }
}

/// How far a unit is.
pub enum Phase {
    /// The workers have it.
    Served,
    /// They are to bind more queues.
    Joining(Vec<(u32, Receiver<Vec<Joined>>)>),
    /// They are to let it go.
    Retiring(Vec<Receiver<()>>),
    /// They don't have it.
    Empty,
}

/// Why a NIC isn't served any more.
#[derive(Clone, Copy)]
enum Loss {
    Gone,
    Detached,
}

impl Xdp {
    /// Does what is to be done now that the links are these, and the program isn't on the NICs with
    /// the indices of `detached` any more. Returns whether there will be more to do in a moment.
    pub fn follow(&mut self, links: &Links, detached: &[u32]) -> bool {
        self.collect();
        for number in 0..self.nics.all.len() {
            self.look(number, links, detached);
        }
        for unit in units::all(&self.nics) {
            if self.may_attach && matches!(self.phase(unit), Some(Phase::Empty)) {
                self.serve(unit);
            }
        }
        let mut phases = self.units.iter().map(|unit| &unit.phase);
        phases.any(|phase| matches!(phase, Phase::Joining(_) | Phase::Retiring(_)))
    }

    fn phase(&self, unit: u32) -> Option<&Phase> {
        self.units.get(unit as usize).map(|unit| &unit.phase)
    }

    fn set_phase(&mut self, unit: u32, phase: Phase) {
        if let Some(unit) = self.units.get_mut(unit as usize) {
            unit.phase = phase;
        }
    }

    /// Takes in what the workers have done.
    fn collect(&mut self) {
        for unit in units::all(&self.nics) {
            let Some(place) = self.units.get_mut(unit as usize) else {
                continue;
            };
            let place = &mut place.phase;
            let is_done = match place {
                Phase::Served | Phase::Empty => continue,
                Phase::Retiring(answers) => {
                    answers.retain(|answer| answer.try_recv() == Err(TryRecvError::Empty));
                    answers.is_empty()
                }
                Phase::Joining(answers) => {
                    let queues = &mut self.queues;
                    answers.retain(|(worker, answer)| match answer.try_recv() {
                        Err(error) => error == TryRecvError::Empty,
                        Ok(joined) => {
                            queues.extend(joined.into_iter().map(|one| BoundQueue {
                                unit,
                                worker: *worker,
                                bound: one.bound,
                                fd: one.fd,
                                gauges: one.gauges,
                            }));
                            false
                        }
                    });
                    answers.is_empty()
                }
            };
            if !is_done {
                continue;
            }
            if matches!(place, Phase::Retiring(_)) {
                *place = Phase::Empty;
            } else {
                *place = Phase::Served;
                self.open_or_say(unit);
            }
        }
    }

    /// Compares a NIC with what it was.
    fn look(&mut self, number: usize, links: &Links, detached: &[u32]) {
        let Some(nic) = self.nics.all.get_mut(number) else {
            return;
        };
        let Some(on) = &mut nic.on else {
            let name = nic.name.clone();
            let found = links.iter().find(|(_, link)| link.name == name);
            if let Some((index, _)) = found
                && self.may_attach
                && nic.refusal.is_over()
            {
                self.attach(number, &name, *index);
            }
            return;
        };
        let index = on.interface.index;
        let Some(link) = links.get(&index) else {
            self.lose(number, Loss::Gone);
            return;
        };
        on.interface.name.clone_from(&link.name);
        if detached.contains(&index) {
            self.lose(number, Loss::Detached);
            return;
        }
        let unit = units::of_nic(&self.nics, number);
        if self.may_attach
            && matches!(self.phase(unit), Some(Phase::Served))
            && let Ok(now) = Interface::by_name(&link.name)
            && now.index == index
        {
            self.grow(number, now.queues);
        }
    }

    /// A NIC isn't served any more.
    fn lose(&mut self, number: usize, loss: Loss) {
        let name = self.nics.all.get(number).map(|nic| {
            let on = nic.on.as_ref().map(|on| on.interface.name.clone());
            on.unwrap_or_else(|| nic.name.clone())
        });
        let name = name.unwrap_or_default();
        let what = match loss {
            Loss::Gone => "is gone",
            Loss::Detached => "has lost corex's program: somebody has taken it off",
        };
        let meanwhile = match self.nics.detours {
            None => "its packets go by kernel sockets",
            Some(_) => "its packets pass as they are, whatever on_failure says",
        };
        let until = if self.may_attach {
            "has the program again"
        } else {
            "is there at the next start (reattach is 0)"
        };
        tracing::warn!("{name} {what}; until it {until}, {meanwhile}");
        self.retire(units::of_nic(&self.nics, number));
        if let Err(error) = self.nics.lose(&mut self.object, number) {
            tracing::warn!("{name}: {error:#}");
        }
    }

    /// The workers let a unit go.
    fn retire(&mut self, unit: u32) {
        if matches!(self.phase(unit), Some(Phase::Retiring(_) | Phase::Empty)) {
            return;
        }
        let (of_unit, others) = std::mem::take(&mut self.queues)
            .into_iter()
            .partition::<Vec<_>, _>(|line| line.unit == unit);
        self.queues = others;
        let mut workers = Vec::new();
        for line in &of_unit {
            if let Err(error) = self.slots.close(&mut self.object, line.bound.ifindex) {
                tracing::warn!("{:#}", anyhow::Error::from(error));
            }
            workers.push(line.worker);
        }
        workers.sort_unstable();
        workers.dedup();
        let mut answers = Vec::new();
        for worker in workers {
            let Some(hand) = self.hands.get(worker as usize) else {
                continue;
            };
            let (answer, done) = mpsc::channel();
            hand.tell(Order::Retire { unit, answer });
            answers.push(done);
        }
        self.memory.retain(|(of, _)| *of != unit);
        self.set_phase(unit, Phase::Retiring(answers));
    }

    /// A NIC is back: attaches the program. Its unit is served when the workers have let it go.
    fn attach(&mut self, number: usize, name: &str, index: u32) {
        let attached = Interface::by_name(name)
            .map_err(anyhow::Error::from)
            .and_then(|interface| {
                // It may have been made anew once more since.
                if interface.index != index {
                    return Ok(false);
                }
                let (nics, object) = (&mut self.nics, &mut self.object);
                nics.attach(object, number, &interface, &self.options)?;
                Ok(true)
            });
        match attached {
            Ok(false) => {}
            Ok(true) => {
                if let Some(nic) = self.nics.all.get_mut(number) {
                    nic.reattached += 1;
                    nic.refusal = Refusal::default();
                }
                tracing::info!("{name} is back; its packets go by AF_XDP again");
                self.retire(units::of_nic(&self.nics, number));
            }
            Err(error) => {
                if let Some(nic) = self.nics.all.get_mut(number) {
                    nic.refusal.tell(name, &error);
                }
            }
        }
    }

    /// Gives the workers a unit that they don't have, if there are NICs for it.
    fn serve(&mut self, unit: u32) {
        let state = self.units.get(unit as usize);
        if !state.is_some_and(|state| state.refusal.is_over()) {
            return;
        }
        let mut made = Vec::new();
        for worker in 0..self.nics.workers {
            match self.builder.side(&self.nics, unit, worker, None) {
                Ok(None) => {}
                Ok(Some((side, lines))) => made.push((worker, side, lines)),
                Err(error) => {
                    if let Some(state) = self.units.get_mut(unit as usize) {
                        state.refusal.tell("AF_XDP", &error);
                    }
                    return;
                }
            }
        }
        if made.is_empty() {
            return;
        }
        for (worker, side, lines) in made {
            self.memory.push((unit, side.umem.size()));
            self.queues.extend(lines);
            self.hand_over(worker, Order::Serve(Box::new(side)));
        }
        self.set_phase(unit, Phase::Served);
        self.open_or_say(unit);
    }

    fn hand_over(&self, worker: u32, order: Order) {
        if let Some(inline) = &self.builder.inline {
            // Until it has the queues.
            inline.heartbeats.beat(worker as usize);
        }
        if let Some(hand) = self.hands.get(worker as usize) {
            hand.tell(order);
        }
    }

    /// From here on packets are steered to a unit's queues.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(&mut self, unit: u32) -> Result<(), ObjectError> {
        for (interface, mode, number) in self.nics.served() {
            if units::of_nic(&self.nics, number) != unit {
                continue;
            }
            let index = interface.index;
            let queues = self.queues.iter().filter(|q| q.bound.ifindex == index);
            // XDP doesn't see which VLAN an answer would have to go to.
            let answers = !offload::strips_tags_of_vlans(&interface.name);
            let what = (mode.number(), answers);
            self.slots.open(&mut self.object, index, what, queues)?;
        }
        Ok(())
    }

    fn open_or_say(&mut self, unit: u32) {
        if let Err(error) = self.open(unit) {
            tracing::error!("{:#}", anyhow::Error::from(error));
        }
    }

    /// A NIC has so many queues: those that are new get sockets, each of the worker whose turn it is.
    fn grow(&mut self, number: usize, queues: u32) {
        let Some(on) = self.nics.all.get_mut(number).and_then(|n| n.on.as_mut()) else {
            return;
        };
        let before = on.interface.queues;
        if queues <= before {
            return;
        }
        on.interface.queues = queues;
        let name = on.interface.name.clone();
        let unit = units::of_nic(&self.nics, number);
        let mut answers = Vec::new();
        for worker in 0..self.nics.workers {
            let mine = (before..queues)
                .filter(|queue| units::worker_of(&self.nics, number, *queue) == worker);
            let mine: Vec<u32> = mine.collect();
            if mine.is_empty() {
                continue;
            }
            match self.extend(number, unit, worker, &mine) {
                Ok(Some(answer)) => answers.push((worker, answer)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("{name}: queues {mine:?} have no AF_XDP socket: {error:#}");
                }
            }
        }
        self.set_phase(unit, Phase::Joining(answers));
        if let Err(error) = self.nics.renew(&mut self.object, number) {
            tracing::warn!("{error:#}");
        }
        tracing::info!(
            "{name}: {queues} receive queues in place of {before}; the new ones get AF_XDP sockets"
        );
    }

    /// A worker is to have these queues of a NIC as well.
    fn extend(
        &mut self,
        number: usize,
        unit: u32,
        worker: u32,
        queues: &[u32],
    ) -> anyhow::Result<Option<Receiver<Vec<Joined>>>> {
        let has = |line: &&BoundQueue| line.unit == unit && line.worker == worker;
        let lines: Vec<&BoundQueue> = self.queues.iter().filter(has).collect();
        if lines.is_empty() {
            if let Some((side, lines)) = self.builder.side(&self.nics, unit, worker, None)? {
                self.memory.push((unit, side.umem.size()));
                self.queues.extend(lines);
                self.hand_over(worker, Order::Serve(Box::new(side)));
            }
            return Ok(None);
        }
        let new: Vec<NewQueue> = queues
            .iter()
            .map(|queue| {
                let busy_poll = self.builder.busy_poll;
                units::another_queue(&self.nics, number, *queue, &lines, busy_poll)
            })
            .collect::<anyhow::Result<_>>()?;
        let (answer, joined) = mpsc::channel();
        let queues = new;
        self.hand_over(
            worker,
            Order::Join {
                unit,
                queues,
                answer,
            },
        );
        Ok(Some(joined))
    }
}
