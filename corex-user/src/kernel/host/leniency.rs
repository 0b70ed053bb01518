//! Settings by which the stack takes packets whose source can't be: accept_local and route_localnet
//! (kernel: Documentation/networking/ip-sysctl.rst).

use std::{fs::File, os::unix::fs::FileExt as _};

use corex_common::host::{ACCEPT_LOCAL, ROUTE_LOCALNET};

use crate::kernel::interfaces::Interface;

/// The settings' files. They stay open: the thread that reads them can open none any more.
pub struct Leniency(Vec<(File, u32)>);

impl Leniency {
    /// Opens those that hold for these interfaces. What isn't there is off.
    pub fn open(interfaces: &[Interface]) -> Self {
        let names = interfaces.iter().map(|interface| interface.name.as_str());
        let files = names.chain(["all"]).flat_map(|name| {
            let open = move |(setting, flag)| {
                let path = format!("/proc/sys/net/ipv4/conf/{name}/{setting}");
                Some((File::open(path).ok()?, flag))
            };
            [
                ("accept_local", ACCEPT_LOCAL),
                ("route_localnet", ROUTE_LOCALNET),
            ]
            .into_iter()
            .filter_map(open)
        });
        Self(files.collect())
    }

    /// The flags of what is on for any of them.
    pub fn flags(&self) -> u32 {
        self.0.iter().fold(0, |flags, (file, flag)| {
            let mut value = [0; 1];
            // Of an interface that is gone there is nothing to read.
            let is_on = file.read_at(&mut value, 0).is_ok_and(|len| len == 1) && value[0] != b'0';
            flags | if is_on { *flag } else { 0 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_off() {
        let gone = Interface {
            name: "no-such-device".to_owned(),
            ..Interface::by_name("lo").unwrap()
        };
        let of_all = Leniency::open(&[]).flags();
        assert_eq!(Leniency::open(&[gone]).flags(), of_all);
    }
}
