//! What address_file has: addresses, networks and host names by group, as in Kamailio's table `address`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use corex_sip::host_ip;

use crate::access::slot::slot;
use crate::access::text::{self, Field, Line, Mistake};

/// Kamailio's slots in its tables of addresses and names.
pub const SLOTS: u32 = 128;

/// What is said of an address, a network or a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its group.
    pub group: u32,
    /// The port; 0: any.
    pub port: u16,
    /// Its tag, where the line has one.
    pub tag: Option<Box<[u8]>>,
}

/// A network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    /// Its first address.
    pub ip: IpAddr,
    /// Bits that its addresses have in common.
    pub bits: u8,
}

impl Network {
    /// The network that an address is in.
    pub fn of(ip: IpAddr, bits: u8) -> Network {
        let ip = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(bits.min(32)))
                    .unwrap_or(0);
                IpAddr::from((u32::from(ip) & mask).to_be_bytes())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(bits.min(128)))
                    .unwrap_or(0);
                IpAddr::from((u128::from(ip) & mask).to_be_bytes())
            }
        };
        Network { ip, bits }
    }
}

/// What the file says, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Single addresses, each with its entries in the file's order.
    hosts: HashMap<IpAddr, Vec<Entry>>,
    /// Networks by group, in the file's order within one. As they are written: bits beyond the mask, too.
    networks: Vec<(Network, Entry)>,
    /// Where in that list networks of a length are, longest first, each family apart.
    by_length: Vec<(bool, u8, HashMap<IpAddr, Vec<u32>>)>,
    /// Host names, letter by letter.
    names: HashMap<Box<[u8]>, Vec<Entry>>,
}

