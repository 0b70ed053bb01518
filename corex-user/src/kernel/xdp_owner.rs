//! Whose XDP program is on an interface.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use aya::programs::loaded_programs;
use bytes::BufMut as _;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkXdp},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// libxdp's program that calls others, and how it is taken off.
const DISPATCHER: &str = "xdp_dispatcher";

/// A program, and who has to do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XdpOwner {
    interface: String,
    id: u32,
    name: String,
    uid: Option<u32>,
    age: Option<u64>,
    /// Processes that hold the program or its link: number and name.
    processes: Vec<(u32, String)>,
}

impl XdpOwner {
    /// That of the program on an interface. `None`: there is none, or the kernel doesn't tell.
    pub fn of(interface: &str, ifindex: u32) -> Option<Self> {
        let id = program_on(ifindex)?;
        let mut owner = Self {
            interface: interface.to_owned(),
            id,
            processes: holders(Path::new("/proc"), id),
            ..Self::default()
        };
        let program = loaded_programs()
            .flatten()
            .find(|program| program.id() == id);
        if let Some(program) = program {
            owner.name = program.name_as_str().unwrap_or_default().to_owned();
            owner.uid = program.created_by_uid();
            let age = program.loaded_at().map(|at| at.elapsed());
            owner.age = age.and_then(Result::ok).map(|age| age.as_secs());
        }
        Some(owner)
    }
}

impl fmt::Display for XdpOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program {} `{}`", self.id, self.name)?;
        if let Some(age) = self.age {
            write!(f, ", loaded {age} s ago")?;
        }
        if let Some(uid) = self.uid {
            write!(f, " by user {uid}")?;
        }
        match &self.processes[..] {
            [] => write!(f, ", held by no process")?,
            processes => {
                write!(f, ", held by")?;
                for (number, (pid, name)) in processes.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    write!(f, "{comma} {name} ({pid})")?;
                }
            }
        }
        if self.name == DISPATCHER {
            write!(
                f,
                "; it is libxdp's and calls other programs, which corex can't join: `xdp-loader \
                 status` lists them, `xdp-loader unload {} --all` takes them off",
                self.interface
            )?;
        }
        Ok(())
    }
}

/// The id of the program on an interface (RTM_GETLINK, IFLA_XDP).
fn program_on(ifindex: u32) -> Option<u32> {
    const RTM_GETLINK: u16 = 18;
    const NLM_F_REQUEST: u16 = 1;
    const LEN: u32 = 32;
    let mut request = Vec::with_capacity(LEN as usize);
    request.put_u32_ne(LEN);
    request.put_u16_ne(RTM_GETLINK);
    request.put_u16_ne(NLM_F_REQUEST);
    // Sequence and port; then struct ifinfomsg: family and type, the index, flags and their mask.
    request.put_bytes(0, 12);
    request.put_u32_ne(ifindex);
    request.put_bytes(0, 8);
    let mut socket = Socket::new(NETLINK_ROUTE).ok()?;
    socket.bind_auto().ok()?;
    socket.connect(&SocketAddr::new(0, 0)).ok()?;
    socket.send(&request, 0).ok()?;
    let (reply, _) = socket.recv_from_full().ok()?;
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply).ok()?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = message.payload else {
        return None;
    };
    let attributes = link.attributes.iter();
    let programs = attributes.filter_map(|attribute| match attribute {
        LinkAttribute::Xdp(programs) => Some(programs),
        _ => None,
    });
    programs.flatten().find_map(|program| match program {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    })
}

/// The processes with a descriptor of the program or of a link of it.
fn holders(proc: &Path, program: u32) -> Vec<(u32, String)> {
    let line = format!("prog_id:\t{program}");
    let holds = |pid: &u32| {
        let infos = fs::read_dir(proc.join(pid.to_string()).join("fdinfo"));
        infos.into_iter().flatten().flatten().any(|info| {
            let text = fs::read_to_string(info.path()).unwrap_or_default();
            text.lines().any(|found| found == line)
        })
    };
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids: BTreeSet<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let of = |pid: u32| {
        let name = fs::read_to_string(proc.join(pid.to_string()).join("comm"));
        (pid, name.unwrap_or_default().trim().to_owned())
    };
    pids.into_iter().filter(holds).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holders_are_those_whose_descriptors_name_the_program() {
        let proc = std::env::temp_dir().join(format!("corex-proc-{}", std::process::id()));
        for (pid, name, info) in [
            (7, "loader\n", "pos:\t0\nprog_id:\t42\nlink_type:\txdp\n"),
            (8, "other\n", "prog_id:\t421\n"),
        ] {
            let folder = proc.join(pid.to_string());
            fs::create_dir_all(folder.join("fdinfo")).unwrap();
            fs::write(folder.join("comm"), name).unwrap();
            fs::write(folder.join("fdinfo/3"), info).unwrap();
        }
        assert_eq!(holders(&proc, 42), [(7, "loader".to_owned())]);
        fs::remove_dir_all(&proc).unwrap();
    }

    #[test]
    fn it_says_what_is_known_and_for_libxdp_what_to_do() {
        let owner = XdpOwner {
            interface: "eth0".to_owned(),
            id: 42,
            name: "probe".to_owned(),
            uid: Some(0),
            age: Some(9),
            processes: vec![(7, "a".to_owned()), (8, "b".to_owned())],
        };
        let text = "program 42 `probe`, loaded 9 s ago by user 0, held by a (7), b (8)";
        assert_eq!(owner.to_string(), text);
        let dispatcher = XdpOwner {
            interface: "eth0".to_owned(),
            id: 3,
            name: DISPATCHER.to_owned(),
            ..XdpOwner::default()
        };
        let text = dispatcher.to_string();
        assert!(
            text.contains("held by no process; it is libxdp's"),
            "{text}"
        );
        assert!(text.contains("`xdp-loader unload eth0 --all`"), "{text}");
    }

    #[test]
    fn an_interface_without_a_program_has_no_owner() {
        assert_eq!(XdpOwner::of("none", u32::MAX), None);
    }
}
