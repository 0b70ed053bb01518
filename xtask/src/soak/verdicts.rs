//! What is judged, by which bound, and what to do about it.

use std::collections::BTreeMap;

use super::{
    judge::{Bound, Trend, Verdict},
    load::{Counts, Played},
    sample::Sample,
};

/// How long a corex is given to get warm: what is made for the first of each kind is there then. A
/// quarter of its life where that is shorter.
const WARM_UP: f64 = 60.0;
const MIB: f64 = 1024.0 * 1024.0;

const GROWS: &str = "run it with --seed and without one kind of load after the other (xtask/src/soak/load, \
                     disturb) to see which one it grows by; then heaptrack or valgrind --tool=massif";
const FRAMES: &str = "a frame that is in no ring and in no pool: see who takes one and doesn't give it back \
                      (corex-user/xdp/src/umem.rs, io/transmit.rs)";
const DESCRIPTORS: &str = "compare `ls -l /proc/PID/fd` at the beginning and at the end";
const THREADS: &str = "compare /proc/PID/task/*/comm at the beginning and at the end";
const LOST: &str = "see the log and the books that are kept, and what `dropped` says there; the seed repeats \
                    the order of things";
const LOGGED: &str = "see the log; what is to be expected belongs into xtask/src/soak/log.rs";
const LEFT: &str = "what should have ended by itself is still there: `corex rpc htable.dump`, `guard.list`, `ss -tn`";

/// Something whose growth is judged while there is load.
struct Quantity {
    name: &'static str,
    of: fn(&Sample) -> f64,
    bound: Bound,
    show: fn(f64) -> String,
    remedy: &'static str,
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / MIB)
}

fn number(value: f64) -> String {
    format!("{value:.0}")
}

const QUANTITIES: [Quantity; 6] = [
    Quantity {
        name: "memory of its own",
        of: |sample| sample.memory.anonymous as f64 * 1024.0,
        bound: Bound {
            absolute: 4.0 * MIB,
            share: 0.02,
        },
        show: mib,
        remedy: GROWS,
    },
    Quantity {
        name: "heap in use",
        of: |sample| sample.heap as f64,
        bound: Bound {
            absolute: 0.5 * MIB,
            share: 0.02,
        },
        show: mib,
        remedy: GROWS,
    },
    Quantity {
        name: "memory of Perl's processes",
        of: |sample| sample.children.anonymous as f64 * 1024.0,
        bound: Bound {
            absolute: 4.0 * MIB,
            share: 0.05,
        },
        show: mib,
        remedy: GROWS,
    },
    Quantity {
        name: "descriptors",
        of: |sample| sample.descriptors as f64,
        bound: Bound {
            absolute: 4.0,
            share: 0.0,
        },
        show: number,
        remedy: DESCRIPTORS,
    },
    Quantity {
        name: "threads",
        of: |sample| sample.threads as f64,
        bound: Bound {
            absolute: 2.0,
            share: 0.0,
        },
        show: number,
        remedy: THREADS,
    },
    Quantity {
        name: "entries of tables",
        of: |sample| sample.entries as f64,
        bound: Bound {
            absolute: 20.0,
            share: 0.25,
        },
        show: number,
        remedy: LEFT,
    },
];

/// The readings of one corex once it was warm, by what had run before it.
fn warm(samples: &[Sample]) -> BTreeMap<u32, Vec<&Sample>> {
    let mut generations: BTreeMap<u32, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        generations
            .entry(sample.generation)
            .or_default()
            .push(sample);
    }
    for readings in generations.values_mut() {
        let age = |at: Option<&&Sample>| at.map_or(0.0, |sample| sample.age);
        let (first, last) = (age(readings.first()), age(readings.last()));
        let warm_up = WARM_UP.min((last - first) / 4.0);
        readings.retain(|sample| sample.age >= first + warm_up);
    }
    generations
}

