//! Exemplars of guests, in scrapes and in Prometheus, and the spans that they name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmetry_host::propagation::{Propagated, Sampler};
use wasmetry_host::{Identity, Registry, encode};
use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::backend::rotel::Rotel;
use wasmetry_tests::embedding::observed::{Allocation, Host, State, engine, prepare_module};
use wasmetry_tests::guest;
use wasmetry_tests::memory_sink::MemorySink;
use wasmetry_tests::otlp::variables;
use wasmetry_tests::server::{Server, agent};
use wasmetry_wasmtime::{ObservedStore, ServerSpan, Telemetry, TelemetryView, attach_module, wall_clock};
use wasmtime::{Module, Store};

/// Returns the `traceparent` of a numbered trace.
fn traceparent(number: u32, is_sampled: bool) -> String {
    format!("00-{number:032x}-00000000000000aa-0{}", u8::from(is_sampled))
}

/// Begins the server span of a request in a numbered trace.
fn server_span(number: u32, is_sampled: bool) -> ServerSpan {
    let incoming = Propagated::from_headers([traceparent(number, is_sampled).as_bytes()], []);
    ServerSpan::begin("GET", "/", incoming.as_ref(), &Sampler { ratio: 1.0, is_parent_based: true })
}

/// Returns the lines of an exposition that have an exemplar of a numbered trace.
fn lines(text: &str, number: u32) -> Vec<&str> {
    let trace = format!(" # {{trace_id=\"{number:032x}\",");
    text.lines().filter(|line| line.contains(&trace)).collect()
}

/// An exemplar names the server span of the request that observed its value.
#[test]
fn exemplars_link_to_server_span() {
    for is_pushed in [false, true] {
        let sink = Arc::new(MemorySink::default());
        let host = Host::with_sink("recorder", Arc::<MemorySink>::clone(&sink));
        let host = if is_pushed { host.pushed() } else { host };
        let begin = wall_clock();
        // Sampled; unsampled and successful; unsampled and failed.
        for (number, is_sampled, status) in [(1, true, 200), (2, false, 200), (3, false, 500)] {
            let mut recorder = host.instance();
            recorder.telemetry().set_server_span(server_span(number, is_sampled));
            recorder.run("observe-seconds", (f64::from(number) / 16.0,));
            recorder.run("observe-size", (f64::from(number) - 2.75,));
            recorder.run("observe-route", (0u32, format!("c{number}"), 0.25));
            // Two values of one series between two reads have no exemplar; a guest that pushes is
            // read after each value.
            recorder.run("observe-route", (1u32, "twice", 0.25));
            recorder.run("observe-route", (1u32, "twice", 0.25));
            recorder.run("publish", ());
            recorder.telemetry().set_status(status);
            let exported = recorder.store.end();
            assert_eq!(exported.is_some(), number != 2);
            let text = host.scrape_openmetrics();
            let (twice, lines): (Vec<&str>, Vec<&str>) =
                lines(&text, number).into_iter().partition(|line| line.contains("\"twice\""));
            assert_eq!(!twice.is_empty(), is_pushed && number != 2, "{text}");
            assert_eq!(lines.len(), if number == 2 { 0 } else { 3 }, "{text}");
            let Some(context) = exported else { continue };
            assert!(sink.spans().iter().any(|span| span.context.span_id == context.span_id));
            let span = format!("span_id=\"{}\"}} ", context.span_id);
            for (line, value) in lines.iter().zip([
                "0.25".to_owned(),
                (f64::from(number) / 16.0).to_string(),
                (f64::from(number) - 2.75).to_string(),
            ]) {
                let (_, behind) = line.split_once(&span).unwrap_or_else(|| panic!("{span} in {line}"));
                let (found, time) = behind.split_once(' ').unwrap();
                assert_eq!(found, value, "{line}");
                let time: f64 = time.parse().unwrap();
                assert!((begin as f64 / 1e9 - 1e-3..=wall_clock() as f64 / 1e9 + 1e-3).contains(&time), "{line}");
            }
        }
    }
}

