//! A device with a key of its own: the client's side of the codecs, and a UDP socket.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use corex_codec::enrol::{Answer, Enrolment, EnrolmentKey, UnknownNotice};
use corex_codec::{
    Chain, ChainSpec, DeviceId, DeviceKey, Devices, Dictionary, Fault, Found, Keys, Materials,
    Secret,
};
use corex_lab::Namespace;

const PATIENCE: Duration = Duration::from_secs(20);
const MAX: usize = 65_535;

/// The codecs of all chains here.
pub const CODECS: &str = "zstd(sip) | aead(chacha20-poly1305, key=device)";

/// A device's own key.
#[derive(Default)]
struct Own(Mutex<Vec<Arc<DeviceKey>>>);

impl Own {
    fn keys(&self) -> MutexGuard<'_, Vec<Arc<DeviceKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, wanted: impl Fn(&DeviceKey) -> bool) -> Found {
        let keys = self.keys();
        let newest = keys.iter().rev().find(|key| wanted(key));
        newest.map_or(Found::Unknown, |key| Found::Key(Arc::clone(key)))
    }
}

impl Devices for Own {
    fn by_id(&self, id: &DeviceId, generation: u8) -> Found {
        self.find(|key| key.id() == *id && key.generation() == generation)
    }

    fn by_peer(&self, _: SocketAddr, generation: Option<u8>) -> Found {
        self.find(|key| generation.is_none_or(|wanted| key.generation() == wanted))
    }

    fn seen(&self, _: &Arc<DeviceKey>, _: SocketAddr) {}
}

struct OfDevice(Arc<Own>);

impl Materials for OfDevice {
    fn keys(&self, _: &str) -> Option<Arc<Keys>> {
        None
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        Dictionary::shipped(name)
    }

    fn devices(&self) -> Option<Arc<dyn Devices>> {
        Some(Arc::clone(&self.0) as Arc<dyn Devices>)
    }
}

/// What a device gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// A message, decoded.
    Message(String),
    /// The answer to its enrolment.
    Answer(Answer),
    /// That its key isn't known.
    Unknown,
}

/// A device.
pub struct Device {
    pub id: DeviceId,
    pub socket: UdpSocket,
    chain: Chain,
    own: Arc<Own>,
    enrolment: Option<Enrolment>,
    generation: u8,
    sent: u32,
}

fn of_codec(fault: Fault) -> anyhow::Error {
    anyhow!("{fault:?}")
}

/// Seconds since 1970.
fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(since.as_secs())
}