/// How each quantity went, for each corex that ran long enough, and from the first of these to the
/// last.
pub fn trends(samples: &[Sample]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let generations = warm(samples);
    for quantity in &QUANTITIES {
        let mut known: Vec<Trend> = Vec::new();
        for (number, readings) in &generations {
            let points: Vec<(f64, f64)> = readings
                .iter()
                .map(|sample| (sample.seconds, (quantity.of)(sample)))
                .collect();
            let Some(trend) = Trend::of(&points) else {
                continue;
            };
            known.push(trend);
            verdicts.push(Verdict::growth(
                &format!("{}, corex {number}", quantity.name),
                &trend,
                quantity.bound,
                quantity.show,
                quantity.remedy,
            ));
        }
        if let [first, .., last] = known[..] {
            let from_one_to_another = Trend {
                first: first.first,
                last: last.last,
                seconds: 0.0,
            };
            verdicts.push(Verdict::growth(
                &format!("{}, first corex to last", quantity.name),
                &from_one_to_another,
                quantity.bound,
                quantity.show,
                quantity.remedy,
            ));
        }
    }
    verdicts
}

/// What is there when nobody sends anything: before the load, and after it.
pub fn at_rest(before: &Sample, after: &Sample, guarded: u64) -> Vec<Verdict> {
    let heap = Trend {
        first: before.heap as f64,
        last: after.heap as f64,
        seconds: after.seconds - before.seconds,
    };
    let bound = Bound {
        absolute: MIB,
        share: 0.02,
    };
    vec![
        Verdict::same("frames, at rest", before.frames, after.frames, FRAMES),
        Verdict::same(
            "descriptors, at rest",
            before.descriptors,
            after.descriptors,
            DESCRIPTORS,
        ),
        Verdict::same("threads, at rest", before.threads, after.threads, THREADS),
        Verdict::growth("heap in use, at rest", &heap, bound, mib, GROWS),
        Verdict::none("connections, at rest", after.connections, "", LEFT),
        Verdict::none("entries of tables, at rest", after.entries, "", LEFT),
        Verdict::none(
            "networks that the guard was told, at rest",
            guarded,
            "",
            LEFT,
        ),
    ]
}

/// What became of what was asked.
pub fn lost(played: &[Played], asked: &BTreeMap<String, Counts>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for line in played.iter().filter(|line| line.is_caller) {
        let mut verdict = Verdict::none(
            &format!("{}: failed", line.name),
            line.report.failed,
            &format!("{} done", line.report.successful),
            LOST,
        );
        if line.report.successful == 0 {
            verdict.fine = false;
        }
        if !verdict.fine {
            verdict.remedy = format!("{LOST}. sipp: {}", line.diagnosis);
        }
        verdicts.push(verdict);
    }
    for (name, counts) in asked {
        let mut verdict = Verdict::none(
            &format!("{name}: without an answer"),
            counts.unexplained,
            &format!("{} of {}", counts.answered, counts.asked),
            LOST,
        );
        if counts.answered == 0 {
            verdict.fine = false;
        }
        if !verdict.fine {
            verdict.remedy = format!("{LOST}. {}", counts.reasons.join("; "));
        }
        verdicts.push(verdict);
    }
    verdicts
}

/// What corex says of itself: books, by generation, and what it logged.
pub fn of_itself(
    books: &[(u32, Result<(), String>)],
    moved: Result<(), String>,
    complaints: &[String],
) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = books
        .iter()
        .map(|(number, outcome)| {
            Verdict::holds(
                &format!("books balance, corex {number}"),
                outcome.clone(),
                LOST,
            )
        })
        .collect();
    verdicts.push(Verdict::holds(
        "counters stand still when nobody sends",
        moved,
        "something goes round: `corex rpc corex.trace`",
    ));
    let logged = Verdict::none(
        "warnings, errors and panics in the log",
        complaints.len() as u64,
        "",
        LOGGED,
    );
    let first: Vec<&str> = complaints.iter().take(5).map(String::as_str).collect();
    verdicts.push(Verdict {
        remedy: format!("{LOGGED}. {}", first.join("\n")),
        ..logged
    });
    verdicts
}

#[cfg(test)]
mod tests {
    use corex_lab::SippReport;

    use super::*;

    /// Readings each second: 100 of one corex and 200 of the next, with a heap as it is told.
    fn samples(heap: impl Fn(u32, f64) -> f64) -> Vec<Sample> {
        let of = |generation: u32, from: f64, count: u32| {
            let heap = &heap;
            (0..count).map(move |n| Sample {
                seconds: from + f64::from(n),
                generation,
                age: f64::from(n),
                heap: heap(generation, f64::from(n)) as u64,
                threads: 12,
                descriptors: 50,
                ..Sample::default()
            })
        };
        of(0, 0.0, 100).chain(of(1, 100.0, 200)).collect()
    }

