//! What the programs cost for each packet, by the kernel's own clock (BPF_PROG_TEST_RUN with
//! `repeat`). Prints only: `cargo test -p corex-user --test xdp_program -- --ignored --nocapture`.

use aya::programs::{TestRun as _, TestRunOptions};
use corex_user::kernel::object::{Object, Road};

use super::{frame, object};

/// Runs of each frame in a row; of so many turns the fastest counts, as whatever else runs on the
/// machine only slows them down.
const RUNS: u32 = 500_000;
const TURNS: usize = 7;

pub fn nanoseconds(object: &mut Object, frame: &[u8]) -> u128 {
    let program = object.program().unwrap();
    let turn = || {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: RUNS,
            ..TestRunOptions::new()
        };
        program.test_run(options).unwrap().duration.as_nanos()
    };
    std::iter::repeat_with(turn).take(TURNS).min().unwrap_or(0)
}

#[test]
#[ignore = "measures, and asserts nothing"]
fn what_a_packet_costs() {
    for road in [Road::Proxy, Road::Inline] {
        let Some(mut object) = object(road) else {
            return;
        };
        let rtp = frame("10.0.0.1:20000", &[b'x'; 172]);
        let mut tcp = rtp.clone();
        tcp[23] = 6;
        let mut arp = rtp.clone();
        arp[12..14].copy_from_slice(&[8, 6]);
        for (name, frame) in [
            ("ARP", arp),
            ("TCP", tcp),
            ("RTP", rtp),
            ("RTP, IPv6", frame("[fd00::1]:20000", &[b'x'; 172])),
            ("SIP to a listener", frame("10.0.0.1:5060", &[b'x'; 400])),
        ] {
            println!("{road:?}: {name}: {} ns", nanoseconds(&mut object, &frame));
        }
    }
}

#[test]
#[ignore = "measures, and asserts nothing"]
fn what_the_guard_costs() {
    super::guard_costs::costs();
}
