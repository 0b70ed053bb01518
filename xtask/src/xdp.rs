//! XDP programs on interfaces, as `ip` and `bpftool` tell.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use corex_lab::process::{output_of, which};
use serde_json::Value;

/// Names of corex's XDP programs on interfaces: in proxy mode, and in inline mode.
const COREX: [&str; 2] = ["corex_ingress", INLINE];
const INLINE: &str = "corex_inline";
/// Where corex pins what is to outlive it: a folder for each instance.
const PINS: &str = "/sys/fs/bpf/corex";

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The kernel's number.
    pub id: u64,
    /// Its name, as its author gave it.
    pub name: String,
    /// How it is attached.
    pub mode: Mode,
}

/// How an XDP program is attached (IFLA_XDP_ATTACHED, linux/if_link.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack, behind the driver.
    Skb,
    /// In the NIC.
    Offloaded,
}

impl Mode {
    fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Native),
            2 => Some(Self::Skb),
            3 => Some(Self::Offloaded),
            _ => None,
        }
    }

    /// The word for it in `ip link set … <word> off`.
    fn ip_word(self) -> &'static str {
        match self {
            Self::Native => "xdpdrv",
            Self::Skb => "xdpgeneric",
            Self::Offloaded => "xdpoffload",
        }
    }
}

impl Program {
    /// Whether it is corex's.
    pub fn is_corex(&self) -> bool {
        COREX.contains(&self.name.as_str())
    }

    /// Whether it is corex's, in inline mode; then more belongs to it than this program.
    pub fn is_inline(&self) -> bool {
        self.name == INLINE
    }
}

/// Whether there is such an interface.
pub fn interface_exists(interface: &str) -> bool {
    !interface.contains('/') && Path::new("/sys/class/net").join(interface).exists()
}

/// The instance of corex that has pinned its programs on an interface.
pub fn instance_on(interface: &str) -> Option<String> {
    let index = fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok()?;
    let ending = format!("-{}", index.trim());
    let instances = fs::read_dir(PINS).ok()?.flatten();
    let has_link = |instance: &fs::DirEntry| {
        let links = fs::read_dir(instance.path().join("links"));
        links.into_iter().flatten().flatten().any(|link| {
            let name = link.file_name();
            let name = name.to_string_lossy();
            name.starts_with("xdp-") && name.ends_with(&ending)
        })
    };
    instances
        .filter(has_link)
        .find_map(|instance| instance.file_name().into_string().ok())
}

/// The programs on an interface.
///
/// # Errors
/// No such interface, or no `ip`.
pub fn programs(interface: &str) -> Result<Vec<Program>> {
    let text = output_of(
        Command::new("ip").args(["-details", "-json", "link", "show", "dev", interface]),
    )?;
    let links: Value = serde_json::from_str(&text)?;
    let mut programs = read_programs(&links[0]["xdp"]);
    for program in &mut programs {
        // An `ip` built without libbpf tells the number only.
        if program.name.is_empty()
            && let Some(bpftool) = which("bpftool")
        {
            let text = output_of(Command::new(bpftool).args([
                "-j",
                "prog",
                "show",
                "id",
                &program.id.to_string(),
            ]))?;
            let answer: Value = serde_json::from_str(&text)?;
            program.name = answer["name"].as_str().unwrap_or_default().to_owned();
        }
    }
    Ok(programs)
}

/// Reads the `xdp` object of `ip -details -json link show`: one program, or several in
/// `attached`.
fn read_programs(xdp: &Value) -> Vec<Program> {
    let one = |entry: &Value| {
        Some(Program {
            id: entry["prog"]["id"].as_u64()?,
            name: entry["prog"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            mode: Mode::from_number(entry["mode"].as_u64()?)?,
        })
    };
    match xdp["attached"].as_array() {
        Some(entries) => entries.iter().filter_map(one).collect(),
        None => one(xdp).into_iter().collect(),
    }
}

/// Takes a program off an interface, unless a running process holds it there.
///
/// # Errors
/// A process holds it, or the kernel refuses.
pub fn remove(interface: &str, program: &Program) -> Result<()> {
    let by_netlink = output_of(Command::new("ip").args([
        "link",
        "set",
        "dev",
        interface,
        program.mode.ip_word(),
        "off",
    ]));
    let Err(refusal) = by_netlink else {
        return Ok(());
    };
    // Attached by a bpf_link: it goes with the process that holds it, or with its pin.
    let Some(link) = link_of(program)? else {
        return Err(refusal);
    };
    let holders = holders(link);
    if let Some(pid) = holders.first() {
        bail!(
            "corex on {interface} is running, as process {pid}: stop it with `kill {pid}`, and \
             its program goes with it"
        );
    }
    let bpftool = which("bpftool").context(
        "the program is held by a pinned link, which only bpftool can detach: \
         `cargo xtask setup --peers` installs it",
    )?;
    output_of(Command::new(bpftool).args(["link", "detach", "id", &link.to_string()])).map(drop)
}

/// The number of the link that attaches a program.
fn link_of(program: &Program) -> Result<Option<u64>> {
    let Some(bpftool) = which("bpftool") else {
        return Ok(link_by_descriptors(program.id));
    };
    let text = output_of(Command::new(bpftool).args(["-j", "link", "show"]))?;
    let links: Value = serde_json::from_str(&text)?;
    Ok(links
        .as_array()
        .into_iter()
        .flatten()
        .find(|link| link["type"] == "xdp" && link["prog_id"] == program.id)
        .and_then(|link| link["id"].as_u64()))
}

/// The value of a field of /proc/PID/fdinfo/FD.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

/// All (process, fdinfo) pairs that describe a bpf_link.
fn link_descriptors() -> impl Iterator<Item = (u32, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .flat_map(|pid| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo"));
            descriptors
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(move |entry| Some((pid, fs::read_to_string(entry.path()).ok()?)))
        })
        .filter(|(_, text)| text.contains("link_id"))
}

fn link_by_descriptors(program: u64) -> Option<u64> {
    link_descriptors()
        .filter(|(_, text)| field(text, "prog_id") == Some(program))
        .find_map(|(_, text)| field(&text, "link_id"))
}

/// The processes that hold a link.
fn holders(link: u64) -> Vec<u32> {
    link_descriptors()
        .filter(|(_, text)| field(text, "link_id") == Some(link))
        .map(|(pid, _)| pid)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_interface_without_xdp_has_no_program() {
        assert!(read_programs(&Value::Null).is_empty());
    }

    #[test]
    fn one_program_and_several_are_read() {
        let one = json!({"mode": 1, "prog": {"id": 7, "name": "corex_ingress"}});
        let programs = read_programs(&one);
        assert!(programs[0].is_corex());
        assert_eq!(programs[0].mode, Mode::Native);

        let several = json!({"mode": 4, "attached": [
            {"mode": 2, "prog": {"id": 8, "name": "xdp_pass"}},
            {"mode": 1, "prog": {"id": 7, "name": "corex_ingress"}},
        ]});
        let programs = read_programs(&several);
        assert_eq!(programs.len(), 2);
        assert!(!programs[0].is_corex());
    }

    #[test]
    fn fdinfo_fields_are_found_by_their_whole_name() {
        let text = "link_type:\txdp\nlink_id:\t42\nprog_tag:\tx\nprog_id:\t7\n";
        assert_eq!(field(text, "link_id"), Some(42));
        assert_eq!(field(text, "id"), None);
    }
}