    fn failed(verdicts: &[Verdict]) -> Vec<&str> {
        let failed = verdicts.iter().filter(|verdict| !verdict.fine);
        failed.map(|verdict| verdict.what.as_str()).collect()
    }

    #[test]
    fn what_stays_is_fine_and_getting_warm_is_no_growth() {
        // Up to 20 MiB within the first 20 seconds of each, and 20 MiB from then on.
        let verdicts = trends(&samples(|_, age| 1e6 * age.min(20.0)));
        assert!(failed(&verdicts).is_empty(), "{verdicts:#?}");
        assert_eq!(verdicts.len(), QUANTITIES.len() * 3);
    }

    #[test]
    fn what_grows_in_one_corex_or_from_one_to_the_next_is_named() {
        let verdicts = trends(&samples(|generation, age| {
            if generation == 1 {
                20e6 + 20e3 * age
            } else {
                20e6
            }
        }));
        assert_eq!(
            failed(&verdicts),
            ["heap in use, corex 1", "heap in use, first corex to last"]
        );
        let verdicts = trends(&samples(|generation, _| 20e6 + 5e6 * f64::from(generation)));
        assert_eq!(failed(&verdicts), ["heap in use, first corex to last"]);
    }

    #[test]
    fn a_corex_that_ran_too_short_is_not_judged_by_its_growth() {
        let mut all = samples(|_, _| 20e6);
        all.retain(|sample| sample.generation == 1 || sample.age < 8.0);
        assert_eq!(trends(&all).len(), QUANTITIES.len());
    }

    #[test]
    fn at_rest_a_frame_a_descriptor_or_an_entry_too_many_is_one_too_many() {
        let before = Sample {
            frames: 4096,
            descriptors: 50,
            threads: 12,
            ..Sample::default()
        };
        assert!(failed(&at_rest(&before, &before, 0)).is_empty());
        type Change = fn(&mut Sample);
        let changes: [(Change, &str); 6] = [
            (|sample| sample.frames -= 1, "frames, at rest"),
            (|sample| sample.descriptors += 1, "descriptors, at rest"),
            (|sample| sample.threads += 1, "threads, at rest"),
            (|sample| sample.heap += 2 << 20, "heap in use, at rest"),
            (|sample| sample.connections += 1, "connections, at rest"),
            (|sample| sample.entries += 1, "entries of tables, at rest"),
        ];
        for (change, name) in changes {
            let mut after = before.clone();
            change(&mut after);
            assert_eq!(failed(&at_rest(&before, &after, 0)), [name]);
        }
        assert_eq!(failed(&at_rest(&before, &before, 1)).len(), 1);
    }

    #[test]
    fn a_failed_call_and_an_answer_that_nothing_explains_are_told_with_their_reasons() {
        let played = |successful, failed| Played {
            name: "calls",
            is_caller: true,
            report: SippReport {
                successful,
                failed,
                ..SippReport::default()
            },
            diagnosis: "timeout".to_owned(),
        };
        let asked = |answered, unexplained| {
            let counts = Counts {
                asked: 10,
                answered,
                unexplained,
                reasons: vec!["silence".to_owned()],
                ..Counts::default()
            };
            BTreeMap::from([("pings".to_owned(), counts)])
        };
        assert!(failed(&lost(&[played(5, 0)], &asked(9, 0))).is_empty());
        let verdicts = lost(&[played(5, 1)], &asked(9, 1));
        assert_eq!(verdicts.len(), failed(&verdicts).len());
        assert!(verdicts[0].remedy.contains("timeout") && verdicts[1].remedy.contains("silence"));
        // Nothing at all went through: that isn't fine either.
        assert_eq!(failed(&lost(&[played(0, 0)], &asked(0, 0))).len(), 2);
    }

    #[test]
    fn books_that_do_not_balance_and_lines_of_the_log_are_told() {
        assert!(failed(&of_itself(&[(0, Ok(()))], Ok(()), &[])).is_empty());
        let verdicts = of_itself(
            &[(0, Ok(())), (1, Err("3 lost".to_owned()))],
            Err("sent".to_owned()),
            &["ERROR bad".to_owned()],
        );
        assert_eq!(failed(&verdicts).len(), 3);
        assert!(verdicts[3].remedy.contains("ERROR bad"));
    }
}
