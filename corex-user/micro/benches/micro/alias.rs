//! Whether a host is `myself`, of few and of many.

use std::hint::black_box;

use corex_sip::alias::{Entry, Table};
use criterion::{BenchmarkId, Criterion};

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("alias");
    for count in [1u32, 1_000, 100_000] {
        let entries: Vec<Entry> = (0..count)
            .filter_map(|n| Entry::parse(&format!("host{n}.example.org")).ok())
            .collect();
        let table = Table::new(&entries, []);
        let last = format!("host{}.example.org", count - 1);
        group.bench_with_input(BenchmarkId::new("hit", count), &table, |bencher, table| {
            bencher.iter(|| table.is_myself(black_box(last.as_bytes()), 5060, None));
        });
        group.bench_with_input(BenchmarkId::new("miss", count), &table, |bencher, table| {
            bencher.iter(|| table.is_myself(black_box(b"elsewhere.example.org"), 5060, None));
        });
    }
    group.finish();
}
