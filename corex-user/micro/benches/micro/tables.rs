//! The tables of `$sht()`, with few and many entries.

use std::hint::black_box;

use corex_script::{
    run::tables::Table,
    settings::{SharedValue, TableConfig},
};
use criterion::{BenchmarkId, Criterion};

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    for count in [1u32, 1_000, 100_000] {
        let table = Table::new(TableConfig::default());
        let key = |n: u32| format!("call-{n}@192.0.2.1").into_bytes();
        for n in 0..count {
            table.set(&key(n), SharedValue::Int(i64::from(n)));
        }
        let last = key(count - 1);
        group.bench_with_input(BenchmarkId::new("read", count), &table, |bencher, table| {
            bencher.iter(|| table.get(black_box(&last), |value| value.is_some()));
        });
        group.bench_with_input(BenchmarkId::new("add", count), &table, |bencher, table| {
            bencher.iter(|| table.add(black_box(&last), 1));
        });
        group.bench_with_input(BenchmarkId::new("set", count), &table, |bencher, table| {
            bencher.iter(|| table.set(black_box(&last), SharedValue::Int(7)));
        });
    }
    group.finish();
}
