//! Panics and errors of a core module without the standard library in wasmi, at a collector. The
//! embedder counts requests and traps itself, by the route that the guest has set.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmetry_export::push::Exporter;
use wasmetry_host::{Declarations, Identity, Outcome, Recording, Registry, RequestKey, Timestamp, encode};
use wasmetry_wasmi::Regions;
use wasmetry_wasmtime::wall_clock;
use wasmi::{Engine, Linker, Module, Store};

use super::embedding::exporter;
use super::*;

/// A request that panics and one that fails are logs, events and statuses at a collector, and are
/// counted by their route.
#[test]
fn failing_module_speaks() {
    let registry = Registry::new();
    let wasm = fs::read(guest("failing-module")).unwrap();
    let component = registry.component(Identity::new("job"), Declarations::from_wasm(&wasm).unwrap());
    let requests = registry.counter("jobs_total", "Jobs.", &["route", "outcome"]);
    let durations = registry.histogram("job_duration_seconds", "Durations of jobs.", &["route"], &[1.0]);
    let traps = registry.counter("wasm_traps_total", "Traps.", &["route", "reason"]);
    let engine = Engine::default();
    let module = Module::new(&engine, &wasm).unwrap();
    for (job, kind, message) in [
        (7, "panic", ": no job 7".to_owned()),
        (9, "failing_module::JobError", format!("job 9 failed: {SOURCE}")),
        (1, "", String::new()),
    ] {
        // Without a clock and random numbers, each instance makes the same ids.
        let collector = Collector::start("http/protobuf");
        let exporter = exporter(&collector, &Registry::new());
        let begin = Instant::now();
        let sink = Arc::<Exporter>::clone(&exporter);
        let mut request = component.request_telemetry(sink, Arc::new(Recording::default()));
        let mut store = Store::new(&engine, ());
        let instance = Linker::<()>::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
        let mut regions = Regions::of(&component, &mut store, &instance).unwrap();
        let result = instance.get_typed_func::<u32, u32>(&store, "work").unwrap().call(&mut store, job);
        let (outcome, label) = match result {
            Ok(0) => (Outcome::Failed, "failed"),
            Ok(_) => (Outcome::Ok, "ok"),
            Err(_) => (Outcome::Ended("unreachable"), "trap"),
        };
        let now = Timestamp { wall: wall_clock(), ..Timestamp::default() };
        regions.read_records(&store, now, &mut request);
        let route = regions.read_route(&store, RequestKey::Any).expect("the guest sets a route");
        assert_eq!(&*route, "/jobs/{id}");
        if label == "trap" {
            traps.with(&[&route, "unreachable"]).inc();
        }
        requests.with(&[&route, label]).inc();
        durations.with(&[&route]).observe(begin.elapsed().as_secs_f64());
        request.finish(outcome, begin.elapsed(), now.wall);
        assert_eq!(regions.read_route(&store, RequestKey::Any), None, "no route was set since");
        regions.read_last(&store, Duration::ZERO);

        assert_eq!(exporter.stop(Duration::from_secs(30)), 0);
        let failures = usize::from(job != 1);
        let arrived = collector.wait(|arrived| arrived.spans.len() == 1 && errors(arrived, None).len() >= failures);
        let (logs, span) = (errors(&arrived, None), &arrived.spans[0].1);
        if job == 1 {
            assert!(logs.is_empty() && span.events.is_empty(), "{logs:#?} {span:#?}");
            continue;
        }
        let [log] = &logs[..] else { panic!("{job}: {logs:#?}") };
        assert!(log.message.ends_with(&message), "{log:?}");
        assert_eq!((&log.trace, &log.span), (&span.trace_id, &span.span_id));
        assert_eq!(exception(span)["exception.type"], kind);
        assert_eq!(status(span), (StatusCode::Error, log.message.clone()));
        assert_eq!(attributes(&span.attributes)["error.type"], kind);
    }
    let scrape = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    let count = |name: &str, label| value(&scrape, name, &[("route", "/jobs/{id}"), label]);
    assert_eq!(["trap", "failed", "ok"].map(|label| count("jobs_total", ("outcome", label))), [1.0; 3], "{scrape}");
    assert_eq!(count("wasm_traps_total", ("reason", "unreachable")), 1.0);
    assert_eq!(value(&scrape, "job_duration_seconds_count", &[("route", "/jobs/{id}")]), 3.0);
}
