//! The cost of one log that is not recorded, that is recorded for requests that fail, and that is
//! exported as a line of JSON; compared with the same line written in the guest by `tracing`'s JSON
//! layer and by `serde_json`.
//!
//! A log has a message, three values, of which one is random, and a cached time. The measurement
//! includes the host's read of the records. The rivals' lines remain in the guest's memory; sending
//! them to the host is not included.

mod embedding;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use embedding::{Host, State};
use wasmetry_host::record::{LogRecord, SpanRecord};
use wasmetry_host::{Identity, Sink, encode};
use wasmetry_wasmtime::ObservedStore;
use wasmtime::{Config, component::Instance};

/// The logs in one call of the guest.
const LOGS: u32 = 100_000;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Encodes each log as a line of JSON, into one buffer.
#[derive(Default)]
struct Lines {
    line: Mutex<String>,
    count: AtomicU64,
}

impl Sink for Lines {
    fn log(&self, of: &Arc<Identity>, log: LogRecord) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.clear();
        encode::json::encode_into(of, &log, &mut line);
        assert!(line.contains(" loaded\""), "{line}");
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn span(&self, _of: &Arc<Identity>, _span: SpanRecord) {}
}

struct Bench<'a, 'c> {
    group: BenchmarkGroup<'c, WallTime>,
    store: ObservedStore<State>,
    instance: Instance,
    lines: &'a Lines,
}

impl Bench<'_, '_> {
    /// Measures logs that are all exported, or all not exported.
    fn log(&mut self, row: &str, name: &str, is_exported: bool) {
        let function = embedding::function::<_, (u32, u64), ()>(&mut self.store, &self.instance, name);
        let mut calls = 0;
        let before = self.lines.count.load(Ordering::Relaxed);
        self.group.bench_function(row, |bencher| {
            bencher.iter(|| {
                function.call(&mut *self.store, (LOGS, SEED)).expect("it does not trap");
                self.store.collect();
                calls += 1;
            });
        });
        let exported = if is_exported { calls * u64::from(LOGS) } else { 0 };
        assert_eq!(self.lines.count.load(Ordering::Relaxed) - before, exported, "{row}");
    }

    /// Measures a rival whose lines are all written, or all not written.
    fn rival(&mut self, row: &str, name: &str, is_written: bool) {
        let function = embedding::function::<_, (u32, u64), (u64,)>(&mut self.store, &self.instance, name);
        self.group.bench_function(row, |bencher| {
            bencher.iter(|| {
                let (bytes,) = function.call(&mut *self.store, (LOGS, SEED)).expect("it does not trap");
                assert_eq!(bytes > 0, is_written, "{row}");
            });
        });
    }
}

fn logs(criterion: &mut Criterion) {
    let lines = Arc::new(Lines::default());
    let host = Host::with_sink(Config::new(), Arc::<Lines>::clone(&lines));
    let (store, instance) = host.observed();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(u64::from(LOGS)));
    let mut bench = Bench { group, store, instance, lines: &lines };
    // The default levels: `debug` is recorded and `info` exported.
    bench.log("trace!: not recorded", "log-disabled", false);
    bench.log("debug!: recorded", "log-debug", false);
    bench.log("info!: recorded and exported as JSON", "log-info", true);
    bench.rival("tracing, disabled", "tracing-disabled", false);
    bench.rival("tracing, JSON in the guest", "tracing-json", true);
    bench.rival("serde_json in the guest", "serde-json", true);
    bench.group.finish();
}

criterion_group!(benches, logs);
criterion_main!(benches);
