//! The runtime metrics of `wasmetry-wasmtime`, for each way in which a guest can end.
//!
//! The suite `behaviour.rs` tests what guests record.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::future::Future;
use std::thread;
use std::time::Duration;

use wasmetry_host::{Identity, Registry};
use wasmetry_tests::embedding::observed::{Allocation, Host};
use wasmetry_tests::exposition::{sum, value};
use wasmetry_wasmtime::{DeadlineExceeded, ObservedStore, StoreState, Telemetry, TelemetryView};

const BOTH: [Allocation; 2] = [Allocation::OnDemand, Allocation::Pooling];

/// The limit of every wait.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn instances_memory_and_time_are_counted() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        for n in 0..20u64 {
            let mut recorder = host.instance();
            recorder.run("count", (n,));
            let text = host.scrape();
            assert_eq!(value(&text, "wasm_instances", &[("component", "recorder")]), 1.0);
            assert!(value(&text, "wasm_linear_memory_bytes", &[]) >= 65_536.0);
        }
        let text = host.scrape();
        assert_eq!(value(&text, "wasm_instance_starts_total", &[("component", "recorder")]), 20.0);
        assert_eq!(value(&text, "wasm_instances", &[]), 0.0);
        assert_eq!(value(&text, "wasm_linear_memory_bytes", &[]), 0.0);
        assert_eq!(value(&text, "wasm_linear_memory_limit_bytes", &[]), f64::from(32 << 20));
        assert!(value(&text, "wasm_guest_busy_seconds_total", &[]) > 0.0);
        // Each has had at least a page of memory, and far less than its limit.
        assert_eq!(value(&text, "wasm_instance_memory_peak_bytes_count", &[]), 20.0);
        assert!(value(&text, "wasm_instance_memory_peak_bytes_sum", &[]) >= 20.0 * 65_536.0);
        assert_eq!(value(&text, "wasm_instance_memory_peak_ratio_bucket", &[("le", "0.5")]), 20.0);
        assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0);
    }
}

/// A guest in an endless loop is collected while it runs and after it was killed.
#[test]
fn endless_guest_is_collected() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        thread::scope(|scope| {
            let spinning = scope.spawn(|| {
                let mut recorder = host.instance();
                recorder.run("count", (1u64,));
                recorder.store.set_deadline_sync(Duration::from_millis(300)).unwrap();
                recorder.call::<_, ()>("spin", (41u64,)).unwrap_err().is::<DeadlineExceeded>()
            });
            // A scrape collects the guest while it runs; before it starts, there are no samples.
            let mut counted = 0.0;
            while !spinning.is_finished() {
                counted = value(&host.scrape(), "counted_total", &[]);
                if counted == 42.0 {
                    assert_eq!(value(&host.scrape(), "wasm_instances", &[]), 1.0);
                    break;
                }
            }
            assert_eq!(counted, 42.0, "a scrape has the count before the guest is killed");
            assert!(spinning.join().unwrap());
        });
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[]), 42.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "deadline")]), 1.0);
    }
}

#[test]
fn deadline_ends_async_guest() {
    let host = Host::new_async(Allocation::Pooling);
    let mut recorder = block_on(host.instance_async());
    recorder.store.set_deadline(Duration::from_millis(50)).unwrap();
    let error = block_on(recorder.run_async("spin", (3u64,))).unwrap_err();
    assert!(error.is::<DeadlineExceeded>(), "{error:?}");
    drop(recorder);
    let text = host.scrape();
    assert_eq!(value(&text, "counted_total", &[]), 3.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "deadline")]), 1.0);
}

#[test]
fn every_trap_has_its_reason() {
    for allocation in BOTH {
        let host = Host::new(allocation);
        host.instance().call::<_, ()>("exhaust", (1u64,)).unwrap_err();
        host.instance().call::<_, ()>("recurse", (1u64,)).unwrap_err();
        host.instance().call::<_, ()>("trap", (1u64,)).unwrap_err();
        let text = host.scrape();
        assert_eq!(value(&text, "counted_total", &[]), 3.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "out_of_memory")]), 1.0);
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "memory_out_of_bounds")]), 1.0);
        assert_eq!(value(&text, "wasm_linear_memory_limit_bytes", &[]), f64::from(32 << 20));
        // The one that ran out had more than the others, and no more than its limit.
        let up_to = |share| value(&text, "wasm_instance_memory_peak_ratio_bucket", &[("le", share)]);
        assert_eq!((up_to("0.5"), up_to("1.0")), (2.0, 3.0));
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("the future ends in time") })
}

