//! A branch of the tree: the addresses that begin with one byte. How it grows, and when an address is too
//! busy, is what Kamailio's pike does, so that the same requests get the same answers.

use super::Verdict;

/// What time it is, and what counts as much.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Seconds since the start.
    pub now: u32,
    /// The number of the time in which requests are counted.
    pub window: u32,
    /// Seconds after which what isn't used is forgotten.
    pub latency: u32,
    /// As many requests of one address in a window are too many.
    pub density: u16,
}

/// How busy an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Nothing to speak of.
    Cold,
    /// A quarter of what is too much came by its node.
    Warm,
    /// Too much.
    Hot,
}

/// An address as remote control shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Requests of the last window.
    pub previous: u16,
    /// Requests of this one.
    pub current: u16,
    /// Seconds until it is forgotten.
    pub expires: u32,
    /// How busy it is.
    pub level: Level,
}

/// Counts of the last window and of this one.
#[derive(Clone, Copy, Default, Debug)]
struct Hits {
    previous: u16,
    current: u16,
}

impl Hits {
    fn add(&mut self) {
        self.current = self.current.saturating_add(1).min(u16::MAX - 1);
    }

    fn roll(&mut self) {
        *self = Hits {
            previous: self.current,
            current: 0,
        };
    }

    fn reach(self, most: u16) -> bool {
        let mean = (u32::from(self.previous) + u32::from(self.current)) / 2;
        self.previous >= most || self.current >= most || mean >= u32::from(most)
    }
}

#[derive(Clone, Debug)]
struct Node {
    byte: u8,
    is_leaf: bool,
    is_red: bool,
    expires: u32,
    /// The window that `current` counts.
    window: u32,
    /// What came by it on the way to addresses that have no node of their own.
    passing: Hits,
    /// What came from the address that it is the last byte of.
    own: Hits,
    parent: Option<u32>,
    children: Vec<u32>,
}

/// Nodes by number, and the numbers that are free.
#[derive(Clone, Default, Debug)]
pub struct Branch {
    nodes: Vec<Option<Node>>,
    free: Vec<u32>,
    root: Option<u32>,
    swept: usize,
}

