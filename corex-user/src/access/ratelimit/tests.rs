//! Pipes: what passes, whatever the workers do at the same time.

use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;

fn pipe(algorithm: Algorithm, limit: u32) -> Pipe {
    Pipe { algorithm, limit }
}

fn limit(pipes: &[Pipe], queues: &[(usize, &str)], interval: u32) -> RateLimit {
    let mut settings = settings::RateLimit {
        interval,
        ..settings::RateLimit::default()
    };
    settings.pipes[..pipes.len()].copy_from_slice(pipes);
    settings.queues = queues
        .iter()
        .map(|(pipe, method)| Queue {
            pipe: *pipe,
            method: method.as_bytes().into(),
        })
        .collect();
    RateLimit::new(&settings, LoadSource::default())
}

fn passed(limit: &RateLimit, asked: u32) -> usize {
    (0..asked)
        .filter(|_| limit.check_pipe(0) == Some(true))
        .count()
}

#[test]
fn taildrop_lets_the_first_ones_of_an_interval_through() {
    let limit = limit(&[pipe(Algorithm::TailDrop, 5)], &[], 2);
    assert_eq!(passed(&limit, 25), 10);
    limit.tick();
    assert_eq!(passed(&limit, 4), 4);
    let line = limit.pipes()[0];
    assert_eq!((line.last, line.current, line.load), (25, 4, 2));
}

#[test]
fn red_lets_every_nth_through_as_the_last_interval_says() {
    let limit = limit(&[pipe(Algorithm::Red, 10)], &[], 1);
    assert_eq!(passed(&limit, 45), 45, "nothing is known yet");
    limit.tick();
    assert_eq!(passed(&limit, 40), 10, "four times too many came");
    limit.tick();
    limit.tick();
    assert_eq!(passed(&limit, 9), 9);
}

#[test]
fn feedback_drops_a_share_that_grows_while_the_cpus_are_too_busy() {
    let limit = limit(&[pipe(Algorithm::Feedback, 50)], &[], 1);
    assert_eq!(passed(&limit, 1000), 1000);
    limit.push_load(0.9);
    assert_eq!(
        passed(&limit, 1000),
        900,
        "0.4 too busy by 25 is 10 percent"
    );
    limit.push_load(0.9);
    assert_eq!(passed(&limit, 1000), 800);
    for _ in 0..20 {
        limit.push_load(0.0);
    }
    assert_eq!(passed(&limit, 1000), 1000);
    limit.set_factors(Factors {
        ki: f64::NAN,
        kp: f64::INFINITY,
        kd: 0.0,
    });
    limit.push_load(1.0);
    passed(&limit, 10);
}

#[test]
fn a_method_goes_by_its_queue_else_by_the_one_for_all_others() {
    let limit = limit(
        &[
            pipe(Algorithm::TailDrop, 0),
            pipe(Algorithm::TailDrop, 9),
            pipe(Algorithm::Nop, 0),
        ],
        &[(1, "*"), (0, "REGISTER"), (2, "INFO")],
        1,
    );
    assert_eq!(limit.check_method(b"register"), Some(false));
    assert_eq!(limit.check_method(b"INVITE"), Some(true));
    assert_eq!(
        limit.check_method(b"INFO"),
        Some(true),
        "no algorithm, no limit"
    );
    assert_eq!(limit.check_pipe(2), None);
    assert_eq!(limit.check_pipe(32), None);
    assert_eq!(limit.check_pipe(-1), None);
    let none = super::tests::limit(&[], &[(1, "INVITE")], 1);
    assert_eq!(none.check_method(b"BYE"), None);
}

#[test]
fn remote_control_changes_pipes_and_queues_but_for_the_impossible() {
    let limit = limit(&[pipe(Algorithm::Feedback, 50)], &[(0, "*")], 1);
    assert_eq!(
        limit.set_pipe(1, pipe(Algorithm::Feedback, 60)),
        Err(NotChanged::Feedback)
    );
    assert_eq!(
        limit.set_pipe(0, pipe(Algorithm::Feedback, 101)),
        Err(NotChanged::Feedback)
    );
    assert_eq!(
        limit.set_pipe(32, pipe(Algorithm::Red, 1)),
        Err(NotChanged::Pipe)
    );
    assert_eq!(limit.set_pipe(0, pipe(Algorithm::TailDrop, 0)), Ok(()));
    assert_eq!(limit.check_method(b"INVITE"), Some(false));
    let queue = |pipe| Queue {
        pipe,
        method: b"BYE".as_slice().into(),
    };
    assert_eq!(limit.set_queue(1, queue(0)), Err(NotChanged::Queue));
    assert_eq!(limit.set_queue(0, queue(32)), Err(NotChanged::Pipe));
    assert_eq!(limit.set_queue(0, queue(3)), Ok(()));
    assert_eq!(limit.check_method(b"INVITE"), None);
}

#[test]
fn a_reload_counts_on() {
    let old = limit(&[pipe(Algorithm::TailDrop, 5)], &[], 1);
    assert_eq!(passed(&old, 4), 4);
    let new = limit(&[pipe(Algorithm::TailDrop, 5)], &[], 1);
    new.inherit(&old);
    assert_eq!(passed(&new, 4), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    /// However many workers ask at the same time, an interval lets no more through than its limit.
    #[test]
    fn no_interval_lets_more_through_than_its_limit(
        per_second in 0u32..50, interval in 1u32..4, workers in 1usize..5, each in 1u32..200,
    ) {
        let limit = limit(&[pipe(Algorithm::TailDrop, per_second)], &[], interval);
        let through = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| through.fetch_add(passed(&limit, each) as u64, Relaxed));
            }
        });
        let asked = workers as u64 * u64::from(each);
        let most = u64::from(per_second) * u64::from(interval);
        prop_assert_eq!(through.load(Relaxed), asked.min(most));
    }
}
