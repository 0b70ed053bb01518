//! What the verifier says of its walk through the programs.

use aya::{VerifierLogLevel, programs::ProgramError};
use corex_user::kernel::object::{Object, Parts, Road};
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};

/// Instructions that a program may have the verifier walk at most.
const BOUND: u32 = 1_000_000 / 3;

/// The number behind a word of the verifier's statistics.
fn number(log: &str, word: &str) -> u32 {
    let (_, rest) = log.split_once(word).expect("statistics");
    let digits = rest.split_whitespace().next().unwrap_or_default();
    digits.parse().expect("a number")
}

/// The verifier's statistics of the XDP program for interfaces. Every kernel puts them into the log, which
/// is to be had of a program that isn't loaded: here since there is no descriptor for it, as
/// shows when the verifier is through.
fn statistics(road: Road, parts: Parts) -> String {
    let mut object = Object::open(road, parts, VerifierLogLevel::STATS).unwrap();
    let program = object.program().unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let loaded = program.load();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    match loaded {
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) if io_error.raw_os_error() == Some(Errno::EMFILE as i32) => verifier_log.to_string(),
        other => panic!("{road:?}, {parts:?}: {other:?}"),
    }
}

#[test]
#[ignore = "takes all descriptors from other tests: cargo xtask test --kernels"]
fn the_verifier_tells_of_its_walk() {
    for road in [Road::Proxy, Road::Offload, Road::Inline] {
        for (is_guarded, sheds, with) in [
            (false, false, ""),
            (true, false, " with guard"),
            (false, true, " with overload"),
            (true, true, " with guard and overload"),
        ] {
            let log = statistics(road, Parts { is_guarded, sheds });
            let instructions = number(&log, "processed ");
            let states = number(&log, "total_states ");
            println!("VERIFIED {road:?}{with}: {instructions} {states}");
            assert!(instructions < BOUND, "{road:?}{with}: {log}");
        }
    }
}
