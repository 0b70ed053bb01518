//! Whether the kernel's stack filters by reverse paths anywhere: the sysctl rp_filter (kernel:
//! Documentation/networking/ip-sysctl.rst).

use std::{collections::BTreeMap, ffi::OsString, fs, io, path::Path};

const SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// The values of all interfaces that there are, and that for all. The stack goes by the larger one of
/// `all` and the interface's. What can't be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctl(BTreeMap<OsString, Option<u8>>);

impl Sysctl {
    /// Reads them.
    pub fn read() -> Self {
        Self::read_in(Path::new(SETTINGS))
    }

    fn read_in(folder: &Path) -> Self {
        let Ok(entries) = fs::read_dir(folder) else {
            return Self::default();
        };
        let value = |entry: fs::DirEntry| {
            let name = entry.file_name();
            if name == "default" {
                // It is for interfaces that are made later.
                return None;
            }
            let value = match fs::read(entry.path().join("rp_filter")) {
                Ok(text) => text.first().copied(),
                // The interface has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(_) => None,
            };
            Some((name, value))
        };
        Self(entries.flatten().filter_map(value).collect())
    }

    /// Whether the stack filters, or it can't be told: then it is asked in vain.
    pub fn is_on(&self) -> bool {
        self.0.is_empty() || self.0.values().any(|value| *value != Some(b'0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_any_interface_filters_or_none_can_be_read_the_stack_is_asked() {
        let folder = std::env::temp_dir().join(format!("corex-rp-{}", std::process::id()));
        assert!(Sysctl::read_in(&folder).is_on());
        let write = |name: &str, value: &str| {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("rp_filter"), value).unwrap();
        };
        write("all", "0\n");
        write("eth0", "0\n");
        write("default", "1\n");
        fs::create_dir_all(folder.join("gone")).unwrap();
        let off = Sysctl::read_in(&folder);
        assert!(!off.is_on());
        write("eth0", "2\n");
        let on = Sysctl::read_in(&folder);
        assert!(on.is_on() && on != off);
        fs::remove_dir_all(folder).unwrap();
    }
}
