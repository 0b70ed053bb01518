//! What packets cost in the driver that aren't ours, by BPF_PROG_TEST_RUN: the kernel runs the
//! program that is on the interface, as it is set up, and times it.

use std::process::Command;

use anyhow::{Context as _, Result};
use corex_lab::{Frame, frame::Mac, process::output_of};
use serde_json::Value;

use super::device::SEND_AF_XDP;
use crate::bench::{
    lab::{DEVICE_SIDE, Lab},
    results::{Foreign, LIMIT_AF_XDP},
};

/// Runs of the program.
const REPEAT: &str = "1000000";
const PROTOCOL_TCP: u8 = 6;

/// A packet that is measured, on a device.
struct Case {
    name: &'static str,
    device: &'static str,
    frame: fn((Mac, Mac)) -> Result<Vec<u8>>,
}

const CASES: [Case; 3] = [
    Case {
        name: "TCP, bare AF_XDP program",
        device: LIMIT_AF_XDP,
        frame: tcp,
    },
    Case {
        name: "TCP, corex",
        device: SEND_AF_XDP,
        frame: tcp,
    },
    Case {
        name: "RTP, corex",
        device: SEND_AF_XDP,
        frame: rtp,
    },
];

/// 20 ms of G.711 with an RTP header, to a port that isn't ours.
fn rtp((from, to): (Mac, Mac)) -> Result<Vec<u8>> {
    let mut payload = vec![0x80, 8];
    payload.resize(172, 0xd5);
    let source = (from, "10.77.0.2:40000".parse()?);
    let destination = (to, "10.77.0.1:41000".parse()?);
    Ok(Frame::udp(source, destination, &payload).build())
}

/// The same with TCP's number in the IPv4 header; nobody looks further.
fn tcp(macs: (Mac, Mac)) -> Result<Vec<u8>> {
    const PROTOCOL: usize = 14 + 9;
    const CHECKSUM: usize = 14 + 10;
    let mut frame = rtp(macs)?;
    let udp = std::mem::replace(&mut frame[PROTOCOL], PROTOCOL_TCP);
    // The protocol is the low byte of a word of the header: what it lost, the checksum gains.
    let checksum = u16::from_be_bytes([frame[CHECKSUM], frame[CHECKSUM + 1]]);
    let (sum, carry) = checksum.overflowing_add(u16::from(udp - PROTOCOL_TCP));
    frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    Ok(frame)
}

/// Whether there are cases of a device.
pub fn is_measured(device: &str) -> bool {
    CASES.iter().any(|case| case.device == device)
}

/// Measures all cases of a device, which runs; adds to what is known of them.
///
/// # Errors
/// There is no program on the interface, or what bpftool says.
pub fn measure(lab: &Lab, device: &str, known: &mut Vec<Foreign>) -> Result<()> {
    for case in CASES.iter().filter(|case| case.device == device) {
        let nanoseconds = run(lab, case).with_context(|| case.name.to_owned())?;
        let index = known.iter().position(|foreign| foreign.name == case.name);
        let index = index.unwrap_or_else(|| {
            known.push(Foreign {
                name: case.name.to_owned(),
                nanoseconds: Vec::new(),
            });
            known.len() - 1
        });
        known[index].nanoseconds.push(nanoseconds);
    }
    Ok(())
}

fn run(lab: &Lab, case: &Case) -> Result<f64> {
    let device = &lab.device;
    let (own, other) = lab.macs()?;
    let frame = (case.frame)((other, own))?;
    let text = device.ip(&format!("-details -json link show dev {DEVICE_SIDE}"))?;
    let links: Value = serde_json::from_str(&text)?;
    let id = links[0]["xdp"]["prog"]["id"].as_u64();
    let id = id.context("there is no XDP program on the interface")?;
    let index = links[0]["ifindex"].as_u64().context("no ifindex")?;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue, egress_ifindex.
    let words = [0, frame.len() as u32, 0, index as u32, 0, 0];
    let context: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    let data = lab.work.write("foreign.frame", &frame)?;
    let context = lab.work.write("foreign.context", context)?;
    let mut command: Command = lab.on_device("bpftool".as_ref());
    command.args(["-j", "prog", "run", "id", &id.to_string()]);
    command.arg("data_in").arg(data).arg("ctx_in").arg(context);
    command.args(["repeat", REPEAT]);
    let said: Value = serde_json::from_str(&output_of(&mut command)?)?;
    said["duration"]
        .as_f64()
        .with_context(|| format!("bpftool said {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_checksums_are_right() {
        let macs = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        for (frame, protocol) in [(rtp(macs), 17), (tcp(macs), PROTOCOL_TCP)] {
            let frame = frame.unwrap();
            assert_eq!(frame[23], protocol);
            let words = frame[14..34].chunks(2);
            let sum: u32 = words
                .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }
}
