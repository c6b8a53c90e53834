//! What the Wasmtime adapter collects, of a real guest, in each way that a guest can end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use wasmetry_host::{Identity, Registry};
use wasmetry_tests::exposition::{has, sum, value};
use wasmetry_tests::store::{Allocation, Host};
use wasmetry_wasmtime::{DeadlineExceeded, Observed, StoreState, Telemetry, TelemetryView};

const BOTH: [Allocation; 2] = [Allocation::OnDemand, Allocation::Pooling];

/// Longer than any machine takes.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn counters_of_many_instances_add_up_exactly() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        for n in 1..=200u64 {
            let mut recorder = host.recorder();
            recorder.run("count", (n,));
            recorder.run("visit", ((n % 3) as u32, n));
            recorder.run("count-inline", ());
            recorder.run("shard", ((n % 6) as u32,));
        }
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[("component", "recorder")]), 20_100.0);
        assert_eq!(value(&text, "inline_total", &[]), 200.0);
        assert_eq!(sum(&text, "visits_total", &[]), 20_100.0);
        assert_eq!(value(&text, "visits_total", &[("first", "true"), ("route", "cart")]), 1.0);
        let expected: u64 = (1..=200).filter(|n| n % 3 == 0).sum();
        assert_eq!(value(&text, "visits_total", &[("first", "false"), ("route", "home")]), expected as f64);
        // 4 and 5 are out of range.
        assert_eq!(value(&text, "shard_hits_total", &[("shard", "overflow")]), 66.0);
        assert_eq!(value(&text, "wasmetry_dropped_total", &[("reason", "label_out_of_range")]), 66.0);
        assert_eq!(value(&text, "wasm_instance_starts_total", &[("component", "recorder")]), 200.0);
        assert_eq!(value(&text, "wasm_instances", &[]), 0.0);
        assert_eq!(value(&text, "wasm_linear_memory_bytes", &[]), 0.0);
        assert!(value(&text, "wasm_guest_busy_seconds_total", &[]) > 0.0);
    }
}

#[test]
fn an_instance_that_is_read_many_times_counts_once() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        let mut recorder = host.recorder();
        for n in 1..=50u64 {
            recorder.run("count", (1u64,));
            recorder.run("observe-seconds", (0.05,));
            recorder.run("observe-size", (0.1,));
            recorder.run("label", ("a", 1u64));
            recorder.store.collect();
            recorder.store.collect();
            let text = host.scrape();
            assert_eq!(value(&text, "counted_total", &[]), n as f64);
            assert_eq!(value(&text, "work_duration_seconds_bucket", &[("le", "0.1")]), n as f64);
            assert_eq!(value(&text, "labelled_total", &[("value", "a")]), n as f64);
        }
        assert_eq!(value(&host.scrape(), "wasm_instances", &[]), 1.0);
        recorder.run("count", (7u64,));
        drop(recorder);
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[]), 57.0);
        // 0.05 s fifty times, exactly; the f64 sum is as good as f64.
        assert_eq!(value(&text, "work_duration_seconds_sum", &[]), 2.5);
        assert!((value(&text, "work_size_sum", &[]) - 5.0).abs() < 1e-9);
        assert_eq!(value(&text, "labelled_total", &[("value", "a")]), 50.0);
    }
}

#[test]
fn what_a_guest_recorded_before_it_trapped_is_counted() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        for n in 1..=20u64 {
            let mut recorder = host.recorder();
            recorder.run("count", (100u64,));
            recorder.call::<_, ()>("trap", (n,)).unwrap_err();
        }
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[]), 2_000.0 + 210.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 20.0);
        assert_eq!(value(&text, "wasm_instances", &[]), 0.0);
    }
}

#[test]
fn a_guest_in_an_endless_loop_is_seen_while_it_runs_and_after_it_was_killed() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        thread::scope(|scope| {
            let spinning = scope.spawn(|| {
                let mut recorder = host.recorder();
                recorder.run("count", (1u64,));
                recorder.store.set_deadline_sync(Duration::from_millis(300));
                recorder.call::<_, ()>("spin", (41u64,)).unwrap_err().is::<DeadlineExceeded>()
            });
            // The scrape asks the guest while it runs; before it started, there is nothing to see yet.
            let mut seen = 0.0;
            while !spinning.is_finished() {
                seen = value(&host.scrape(), "counted_total", &[]);
                if seen == 42.0 {
                    assert_eq!(value(&host.scrape(), "wasm_instances", &[]), 1.0);
                    break;
                }
            }
            assert_eq!(seen, 42.0, "a scrape shows the guest before it is killed");
            assert!(spinning.join().unwrap());
        });
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[]), 42.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "deadline")]), 1.0);
    }
}

