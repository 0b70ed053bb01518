//! The veth pair that carries a NIC's detours.

use std::{fs, hash::Hasher as _, io};

use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::kernel::{interfaces::Interface, offload};

/// A pair, up.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The end with the AF_XDP sockets.
    pub own: Interface,
    /// The end that the NIC's packets are redirected to.
    pub peer: Interface,
}

impl Pair {
    /// Why it can't carry packets, if so: somebody has removed it, or set it down.
    pub fn fault(&self) -> Option<String> {
        [&self.own, &self.peer].into_iter().find_map(|end| {
            let name = &end.name;
            match Interface::name_of(end.index) {
                Ok(now) if now == *name => {}
                _ => return Some(format!("{name} is gone")),
            }
            // linux/if.h: IFF_UP. Without sysfs of this network namespace nothing is known.
            let flags = fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok()?;
            let flags = u32::from_str_radix(flags.trim().strip_prefix("0x")?, 16).ok()?;
            (flags & 1 == 0).then(|| format!("{name} is down"))
        })
    }
}

/// The names of a NIC's pair: own end, other end.
pub fn names(instance: &str, nic: u32) -> (String, String) {
    // 15 characters at most: "cx-", eight, "-", the NIC, "p". A long name keeps its beginning.
    let short = if instance.len() <= 8 && instance.is_ascii() {
        instance.to_owned()
    } else {
        let mut hash = std::hash::DefaultHasher::new();
        hash.write(instance.as_bytes());
        let begin: String = instance.chars().filter(char::is_ascii).take(4).collect();
        format!("{begin}{:04x}", hash.finish() as u16)
    };
    let own = format!("cx-{short}-{nic}");
    let peer = format!("{own}p");
    (own, peer)
}

/// Makes the pair, or takes over the one that is there. Both ends have `queues` queues, no
/// addresses, and send nothing of their own.
///
/// # Errors
/// What the kernel says.
pub async fn make(
    handle: &Handle,
    names: (&str, &str),
    nic: &str,
    queues: u32,
    mtu: u32,
) -> io::Result<Pair> {
    let (own, peer) = names;
    let is_as_wanted = |name: &str| {
        Interface::by_name(name).is_ok_and(|end| end.queues == queues && end.mtu == mtu)
    };
    if !(is_as_wanted(own) && is_as_wanted(peer)) {
        remove(handle, own).await?;
        add(handle, names, queues, mtu).await?;
    }
    for name in [own, peer] {
        // Neighbour and multicast chatter of a device that has no addresses; without IPv6
        // there is no such file.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    }
    offload::off(peer)?;
    let alias = format!("corex: detour of {nic}");
    for name in [own, peer] {
        let up = LinkMessageBuilder::<LinkUnspec>::new()
            .name(name)
            .alias(alias.clone())
            .arp(false)
            .up()
            .build();
        handle.link().change(up).execute().await.map_err(other)?;
    }
    Ok(Pair {
        own: Interface::by_name(own)?,
        peer: Interface::by_name(peer)?,
    })
}

async fn add(handle: &Handle, (own, peer): (&str, &str), queues: u32, mtu: u32) -> io::Result<()> {
    let end = LinkMessageBuilder::<LinkUnspec>::new()
        .name(peer)
        .mtu(mtu)
        .append_extra_attribute(LinkAttribute::NumTxQueues(queues))
        .append_extra_attribute(LinkAttribute::NumRxQueues(queues))
        .build();
    let message = LinkVeth::new(own, peer)
        .mtu(mtu)
        .append_extra_attribute(LinkAttribute::NumTxQueues(queues))
        .append_extra_attribute(LinkAttribute::NumRxQueues(queues))
        .set_info_data(InfoData::Veth(InfoVeth::Peer(end)))
        .build();
    handle.link().add(message).execute().await.map_err(other)
}

/// Removes the pair of which `own` is an end; nothing happens where there is none.
///
/// # Errors
/// What the kernel says.
pub async fn remove(handle: &Handle, own: &str) -> io::Result<()> {
    let mut found = handle.link().get().match_name(own.to_owned()).execute();
    let Ok(Some(link)) = found.try_next().await else {
        return Ok(());
    };
    let index = link.header.index;
    handle.link().del(index).execute().await.map_err(other)
}

fn other(error: rtnetlink::Error) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_s_limit_and_tell_instances_apart() {
        assert_eq!(
            names("edge", 0),
            ("cx-edge-0".to_owned(), "cx-edge-0p".to_owned())
        );
        let one = names("inline-registrar-a", 1);
        let two = names("inline-registrar-b", 1);
        assert_ne!(one, two);
        for name in [&one.0, &one.1, &two.1, &names("überall-im-netz", 9).1] {
            assert!(name.len() <= 15 && name.is_ascii(), "{name}");
        }
    }
}
