//! The codec chains of a configuration: made once, with the secrets and dictionaries that they name;
//! at work in each worker; and which of them run without a script.

mod devices;
mod native;

#[cfg(test)]
mod tests;

pub use devices::{ENROL_KEY, KEYSTORE, KEYSTORE_KEY, KEYSTORE_PASSWORD, source};
pub use native::{Native, Passed};

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use corex_codec::enrol::UnknownNotice;
use corex_codec::{
    CODECS, Chain, ChainSpec, CodecError, Devices, Dictionary, Fault, Keys, Materials, Mistake,
    Reason, SecretFile, SecretReader,
};
use corex_common::counters::WorkerCounters;
use corex_script::settings::{CodecRule, Settings};

use crate::kernel::{privileges, root_files};
use crate::keystore::{Desk, EnrolmentPacket, KeyMaterial, KeyService, Wanted};

/// `modparam` of the module codec that names a chain.
pub const CHAIN: &str = "chain";
/// The one that names a key.
pub const KEY: &str = "key";
/// The one that names a dictionary.
pub const DICTIONARY: &str = "dictionary";

/// The most bytes that are read of a dictionary's file.
const MAX_DICTIONARY: u64 = 1 << 20;

/// A place in the list of what `codec_encode` and `codec_decode` know by name: codecs that do without
/// arguments, in the order of their table, then chains, as they are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainId(usize);

impl ChainId {
    /// The codec or chain of this name.
    pub fn find(settings: &Settings, name: &[u8]) -> Option<ChainId> {
        names(settings)
            .position(|known| known.as_bytes() == name)
            .map(ChainId)
    }

    /// The one at this place.
    pub fn at(place: usize) -> ChainId {
        ChainId(place)
    }

    /// Its place.
    pub fn place(self) -> usize {
        self.0
    }
}

/// All names, in the order of [`ChainId`].
pub fn names(settings: &Settings) -> impl Iterator<Item = &str> {
    let bare = CODECS.iter().filter(|codec| codec.is_bare);
    let chains = settings.codec.chains.iter().map(|chain| &*chain.name);
    bare.map(|codec| codec.name).chain(chains)
}

/// What a configuration says of codecs, ready for use by all workers.
#[derive(Debug)]
pub struct Chains {
    /// In the order of [`ChainId`].
    specs: Vec<ChainSpec>,
    keys: HashMap<String, Arc<Keys>>,
    dictionaries: HashMap<String, Vec<Arc<Dictionary>>>,
    incoming: Vec<(CodecRule, Option<ChainId>)>,
    outgoing: Vec<(CodecRule, Option<ChainId>)>,
    max_output: usize,
    passes_errors: bool,
    /// What is said of the keys of devices.
    material: Arc<KeyMaterial>,
    /// What has them; until it is given one, nobody has.
    service: OnceLock<KeyService>,
}