#[test]
fn a_future_that_is_dropped_leaves_what_its_guest_recorded() {
    for allocation in BOTH {
        let host = Host::new_async(allocation);
        let mut recorder = block_on(host.recorder_async());
        {
            let call = pin!(recorder.run_async("spin", (5u64,)));
            // The guest counts, spins until the next epoch, and yields.
            let mut context = Context::from_waker(Waker::noop());
            assert!(matches!(call.poll(&mut context), Poll::Pending));
        }
        drop(recorder);
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[]), 5.0);
        assert_eq!(value(&text, "wasm_instances", &[]), 0.0);
    }
}

#[test]
fn an_async_guest_is_ended_at_its_deadline() {
    let host = Host::new_async(Allocation::Pooling);
    let mut recorder = block_on(host.recorder_async());
    recorder.store.set_deadline(Duration::from_millis(50));
    let error = block_on(recorder.run_async("spin", (3u64,))).unwrap_err();
    assert!(error.is::<DeadlineExceeded>(), "{error:?}");
    drop(recorder);
    let text = host.scrape();
    assert_eq!(value(&text, "counted_total", &[]), 3.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "deadline")]), 1.0);
}

#[test]
fn each_way_to_run_out_has_its_reason() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        host.recorder().call::<_, ()>("exhaust", (1u64,)).unwrap_err();
        host.recorder().call::<_, (u64,)>("recurse", (1u64,)).unwrap_err();
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[]), 2.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "out_of_memory")]), 1.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "memory_out_of_bounds")]), 1.0);
        assert_eq!(value(&text, "wasm_linear_memory_limit_bytes", &[]), f64::from(32 << 20));
    }
}

#[test]
fn gauges_combine_by_their_rules() {
    let host = Host::new(Allocation::Pooling);
    let text = host.scrape();
    assert!(!has(&text, "level_added", &[]), "a gauge that was not set is not shown:\n{text}");

    let mut recorders = [host.recorder(), host.recorder(), host.recorder()];
    for (recorder, level) in recorders.iter_mut().zip([2.0, 5.0, 3.0]) {
        recorder.run("set-gauges", (level,));
        recorder.run("add-level", (-(level as i64),));
        recorder.run("publish", ());
    }
    let text = host.scrape();
    assert_eq!(value(&text, "level_added", &[]), 10.0);
    assert_eq!(value(&text, "level_greatest", &[]), 5.0);
    assert_eq!(value(&text, "level_least", &[]), 2.0);
    assert_eq!(value(&text, "level_latest", &[]), 3.0);
    assert_eq!(value(&text, "level_whole", &[]), -10.0);

    drop(recorders);
    let text = host.scrape();
    assert!(sum(&text, "level_added", &[]) == 0.0, "{text}");
    assert_eq!(value(&text, "level_greatest", &[]), 5.0);
    assert_eq!(value(&text, "level_least", &[]), 2.0);
    assert_eq!(value(&text, "level_latest", &[]), 3.0);
}