impl Branch {
    /// Nodes that there are.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)?.as_ref()
    }

    fn node_mut(&mut self, at: u32) -> Option<&mut Node> {
        self.nodes.get_mut(at as usize)?.as_mut()
    }

    fn insert(&mut self, node: Node) -> u32 {
        if let Some(at) = self.free.pop()
            && let Some(place) = self.nodes.get_mut(at as usize)
        {
            *place = Some(node);
            return at;
        }
        self.nodes.push(Some(node));
        // There are fewer than MAX_NODES.
        (self.nodes.len() - 1) as u32
    }

    /// Brings a node's counts to the window of now.
    fn roll(&mut self, at: u32, clock: Clock) {
        let Some(node) = self.node_mut(at) else {
            return;
        };
        // After two of them nothing is left.
        let passed = clock.window.saturating_sub(node.window).min(2);
        node.window = clock.window;
        for _ in 0..passed {
            node.passing.roll();
            node.own.roll();
            if node.is_red && !node.own.reach(clock.density) {
                node.is_red = false;
            }
        }
    }

    /// Counts a request of the address with these bytes. `None`: the tree had to grow and may not.
    pub fn mark(&mut self, bytes: &[u8], clock: Clock, may_grow: bool) -> Option<Verdict> {
        let (found, depth) = self.longest(bytes, clock);
        let Some(at) = found else {
            let first = *bytes.first()?;
            if !may_grow {
                return None;
            }
            let root = self.insert(Node::new(first, None, clock, 1));
            self.root = Some(root);
            return Some(Verdict::Passes);
        };
        self.roll(at, clock);
        let is_whole = depth == bytes.len();
        let node = self.node_mut(at)?;
        if is_whole {
            node.is_leaf = true;
            node.own.add();
            node.expires = clock.now.saturating_add(clock.latency);
            let was_red = node.is_red;
            node.is_red |= node.own.reach(clock.density);
            return Some(match (node.is_red, was_red) {
                (false, _) => Verdict::Passes,
                (true, false) => Verdict::NewlyBlocked,
                (true, true) => Verdict::Blocked,
            });
        }
        node.passing.add();
        let quarter = clock.density / 4;
        if node.passing.reach(quarter) {
            if !may_grow {
                return None;
            }
            let inherited = node.passing.current.saturating_sub(1);
            let byte = *bytes.get(depth)?;
            let child = self.insert(Node::new(byte, Some(at), clock, inherited));
            self.node_mut(at)?.children.push(child);
        } else if node.children.is_empty() && node.passing.current >= quarter {
            // Nodes that little comes by are left to be forgotten.
            node.expires = clock.now.saturating_add(clock.latency);
        }
        Some(Verdict::Passes)
    }

    /// The node of the longest part of an address that has one, and how long that is. What is over is
    /// forgotten on the way.
    fn longest(&mut self, bytes: &[u8], clock: Clock) -> (Option<u32>, usize) {
        let mut found = None;
        let mut depth = 0;
        let mut next = self.root;
        while let Some(at) = next {
            if self.forget(at, clock) {
                break;
            }
            found = Some(at);
            depth += 1;
            let wanted = bytes.get(depth).copied();
            let children = self.node(at).map(|node| node.children.as_slice());
            next = children.unwrap_or_default().iter().copied().find(|child| {
                self.node(*child)
                    .is_some_and(|child| Some(child.byte) == wanted)
            });
        }
        (found, depth)
    }

    /// Takes a node out if nothing is below it and its time is over.
    fn forget(&mut self, at: u32, clock: Clock) -> bool {
        let is_over = |node: &Node| node.children.is_empty() && node.expires <= clock.now;
        let Some(parent) = self
            .node(at)
            .filter(|node| is_over(node))
            .map(|node| node.parent)
        else {
            return false;
        };
        if let Some(place) = self.nodes.get_mut(at as usize) {
            *place = None;
            self.free.push(at);
        }
        let Some(parent) = parent.and_then(|parent| self.node_mut(parent)) else {
            self.root = None;
            return true;
        };
        parent.children.retain(|child| *child != at);
        if parent.children.is_empty() && !parent.is_leaf {
            parent.expires = clock.now.saturating_add(clock.latency);
        }
        true
    }

    /// Looks at so many nodes, in turn, and forgets what is over.
    pub fn sweep(&mut self, clock: Clock, most: usize) {
        for _ in 0..most.min(self.nodes.len()) {
            if self.swept >= self.nodes.len() {
                self.swept = 0;
            }
            self.forget(self.swept as u32, clock);
            self.swept += 1;
        }
        if self.len() == 0 {
            *self = Branch::default();
        }
    }

    /// Hands all addresses that have a node of their own to `take`.
    pub fn leaves(&self, clock: Clock, take: &mut dyn FnMut(&[u8], Leaf)) {
        let mut open: Vec<(u32, [u8; 16], usize)> = Vec::new();
        open.extend(self.root.map(|root| (root, [0; 16], 0)));
        while let Some((at, mut bytes, depth)) = open.pop() {
            let Some(node) = self.node(at) else {
                continue;
            };
            if let Some(byte) = bytes.get_mut(depth) {
                *byte = node.byte;
            }
            let depth = depth + 1;
            open.extend(node.children.iter().map(|child| (*child, bytes, depth)));
            if node.is_leaf {
                take(bytes.get(..depth).unwrap_or_default(), node.shown(clock));
            }
        }
    }
}

impl Node {
    fn new(byte: u8, parent: Option<u32>, clock: Clock, passing: u16) -> Node {
        Node {
            byte,
            is_leaf: false,
            is_red: false,
            expires: clock.now.saturating_add(clock.latency),
            window: clock.window,
            passing: Hits {
                previous: 0,
                current: passing,
            },
            own: Hits::default(),
            parent,
            children: Vec::new(),
        }
    }

    fn shown(&self, clock: Clock) -> Leaf {
        let (mut own, mut passing) = (self.own, self.passing);
        for _ in 0..clock.window.saturating_sub(self.window).min(2) {
            own.roll();
            passing.roll();
        }
        let level = if own.reach(clock.density) {
            Level::Hot
        } else if passing.current >= clock.density / 4 {
            Level::Warm
        } else {
            Level::Cold
        };
        Leaf {
            previous: own.previous,
            current: own.current,
            expires: self.expires.saturating_sub(clock.now),
            level,
        }
    }
}
