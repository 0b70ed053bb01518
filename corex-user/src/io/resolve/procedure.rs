//! The client's procedure of RFC 3263 §4.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    lookup::Lookup,
    net::{DnsError, NetError},
    proto::{
        op::{Query as DnsQuery, ResponseCode},
        rr::{Name, RData, RecordType},
    },
};

use super::{Destination, Families, Query, ResolveError, cache::Candidate};
use corex_sip::Transport;

/// Destinations that one name may have.
const MAX_CANDIDATES: usize = 16;
/// Time that an address from the hosts file is remembered.
const HOSTS_LIFE: Duration = Duration::from_secs(60);

type Found = (Vec<Candidate>, Duration);
type Failure = ResolveError;

/// The DNS client, the hosts file, and which address families are wanted.
pub(super) struct Procedure {
    client: TokioResolver,
    hosts: Hosts,
    families: Families,
}

/// The services in NAPTR records and what they stand for (RFC 3263 §4.1).
const SERVICES: [(&[u8], Transport, bool); 4] = [
    (b"SIPS+D2T", Transport::Tls, true),
    (b"SIP+D2U", Transport::Udp, false),
    (b"SIP+D2T", Transport::Tcp, false),
    (b"SIP+D2S", Transport::Sctp, false),
];

impl Procedure {
    pub fn new(client: TokioResolver, hosts: Hosts, families: Families) -> Procedure {
        Procedure {
            client,
            hosts,
            families,
        }
    }

    /// All destinations of the lowest priority that has any, and how long they hold.
    pub async fn run(&self, query: &Query<'_>) -> Result<Found, Failure> {
        const NOT_A_NAME: Failure = ResolveError::NotAName;
        let host = std::str::from_utf8(query.host).map_err(|_| NOT_A_NAME)?;
        let name = Name::from_utf8(host).map_err(|_| NOT_A_NAME)?;
        let transport = match (query.transport, query.secure) {
            (_, true) => Some(Transport::Tls),
            (transport, false) => transport,
        };
        let fallback = transport.unwrap_or(Transport::Udp);
        let port = query.port.unwrap_or(fallback.default_port());
        if let Some(found) = self.in_hosts(&name, port, fallback) {
            return Ok(found);
        }
        if query.port.is_none() {
            let found = match transport {
                Some(transport) => self.srv(&service_name(&name, transport), transport).await?,
                None => self.by_naptr_or_srv(&name).await?,
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
        self.addresses(&name, port, fallback, 0, 0).await
    }

    fn in_hosts(&self, name: &Name, port: u16, transport: Transport) -> Option<Found> {
        let mut found = Vec::new();
        for kind in self.record_types() {
            let query = DnsQuery::query(name.clone(), kind);
            if let Some(lookup) = self.hosts.lookup_static_host(&query) {
                push_addresses(&lookup, port, transport, 0, 0, &mut found);
            }
        }
        (!found.is_empty()).then_some((found, HOSTS_LIFE))
    }

    /// IPv4 first, as Kamailio.
    fn record_types(&self) -> impl Iterator<Item = RecordType> + use<> {
        let Families { v4, v6 } = self.families;
        [(v4, RecordType::A), (v6, RecordType::AAAA)]
            .into_iter()
            .filter_map(|(wanted, kind)| wanted.then_some(kind))
    }

    async fn by_naptr_or_srv(&self, name: &Name) -> Result<Option<Found>, Failure> {
        if let Some(lookup) = self.ask(name, RecordType::NAPTR).await? {
            let mut records: Vec<_> = lookup
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::NAPTR(naptr) => Some(naptr),
                    _ => None,
                })
                .filter(|naptr| naptr.flags.eq_ignore_ascii_case(b"s"))
                .filter_map(|naptr| {
                    let is = |(name, ..): &&(&[u8], Transport, bool)| {
                        naptr.services.eq_ignore_ascii_case(name)
                    };
                    let (_, transport, _) = SERVICES.iter().find(is)?;
                    (*transport != Transport::Sctp).then_some((naptr, *transport))
                })
                .collect();
            records.sort_by_key(|(naptr, _)| (naptr.order, naptr.preference));
            for (naptr, transport) in records.into_iter().take(MAX_CANDIDATES) {
                if let Some((found, life)) = self.srv(&naptr.replacement, transport).await? {
                    return Ok(Some((found, life.min(life_of(&lookup)))));
                }
            }
        }
        for transport in [Transport::Udp, Transport::Tcp] {
            let found = self.srv(&service_name(name, transport), transport).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn srv(&self, name: &Name, transport: Transport) -> Result<Option<Found>, Failure> {
        let Some(lookup) = self.ask(name, RecordType::SRV).await? else {
            return Ok(None);
        };
        let mut records: Vec<_> = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) if !srv.target.is_root() => Some(srv),
                _ => None,
            })
            .collect();
        records.sort_by_key(|srv| srv.priority);
        let mut all = Vec::new();
        let mut life = life_of(&lookup);
        let mut priority = None;
        for srv in records.into_iter().take(MAX_CANDIDATES) {
            // Those behind the first that can be reached are never taken.
            if priority.is_some_and(|known| known != srv.priority) {
                break;
            }
            let found = self.addresses(&srv.target, srv.port, transport, srv.priority, srv.weight);
            if let Ok((found, its_life)) = found.await {
                priority = Some(srv.priority);
                life = life.min(its_life);
                // One of a server's addresses, or it would have more weight than it should.
                all.extend(found.into_iter().take(1));
            }
        }
        Ok((!all.is_empty()).then_some((all, life)))
    }

    async fn addresses(
        &self,
        name: &Name,
        port: u16,
        transport: Transport,
        priority: u16,
        weight: u16,
    ) -> Result<Found, Failure> {
        let mut found = Vec::new();
        let mut life = None;
        let mut failure = ResolveError::NotFound;
        for kind in self.record_types() {
            let lookup = match self.ask(name, kind).await {
                // The other family's records may be there.
                Err(ResolveError::ServerFailed) => {
                    failure = ResolveError::ServerFailed;
                    continue;
                }
                lookup => lookup?,
            };
            if let Some(lookup) = lookup {
                push_addresses(&lookup, port, transport, priority, weight, &mut found);
                life = Some(life.unwrap_or(Duration::MAX).min(life_of(&lookup)));
            }
            if !found.is_empty() {
                break;
            }
        }
        match life {
            Some(life) if !found.is_empty() => Ok((found, life)),
            _ => Err(failure),
        }
    }

    /// The records of a name; `None` where there are none, or for other records than addresses
    /// where the server won't say.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Option<Lookup>, Failure> {
        let is_address = matches!(kind, RecordType::A | RecordType::AAAA);
        match self.client.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(Some(lookup)),
            Err(error) if is_address && is_servers_failure(&error) => {
                Err(ResolveError::ServerFailed)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(_) | DnsError::ResponseCode(_))) => Ok(None),
            Err(error) if error.is_no_records_found() => Ok(None),
            Err(error) => {
                tracing::debug!(%name, %kind, %error, "lookup");
                Err(ResolveError::TimedOut)
            }
        }
    }
}