/// A guest that traps leaves its exemplars; without a server span there are none.
#[test]
fn exemplars_survive_traps() {
    let host = Host::with_sink("recorder", Arc::new(MemorySink::default()));
    let mut recorder = host.instance();
    recorder.run("observe-seconds", (0.5,));
    drop(recorder);
    assert!(!host.scrape_openmetrics().contains("trace_id"));
    let mut recorder = host.instance();
    recorder.telemetry().set_server_span(server_span(7, false));
    recorder.run("observe-seconds", (0.25,));
    recorder.call::<_, ()>("trap", (1u64,)).unwrap_err();
    drop(recorder);
    let text = host.scrape_openmetrics();
    assert!(matches!(lines(&text, 7)[..], [line] if line.starts_with("work_duration_seconds_bucket")), "{text}");
}

/// An exemplar of the handle API names the server span, too.
#[test]
fn handle_api_exemplars_link_to_span() {
    let host = Host::with_sink("handle-api", Arc::new(MemorySink::default()));
    // Sampled; unsampled and successful; unsampled and failed.
    for (number, is_sampled, status) in [(1, true, 200), (2, false, 200), (3, false, 500)] {
        let mut guest = host.instance();
        guest.telemetry().set_server_span(server_span(number, is_sampled));
        let seconds = f64::from(number) / 4.0;
        guest.run("measure", ("/", seconds));
        guest.telemetry().set_status(status);
        let exported = guest.store.end();
        let text = host.scrape_openmetrics();
        match (&lines(&text, number)[..], exported) {
            ([], None) => assert_eq!(number, 2),
            ([line], Some(context)) => {
                assert!(line.contains(&format!("span_id=\"{}\"}} {seconds} ", context.span_id)), "{line}");
            }
            _ => panic!("{text}"),
        }
    }
}

/// A scrape of a running guest has the exemplars of its sampled requests.
#[test]
fn running_guest_has_exemplars() {
    let host = Host::with_sink("recorder", Arc::new(MemorySink::default()));
    let mut recorder = host.instance();
    for (number, seconds) in [(1, 0.25), (2, 0.002)] {
        // The same instance serves both requests, one after the other.
        recorder.telemetry().set_server_span(server_span(number, true));
        recorder.run("observe-seconds", (seconds,));
        recorder.run("publish", ());
        assert_eq!(lines(&host.scrape_openmetrics(), number).len(), 1);
    }
    let text = host.scrape_openmetrics();
    assert_eq!((lines(&text, 1).len(), lines(&text, 2).len()), (1, 1), "{text}");
    assert!(!encode::prometheus::encode(&host.telemetry.snapshot()).contains("trace_id"));
}

/// A core module has exemplars as a component has.
#[test]
fn core_module_has_exemplars() {
    let engine = engine(Allocation::OnDemand);
    let wasm = std::fs::read(guest("recorder-module")).unwrap();
    let telemetry = Telemetry::new(Registry::new(), &engine).with_sink(Arc::new(MemorySink::default()));
    let component = telemetry.component(Identity::new("module"), &wasm).unwrap();
    let mut store = ObservedStore::new_sync(Store::new(&engine, State::new(component.state())));
    store.data_mut().telemetry().set_server_span(server_span(9, true));
    let module = Module::new(&engine, &wasm).unwrap();
    let instance = prepare_module(&module, false, false).instantiate(&mut *store).unwrap();
    assert_eq!(attach_module(&mut *store, &instance).unwrap(), 1);
    let observe = instance.get_typed_func::<f64, ()>(&mut *store, "observe-size").unwrap();
    observe.call(&mut *store, 0.75).unwrap();
    assert!(store.end().is_some());
    let text = encode::openmetrics::encode(&telemetry.snapshot());
    let [line] = lines(&text, 9)[..] else { panic!("{text}") };
    assert!(line.starts_with("work_size_bucket{component=\"module\",le=\"10.0\"} 1 # {"), "{line}");
}

/// Sends a request with a `traceparent` and returns the status.
fn call(server: &Server, path: &str, traceparent: &str) -> u16 {
    let request = agent().get(format!("{}{path}", server.url)).header("traceparent", traceparent);
    request.call().unwrap().status().as_u16()
}

/// Waits for an exemplar of each trace, and returns all exemplars of the query, each with the
/// labels of its series.
fn exemplars(prometheus: &Prometheus, query: &str, traces: &[u32]) -> Vec<(Value, Value)> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let found = prometheus.exemplars(query).unwrap_or_default();
        let has = |number: &u32| found.iter().any(|(_, found)| found["labels"]["trace_id"] == format!("{number:032x}"));
        if traces.iter().all(has) {
            return found;
        }
        assert!(Instant::now() < end, "{query} has {found:#?}");
        thread::yield_now();
    }
}

