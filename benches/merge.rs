//! The cost of a read by the host of 1,000 series that have changed since the last read.
//!
//! All rows read the same values. The rivals keep the last value and the sum of each series in a
//! map: by a prepared key, and by a key made from name and labels. The change of the values is not
//! measured.

mod embedding;

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use embedding::Host;
use wasmetry_benches::{Image, METHODS, ROUTES, Random};
use wasmetry_host::Registry;
use wasmtime::Config;

/// The counters, each with 100 series.
const COUNTERS: usize = 10;

/// The reads that are measured together, so that the cost of reading the clock does not matter.
const READS: usize = 16;

/// The entry of one series in a rival's map.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    last: u64,
    total: u64,
}

impl Total {
    fn merge(&mut self, value: u64) {
        self.total += value.wrapping_sub(self.last);
        self.last = value;
    }
}

/// Measures reads of images, each grown from the one before.
fn read_growing(bencher: &mut Bencher<'_>, mut read: impl FnMut(&Image)) {
    let mut random = Random::new(1);
    let mut image = Image::new(COUNTERS);
    read(&image);
    let mut images = vec![image.clone(); READS];
    bencher.iter_custom(|iterations| {
        let mut time = Duration::ZERO;
        let mut left = iterations as usize;
        while left > 0 {
            let now = left.min(READS);
            for next in &mut images {
                image.grow(&mut random);
                next.clone_from(&image);
            }
            let start = Instant::now();
            images[..now].iter().for_each(&mut read);
            time += start.elapsed();
            left -= now;
        }
        time
    });
}

fn key(out: &mut String, name: &str, series: usize) {
    let (route, method) = (ROUTES[series / METHODS.len()], METHODS[series % METHODS.len()]);
    write!(out, "{name}{{route=\"{route}\",method=\"{method}\"}}").expect("a string takes everything");
}

fn merge(criterion: &mut Criterion) {
    let series = COUNTERS * Image::SERIES_EACH;
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(series as u64));

    group.bench_function(BenchmarkId::new("wasmetry, bytes", series), |bencher| {
        let registry = Registry::new();
        let image = Image::new(COUNTERS);
        let mut instance = image.declare(&registry).instance();
        read_growing(bencher, |image| image.read(&mut instance));
    });

    group.bench_function(BenchmarkId::new("wasmetry, live instance", series), |bencher| {
        let host = Host::new(Config::new());
        let (mut store, instance) = host.observed();
        let grow = embedding::function::<_, (u64,), ()>(&mut store, &instance, "grow");
        bencher.iter_custom(|iterations| {
            let mut time = Duration::ZERO;
            for step in 0..iterations {
                grow.call(&mut *store, (step % 7 + 1,)).expect("it does not trap");
                let start = Instant::now();
                store.collect();
                time += start.elapsed();
            }
            time
        });
        host.assert_collected("cells_total");
    });

    group.bench_function(BenchmarkId::new("map, key at hand", series), |bencher| {
        let mut totals: HashMap<String, Total> = HashMap::new();
        let mut keys = Vec::new();
        for name in Image::new(COUNTERS).names() {
            for series in 0..Image::SERIES_EACH {
                let mut text = String::new();
                key(&mut text, name, series);
                totals.insert(text.clone(), Total::default());
                keys.push(text);
            }
        }
        read_growing(bencher, |image| {
            let values = (0..COUNTERS).flat_map(|counter| image.values(counter));
            for (key, value) in keys.iter().zip(values) {
                if let Some(total) = totals.get_mut(key.as_str()) {
                    total.merge(value);
                }
            }
        });
    });

    group.bench_function(BenchmarkId::new("map, key by format!", series), |bencher| {
        let mut totals: HashMap<String, Total> = HashMap::new();
        read_growing(bencher, |image| {
            for (counter, name) in image.names().iter().enumerate() {
                for (series, value) in image.values(counter).enumerate() {
                    let mut text = String::new();
                    key(&mut text, name, series);
                    totals.entry(text).or_default().merge(value);
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, merge);
criterion_main!(benches);
