//! Tables: values, bounds, sweeps.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::shard::{Entry, PER_ENTRY, Shard, cost};
use super::table::STEP;
use super::*;

fn table(config: TableConfig) -> Table {
    Table::new(config)
}

fn get(table: &Table, key: &str) -> Option<SharedValue> {
    table.get(key.as_bytes(), |value| value.cloned())
}

#[test]
fn what_is_set_is_read_until_it_is_taken_away() {
    let table = table(TableConfig::default());
    assert_eq!(get(&table, "a"), None);
    assert!(table.set(b"a", SharedValue::Str((*b"x").into())));
    assert_eq!(get(&table, "a"), Some(SharedValue::Str((*b"x").into())));
    table.remove(b"a");
    assert_eq!(get(&table, "a"), None);
    assert_eq!(table.add(b"n", 2), Some(2));
    assert_eq!(table.add(b"n", -3), Some(-1));
    table.retain(|key, _| key != b"n");
    assert_eq!(get(&table, "n"), None);
}

#[test]
fn no_count_is_lost_between_workers() {
    let table = table(TableConfig::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    table.add(b"n", 1);
                }
            });
        }
    });
    assert_eq!(get(&table, "n"), Some(SharedValue::Int(4000)));
}

#[test]
fn an_entry_is_gone_when_its_time_is_over() {
    let table = table(TableConfig {
        autoexpire: Some(Duration::from_secs(3600)),
        ..TableConfig::default()
    });
    table.set(b"a", SharedValue::Int(1));
    assert!(
        table
            .expiry(b"a")
            .is_some_and(|left| left > Duration::from_secs(3500))
    );
    assert!(table.set_expiry(b"a", Duration::ZERO));
    assert_eq!(get(&table, "a"), None);
    assert!(!table.set_expiry(b"a", Duration::from_secs(1)));
    assert_eq!(table.expiry(b"a"), None);
    let kept = Table::new(TableConfig {
        autoexpire: Some(Duration::from_secs(3600)),
        updateexpire: false,
        ..TableConfig::default()
    });
    kept.set(b"a", SharedValue::Int(1));
    kept.set_expiry(b"a", Duration::from_secs(60));
    kept.set(b"a", SharedValue::Int(2));
    assert!(
        kept.expiry(b"a")
            .is_some_and(|left| left <= Duration::from_secs(60))
    );
}

#[test]
fn a_new_configuration_goes_on_with_the_values_of_the_old_one() {
    let config = |name: &str, max_entries| TableConfig {
        name: name.to_owned(),
        max_entries,
        ..TableConfig::default()
    };
    let one = |number| SharedValue::Int(number);
    let old = Tables::new(
        &[config("same", 100), config("other", 100)],
        &[("kept".to_owned(), one(1))],
    );
    old.values.set(b"kept", one(2));
    old.by_name["same"].set(b"k", one(3));
    old.by_name["other"].set(b"k", one(3));
    let mut new = Tables::new(
        &[config("same", 100), config("other", 200)],
        &[("kept".to_owned(), one(1)), ("new".to_owned(), one(5))],
    );
    new.share(&old);
    assert_eq!(
        get(&new.values, "new"),
        Some(one(0)),
        "not before it takes over"
    );
    new.start(&[("kept".to_owned(), one(1)), ("new".to_owned(), one(5))]);
    assert_eq!(get(&new.values, "kept"), Some(one(2)));
    assert_eq!(get(&new.values, "new"), Some(one(5)));
    assert_eq!(get(&new.by_name["same"], "k"), Some(one(3)));
    assert_eq!(get(&new.by_name["other"], "k"), None);
}

#[test]
fn a_full_table_takes_no_new_key_and_initval_stands_for_what_is_not_there() {
    let table = table(TableConfig {
        max_entries: 16,
        initval: Some(7),
        ..TableConfig::default()
    });
    let taken = (0..1000).filter(|n: &i32| table.set(&n.to_be_bytes(), SharedValue::Int(1)));
    assert_eq!(taken.count(), 16);
    assert_eq!(table.used().refused, 1000 - 16);
    assert_eq!(get(&table, "other"), Some(SharedValue::Int(7)));
}

fn text(len: usize) -> SharedValue {
    SharedValue::Str(vec![b'x'; len].into())
}

#[test]
fn bytes_are_bounded_and_a_value_that_finds_no_room_leaves_the_old_one() {
    let table = table(TableConfig {
        max_bytes: 2 * (PER_ENTRY + 1) + 100,
        ..TableConfig::default()
    });
    assert!(table.set(b"a", text(60)));
    assert!(table.set(b"b", text(40)));
    assert!(!table.set(b"b", text(41)));
    assert_eq!(get(&table, "b"), Some(text(40)));
    assert!(!table.set(b"c", SharedValue::Int(1)));
    assert!(!table.set(b"d", text(1 << 20)));
    assert_eq!(table.add(b"c", 1), None);
    // What gets shorter makes room.
    assert!(table.set(b"a", text(59)));
    assert!(table.set(b"b", text(41)));
    table.remove(b"a");
    assert!(table.set(b"c", SharedValue::Int(1)));
    let used = table.used();
    assert_eq!((used.entries, used.refused), (2, 4));
    assert_eq!(used.bytes, 2 * (PER_ENTRY + 1) + 41);
    table.clear();
    let used = table.used();
    assert_eq!((used.entries, used.bytes), (0, 0));
}

