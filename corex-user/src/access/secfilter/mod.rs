//! The module secfilter: lists of what is refused and what is let through, and how often each was met.

pub mod file;

#[cfg(test)]
mod tests;

pub use file::{parse_rule, rule};

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use corex_script::settings::{self, RuleKind, RuleList, SecfilterRule};

use super::text::{Mistake, path};

/// The most rules, all lists together.
pub const MAX_RULES: usize = 100_000;
/// The longest text of a rule. As much of a value is compared.
pub const MAX_DATA: usize = 512;

/// A list: texts that values begin with, in no matter what case.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    /// As they came.
    texts: Vec<Box<[u8]>>,
    /// In lower case, with the place of the first that is so.
    places: HashMap<Box<[u8]>, u32>,
    /// Lengths that there are, in order.
    lengths: Vec<usize>,
}

impl Prefixes {
    fn add(&mut self, text: &[u8]) {
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        let lower: Box<[u8]> = text.to_ascii_lowercase().into();
        if let Err(at) = self.lengths.binary_search(&lower.len()) {
            self.lengths.insert(at, lower.len());
        }
        self.places.entry(lower).or_insert(place);
    }

    /// The place of the first text that a value begins with.
    fn first_prefix(&self, value: &[u8]) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let lower = value
            .get(..value.len().min(MAX_DATA))
            .unwrap_or(value)
            .to_ascii_lowercase();
        let heads = self.lengths.iter().map_while(|len| lower.get(..*len));
        heads
            .filter_map(|head| self.places.get(head).copied())
            .min()
    }

    fn has(&self, value: &[u8]) -> bool {
        !self.places.is_empty()
            && self
                .places
                .contains_key(value.to_ascii_lowercase().as_slice())
    }

    /// As they came.
    pub fn texts(&self) -> &[Box<[u8]>] {
        &self.texts
    }
}

/// Lists by what they are about.
#[derive(Clone, Debug, Default)]
struct Lists {
    black: [Prefixes; RuleKind::ALL.len()],
    white: [Prefixes; RuleKind::ALL.len()],
    destinations: Prefixes,
    count: usize,
}

impl Lists {
    fn of(&self, list: RuleList, kind: RuleKind) -> &Prefixes {
        match list {
            RuleList::Black => &self.black[kind as usize],
            RuleList::White => &self.white[kind as usize],
            RuleList::Destination => &self.destinations,
        }
    }

    fn add(&mut self, rule: &SecfilterRule) -> bool {
        if self.count >= MAX_RULES {
            return false;
        }
        self.count += 1;
        let list = match rule.list {
            RuleList::Black => &mut self.black[rule.kind as usize],
            RuleList::White => &mut self.white[rule.kind as usize],
            RuleList::Destination => &mut self.destinations,
        };
        list.add(&rule.data);
        true
    }
}

/// What was met, in the order of Kamailio's report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Met {
    /// The list, and which part of a message was on it.
    Listed(RuleList, Part),
    /// A destination.
    Destination,
    /// Characters of an SQL injection.
    Injection,
}

/// A part of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// User-Agent.
    UserAgent,
    /// The country that a script found.
    Country,
    /// The host of From, To or Contact.
    Domain(Header),
    /// The address that it came from.
    Ip,
    /// The name in From or To.
    Name(Header),
    /// The user of From, To or Contact.
    User(Header),
}

/// A header that users are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// From.
    From,
    /// To.
    To,
    /// Contact.
    Contact,
}

impl Part {
    /// All parts, in the order of Kamailio's report, each as it is called there.
    pub const ALL: [(Part, &'static str); 12] = [
        (Part::UserAgent, "user-agent    "),
        (Part::Country, "country       "),
        (Part::Domain(Header::From), "from domain   "),
        (Part::Domain(Header::To), "to domain     "),
        (Part::Domain(Header::Contact), "contact domain"),
        (Part::Ip, "IP address    "),
        (Part::Name(Header::From), "from name     "),
        (Part::Name(Header::To), "to name       "),
        (Part::Name(Header::Contact), "contact name  "),
        (Part::User(Header::From), "from user     "),
        (Part::User(Header::To), "to user       "),
        (Part::User(Header::Contact), "contact user  "),
    ];

    fn index(self) -> usize {
        let place = Self::ALL.iter().position(|(part, _)| *part == self);
        place.unwrap_or(0)
    }
}

const PARTS: usize = Part::ALL.len();

/// The user behind a header, and where that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User<'a> {
    /// The name in front of the URI, without quotation marks; empty: none.
    pub name: &'a [u8],
    /// The user of the URI.
    pub user: &'a [u8],
    /// Its host.
    pub domain: &'a [u8],
}

/// What all workers ask.
#[derive(Debug)]
pub struct Secfilter {
    lists: ArcSwap<Lists>,
    met: [AtomicU64; 2 * PARTS + 2],
    settings: settings::Secfilter,
    folder: PathBuf,
}