/// A core module without imports is collected through its exports.
#[test]
fn core_module_is_collected() {
    let wasm = std::fs::read(wasmetry_tests::guest("bare")).unwrap();
    let engine = wasmtime::Engine::default();
    let telemetry = Telemetry::new(Registry::new(), &engine);
    let observed = telemetry.component(Identity::new("bare"), &wasm).unwrap();
    let module = wasmtime::Module::new(&engine, &wasm).unwrap();
    for n in 0..20u32 {
        let mut store = ObservedStore::new_sync(wasmtime::Store::new(&engine, TelemetryOnly(observed.state())));
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

#[test]
fn trap_in_observer_ends_guest() {
    let host = Host::new(Allocation::OnDemand);
    let mut recorder = host.instance();
    recorder.run("count", (1u64,));
    recorder.call::<_, ()>("trap-when-observed", (2u64,)).unwrap_err();
    drop(recorder);
    assert_eq!(value(&host.scrape(), "counted_total", &[]), 3.0);
    assert_eq!(value(&host.scrape(), "wasm_traps_total", &[("reason", "unreachable")]), 1.0);

    // The function of a core module returns: its observers run only when it is collected.
    let wasm = std::fs::read(wasmetry_tests::guest("recorder-module")).unwrap();
    let engine = wasmtime::Engine::default();
    let telemetry = Telemetry::new(Registry::new(), &engine);
    let observed = telemetry.component(Identity::new("recorder"), &wasm).unwrap();
    let module = wasmtime::Module::new(&engine, &wasm).unwrap();
    let mut store = ObservedStore::new_sync(wasmtime::Store::new(&engine, TelemetryOnly(observed.state())));
    let instance = wasmtime::Instance::new(&mut *store, &module, &[]).unwrap();
    wasmetry_wasmtime::attach_module(&mut *store, &instance).unwrap();
    let call = instance.get_typed_func::<u64, ()>(&mut *store, "trap-when-observed").unwrap();
    call.call(&mut *store, 2).unwrap();
    let result = wasmetry_wasmtime::observe_modules(&mut *store);
    assert_eq!(store.finish(&result), Some("unreachable"));
    drop(store);
    let text = wasmetry_host::encode::prometheus::encode(&telemetry.snapshot());
    assert_eq!(value(&text, "counted_total", &[]), 2.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
}

/// A store's data with nothing but telemetry.
struct TelemetryOnly(StoreState);

impl TelemetryView for TelemetryOnly {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.0
    }
}

/// A deadline that is never checked is an error, for both ways to call a guest.
#[test]
fn deadline_needs_epoch_interruption() {
    for is_on in [false, true] {
        let engine = wasmtime::Engine::new(wasmtime::Config::new().epoch_interruption(is_on)).unwrap();
        let telemetry = Telemetry::new(Registry::new(), &engine);
        let component = telemetry.component(Identity::new("empty"), &HEADER).unwrap();
        let state = || Only(component.state());
        let mut store = ObservedStore::new(wasmtime::Store::new(&engine, state()));
        let mut blocking = ObservedStore::new_sync(wasmtime::Store::new(&engine, state()));
        for set in [store.set_deadline(PATIENCE), blocking.set_deadline_sync(PATIENCE)] {
            match set {
                Ok(()) => assert!(is_on),
                Err(error) => {
                    assert!(!is_on && error.to_string().contains("`epoch_interruption(true)`"), "{error}");
                }
            }
        }
    }
}

/// A store's data that is telemetry only.
struct Only(StoreState);

impl TelemetryView for Only {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.0
    }
}

/// An embedder that registers a component gets the error with the remedy, before it links.
#[test]
fn telemetry_rejects_other_wit_versions() {
    let telemetry = Telemetry::without_engine(Registry::new());
    let register = |import: &str| {
        let registered = telemetry.component(Identity::new("newer"), &importing(import));
        registered.map(|_| ()).map_err(|error| error.to_string())
    };
    let error = register("wasmetry:telemetry/region@9.1.0").unwrap_err();
    for part in ["imports `wasmetry:telemetry/region@9.1.0`", "this host has `wasmetry:telemetry@0.1.0`", "rebuild"] {
        assert!(error.contains(part), "{error}");
    }
    let error = register("wasmetry:telemetry/profiles@0.1.0").unwrap_err();
    assert!(error.contains("an interface that this host's `wasmetry:telemetry@0.1.0` does not have"), "{error}");
    assert_eq!(register("wasmetry:telemetry/metrics@0.1.7"), Ok(()));
    assert_eq!(register("other:telemetry/region@9.1.0"), Ok(()));
    // An import of a component within is met by the one around it.
    let inner = importing("wasmetry:telemetry/region@9.1.0");
    let outer = [&HEADER[..], &[4, inner.len() as u8], &inner].concat();
    assert!(telemetry.component(Identity::new("outer"), &outer).is_ok());
}

/// The first bytes of a component.
const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A component that imports an empty instance of this name.
fn importing(name: &str) -> Vec<u8> {
    let instance_type = [7, 3, 1, 0x42, 0];
    let import = [&[10, name.len() as u8 + 5, 1, 0, name.len() as u8], name.as_bytes(), &[5, 0]].concat();
    [&HEADER[..], &instance_type, &import].concat()
}
