//! NICs of guests: each on a tap device in a network namespace, where its far end is.

use anyhow::Result;
use corex_lab::{
    Namespace,
    far_end::{Cable, FarEnd},
};

/// A NIC, as QEMU has it.
struct Nic {
    name: &'static str,
    /// QEMU's device, with its properties.
    device: &'static str,
    queues: u32,
    /// What tries it in proxy mode and in inline mode.
    tests: [&'static str; 2],
}

/// The NICs that a guest gets, in the order of the cables that its tests know.
const ALL: [Nic; 4] = [
    Nic {
        name: "virtio-net, four queue pairs, two CPUs",
        // Two vectors for each pair, and one each for changes and control.
        device: "virtio-net-pci,mq=on,vectors=10",
        queues: 4,
        tests: [
            "virtio_messages_by_four_queues_leave_by_the_two_that_transmit",
            "virtio_has_inline_mode",
        ],
    },
    Nic {
        name: "e1000e",
        device: "e1000e",
        queues: 1,
        tests: ["e1000e_has_generic_xdp", "e1000e_has_inline_mode"],
    },
    Nic {
        name: "vmxnet3",
        device: "vmxnet3",
        queues: 1,
        tests: [
            "vmxnet3_has_what_its_driver_takes",
            "vmxnet3_has_inline_mode",
        ],
    },
    Nic {
        name: "virtio-net that leaves DMA to the kernel (iommu_platform=on)",
        // Zero copy wants memory that is mapped by the kernel (VIRTIO_F_ACCESS_PLATFORM), which
        // devices of before virtio 1.0 don't know.
        device: "virtio-net-pci,mq=on,vectors=10,disable-legacy=on,iommu_platform=on",
        queues: 4,
        tests: [
            "zero_copy_is_used_where_virtio_has_it",
            "zero_copy_has_inline_mode",
        ],
    },
];

/// What is said of each mode behind a NIC's name.
const MODES: [&str; 2] = ["", ", inline mode"];

/// The subjects of the table, and the tests that try them.
pub fn subjects() -> impl Iterator<Item = (String, &'static str)> {
    ALL.iter().flat_map(|nic| {
        let of_mode = move |(mode, test)| (format!("{}{mode}", nic.name), test);
        MODES.into_iter().zip(nic.tests).map(of_mode)
    })
}

/// Where the cables of a guest's NICs go. All of it is gone when this is dropped.
pub struct Outside {
    namespace: Namespace,
    _far_ends: Vec<FarEnd>,
}

impl Outside {
    /// Makes the tap devices, and has a far end at work on each.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn new() -> Result<Self> {
        let namespace = Namespace::new("outside")?;
        let mut far_ends = Vec::new();
        for (cable, nic) in cables() {
            let name = tap(cable);
            let queues = if nic.queues > 1 { "multi_queue" } else { "" };
            namespace.ip(&format!("tuntap add dev {name} mode tap {queues}"))?;
            namespace.address(&name, &cable.far())?;
            namespace.ip(&format!("link set dev {name} up"))?;
            far_ends.push(FarEnd::start(&namespace, cable)?);
        }
        Ok(Self {
            namespace,
            _far_ends: far_ends,
        })
    }

    /// Where QEMU must run.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

/// What tells QEMU of the NICs.
pub fn arguments() -> Vec<String> {
    let of_nic = |(cable, nic): (Cable, &Nic)| {
        let tap = tap(cable);
        [
            "-netdev".to_owned(),
            format!(
                "tap,id={tap},ifname={tap},script=no,downscript=no,queues={}",
                nic.queues
            ),
            "-device".to_owned(),
            // Without the ROM, which would boot by it.
            format!("{},netdev={tap},mac={},romfile=", nic.device, cable.mac()),
        ]
    };
    cables().flat_map(of_nic).collect()
}

fn cables() -> impl Iterator<Item = (Cable, &'static Nic)> {
    (1..).map(Cable).zip(&ALL)
}

fn tap(cable: Cable) -> String {
    format!("tap{}", cable.0)
}