impl Secfilter {
    /// Reads the file that a configuration names, behind the rules that it has itself.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(settings: &settings::Secfilter, folder: &Path) -> Result<Secfilter, Mistake> {
        Ok(Secfilter {
            lists: ArcSwap::from_pointee(lists(settings, folder)?),
            met: std::array::from_fn(|_| AtomicU64::new(0)),
            settings: settings.clone(),
            folder: folder.to_owned(),
        })
    }

    /// Goes on with the counts of another one.
    pub fn inherit(&self, old: &Secfilter) {
        for (new, old) in self.met.iter().zip(&old.met) {
            new.store(old.load(Relaxed), Relaxed);
        }
    }

    /// Reads the file again. What remote control has added is forgotten, as in Kamailio.
    ///
    /// # Errors
    /// What is wrong with the file; all stays as it was.
    pub fn reload(&self) -> Result<(), String> {
        let lists = lists(&self.settings, &self.folder).map_err(|mistake| mistake.to_string())?;
        self.lists.store(Arc::new(lists));
        Ok(())
    }

    /// Adds a rule until the next reload; false where there are as many as there may be.
    pub fn add(&self, rule: &SecfilterRule) -> bool {
        let mut is_added = false;
        self.lists.rcu(|lists| {
            let mut lists = Lists::clone(lists);
            is_added = lists.add(rule);
            lists
        });
        is_added
    }

    /// The texts of a list, in order.
    pub fn texts(&self, list: RuleList, kind: RuleKind) -> Vec<Box<[u8]>> {
        self.lists.load().of(list, kind).texts().to_vec()
    }

    fn meet(&self, what: Met) {
        let at = match what {
            Met::Listed(RuleList::White, part) => PARTS + part.index(),
            Met::Listed(_, part) => part.index(),
            Met::Destination => 2 * PARTS,
            Met::Injection => 2 * PARTS + 1,
        };
        if let Some(count) = self.met.get(at) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How often something was met.
    pub fn count(&self, what: Met) -> u64 {
        let at = match what {
            Met::Listed(RuleList::White, part) => PARTS + part.index(),
            Met::Listed(_, part) => part.index(),
            Met::Destination => 2 * PARTS,
            Met::Injection => 2 * PARTS + 1,
        };
        self.met.get(at).map_or(0, |count| count.load(Relaxed))
    }

    /// Counts from 0.
    pub fn reset_counts(&self) {
        for count in &self.met {
            count.store(0, Relaxed);
        }
    }

    /// What a value's lists say, by Kamailio's numbers: 2 let through, 1 not listed, -2 refused.
    pub fn check(&self, kind: RuleKind, part: Part, value: &[u8]) -> i64 {
        let lists = self.lists.load();
        for (list, code) in [(RuleList::White, 2), (RuleList::Black, -2)] {
            if lists.of(list, kind).first_prefix(value).is_some() {
                self.meet(Met::Listed(list, part));
                return code;
            }
        }
        1
    }

    /// The same of a user: 4, 2, 3 for a name, user or domain that is let through, -4, -2, -3 for one
    /// that is refused.
    pub fn check_user(&self, header: Header, user: User<'_>) -> i64 {
        let lists = self.lists.load();
        for (list, sign) in [(RuleList::White, 1), (RuleList::Black, -1)] {
            let known = lists.of(list, RuleKind::User);
            let name = match header {
                Header::Contact => None,
                _ if user.name.is_empty() => None,
                _ => known.first_prefix(user.name),
            };
            // The first rule counts, and a name before a user.
            let of_user = known.first_prefix(user.user);
            let (part, code) = match (name, of_user) {
                (Some(name), Some(of_user)) if of_user < name => (Part::User(header), 2),
                (Some(_), _) => (Part::Name(header), 4),
                (None, Some(_)) => (Part::User(header), 2),
                (None, None) => continue,
            };
            self.meet(Met::Listed(list, part));
            return sign * code;
        }
        for (list, sign) in [(RuleList::White, 1), (RuleList::Black, -1)] {
            if lists
                .of(list, RuleKind::Domain)
                .first_prefix(user.domain)
                .is_some()
            {
                self.meet(Met::Listed(list, Part::Domain(header)));
                return sign * 3;
            }
        }
        1
    }

    /// Whether a destination is refused: -2, else 1.
    pub fn check_destination(&self, number: &[u8]) -> i64 {
        let lists = self.lists.load();
        let is_listed = match self.settings.is_dst_exact {
            true => lists.destinations.has(number),
            false => lists.destinations.first_prefix(number).is_some(),
        };
        if is_listed {
            self.meet(Met::Destination);
            return -2;
        }
        1
    }

    /// Whether a value has characters that SQL injections need: -1, else 1.
    pub fn check_injection(&self, value: &[u8]) -> i64 {
        let has = |wanted: &[u8]| memchr::memmem::find(value, wanted).is_some();
        let wanted: [&[u8]; 6] = [b"'", b"\"", b"--", b"%27", b"%24", b"%60"];
        if wanted.into_iter().any(has) {
            self.meet(Met::Injection);
            return -1;
        }
        1
    }
}

fn lists(settings: &settings::Secfilter, folder: &Path) -> Result<Lists, Mistake> {
    let mut lists = Lists::default();
    for rule in &settings.rules {
        lists.add(rule);
    }
    if let Some(name) = &settings.file {
        file::read(&path(folder, name), |rule| lists.add(rule))?;
    }
    Ok(lists)
}