/// Whether a server answered that it doesn't know, which isn't that there is nothing.
fn is_servers_failure(error: &NetError) -> bool {
    let code = match error {
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        _ => return false,
    };
    matches!(code, ResponseCode::ServFail | ResponseCode::Refused)
}

/// `_sip._udp.NAME` and its like (RFC 3263 §4.1).
fn service_name(name: &Name, transport: Transport) -> Name {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
        Transport::Sctp => "_sip._sctp",
    };
    let mut service = Name::from_ascii(prefix)
        .and_then(|prefix| prefix.append_name(name))
        // Too long: then there are no such records.
        .unwrap_or_else(|_| name.clone());
    service.set_fqdn(name.is_fqdn() || name.num_labels() > 1);
    service
}

fn life_of(lookup: &Lookup) -> Duration {
    lookup
        .valid_until()
        .saturating_duration_since(Instant::now())
}

fn push_addresses(
    lookup: &Lookup,
    port: u16,
    transport: Transport,
    priority: u16,
    weight: u16,
    found: &mut Vec<Candidate>,
) {
    for record in lookup.answers() {
        let ip = match &record.data {
            RData::A(address) => IpAddr::V4(address.0),
            RData::AAAA(address) => IpAddr::V6(address.0),
            _ => continue,
        };
        if found.len() < MAX_CANDIDATES {
            found.push(Candidate {
                destination: Destination {
                    address: SocketAddr::new(ip, port),
                    transport,
                },
                priority,
                weight,
            });
        }
    }
}