/// Why a line of the module codec's parameters can't be used.
#[derive(Debug)]
pub struct Unusable {
    /// The parameter.
    pub parameter: &'static str,
    /// Which of the lines that set it.
    pub at: usize,
    /// The part of it, where only one is meant.
    pub part: Option<Range<usize>>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Unusable {
    fn new(parameter: &'static str, at: usize, what: String, help: &str) -> Unusable {
        Unusable {
            parameter,
            at,
            part: None,
            what,
            help: help.to_owned(),
        }
    }

    fn part(parameter: &'static str, at: usize, mistake: Mistake) -> Unusable {
        Unusable {
            parameter,
            at,
            part: Some(mistake.at),
            what: mistake.what,
            help: mistake.help,
        }
    }
}

impl Chains {
    /// Reads the keys and dictionaries that a configuration names, and tries its chains.
    ///
    /// # Errors
    /// What is wrong with which line.
    pub fn load(settings: &Settings) -> Result<Chains, Unusable> {
        let codec = &settings.codec;
        let mut chains = Chains {
            specs: Vec::new(),
            keys: keys(settings, |keys| keys)?,
            dictionaries: dictionaries(settings)?,
            incoming: rules(settings, &settings.corex.codec_in),
            outgoing: rules(settings, &settings.corex.codec_out),
            max_output: codec.max_output as usize,
            passes_errors: codec.passes_errors,
            material: Arc::default(),
            service: OnceLock::new(),
        };
        for bare in CODECS.iter().filter(|codec| codec.is_bare) {
            // `gzip_level` is older than chains.
            let level = codec.of_codecs.get(format!("{}_level", bare.name).as_str());
            let text = match level {
                Some(level) => format!("{}(level={level})", bare.name),
                None => bare.name.to_owned(),
            };
            let made = ChainSpec::single(&text);
            let unusable = |mistake: Mistake| Unusable::new(CHAIN, 0, mistake.what, &mistake.help);
            chains.specs.push(made.map_err(unusable)?);
        }
        for (at, named) in codec.chains.iter().enumerate() {
            let unusable = |mistake| Unusable::part(CHAIN, at, mistake);
            let spec = ChainSpec::parse(&named.text).map_err(unusable)?;
            let trial = WithDesk {
                chains: &chains,
                desk: &Desk::new(KeyService::new(Vec::new())),
            };
            Chain::new(&spec, &trial).map_err(unusable)?;
            chains.specs.push(spec);
        }
        let by_device = chains.specs.iter().position(ChainSpec::is_by_device);
        let material = devices::material(settings, by_device.is_some())?;
        let bare = CODECS.iter().filter(|codec| codec.is_bare).count();
        if let Some(at) = by_device.filter(|_| !material.can_have_devices()) {
            let what = "no device can enrol: there is no key for that, and no other instance shares \
                        a keystore with this one";
            let help = "add the line: modparam(\"codec\", \"enrol_key\", \"1:file:/PATH\")";
            return Err(Unusable::new(CHAIN, at - bare, what.to_owned(), help));
        }
        chains.material = Arc::new(material);
        Ok(chains)
    }

    /// What is said of the keys of devices.
    pub fn material(&self) -> &Arc<KeyMaterial> {
        &self.material
    }

    /// Has this service from now on, before any worker has chains.
    pub fn attach(&self, service: KeyService) {
        // There is one in the process.
        drop(self.service.set(service));
    }

    /// What has the keys of devices.
    pub fn service(&self) -> &KeyService {
        self.service.get_or_init(|| KeyService::new(Vec::new()))
    }
}

/// What chains are made of: what the configuration names, and the keys of devices.
struct WithDesk<'a> {
    chains: &'a Chains,
    desk: &'a Arc<Desk>,
}

impl Materials for WithDesk<'_> {
    fn keys(&self, name: &str) -> Option<Arc<Keys>> {
        self.chains.keys.get(name).cloned()
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        let own = self.chains.dictionaries.get(name).cloned();
        own.or_else(|| Dictionary::shipped(name))
    }

    fn devices(&self) -> Option<Arc<dyn Devices>> {
        Some(Arc::clone(self.desk) as Arc<dyn Devices>)
    }
}

/// Reads secrets: whom corex goes on as may own them, also while it is root still.
pub fn secret_reader() -> SecretReader<'static> {
    let user = match privileges::identity() {
        Some(identity) => identity.user(),
        None => nix::unistd::Uid::effective(),
    };
    SecretReader {
        open: &root_files::open,
        user: user.as_raw(),
    }
}

