//! Host names that are looked up.

use std::net::IpAddr;
use std::time::Duration;

use corex_script::function::{Parameter, ParameterKind};
use corex_script::settings::DnsSettings;

use super::lines_file;

pub(super) const DNS_STALE_TTL: Parameter = Parameter {
    name: "dns_stale_ttl",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 604_800,
        set: |settings, value| {
            settings.dns.stale_ttl = Duration::from_secs(value as u64);
        },
    },
    doc: "So many seconds longer than its time an address of a host name is used when no name \
          server answers (RFC 8767); it is asked for again every 30 seconds. 0: no longer. \
          Default: 86400.",
};

pub(super) const DNS_MAX_LOOKUPS: Parameter = Parameter {
    name: "dns_max_lookups",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 4,
        max: 65_535,
        set: |settings, value| settings.dns.max_lookups = value as usize,
    },
    doc: "Host names that are looked up at a time. A quarter of these places is for names that had \
          an address before; of the others a zone (example.com, example.co.uk) has a quarter at \
          most. What finds none is dropped, and counted as dns_refused or dns_refused_zone. \
          Default: 256.",
};

pub(super) const DNS_MAX_PER_SOURCE: Parameter = Parameter {
    name: "dns_max_per_source",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 65_535,
        set: |settings, value| settings.dns.max_per_source = value as usize,
    },
    doc: "Of the host names that are looked up at a time and had no address before, so many may be \
          for messages of one IPv4 address or IPv6 /64. More are dropped, and counted as \
          dns_refused_source. Default: 16.",
};

/// The most records that a configuration may have.
const MAX_RECORDS: usize = 4_096;

pub(super) const DNS_CACHE: Parameter = Parameter {
    name: "dns_cache",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            let record = record(text)?;
            add(&mut settings.dns, record)
        },
        help: "write \"type=A;name=sip.example;addr=192.0.2.1\", or type=AAAA",
    },
    doc: "An address of a host name that no name server is asked for, as /etc/hosts has it: \
          \"type=A;name=sip.example;addr=192.0.2.1\", or type=AAAA. It holds for as long as corex \
          runs, whatever its ttl. Several such lines make several.",
};

pub(super) const DNS_FILE: Parameter = Parameter {
    name: "dns_file",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            let path = settings.folder.join(text);
            let lines = lines_file::read(&path, MAX_RECORDS as u64 * 256)
                .map_err(|reason| format!("{} can't be read: {reason}", path.display()))?;
            for (number, line) in lines.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let added = record(line).and_then(|record| add(&mut settings.dns, record));
                added.map_err(|what| format!("{}:{}:1: {what}", path.display(), number + 1))?;
            }
            settings.dns.files.push(path);
            Ok(())
        },
        help: "write a file's path; a line of it is what dns_cache takes, or begins with #",
    },
    doc: "A file with such records: a line each, as dns_cache takes them; lines that begin with # are \
          comments. It is read at the start.",
};

/// Adds one, if there aren't too many.
fn add(dns: &mut DnsSettings, record: (String, IpAddr)) -> Result<(), String> {
    if dns.records.len() >= MAX_RECORDS {
        return Err(format!("there are {MAX_RECORDS} of them already"));
    }
    dns.records.push(record);
    Ok(())
}

