//! Where a chain and what it names come from.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use corex_codec::enrol::{Enroller, ServerKey};
use corex_codec::{
    CODECS, Chain, ChainSpec, Devices, Dictionary, Keys, Materials, Role, SecretFile,
};
use corex_script::function::{ParameterKind, PartMistake};
use corex_script::load_parameters;
use corex_script::settings::{NamedText, Settings};

use super::devices::Captured;
use crate::chain::{self, CHAIN, DICTIONARY, KEY, Unusable};
use crate::module::MODULES;

/// The module that chains belong to.
const MODULE: &str = "codec";

/// What a chain is made of, and from where.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A configuration, of which only what it sets of the module codec counts.
    pub config: Option<PathBuf>,
    /// The chain's name; not needed where there is one only.
    pub chain: Option<String>,
    /// `NAME=CODEC | …`
    pub chain_line: Option<String>,
    /// `NAME=[ID:]SOURCE`, instead of the configuration's keys of these names.
    pub keys: Vec<String>,
    /// `NAME=/PATH`, in the same way.
    pub dictionaries: Vec<String>,
    /// A file with keys of devices: lines `UUID=[GENERATION:]KEY`.
    pub devices: Option<PathBuf>,
    /// `[ID:]SOURCE` of what devices enrol with.
    pub enrol_keys: Vec<String>,
}

/// A chain that was found, with what it names.
pub(super) struct Opened {
    pub name: String,
    pub spec: ChainSpec,
    /// The most bytes that a codec may yield.
    pub max: usize,
    pub devices: Arc<Captured>,
    /// Opens enrolments, to learn keys from them.
    pub enroller: Option<Enroller>,
    keys: HashMap<String, Arc<Keys>>,
    dictionaries: HashMap<String, Vec<Arc<Dictionary>>>,
}

impl Opened {
    pub fn chain(&self, role: Role) -> anyhow::Result<Chain> {
        Ok(Chain::at(&self.spec, role, self)?)
    }
}

impl Materials for Opened {
    fn keys(&self, name: &str) -> Option<Arc<Keys>> {
        self.keys.get(name).cloned()
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        let own = self.dictionaries.get(name).cloned();
        own.or_else(|| Dictionary::shipped(name))
    }

    fn devices(&self) -> Option<Arc<dyn Devices>> {
        Some(Arc::clone(&self.devices) as Arc<dyn Devices>)
    }
}

/// Finds the chain that is meant, and reads what it names.
pub(super) fn open(source: &Source) -> anyhow::Result<Opened> {
    let settings = settings(source)?;
    let (name, spec) = chosen(source, &settings)?;
    let keys = chain::keys(&settings, Keys::for_captures).map_err(|it| said(&it))?;
    let dictionaries = chain::dictionaries(&settings).map_err(|it| said(&it))?;
    let devices = Captured::default();
    if let Some(path) = &source.devices {
        let path = std::path::absolute(path)?;
        let text = format!("devices=file:{}", path.display());
        let secret = SecretFile::parse(&text)?.read(&chain::secret_reader())?;
        devices
            .read(secret.bytes())
            .with_context(|| path.display().to_string())?;
    }
    Ok(Opened {
        name,
        spec,
        max: settings.codec.max_output as usize,
        devices: Arc::new(devices),
        enroller: enroller(&source.enrol_keys)?,
        keys,
        dictionaries,
    })
}

fn enroller(texts: &[String]) -> anyhow::Result<Option<Enroller>> {
    let mut keys = Vec::new();
    for text in texts {
        let read = || -> anyhow::Result<ServerKey> {
            let file = SecretFile::parse(&format!("enrol={text}"))?;
            Ok(ServerKey::new(&file.read(&chain::secret_reader())?)?)
        };
        keys.push(read().with_context(|| format!("the key to enrol with, {text}"))?);
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let made = Enroller::new(keys, 0, 0).context("two keys to enrol with have the same ID")?;
    Ok(Some(made))
}

/// What is set of the module codec.
fn settings(source: &Source) -> anyhow::Result<Settings> {
    let mut settings = match &source.config {
        Some(path) => {
            let (report, settings) = load_parameters(path, MODULES, MODULE);
            if report.has_errors() {
                bail!(
                    "the configuration has errors\n{}",
                    report.render(false).trim_end()
                );
            }
            settings
        }
        None => Settings::default(),
    };
    let codec = &mut settings.codec;
    let (keys, dictionaries) = (codec.keys.split_off(0), codec.dictionaries.split_off(0));
    for key in &source.keys {
        set(&mut settings, KEY, key)?;
    }
    for dictionary in &source.dictionaries {
        set(&mut settings, DICTIONARY, dictionary)?;
    }
    add_others(&mut settings.codec.keys, keys);
    add_others(&mut settings.codec.dictionaries, dictionaries);
    if let Some(line) = &source.chain_line {
        settings.codec.chains.clear();
        set(&mut settings, CHAIN, line)?;
    }
    Ok(settings)
}

/// The chain that is meant, or the codec.
fn chosen(source: &Source, settings: &Settings) -> anyhow::Result<(String, ChainSpec)> {
    let chains = &settings.codec.chains;
    let name = match (&source.chain, &chains[..]) {
        (Some(name), _) => name,
        (None, [only]) => &only.name,
        (None, []) => bail!("there is no chain: name a codec, or one's configuration or line"),
        (None, several) => {
            let names: Vec<_> = several.iter().map(|chain| &*chain.name).collect();
            bail!("there are several chains, name one: {}", names.join(", "))
        }
    };
    if let Some(chain) = chains.iter().find(|chain| chain.name == *name) {
        return Ok((name.clone(), ChainSpec::parse(&chain.text)?));
    }
    let mut bare = CODECS.iter().filter(|codec| codec.is_bare);
    if bare.clone().any(|codec| codec.name == name) {
        return Ok((name.clone(), ChainSpec::single(name)?));
    }
    let mut known: Vec<&str> = bare.by_ref().map(|codec| codec.name).collect();
    known.extend(chains.iter().map(|chain| &*chain.name));
    bail!(
        "there is no chain `{name}`: expected one of {}",
        known.join(", ")
    )
}

/// Adds the configuration's lines to those of the command line, but for the names that these have.
fn add_others(own: &mut Vec<NamedText>, configured: Vec<NamedText>) {
    let is_own = |line: &NamedText| own.iter().any(|known| known.name == line.name);
    let others: Vec<_> = configured
        .into_iter()
        .filter(|line| !is_own(line))
        .collect();
    own.extend(others);
}

/// Sets a parameter of the module codec.
fn set(settings: &mut Settings, name: &'static str, text: &str) -> anyhow::Result<()> {
    let module = MODULES.find(MODULE);
    let mut parameters = module.into_iter().flat_map(|module| module.parameters);
    let kind = parameters
        .find(|parameter| parameter.name == name)
        .map(|parameter| parameter.kind);
    if let Some(ParameterKind::Notation { set }) = kind
        && let Err(PartMistake { part, what, help }) = set(settings, text)
    {
        let place = text.get(part).unwrap_or_default();
        bail!("{name} \"{text}\": at \"{place}\": {what}; {help}");
    }
    Ok(())
}

fn said(unusable: &Unusable) -> anyhow::Error {
    let Unusable {
        parameter,
        what,
        help,
        ..
    } = unusable;
    anyhow::anyhow!("{parameter}: {what}; {help}")
}