impl Addresses {
    /// Reads a file with at most so many networks.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(file: &Path, max_networks: u32) -> Result<Addresses, Mistake> {
        Addresses::parse(file, &text::read(file)?, max_networks)
    }

    /// As [`Self::read`], of a file that has been read already.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(file: &Path, bytes: &[u8], max_networks: u32) -> Result<Addresses, Mistake> {
        let mut all = Addresses::default();
        for line in text::lines(file, bytes) {
            all.take_line(line.checked()?, max_networks)?;
        }
        all.networks.sort_by_key(|(_, entry)| entry.group);
        for (at, (network, _)) in (0u32..).zip(&all.networks) {
            let key = (network.ip.is_ipv6(), network.bits);
            let known = all
                .by_length
                .iter_mut()
                .find(|(v6, bits, _)| (*v6, *bits) == key);
            let by_ip = match known {
                Some((_, _, by_ip)) => by_ip,
                None => {
                    all.by_length.push((key.0, key.1, HashMap::new()));
                    match all.by_length.last_mut() {
                        Some((_, _, by_ip)) => by_ip,
                        None => continue,
                    }
                }
            };
            let first = Network::of(network.ip, network.bits).ip;
            by_ip.entry(first).or_default().push(at);
        }
        Ok(all)
    }

    fn take_line(&mut self, line: Line<'_>, max_networks: u32) -> Result<(), Mistake> {
        const FORM: &str = "a line is: GROUP ADDRESS [MASK [PORT [TAG]]]";
        let mut fields = line.fields();
        let Some(group) = fields.next() else {
            return Ok(());
        };
        let group = number(line, group, u32::MAX, "a group's number", FORM)?;
        let Some(address) = fields.next() else {
            return Err(line.mistake(fields.place(), "the address is missing", FORM));
        };
        let ip = host_ip(address.text);
        if ip.is_none() && address.text.contains(&b'/') {
            let help = "write the mask behind a space, as in `1 192.0.2.0 24`";
            return Err(line.mistake(
                address.at,
                "this is neither an address nor a host name",
                help,
            ));
        }
        let bits = match ip {
            Some(IpAddr::V4(_)) => 32,
            Some(IpAddr::V6(_)) => 128,
            None => u32::MAX,
        };
        // As in Kamailio, a word may stand in the place of a number, and is the tag.
        let mut tag = None;
        let mut numbers = [0; 2];
        let limits = [(bits, "a mask's bits"), (u32::from(u16::MAX), "a port")];
        for (value, (most, what)) in numbers.iter_mut().zip(limits) {
            match fields.next() {
                Some(field) if field.text.first().is_some_and(u8::is_ascii_digit) => {
                    *value = number(line, field, most, what, FORM)?;
                }
                Some(field) => {
                    tag = Some(field.text.into());
                    break;
                }
                None => break,
            }
        }
        let [mask, port] = numbers;
        let tag = tag.or_else(|| fields.next().map(|field| field.text.into()));
        let entry = Entry {
            group,
            port: u16::try_from(port).unwrap_or(u16::MAX),
            tag,
        };
        match ip {
            None => self
                .names
                .entry(address.text.into())
                .or_default()
                .push(entry),
            Some(ip) if mask == 0 || mask == bits => self.hosts.entry(ip).or_default().push(entry),
            Some(_) if self.networks.len() >= max_networks as usize => {
                let what = format!("these are more than {max_networks} networks");
                let help = "raise modparam(\"permissions\", \"max_subnets\", N)";
                return Err(line.mistake(address.at, what, help));
            }
            Some(ip) => {
                let bits = u8::try_from(mask).unwrap_or(u8::MAX);
                self.networks.push((Network { ip, bits }, entry));
            }
        }
        Ok(())
    }

    /// What is said of an address and port in a group, or in the first group that has it: addresses come
    /// before networks; of one address the last line counts, of networks the lowest group's first line.
    pub fn find(&self, group: Option<u32>, ip: IpAddr, port: u16) -> Option<&Entry> {
        let fits = |entry: &&Entry| {
            (entry.port == 0 || entry.port == port)
                && group.is_none_or(|group| entry.group == group)
        };
        let hosts = self.hosts.get(&ip).map(Vec::as_slice).unwrap_or_default();
        if let Some(entry) = hosts.iter().rev().find(fits) {
            return Some(entry);
        }
        let lengths = self.by_length.iter().filter(|(v6, ..)| *v6 == ip.is_ipv6());
        let candidates = lengths.filter_map(|(_, bits, by_ip)| {
            let places = by_ip.get(&Network::of(ip, *bits).ip)?;
            let mut places = places.iter().copied();
            places.find(|at| self.network(*at).as_ref().is_some_and(fits))
        });
        self.network(candidates.min()?)
    }

    fn network(&self, at: u32) -> Option<&Entry> {
        self.networks.get(at as usize).map(|(_, entry)| entry)
    }

    /// The same of a host name.
    pub fn find_name(&self, group: Option<u32>, name: &[u8], port: u16) -> Option<&Entry> {
        self.names.get(name)?.iter().rev().find(|entry| {
            (entry.port == 0 || entry.port == port)
                && group.is_none_or(|group| entry.group == group)
        })
    }

    /// All single addresses with Kamailio's slot of each, in the order of its dump.
    pub fn hosts(&self) -> Vec<(u32, IpAddr, &Entry)> {
        let key = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => slot(&ip.octets(), SLOTS),
            IpAddr::V6(ip) => slot(ip.octets().get(..4).unwrap_or_default(), SLOTS),
        };
        let mut all = Vec::new();
        for (ip, entries) in &self.hosts {
            all.extend(listed(key(*ip), *ip, entries));
        }
        all.sort_by_key(|(slot, ip, _)| (*slot, *ip));
        all
    }

    /// All networks, in order.
    pub fn networks(&self) -> &[(Network, Entry)] {
        &self.networks
    }

    /// All names with Kamailio's slot of each.
    pub fn names(&self) -> Vec<(u32, &[u8], &Entry)> {
        let mut all = Vec::new();
        for (name, entries) in &self.names {
            all.extend(listed(slot(name, SLOTS), &**name, entries));
        }
        all.sort_by_key(|(slot, name, _)| (*slot, *name));
        all
    }
}

/// The newest first.
fn listed<T: Copy>(slot: u32, key: T, entries: &[Entry]) -> Vec<(u32, T, &Entry)> {
    let newest = entries.iter().rev();
    newest.map(|entry| (slot, key, entry)).collect()
}

fn number(
    line: Line<'_>,
    field: Field<'_>,
    most: u32,
    what: &str,
    form: &str,
) -> Result<u32, Mistake> {
    let text = std::str::from_utf8(field.text).unwrap_or_default();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let read = text.parse().ok().filter(|number| *number <= most && digits);
    read.ok_or_else(|| {
        let range = match most {
            u32::MAX => String::new(),
            _ => format!(" from 0 to {most}"),
        };
        line.mistake(field.at, format!("this is not {what}{range}"), form)
    })
}
