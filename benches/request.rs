//! The cost of telemetry for a request with an instance of its own.
//!
//! Each iteration makes a store and an instance from a pool, calls the guest once, and drops them.
//! The guest does 20 additions: to numbers in its memory, under a host without telemetry; to a
//! counter's series, under a host that collects them when the store is dropped; and by a call of
//! the host for each.

mod embedding;

use criterion::{Criterion, criterion_group, criterion_main};
use embedding::Host;
use wasmtime::Config;

/// The events in each request.
const EVENTS: u32 = 20;

fn requests(criterion: &mut Criterion) {
    let mut config = Config::new();
    // Guests of `wasmetry serve` check the epoch, so that they can be ended.
    config.epoch_interruption(true);
    let host = Host::new(config);
    let mut group = criterion.benchmark_group("request");
    for (row, function) in [("telemetry off", "request-plain"), ("20 calls of the host", "request-called")] {
        group.bench_function(row, |bencher| {
            bencher.iter(|| {
                let (mut store, instance) = host.plain();
                let function = embedding::function::<_, (u32,), ()>(&mut store, &instance, function);
                function.call(&mut store, (EVENTS,)).expect("it does not trap");
            });
        });
    }
    for (row, function) in [("observed, nothing recorded", "request-plain"), ("telemetry on", "request-counted")] {
        group.bench_function(row, |bencher| {
            bencher.iter(|| {
                let (mut store, instance) = host.observed();
                let function = embedding::function::<_, (u32,), ()>(&mut store, &instance, function);
                let busy_timer = store.busy_timer();
                let result = busy_timer.measure_sync(|| function.call(&mut *store, (EVENTS,)));
                store.finish(&result);
                result.expect("it does not trap");
            });
            if function == "request-counted" {
                host.assert_collected("steps_total");
            }
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