/// Reads the keys that a configuration names. `purpose`: whom they are for.
///
/// # Errors
/// What is wrong with which line.
pub fn keys(
    settings: &Settings,
    purpose: fn(Keys) -> Keys,
) -> Result<HashMap<String, Arc<Keys>>, Unusable> {
    let reader = secret_reader();
    let mut secrets: Vec<(String, usize, Vec<_>)> = Vec::new();
    for (at, named) in settings.codec.keys.iter().enumerate() {
        let file =
            SecretFile::parse(&named.text).map_err(|mistake| Unusable::part(KEY, at, mistake))?;
        let secret = file.read(&reader).map_err(|error| {
            let what = format!("the key `{}` can't be read: {error}", named.name);
            Unusable::new(KEY, at, what, "see docs/codecs.md on where keys may be")
        })?;
        match secrets.iter_mut().find(|(name, ..)| *name == named.name) {
            Some((_, last, all)) => {
                *last = at;
                all.push(secret);
            }
            None => secrets.push((named.name.clone(), at, vec![secret])),
        }
    }
    let made = secrets.into_iter().map(|(name, at, secrets)| {
        let keys = Keys::new(secrets).ok_or_else(|| {
            let what = format!("the key `{name}` has two keys of one ID");
            Unusable::new(KEY, at, what, "write another ID in front: NAME=ID:SOURCE")
        })?;
        Ok((name, Arc::new(purpose(keys))))
    });
    made.collect()
}

/// Reads the dictionaries that a configuration names.
///
/// # Errors
/// What is wrong with which line.
pub fn dictionaries(
    settings: &Settings,
) -> Result<HashMap<String, Vec<Arc<Dictionary>>>, Unusable> {
    let mut all: HashMap<String, Vec<Arc<Dictionary>>> = HashMap::new();
    for (at, named) in settings.codec.dictionaries.iter().enumerate() {
        let unusable = |error: &dyn std::fmt::Display| {
            let what = format!("the dictionary in {} can't be used: {error}", named.text);
            let help = "`corex dictionary show FILE` tells what a file is";
            Unusable::new(DICTIONARY, at, what, help)
        };
        let mut bytes = Vec::new();
        root_files::open(Path::new(&named.text))
            .and_then(|file| file.take(MAX_DICTIONARY + 1).read_to_end(&mut bytes))
            .map_err(|error| unusable(&error))?;
        let made = Dictionary::new(bytes).map_err(|error| unusable(&error))?;
        all.entry(named.name.clone())
            .or_default()
            .push(Arc::new(made));
    }
    Ok(all)
}

/// A chain that isn't there has been reported.
fn rules(settings: &Settings, rules: &[CodecRule]) -> Vec<(CodecRule, Option<ChainId>)> {
    let resolved = rules.iter().map(|rule| {
        let name = rule.chain.as_deref();
        let chain = name.and_then(|name| ChainId::find(settings, name.as_bytes()));
        (rule.clone(), chain)
    });
    resolved.collect()
}

/// The chains of one worker. One that isn't used costs no memory.
pub struct Codecs {
    chains: Arc<Chains>,
    desk: Arc<Desk>,
    made: Vec<Option<Chain>>,
}

impl Codecs {
    /// Those of a configuration.
    pub fn new(chains: Arc<Chains>) -> Codecs {
        Codecs {
            made: chains.specs.iter().map(|_| None).collect(),
            desk: Desk::new(chains.service().clone()),
            chains,
        }
    }

    fn get(&mut self, id: ChainId) -> Result<&mut Chain, CodecError> {
        let unmade = CodecError {
            codec: "codec",
            fault: Fault::Unmade,
        };
        let place = self.made.get_mut(id.0).ok_or(unmade)?;
        if place.is_none() {
            let spec = self.chains.specs.get(id.0).ok_or(unmade)?;
            let materials = WithDesk {
                chains: &self.chains,
                desk: &self.desk,
            };
            // It was tried when the configuration was loaded.
            *place = Some(Chain::new(spec, &materials).map_err(|_| unmade)?);
        }
        place.as_mut().ok_or(unmade)
    }

