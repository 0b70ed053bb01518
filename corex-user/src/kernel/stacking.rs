//! Interfaces that stand on others (bridges, bonds, VLAN devices, macvlans), as sysfs shows them
//! (Documentation/ABI/testing/sysfs-class-net), and by which of them packets are had.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use super::interfaces::Interface;

/// What an interface is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bridge,
    Bond,
    Vlan,
    /// A macvlan, an ipvlan and the like: it shares frames with the one that it stands on.
    Sharing,
    /// It stands on none.
    Plain,
}

/// How an interface stands to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stacking {
    name: String,
    kind: Kind,
    lower: Vec<String>,
    upper: Vec<String>,
}

impl Stacking {
    /// Reads how `interface` stands. Without sysfs of this network namespace it stands alone.
    pub fn of(interface: &Interface) -> Self {
        let class = Path::new("/sys/class/net").join(&interface.name);
        let index = fs::read_to_string(class.join("ifindex")).unwrap_or_default();
        if index.trim() == interface.index.to_string() {
            Self::read(&interface.name, &class)
        } else {
            Self::read(&interface.name, Path::new(""))
        }
    }

    fn read(name: &str, class: &Path) -> Self {
        let names: BTreeSet<String> = fs::read_dir(class)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let linked = |prefix: &str| -> Vec<String> {
            let of_kind = names.iter().filter_map(|name| name.strip_prefix(prefix));
            of_kind.map(str::to_owned).collect()
        };
        let lower = linked("lower_");
        let uevent = fs::read_to_string(class.join("uevent")).unwrap_or_default();
        let kind = if names.contains("bonding") {
            Kind::Bond
        } else if names.contains("bridge") {
            Kind::Bridge
        } else if uevent.lines().any(|line| line == "DEVTYPE=vlan") {
            Kind::Vlan
        } else if lower.is_empty() {
            Kind::Plain
        } else {
            Kind::Sharing
        };
        Self {
            name: name.to_owned(),
            kind,
            lower,
            upper: linked("upper_"),
        }
    }

    /// The interfaces to attach XDP to in its stead. A bond's members: frames arrive at queues of
    /// theirs, whatever XDP program the bond has. What a macvlan stands on: XDP on the macvlan sees
    /// broadcasts alone.
    pub fn in_its_stead(&self) -> Option<&[String]> {
        let is_had_below = matches!(self.kind, Kind::Bond | Kind::Sharing);
        (is_had_below && !self.lower.is_empty()).then_some(&self.lower)
    }
}

/// What it means for packets, and how they go a better road; nothing where it stands alone.
impl fmt::Display for Stacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, lower, .. } = self;
        let ports = lower.join(", ");
        let choice = || {
            let each = lower.iter().map(|lower| format!("--interface {lower}"));
            each.collect::<Vec<_>>().join(" ")
        };
        match self.kind {
            Kind::Bond if lower.is_empty() => write!(f, "{name} is a bond without members")?,
            Kind::Bond => write!(
                f,
                "{name} is a bond: XDP is on its members ({ports}), where packets are received by \
                 AF_XDP; what leaves by {name} is sent by kernel sockets"
            )?,
            Kind::Bridge => write!(
                f,
                "{name} is a bridge: XDP on it is generic (skb), and slower. Natively on its ports: \
                 {}; what leaves by {name} is then sent by kernel sockets",
                if lower.is_empty() {
                    "it has none".to_owned()
                } else {
                    choice()
                }
            )?,
            Kind::Vlan => write!(
                f,
                "{name} is a VLAN device on {ports}: XDP on it is generic (skb), and slower. \
                 Natively: {}, with tags left on (`ethtool -K {ports} rxvlan off`); what leaves by \
                 {name} is then sent by kernel sockets",
                choice()
            )?,
            Kind::Sharing => write!(
                f,
                "{name} stands on {ports}: XDP is there, where its packets are received by AF_XDP; \
                 what leaves by {name} is sent by kernel sockets"
            )?,
            Kind::Plain if !self.upper.is_empty() => write!(
                f,
                "{name} carries {}: what comes in there is received by AF_XDP; what leaves by these \
                 is sent by kernel sockets",
                self.upper.join(", ")
            )?,
            Kind::Plain => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface's folder in sysfs with these entries.
    fn read(name: &str, entries: &[&str], uevent: &str) -> Stacking {
        let folder = std::env::temp_dir().join(format!("corex-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for entry in entries {
            fs::create_dir_all(folder.join(entry)).unwrap();
        }
        fs::write(folder.join("uevent"), uevent).unwrap();
        let stacking = Stacking::read(name, &folder);
        fs::remove_dir_all(&folder).unwrap();
        stacking
    }

    #[test]
    fn a_bond_is_had_by_its_members_and_others_are_had_themselves() {
        let bond = read(
            "bond0",
            &["bonding", "lower_eth0", "lower_eth1"],
            "DEVTYPE=bond\n",
        );
        let members = ["eth0".to_owned(), "eth1".to_owned()];
        assert_eq!(bond.in_its_stead(), Some(&members[..]));
        assert!(bond.to_string().contains("its members (eth0, eth1)"));
        let empty = read("bond1", &["bonding"], "");
        assert_eq!(empty.in_its_stead(), None);
        assert_eq!(empty.to_string(), "bond1 is a bond without members");
        let macvlan = read("mac0", &["lower_eth0"], "INTERFACE=mac0\n");
        assert_eq!(macvlan.in_its_stead(), Some(&members[..1]));
        let bridge = read("br0", &["bridge", "lower_eth0"], "DEVTYPE=bridge\n");
        assert_eq!(bridge.in_its_stead(), None);
    }

    #[test]
    fn what_stands_on_others_says_by_which_it_is_had_natively() {
        for (name, entries, uevent, says) in [
            (
                "br0",
                &["bridge", "lower_eth0", "lower_eth1"][..],
                "",
                "--interface eth0 --interface eth1;",
            ),
            (
                "eth0.7",
                &["lower_eth0"],
                "DEVTYPE=vlan\nINTERFACE=eth0.7\n",
                "ethtool -K eth0 rxvlan off",
            ),
            (
                "mac0",
                &["lower_eth0"],
                "INTERFACE=mac0\n",
                "mac0 stands on eth0: XDP is there",
            ),
            (
                "eth0",
                &["upper_br0"],
                "INTERFACE=eth0\n",
                "eth0 carries br0",
            ),
        ] {
            let text = read(name, entries, uevent).to_string();
            assert!(text.contains(says), "{text}");
            assert!(text.contains("kernel sockets"), "{text}");
        }
    }

    #[test]
    fn who_stands_alone_has_nothing_to_say() {
        assert_eq!(
            read("eth1", &["queues"], "INTERFACE=eth1\n").to_string(),
            ""
        );
        assert_eq!(Stacking::read("gone", Path::new("")).to_string(), "");
    }
}