#[test]
fn a_table_full_of_entries_whose_time_is_over_takes_new_ones() {
    const FULL: u32 = 1000;
    let table = table(TableConfig {
        autoexpire: Some(Duration::from_secs(3600)),
        max_entries: FULL as usize,
        ..TableConfig::default()
    });
    let set = |n: u32| table.set(&n.to_be_bytes(), SharedValue::Int(1));
    assert!((0..FULL).all(set));
    assert!(!set(FULL));
    for n in 0..FULL {
        assert!(table.set_expiry(&n.to_be_bytes(), Duration::ZERO));
    }
    // Whatever part the new ones are in: a write looks into others, too.
    let taken = (FULL..2 * FULL).filter(|n| set(*n)).count();
    assert!(taken >= FULL as usize / 2, "{taken}");
    // And from time to time everything is looked at.
    for part in 0..table.shards() {
        table.sweep(part);
    }
    assert_eq!(table.used().entries, taken);
}

#[test]
fn a_sweep_looks_at_so_many_entries_and_the_next_one_goes_on_there() {
    const ALL: usize = 1000;
    let now = Instant::now();
    let mut shard = Shard::default();
    for n in 0..ALL {
        let entry = Entry {
            value: SharedValue::Int(0),
            expires: Some(now),
        };
        shard.insert(&n.to_be_bytes(), entry);
    }
    assert_eq!(shard.sweep(now, 100).entries, 100);
    assert_eq!(shard.sweep(now - Duration::from_secs(1), 100).entries, 0);
    let mut sweeps = 0;
    while shard.len() > 0 {
        sweeps += 1;
        assert!(shard.sweep(now, 100).entries <= 100);
    }
    assert!(sweeps <= ALL / 100, "{sweeps}");
}

#[test]
fn nobody_holds_a_lock_for_more_than_a_step_and_everything_is_seen_nevertheless() {
    const ALL: usize = 10 * STEP;
    let now = Instant::now();
    let mut shard = Shard::default();
    let key = |n: usize| n.to_be_bytes();
    for n in 0..ALL {
        let entry = Entry {
            value: SharedValue::Int(n as i64),
            expires: None,
        };
        shard.insert(&key(n), entry);
    }
    let mut seen = std::collections::BTreeSet::new();
    let (mut end, mut steps) = (usize::MAX, 0);
    while end > 0 {
        let mut looks = 0;
        let (left, _) = shard.retain_below(end, STEP, now, &mut |_, entry| {
            looks += 1;
            if let SharedValue::Int(n) = entry.value {
                seen.insert(n as usize);
            }
            true
        });
        assert!(looks <= STEP);
        end = left;
        // Others take some out meanwhile: the first ones, whose places the last ones take.
        shard.remove(&key(steps));
        shard.remove(&key(steps + ALL / 2));
        steps += 1;
    }
    let gone = |n: &usize| *n < steps || (ALL / 2..ALL / 2 + steps).contains(n);
    assert!((0..ALL).filter(|n| !gone(n)).all(|n| seen.contains(&n)));
}

#[test]
fn memory_is_given_back_when_most_entries_have_gone() {
    let table = table(TableConfig::default());
    for n in 0..10_000u32 {
        table.set(&n.to_be_bytes(), SharedValue::Int(1));
    }
    table.retain(|key, _| key == 7u32.to_be_bytes());
    let used = table.used();
    assert_eq!((used.entries, used.bytes), (1, PER_ENTRY + 4));
    assert_eq!(table.parts().iter().sum::<usize>(), 1);
    assert_eq!(table.entries(10, usize::MAX).len(), 1);
}

#[test]
fn what_is_listed_is_bounded_in_bytes_too() {
    let table = table(TableConfig::default());
    for n in 0..100u32 {
        table.set(&n.to_be_bytes(), text(1000));
    }
    let size = PER_ENTRY + 4 + 1000;
    assert_eq!(table.entries(1000, 7 * size + 10).len(), 7);
    assert_eq!(table.entries(5, usize::MAX).len(), 5);
    assert_eq!(table.used().entries, 100);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, usize),
    Add(u8),
    Remove(u8),
    Expire(u8),
    Keep(u8),
    Sweep,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<u8>(), 0usize..50).prop_map(|(key, len)| Step::Set(key, len)),
        4 => any::<u8>().prop_map(Step::Add),
        2 => any::<u8>().prop_map(Step::Remove),
        2 => any::<u8>().prop_map(Step::Expire),
        1 => any::<u8>().prop_map(Step::Keep),
        1 => Just(Step::Sweep),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn what_is_used_is_what_is_there_and_never_more_than_allowed(steps in steps()) {
        let table = table(TableConfig {
            max_entries: 50,
            max_bytes: 6000,
            ..TableConfig::default()
        });
        for step in steps {
            match step {
                Step::Set(key, len) => { table.set(&[key], text(len)); }
                Step::Add(key) => { table.add(&[key], 1); }
                Step::Remove(key) => table.remove(&[key]),
                Step::Expire(key) => { table.set_expiry(&[key], Duration::ZERO); }
                Step::Keep(below) => table.retain(|key, _| key < &[below][..]),
                Step::Sweep => (0..table.shards()).for_each(|part| table.sweep(part)),
                Step::Clear => table.clear(),
            }
            let used = table.used();
            prop_assert!(used.entries <= 50 && used.bytes <= 6000, "{used:?}");
        }
        // Takes out what is over.
        let listed = table.entries(usize::MAX, usize::MAX);
        let bytes: usize = listed.iter().map(|e| cost(&e.key, &e.value)).sum();
        let used = table.used();
        prop_assert_eq!((used.entries, used.bytes), (listed.len(), bytes));
    }
}