#[test]
fn histograms_count_each_value_in_its_bucket_and_refuse_what_would_spoil_them() {
    let host = Host::new(Allocation::Pooling);
    let mut recorder = host.recorder();
    for seconds in [0.0, 0.01, 0.010000001, 0.1, 1.0, 60.0] {
        recorder.run("observe-seconds", (seconds,));
    }
    for value in [-2.0, -1.0, 0.0, 0.5, 10.0, 10.5] {
        recorder.run("observe-size", (value,));
    }
    for refused in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        recorder.run("observe-seconds", (refused,));
        recorder.run("observe-size", (refused,));
    }
    recorder.run("observe-seconds", (-1.0,));
    recorder.run("timed", ());
    drop(recorder);
    let text = host.scrape();
    for (le, count) in [("0.01", 2.0), ("0.1", 4.0), ("1.0", 5.0), ("+Inf", 6.0)] {
        assert_eq!(value(&text, "work_duration_seconds_bucket", &[("le", le)]), count, "{le}");
    }
    for (le, count) in [("-1.0", 2.0), ("0.5", 4.0), ("10.0", 5.0), ("+Inf", 6.0)] {
        assert_eq!(value(&text, "work_size_bucket", &[("le", le)]), count, "{le}");
    }
    assert_eq!(value(&text, "work_duration_seconds_sum", &[]), 61.120000001);
    assert_eq!(value(&text, "work_duration_seconds_count", &[]), 6.0);
    assert_eq!(value(&text, "work_size_sum", &[]), 18.0);
    assert_eq!(value(&text, "timed_duration_seconds_count", &[]), 1.0);
    assert_eq!(value(&text, "wasmetry_dropped_total", &[("reason", "invalid_value")]), 7.0);
}

#[test]
fn text_labels_beyond_the_table_are_counted_in_the_overflow_series() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        for instance in 0..3 {
            let mut recorder = host.recorder();
            for n in 0..6 {
                // The first four of each instance fit; two go to the overflow series.
                recorder.run("label", (format!("value-{instance}-{n}").as_str(), 10u64));
            }
            recorder.run("label", ("x".repeat(33).as_str(), 1u64));
            recorder.run("label", ("overflow", 1u64));
        }
        let text = host.scrape();
        assert_eq!(value(&text, "labelled_total", &[("value", "value-2-3")]), 10.0);
        assert!(!has(&text, "labelled_total", &[("value", "value-0-5")]));
        assert_eq!(value(&text, "labelled_total", &[("value", "overflow")]), 3.0 * 22.0);
        assert_eq!(sum(&text, "labelled_total", &[]), 3.0 * 62.0);
        assert_eq!(value(&text, "wasmetry_dropped_total", &[("reason", "label_too_long")]), 3.0);
        // Two values and the text "overflow" itself, which finds no slot either.
        assert_eq!(value(&text, "wasmetry_dropped_total", &[("reason", "label_table_full")]), 9.0);
    }
}

#[test]
fn declared_counters_are_there_before_the_first_event() {
    let host = Host::new(Allocation::OnDemand);
    let text = host.scrape();
    assert_eq!(value(&text, "counted_total", &[]), 0.0);
    assert_eq!(value(&text, "visits_total", &[("first", "true"), ("route", "home")]), 0.0);
    assert_eq!(value(&text, "work_duration_seconds_count", &[]), 0.0);
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, future).await.expect("it ends long before that") })
}

#[test]
fn a_core_module_that_imports_nothing_is_collected_by_its_exports() {
    let wasm = std::fs::read(wasmetry_tests::guest("bare")).unwrap();
    let engine = wasmtime::Engine::default();
    let telemetry = Telemetry::new(Registry::new(), &engine);
    let observed = telemetry.component(Identity::new("bare"), &wasm).unwrap();
    let module = wasmtime::Module::new(&engine, &wasm).unwrap();
    for n in 0..20u32 {
        let mut store = Observed::new_sync(wasmtime::Store::new(&engine, Bare(observed.state())));
        let instance = wasmtime::Instance::new(&mut *store, &module, &[]).unwrap();
        assert_eq!(wasmetry_wasmtime::attach_module(&mut *store, &instance).unwrap(), 1);
        let look = instance.get_typed_func::<u32, u32>(&mut *store, "look").unwrap();
        for number in 0..n {
            look.call(&mut *store, 2 * number).unwrap();
            store.collect();
        }
        let trap = instance.get_typed_func::<u32, u32>(&mut *store, "trap").unwrap();
        let result = trap.call(&mut *store, 7);
        assert_eq!(store.finish(&result), Some("unreachable"));
    }
    let text = wasmetry_host::encode::prometheus::encode(&telemetry.snapshot());
    assert_eq!(value(&text, "numbers_seen_total", &[("parity", "even")]), 190.0);
    assert_eq!(value(&text, "numbers_seen_total", &[("parity", "odd")]), 20.0);
    assert_eq!(value(&text, "number_size_count", &[]), 210.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 20.0);
}

/// A store's data that is nothing but telemetry.
struct Bare(StoreState);

impl TelemetryView for Bare {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.0
    }
}