/// An OPTIONS request of this number.
pub fn options(number: u32) -> String {
    format!(
        "OPTIONS sip:edge@10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK{number};rport\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

impl Device {
    /// One that has no key yet.
    pub fn new(namespace: &Namespace, address: SocketAddr) -> Result<Device> {
        let own = Arc::<Own>::default();
        let mistake = |mistake: corex_codec::Mistake| anyhow!("{}", mistake.what);
        let spec = ChainSpec::parse(&format!("edge(client)={CODECS}")).map_err(mistake)?;
        let chain = Chain::new(&spec, &OfDevice(Arc::clone(&own))).map_err(mistake)?;
        Ok(Device {
            id: DeviceId::random().map_err(of_codec)?,
            socket: open(namespace, address)?,
            chain,
            own,
            enrolment: None,
            generation: 0,
            sent: 0,
        })
    }

    /// Goes on from another address.
    pub fn move_to(&mut self, namespace: &Namespace, address: SocketAddr) -> Result<()> {
        self.socket = open(namespace, address)?;
        Ok(())
    }

    /// The bytes of its key.
    pub fn secret(&self) -> Option<[u8; 32]> {
        let keys = self.own.keys();
        keys.last().map(|key| *key.secret())
    }

    /// Sends an enrolment with a new key, and `message` along with it.
    pub fn send_enrolment(
        &mut self,
        to: SocketAddr,
        key: &EnrolmentKey,
        message: Option<&str>,
    ) -> Result<()> {
        self.generation += 1;
        let half = |id: DeviceId| *id.as_bytes();
        let (one, other) = (
            half(DeviceId::random().map_err(of_codec)?),
            half(DeviceId::random().map_err(of_codec)?),
        );
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&one);
        secret[16..].copy_from_slice(&other);
        let current = self.own.keys().last().cloned();
        let named = (self.id, self.generation, &secret);
        let enrolment = Enrolment::new(key, named, current.as_deref(), false, now()?);
        let enrolment = enrolment.map_err(of_codec)?;
        let mut packet = enrolment.packet().to_vec();
        let new = DeviceKey::new(self.id, self.generation, &secret, now()? + 3600);
        self.own.keys().push(Arc::new(new));
        if let Some(message) = message {
            let peer = Some(to);
            self.chain
                .encode_rest(peer, message.as_bytes(), &mut packet, MAX)?;
        }
        let mut wire = Vec::new();
        self.chain.encode_control(&packet, &mut wire, MAX)?;
        self.socket.send_to(&wire, to)?;
        self.enrolment = Some(enrolment);
        Ok(())
    }

    /// What comes next.
    pub fn receive(&mut self) -> Result<Got> {
        let mut buffer = [0; 4096];
        let (len, from) = self.socket.recv_from(&mut buffer)?;
        self.read(&buffer[..len], from)
    }

    fn read(&mut self, wire: &[u8], from: SocketAddr) -> Result<Got> {
        let mut out = Vec::new();
        let error = match self.chain.decode_from(Some(from), wire, &mut out, MAX) {
            Ok(()) => return Ok(Got::Message(String::from_utf8(out)?)),
            Err(error) => error,
        };
        if error.fault != Fault::Enrolment {
            bail!("{error}");
        }
        let control = self.chain.stopped_at(wire);
        if let Some(notice) = UnknownNotice::parse(control) {
            let keys = self.own.keys();
            ensure!(
                keys.iter().any(|key| notice.is_about(key)),
                "not our message"
            );
            return Ok(Got::Unknown);
        }
        let enrolment = self.enrolment.as_ref().context("not asked for")?;
        let answer = enrolment.read_answer(control).map_err(of_codec)?;
        Ok(Got::Answer(answer))
    }

    /// Enrols, and has it accepted.
    pub fn enrol(&mut self, to: SocketAddr, key: &EnrolmentKey) -> Result<()> {
        self.send_enrolment(to, key, None)?;
        let got = self.receive()?;
        ensure!(
            matches!(got, Got::Answer(Answer::Accepted { .. })),
            "{got:?}"
        );
        Ok(())
    }

    /// Sends a request.
    pub fn send(&mut self, to: SocketAddr) -> Result<()> {
        self.sent += 1;
        let mut wire = Vec::new();
        let message = options(self.sent);
        self.chain
            .encode_for(Some(to), message.as_bytes(), &mut wire, MAX)?;
        self.socket.send_to(&wire, to)?;
        Ok(())
    }

    /// Sends a request, and gets its reply.
    pub fn ask(&mut self, to: SocketAddr) -> Result<()> {
        self.send(to)?;
        let got = self.receive()?;
        let is_reply = |text: &str| {
            let call_id = format!("Call-ID: {}\r\n", self.sent);
            text.starts_with("SIP/2.0 200") && text.contains(&call_id)
        };
        match got {
            Got::Message(text) if is_reply(&text) => Ok(()),
            got => bail!("{got:?}"),
        }
    }
}

fn open(namespace: &Namespace, address: SocketAddr) -> Result<UdpSocket> {
    let socket = namespace.udp(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// What devices enrol with, of these 32 bytes.
pub fn psk(id: u8, bytes: &[u8; 32]) -> Result<EnrolmentKey> {
    Ok(EnrolmentKey::new(&Secret::new(id, bytes))?)
}
