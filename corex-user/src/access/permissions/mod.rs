//! The module permissions: addresses by group, trusted peers, and rules for pairs of URIs, all from files.

mod address;
mod rules;
mod trusted;

#[cfg(test)]
mod tests;

pub use address::{Addresses, Entry, Network};
pub use rules::{MAX_EXPRESSION, Rules};
pub use trusted::{Peer, Proto, Trusted};

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use corex_common::guard;
use corex_script::settings;

use super::text::{Mistake, path};

/// What all workers ask.
#[derive(Debug)]
pub struct Permissions {
    /// What the configuration says.
    pub settings: settings::Permissions,
    folder: PathBuf,
    addresses: Option<ArcSwap<Addresses>>,
    trusted: Option<ArcSwap<Trusted>>,
    rules: HashMap<Vec<u8>, RulePair>,
    reloaded: Mutex<Option<Instant>>,
}

/// What allows and what denies.
#[derive(Debug, Default)]
pub struct RulePair {
    allow: Arc<Rules>,
    deny: Arc<Rules>,
}

/// What rules say of a pair of URIs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// A rule allows it.
    Allowed,
    /// A rule denies it.
    Denied,
    /// No rule is about it.
    Unknown,
}

impl RulePair {
    /// Whether there are no rules at all: then everything is allowed.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// What they say of a pair.
    pub fn ask(&self, left: &[u8], right: &[u8]) -> Ruling {
        if self.allow.fit(left, right) {
            Ruling::Allowed
        } else {
            self.ask_denied(left, right)
        }
    }

    /// The same without what allows.
    pub fn ask_denied(&self, left: &[u8], right: &[u8]) -> Ruling {
        match self.deny.fit(left, right) {
            true => Ruling::Denied,
            false => Ruling::Unknown,
        }
    }
}

/// The name of the pair that allow_routing() without arguments goes by: no function can name it.
const DEFAULT: &[u8] = b"\n";

/// Files of rules that a call names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RuleFiles {
    /// One name: both suffixes are appended.
    Base(Vec<u8>),
    /// Two files.
    Both(Vec<u8>, Vec<u8>),
}

impl RuleFiles {
    fn key(&self) -> Vec<u8> {
        match self {
            RuleFiles::Base(name) => name.clone(),
            RuleFiles::Both(allow, deny) => [allow, &b"\n"[..], deny].concat(),
        }
    }

    fn names(&self, settings: &settings::Permissions) -> [String; 2] {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            RuleFiles::Base(name) => {
                [&settings.allow_suffix, &settings.deny_suffix].map(|suffix| text(name) + suffix)
            }
            RuleFiles::Both(allow, deny) => [text(allow), text(deny)],
        }
    }
}

/// Why files can't be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unusable {
    /// What is wrong.
    pub mistake: Mistake,
    /// The parameter that names the file; `None`: a call does.
    pub parameter: Option<&'static str>,
    /// Which of the calls.
    pub call: usize,
}