/// Every exemplar in Prometheus names a trace and span that the collector has received.
#[test]
fn prometheus_exemplars_match_collector_traces() {
    // With the first features, Prometheus requests OpenMetrics; with the second, Protocol Buffers.
    for features in ["exemplar-storage", "exemplar-storage,native-histograms"] {
        let Some(rotel) = Rotel::start() else { return };
        let variables = variables(&format!("http://{}", rotel.http), "http/protobuf");
        let server = Server::start_with(&guest("storefront"), &[], &variables);
        let target = server.telemetry.strip_prefix("http://").unwrap();
        let flag = format!("--enable-feature={features}");
        let Some(prometheus) = Prometheus::start(target, &[&flag]) else { return };

        // Sampled; unsampled and successful; unsampled and failed, so that its trace is kept.
        const SLOW: u32 = 0x51;
        const HOME: u32 = 0x40;
        const SOLD_OUT: u32 = 0x50;
        assert_eq!(call(&server, "/slow?ms=60", &traceparent(SLOW, true)), 200);
        assert_eq!(call(&server, "/", &traceparent(HOME, false)), 200);
        assert_eq!(call(&server, "/checkout?item=unicorn", &traceparent(SOLD_OUT, false)), 503);

        // Rotel prints the ids, the name and the kind of a span before its times.
        let is_server = |block: &std::collections::BTreeMap<String, String>| {
            block.contains_key("End time") && block["Kind"] == "SPAN_KIND_SERVER"
        };
        let collected: BTreeSet<(String, String)> =
            rotel.spans(2, is_server).into_iter().map(|span| (span["Trace ID"].clone(), span["ID"].clone())).collect();
        let expected = BTreeSet::from([SLOW, SOLD_OUT].map(|number| format!("{number:032x}")));
        assert_eq!(collected.iter().map(|(trace, _)| trace.clone()).collect::<BTreeSet<_>>(), expected);

        for (query, label, slow) in [
            ("wasm_http_request_duration_seconds_bucket", "component", "storefront"),
            ("http_request_duration_seconds_bucket", "route", "/slow"),
        ] {
            let found = exemplars(&prometheus, query, &[SLOW, SOLD_OUT]);
            let mut traces = BTreeSet::new();
            for (series, exemplar) in &found {
                let id = |key: &str| exemplar["labels"][key].as_str().unwrap().to_owned();
                assert!(collected.contains(&(id("trace_id"), id("span_id"))), "{exemplar} is not among {collected:?}");
                let value: f64 = exemplar["value"].as_str().unwrap().parse().unwrap();
                let le = series["le"].as_str().unwrap().replace("+Inf", "inf").parse::<f64>().unwrap();
                assert!(value <= le, "{series} {exemplar}");
                if id("trace_id") == format!("{SLOW:032x}") {
                    assert!(series[label] == slow && (0.06..10.0).contains(&value), "{series} {exemplar}");
                }
                traces.insert(id("trace_id"));
            }
            assert_eq!(traces, expected, "{features}: {found:#?}");
        }
    }
}

/// Prometheus receives `_created` samples only with `?created=true`.
#[test]
fn created_samples_need_a_parameter() {
    let before = wall_clock() as f64 / 1e9;
    let server = Server::start(&guest("storefront"), &[]);
    let started = wall_clock() as f64 / 1e9;
    let target = server.telemetry.strip_prefix("http://").unwrap();
    let Some(prometheus) = Prometheus::start_with_parameters(target, &[], "{created: ['true']}") else { return };
    assert_eq!(call(&server, "/checkout?item=pear", &traceparent(1, false)), 200);
    prometheus.query_until("sum(items_sold_total)", "", |result| result.get("") == Some(&1.0));
    // A declared series is created with the component, one with a text label with its first event.
    for query in
        ["http_requests_created{route=\"/\",method=\"GET\"}", "http_request_duration_seconds_created{route=\"/\"}"]
    {
        let created = prometheus.query_until(query, "", |result| result.len() == 1)[""];
        assert!((before..=started).contains(&created), "{query}: {before} <= {created} <= {started}");
    }
    let created = prometheus.query_until("items_sold_created", "item", |result| result.len() == 1);
    assert!((started..=wall_clock() as f64 / 1e9).contains(&created["pear"]), "{started} {created:?}");
    // A scrape without the parameter has none.
    assert!(!server.scrape().contains("_created"));
}
