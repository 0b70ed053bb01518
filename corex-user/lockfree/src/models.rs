//! Models: what holds in whatever order threads run and see what others wrote.

use std::sync::Arc;

use loom::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::{Doze, Versioned};

/// Runs a model in every order with so few interruptions of threads that it ends: one that waits for another
/// one could be interrupted without end.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn a_reader_sees_numbers_that_were_there_together() {
    check(|| {
        let numbers = Arc::new(Versioned::<2>::default());
        let reader = {
            let numbers = Arc::clone(&numbers);
            thread::spawn(move || numbers.read())
        };
        numbers.replace([1, 10]);
        numbers.add(1, 5);
        numbers.replace([2, 0]);
        let seen = reader.join().unwrap();
        assert!(
            [[0, 0], [1, 10], [1, 15], [2, 0]].contains(&seen),
            "{seen:?}"
        );
    });
}

#[test]
fn who_reads_again_sees_nothing_older() {
    check(|| {
        let numbers = Arc::new(Versioned::<2>::default());
        let reader = {
            let numbers = Arc::clone(&numbers);
            thread::spawn(move || [numbers.read(), numbers.read()])
        };
        numbers.replace([1, 2]);
        let seen = reader.join().unwrap();
        assert!(
            seen.iter().all(|seen| [[0, 0], [1, 2]].contains(seen)),
            "{seen:?}"
        );
        assert!(seen[0] <= seen[1], "{seen:?}");
    });
}

/// As the books by peer have it: what a peer that loses its place has counted goes to the former ones.
#[test]
fn what_moves_from_one_place_to_another_is_there_once() {
    check(|| {
        let numbers = Arc::new((Versioned::<1>::default(), Versioned::<1>::default()));
        numbers.0.replace([5]);
        let reader = {
            let numbers = Arc::clone(&numbers);
            thread::spawn(move || {
                let (place, former) = &*numbers;
                let ([moved], [still]) = former.read_with(|| place.read());
                moved + still
            })
        };
        let (place, former) = &*numbers;
        former.replace_with([5], || place.replace([0]));
        assert_eq!(reader.join().unwrap(), 5);
    });
}

/// A lane as workers have it: something is put there by others, and its worker sleeps when nothing is.
#[test]
fn nobody_sleeps_on_what_waits_for_him() {
    for others in [1, 2] {
        loom::model(move || {
            let doze = Arc::new(Doze::default());
            let waiting = Arc::new(AtomicUsize::new(0));
            let is_woken = Arc::new(AtomicBool::new(false));
            let writers: Vec<_> = (0..others)
                .map(|_| {
                    let (doze, waiting) = (Arc::clone(&doze), Arc::clone(&waiting));
                    let is_woken = Arc::clone(&is_woken);
                    thread::spawn(move || {
                        waiting.fetch_add(1, Ordering::Release);
                        if doze.must_be_woken() {
                            // The pipe's byte: it is written once for each sleep.
                            assert!(!is_woken.swap(true, Ordering::AcqRel));
                        }
                    })
                })
                .collect();
            doze.lie_down();
            let sleeps = waiting.load(Ordering::Acquire) == 0;
            for writer in writers {
                writer.join().unwrap();
            }
            assert!(!sleeps || is_woken.load(Ordering::Acquire), "it sleeps on");
        });
    }
}