impl Permissions {
    /// Reads all files that a configuration names: its parameters, and the calls of functions.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn load(
        settings: &settings::Permissions,
        folder: &Path,
        calls: &[RuleFiles],
    ) -> Result<Permissions, Unusable> {
        let of = |parameter| {
            move |mistake| Unusable {
                mistake,
                parameter: Some(parameter),
                call: 0,
            }
        };
        let mut permissions = Permissions {
            settings: settings.clone(),
            folder: folder.to_owned(),
            addresses: None,
            trusted: None,
            rules: HashMap::new(),
            reloaded: Mutex::new(None),
        };
        if settings.reads(settings::Permissions::ADDRESSES) && settings.address_file.is_some() {
            let read = permissions.read_addresses().map_err(of("address_file"))?;
            permissions.addresses = Some(ArcSwap::from_pointee(read));
        }
        if settings.reads(settings::Permissions::TRUSTED) && settings.trusted_file.is_some() {
            let read = permissions.read_trusted().map_err(of("trusted_file"))?;
            permissions.trusted = Some(ArcSwap::from_pointee(read));
        }
        permissions.read_default_rules(of("default_allow_file"), of("default_deny_file"))?;
        for (call, files) in calls.iter().enumerate() {
            if permissions.rules.contains_key(&files.key()) {
                continue;
            }
            let pair = permissions.read_pair(files).map_err(|mistake| Unusable {
                mistake,
                parameter: None,
                call,
            })?;
            permissions.rules.insert(files.key(), pair);
        }
        Ok(permissions)
    }

    fn read_default_rules(
        &mut self,
        of_allow: impl Fn(Mistake) -> Unusable,
        of_deny: impl Fn(Mistake) -> Unusable,
    ) -> Result<(), Unusable> {
        let settings = &self.settings;
        let mut pair = RulePair::default();
        if settings.reads(settings::Permissions::ALLOW) {
            let file = path(&self.folder, &settings.allow_file);
            pair.allow = Arc::new(read_if_there(&file).map_err(of_allow)?.unwrap_or_default());
        }
        if settings.reads(settings::Permissions::DENY) {
            let file = path(&self.folder, &settings.deny_file);
            pair.deny = Arc::new(read_if_there(&file).map_err(of_deny)?.unwrap_or_default());
        }
        self.rules.insert(DEFAULT.to_vec(), pair);
        Ok(())
    }

    /// Both files of a call. One of them may be missing.
    fn read_pair(&self, files: &RuleFiles) -> Result<RulePair, Mistake> {
        let [allow, deny] = files
            .names(&self.settings)
            .map(|name| path(&self.folder, &name));
        let read = [read_if_there(&allow)?, read_if_there(&deny)?];
        if let [None, None] = read {
            return Err(Mistake {
                what: format!("neither this file nor {} is there", deny.display()),
                help: "write one of them: without rules everything is allowed".to_owned(),
                file: allow,
                line: 0,
                column: 0,
            });
        }
        let [allow, deny] = read.map(|rules| Arc::new(rules.unwrap_or_default()));
        Ok(RulePair { allow, deny })
    }

    fn read_addresses(&self) -> Result<Addresses, Mistake> {
        let name = self.settings.address_file.as_deref().unwrap_or_default();
        Addresses::read(&path(&self.folder, name), self.settings.max_subnets)
    }

    fn read_trusted(&self) -> Result<Trusted, Mistake> {
        let name = self.settings.trusted_file.as_deref().unwrap_or_default();
        Trusted::read(&path(&self.folder, name))
    }

    /// The addresses; `None` without address_file.
    pub fn addresses(&self) -> Option<Guard<Arc<Addresses>>> {
        self.addresses.as_ref().map(ArcSwap::load)
    }

    /// The trusted peers; `None` without trusted_file.
    pub fn trusted(&self) -> Option<Guard<Arc<Trusted>>> {
        self.trusted.as_ref().map(ArcSwap::load)
    }

    /// The networks that the guard is to let in: those of `guard_group` that are for any port. A port of
    /// address_file is the sender's, which the guard doesn't look at.
    pub fn allowed(&self) -> Vec<guard::Network> {
        let group = self.settings.guard_group;
        group.map_or_else(Vec::new, |group| self.group(group))
    }

    /// Who is trusted: the networks of `trusted_group` that are for any port, and all peers of
    /// trusted_file, as what they send must be read before their patterns can be asked.
    pub fn trusts(&self) -> Vec<guard::Network> {
        let mut all = match self.settings.trusted_group {
            0 => Vec::new(),
            group => self.group(group),
        };
        if let Some(trusted) = self.trusted() {
            all.extend(trusted.addresses().map(guard::Network::host));
        }
        all
    }

    /// The networks of a group that are for any port.
    fn group(&self, group: u32) -> Vec<guard::Network> {
        let Some(addresses) = self.addresses() else {
            return Vec::new();
        };
        let is_in = |entry: &Entry| entry.group == group && entry.port == 0;
        let hosts = addresses.hosts().into_iter();
        let hosts = hosts.filter(|(_, _, entry)| is_in(entry));
        let hosts = hosts.map(|(_, ip, _)| guard::Network::host(ip));
        let networks = addresses.networks().iter();
        let networks = networks.filter(|(_, entry)| is_in(entry));
        let networks = networks.filter_map(|(it, _)| guard::Network::new(it.ip, it.bits));
        hosts.chain(networks).collect()
    }

    /// The rules of a call's files, or those that allow_routing() without arguments goes by. `None` where
    /// no call with constants named them.
    pub fn rules(&self, files: Option<&RuleFiles>) -> Option<&RulePair> {
        match files {
            None => self.rules.get(DEFAULT),
            Some(files) => self.rules.get(&files.key()),
        }
    }

    /// Whether a pair is allowed by the files of this name; `None` where they haven't been read.
    pub fn test(&self, name: &[u8], left: &[u8], right: &[u8]) -> Option<bool> {
        let pair = self.rules(Some(&RuleFiles::Base(name.to_owned())))?;
        Some(pair.ask(left, right) != Ruling::Denied)
    }

    /// Whether so long after the last one there may be another reload; if so, it counts as one.
    pub fn may_reload(&self, now: Instant) -> bool {
        let mut last = self.reloaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon =
            |last: Instant| now.saturating_duration_since(last) < self.settings.reload_delta;
        if last.is_some_and(is_soon) {
            return false;
        }
        *last = Some(now);
        true
    }

    /// Reads address_file again.
    ///
    /// # Errors
    /// What is wrong with it, or that there is none; all stays as it was.
    pub fn reload_addresses(&self) -> Result<(), String> {
        let Some(current) = &self.addresses else {
            return Err("modparam(\"permissions\", \"address_file\", …) isn't set".to_owned());
        };
        let read = self
            .read_addresses()
            .map_err(|mistake| mistake.to_string())?;
        current.store(Arc::new(read));
        Ok(())
    }

    /// Reads trusted_file again.
    ///
    /// # Errors
    /// What is wrong with it, or that there is none; all stays as it was.
    pub fn reload_trusted(&self) -> Result<(), String> {
        let Some(current) = &self.trusted else {
            return Err("modparam(\"permissions\", \"trusted_file\", …) isn't set".to_owned());
        };
        let read = self.read_trusted().map_err(|mistake| mistake.to_string())?;
        current.store(Arc::new(read));
        Ok(())
    }
}

/// Rules, if there is such a file.
fn read_if_there(file: &Path) -> Result<Option<Rules>, Mistake> {
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        _ => Rules::read(file).map(Some),
    }
}