    /// Encodes `input` and appends the result, at most `max_output` bytes, to `out`, which an error
    /// leaves as it was. `peer`: whom it is for, where that is known.
    ///
    /// # Errors
    /// What went wrong, and in which codec.
    pub fn encode(
        &mut self,
        id: ChainId,
        peer: Option<SocketAddr>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let (max, start) = (self.chains.max_output, out.len());
        let chain = self.get(id)?;
        chain.encode_for(peer, input, out, max)?;
        if chain.is_by_device() {
            self.desk.count(out.len() - start);
        }
        Ok(())
    }

    /// Decodes in the same way. `peer`: whom it is from.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn decode(
        &mut self,
        id: ChainId,
        peer: Option<SocketAddr>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let max = self.chains.max_output;
        let chain = self.get(id)?;
        chain.decode_from(peer, input, out, max)?;
        if chain.is_by_device() {
            self.desk.count(input.len());
        }
        Ok(())
    }

    /// What a device is to be told whose message has just been refused, as it goes on the wire: that
    /// its key isn't known.
    pub fn notice(&mut self, id: ChainId, input: &[u8], error: &CodecError) -> Option<Vec<u8>> {
        if !matches!(error.fault, Fault::UnknownDevice | Fault::KeyExpired) {
            return None;
        }
        let notice = UnknownNotice::about(self.get(id).ok()?.stopped_at(input))?;
        self.control(id, &notice.to_bytes())
    }

    /// What belongs to enrolment, as it goes on the wire.
    pub fn control(&mut self, id: ChainId, packet: &[u8]) -> Option<Vec<u8>> {
        let max = self.chains.max_output;
        let mut out = Vec::new();
        let encoded = self.get(id).ok()?.encode_control(packet, &mut out, max);
        encoded.ok().map(|()| out)
    }

    /// The message that an enrolment brought.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn rest(
        &mut self,
        id: ChainId,
        peer: SocketAddr,
        message: &[u8],
    ) -> Result<Vec<u8>, CodecError> {
        let max = self.chains.max_output;
        let mut out = Vec::new();
        let chain = self.get(id)?;
        chain.decode_rest(Some(peer), message, &mut out, max)?;
        self.desk.count(message.len());
        Ok(out)
    }

    /// What a message waits for that has just failed, if waiting may help.
    pub fn wait_of(&mut self, id: ChainId, input: &[u8], error: &CodecError) -> Option<Wait> {
        match error.fault {
            Fault::KeyPending => self.desk.take_wanted().map(Wait::Key),
            Fault::Enrolment => Some(Wait::Enrolment(EnrolmentPacket {
                chain: id.place(),
                by_script: false,
                bytes: self.get(id).ok()?.stopped_at(input).to_vec(),
            })),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Codecs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codecs").finish_non_exhaustive()
    }
}

/// What a message waits for off its worker's path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// A device's key.
    Key(Wanted),
    /// What becomes of it: it is a device's enrolment.
    Enrolment(EnrolmentPacket),
}

/// The counter of failures for this reason.
pub fn counter(reason: Reason) -> fn(&mut WorkerCounters) -> &mut u64 {
    match reason {
        Reason::Malformed => |counters| &mut counters.codec_malformed,
        Reason::TooLong => |counters| &mut counters.codec_too_long,
        Reason::UnknownDictionary => |counters| &mut counters.codec_unknown_dictionary,
        Reason::UnknownKey => |counters| &mut counters.codec_unknown_key,
        Reason::UnknownVersion => |counters| &mut counters.codec_unknown_version,
        Reason::NotAuthentic => |counters| &mut counters.codec_not_authentic,
        Reason::Replayed => |counters| &mut counters.codec_replayed,
        Reason::Stale => |counters| &mut counters.codec_stale,
        Reason::UnknownDevice => |counters| &mut counters.codec_unknown_device,
        Reason::KeyPending => |counters| &mut counters.codec_key_pending,
        Reason::KeyExpired => |counters| &mut counters.codec_key_expired,
        Reason::Enrolment => |counters| &mut counters.codec_enrolment,
        Reason::Unusable => |counters| &mut counters.codec_unusable,
    }
}
