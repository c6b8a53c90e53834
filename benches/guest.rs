//! The cost of one event in a guest, compared with the code that could replace it.
//!
//! Each call of the guest records a million events; criterion's throughput is per event. Labels and
//! values are random numbers of the guest. The rows `generate` show the cost of these numbers,
//! which the others include.

mod embedding;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use embedding::{Host, State};
use wasmetry_wasmtime::ObservedStore;
use wasmtime::{Config, Store, component::Instance};

/// The events in one call of the guest.
const EVENTS: u32 = 1_000_000;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A group of rows.
type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// An instance whose functions are measured.
struct Guest<'a> {
    host: &'a Host,
    store: ObservedStore<State>,
    instance: Instance,
}

impl Guest<'_> {
    /// Measures a function that takes the number of events; `metric` is the name of the metric that
    /// it records.
    fn fixed(&mut self, group: &mut Group<'_>, row: &str, name: &str, events: u32, metric: Option<&str>) {
        let function = embedding::function::<_, (u32,), ()>(&mut self.store, &self.instance, name);
        self.measure(group, row, events, metric, |store| function.call(store, (events,)));
    }

    /// Measures a function that also takes a seed; `metric` is the name of the metric that it
    /// records.
    fn seeded(&mut self, group: &mut Group<'_>, row: &str, name: &str, metric: Option<&str>) {
        let function = embedding::function::<_, (u32, u64), ()>(&mut self.store, &self.instance, name);
        self.measure(group, row, EVENTS, metric, |store| function.call(store, (EVENTS, SEED)));
    }

    /// Measures a function that only makes random numbers.
    fn generate(&mut self, group: &mut Group<'_>, name: &str) {
        let function = embedding::function::<_, (u32, u64), (u64,)>(&mut self.store, &self.instance, name);
        self.measure(group, "generate", EVENTS, None, |store| function.call(store, (EVENTS, SEED)));
    }

    fn measure<R>(
        &mut self,
        group: &mut Group<'_>,
        row: &str,
        events: u32,
        metric: Option<&str>,
        call: impl Fn(&mut Store<State>) -> wasmtime::Result<R>,
    ) {
        group.throughput(Throughput::Elements(u64::from(events)));
        group.bench_function(row, |bencher| {
            bencher.iter(|| call(&mut self.store).expect("it does not trap"));
            self.store.collect();
            if let Some(metric) = metric {
                self.host.assert_collected(metric);
            }
        });
    }
}

fn events(criterion: &mut Criterion) {
    // Loops do not check the epoch, so that only the event is measured.
    let host = Host::new(Config::new());
    let (store, instance) = host.observed();
    let mut guest = Guest { host: &host, store, instance };

    let mut group = criterion.benchmark_group("guest/counter");
    guest.fixed(&mut group, "plain add", "plain-add", EVENTS, None);
    guest.fixed(&mut group, "counter!", "increment", EVENTS, Some("events_total"));
    guest.fixed(&mut group, "call of the host", "request-called", EVENTS / 10, None);
    guest.fixed(&mut group, "by a handle", "increment-handle", EVENTS / 10, Some("handled_total"));
    guest.fixed(&mut group, "resolved each time", "resolve", EVENTS / 100, Some("handled_total"));
    group.finish();

    let mut group = criterion.benchmark_group("guest/label");
    guest.generate(&mut group, "generate-label");
    guest.seeded(&mut group, "plain array", "plain-array", None);
    guest.seeded(&mut group, "enum", "increment-dense", Some("visits_total"));
    guest.seeded(&mut group, "text", "increment-text", Some("items_sold_total"));
    group.finish();

    let mut group = criterion.benchmark_group("guest/histogram");
    guest.generate(&mut group, "generate-value");
    guest.seeded(&mut group, "linear search", "linear-search", None);
    guest.seeded(&mut group, "observe a number", "observe-number", Some("work_size"));
    guest.seeded(&mut group, "observe seconds", "observe-seconds", Some("work_duration_seconds"));
    guest.seeded(&mut group, "by a handle", "observe-handle", Some("handled_seconds"));
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