/// Name and address of `type=A;name=…;addr=…;ttl=…;flags=…`.
fn record(text: &str) -> Result<(String, IpAddr), String> {
    let (mut kind, mut name, mut address) = (None, None, None);
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is no attribute=value"))?;
        let value = value.trim();
        match key.trim() {
            "type" => kind = Some(value.to_owned()),
            "name" => name = Some(value.to_owned()),
            "addr" => address = Some(value),
            "flags" if !matches!(value, "0" | "2") => {
                return Err("a name can't be made one without address (flags=1)".to_owned());
            }
            "ttl" | "flags" => {}
            other => return Err(format!("there is no attribute `{other}`")),
        }
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = name.filter(|name| !name.is_empty() && name.bytes().all(fits));
    let name = name.ok_or("it has no host name")?;
    let address = address.ok_or("it has no addr")?;
    let ip: IpAddr = address
        .parse()
        .map_err(|_| format!("`{address}` is no IP address"))?;
    match (kind.as_deref(), ip) {
        (Some("A"), IpAddr::V4(_)) | (Some("AAAA"), IpAddr::V6(_)) => Ok((name, ip)),
        (Some("SRV"), _) => Err("SRV records come from name servers only".to_owned()),
        _ => Err("type and addr don't fit: A is for IPv4, AAAA for IPv6".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corex_script::settings::Settings;

    #[test]
    fn a_record_is_a_name_with_an_address_of_its_type() {
        let record = |text: &str| record(text).map(|(name, ip)| format!("{name} {ip}"));
        for (text, expected) in [
            (
                "type=A;name=a.example;addr=192.0.2.1;ttl=3600;flags=2",
                "a.example 192.0.2.1",
            ),
            ("name=a; type=AAAA; addr=2001:db8::1;", "a 2001:db8::1"),
        ] {
            assert_eq!(record(text).as_deref(), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "type=A;name=a.example",
            "type=A;addr=192.0.2.1",
            "type=A;name=a b;addr=192.0.2.1",
            "type=AAAA;name=a;addr=192.0.2.1",
            "type=A;name=a;addr=192.0.2.1;flags=1",
            "type=SRV;name=a;addr=192.0.2.1",
            "type=A;name=a;addr=192.0.2.1;x=y",
            "nonsense",
        ] {
            assert!(record(bad).is_err(), "{bad}");
        }
    }

    /// What a file of these lines makes of the settings.
    fn of_file(text: &str) -> Result<DnsSettings, String> {
        let folder = std::env::temp_dir();
        let name = format!("corex-dns-{}-{}", std::process::id(), text.len());
        std::fs::write(folder.join(&name), text).unwrap();
        let mut settings = Settings {
            folder: folder.clone(),
            ..Settings::default()
        };
        let ParameterKind::Text { set, .. } = DNS_FILE.kind else {
            panic!("it is a text");
        };
        let done = set(&mut settings, &name);
        std::fs::remove_file(folder.join(&name)).unwrap();
        done.map(|()| settings.dns)
    }

    #[test]
    fn a_file_has_a_record_in_each_line() {
        let dns = of_file(
            "# ours\n\ntype=A;name=a;addr=192.0.2.1\n  type=AAAA;name=a;addr=2001:db8::1\n",
        );
        let dns = dns.unwrap();
        let names = dns.records.iter().map(|(name, ip)| format!("{name} {ip}"));
        assert_eq!(names.collect::<Vec<_>>(), ["a 192.0.2.1", "a 2001:db8::1"]);
        assert_eq!(dns.files.len(), 1);
        let wrong = of_file("type=A;name=a;addr=192.0.2.1\n\ntype=SRV;name=b;addr=192.0.2.1\n");
        let wrong = wrong.unwrap_err();
        assert!(wrong.contains(":3:1: SRV records"), "{wrong}");
        let many = "type=A;name=a;addr=192.0.2.1\n".repeat(MAX_RECORDS + 1);
        let wrong = of_file(&many).unwrap_err();
        assert!(wrong.contains(":4097:1: there are 4096"), "{wrong}");
    }

    #[test]
    fn a_file_that_is_none_is_told_of() {
        let ParameterKind::Text { set, .. } = DNS_FILE.kind else {
            panic!("it is a text");
        };
        for path in ["/nowhere/at/all", "/", "/dev/zero"] {
            let wrong = set(&mut Settings::default(), path).unwrap_err();
            assert!(
                wrong.starts_with(&format!("{path} can't be read: ")),
                "{wrong}"
            );
        }
    }
}
