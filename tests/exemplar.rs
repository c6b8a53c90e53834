//! Exemplars: from a guest's memory to Prometheus, with the traces that a collector has.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmetry_host::propagation::{Propagated, Sampler};
use wasmetry_host::record::{LogRecord, SpanRecord};
use wasmetry_host::{Identity, Registry, Sink, encode};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::variables;
use wasmetry_tests::prometheus::Prometheus;
use wasmetry_tests::rotel::Rotel;
use wasmetry_tests::server::{Server, agent};
use wasmetry_tests::store::{Allocation, Host, State, engine, prepare_module};
use wasmetry_wasmtime::{ObservedStore, ServerSpan, Telemetry, TelemetryView, attach_module, wall_clock};
use wasmtime::{Module, Store};

/// Keeps the ids of all spans.
#[derive(Default)]
struct Spans(Mutex<Vec<String>>);

impl Sink for Spans {
    fn log(&self, _: &Arc<Identity>, _: LogRecord) {}

    fn span(&self, _: &Arc<Identity>, span: SpanRecord) {
        self.0.lock().unwrap().push(span.context.span_id.to_string());
    }
}

/// A `traceparent` by the trace's number.
fn traceparent(number: u32, is_sampled: bool) -> String {
    format!("00-{number:032x}-00000000000000aa-0{}", u8::from(is_sampled))
}

/// The server span of a request.
fn server(number: u32, is_sampled: bool) -> ServerSpan {
    let incoming = Propagated::from_headers([traceparent(number, is_sampled).as_bytes()], []);
    ServerSpan::begin("GET", "/", incoming.as_ref(), &Sampler { ratio: 1.0, is_parent_based: true })
}

/// The lines of an exposition that have an exemplar of a trace.
fn lines(text: &str, number: u32) -> Vec<&str> {
    let trace = format!(" # {{trace_id=\"{number:032x}\",");
    text.lines().filter(|line| line.contains(&trace)).collect()
}

#[test]
fn what_a_request_observes_leads_to_its_server_span() {
    for is_pushed in [false, true] {
        let spans = Arc::new(Spans::default());
        let host = Host::with_sink("recorder", Arc::<Spans>::clone(&spans));
        let host = if is_pushed { host.pushed() } else { host };
        let begin = wall_clock();
        // Sampled; not sampled and well; not sampled and failed.
        for (number, is_sampled, status) in [(1, true, 200), (2, false, 200), (3, false, 500)] {
            let mut recorder = host.recorder();
            recorder.telemetry().set_server_span(server(number, is_sampled));
            recorder.run("observe-seconds", (f64::from(number) / 16.0,));
            recorder.run("observe-size", (f64::from(number) - 2.75,));
            recorder.run("observe-route", (0u32, format!("c{number}"), 0.25));
            // Two of one series between two reads, of which nothing is known; a guest that pushes does so after each of them.
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
            assert!(spans.0.lock().unwrap().contains(&context.span_id.to_string()));
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

#[test]
fn a_guest_that_traps_leaves_exemplars_and_one_without_a_server_span_none() {
    let host = Host::with_sink("recorder", Arc::new(Spans::default()));
    let mut recorder = host.recorder();
    recorder.run("observe-seconds", (0.5,));
    drop(recorder);
    assert!(!host.scrape_openmetrics().contains("trace_id"));
    let mut recorder = host.recorder();
    recorder.telemetry().set_server_span(server(7, false));
    recorder.run("observe-seconds", (0.25,));
    recorder.call::<_, ()>("trap", (1u64,)).unwrap_err();
    drop(recorder);
    let text = host.scrape_openmetrics();
    assert!(matches!(lines(&text, 7)[..], [line] if line.starts_with("work_duration_seconds_bucket")), "{text}");
}

#[test]
fn what_a_guest_observes_by_handles_leads_to_its_server_span_too() {
    let host = Host::with_sink("handle-api", Arc::new(Spans::default()));
    // Sampled; not sampled and well; not sampled and failed.
    for (number, is_sampled, status) in [(1, true, 200), (2, false, 200), (3, false, 500)] {
        let mut guest = host.recorder();
        guest.telemetry().set_server_span(server(number, is_sampled));
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

#[test]
fn a_running_guest_is_shown_with_the_exemplars_of_a_sampled_request() {
    let host = Host::with_sink("recorder", Arc::new(Spans::default()));
    let mut recorder = host.recorder();
    for (number, seconds) in [(1, 0.25), (2, 0.002)] {
        // The same instance serves both, one after the other.
        recorder.telemetry().set_server_span(server(number, true));
        recorder.run("observe-seconds", (seconds,));
        recorder.run("publish", ());
        assert_eq!(lines(&host.scrape_openmetrics(), number).len(), 1);
    }
    let text = host.scrape_openmetrics();
    assert_eq!((lines(&text, 1).len(), lines(&text, 2).len()), (1, 1), "{text}");
    assert!(!encode::prometheus::encode(&host.telemetry.snapshot()).contains("trace_id"));
}

#[test]
fn a_core_module_has_exemplars_as_a_component_has() {
    let engine = engine(Allocation::OnDemand);
    let wasm = std::fs::read(guest("recorder-module")).unwrap();
    let telemetry = Telemetry::new(Registry::new(), &engine).with_sink(Arc::new(Spans::default()));
    let component = telemetry.component(Identity::new("module"), &wasm).unwrap();
    let mut store = ObservedStore::new_sync(Store::new(&engine, State::new(component.state())));
    store.data_mut().telemetry().set_server_span(server(9, true));
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

/// Sends a request in a trace.
fn call(server: &Server, path: &str, traceparent: &str) -> u16 {
    let request = agent().get(format!("{}{path}", server.url)).header("traceparent", traceparent);
    request.call().unwrap().status().as_u16()
}

/// The exemplars of a metric, by trace and span, once there is one of each of these traces.
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

#[test]
fn prometheus_returns_traces_that_the_collector_has() {
    // The first asks for OpenMetrics, the second for Protocol Buffers.
    for features in ["exemplar-storage", "exemplar-storage,native-histograms"] {
        let Some(rotel) = Rotel::start() else { return };
        let variables = variables(&format!("http://{}", rotel.http), "http/protobuf");
        let server = Server::start_with(&guest("storefront"), &[], &variables);
        let target = server.telemetry.strip_prefix("http://").unwrap();
        let flag = format!("--enable-feature={features}");
        let Some(prometheus) = Prometheus::start(target, &[&flag]) else { return };

        // Sampled; not sampled and well; not sampled and failed, so that it is kept.
        const SLOW: u32 = 0x51;
        const HOME: u32 = 0x40;
        const SOLD_OUT: u32 = 0x50;
        assert_eq!(call(&server, "/slow?ms=60", &traceparent(SLOW, true)), 200);
        assert_eq!(call(&server, "/", &traceparent(HOME, false)), 200);
        assert_eq!(call(&server, "/checkout?item=unicorn", &traceparent(SOLD_OUT, false)), 503);

        // What is printed of a span before its times are its ids, its name and its kind.
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

#[test]
fn prometheus_takes_the_beginnings_of_series_where_it_asks_for_them() {
    let before = wall_clock() as f64 / 1e9;
    let server = Server::start(&guest("storefront"), &[]);
    let started = wall_clock() as f64 / 1e9;
    let target = server.telemetry.strip_prefix("http://").unwrap();
    let Some(prometheus) = Prometheus::start_asking(target, &[], "{created: ['true']}") else { return };
    assert_eq!(call(&server, "/checkout?item=pear", &traceparent(1, false)), 200);
    prometheus.query_until("sum(items_sold_total)", "", |answer| answer.get("") == Some(&1.0));
    // Declared ones began with the component, one with a text label when it was met.
    for query in
        ["http_requests_created{route=\"/\",method=\"GET\"}", "http_request_duration_seconds_created{route=\"/\"}"]
    {
        let created = prometheus.query_until(query, "", |answer| answer.len() == 1)[""];
        assert!((before..=started).contains(&created), "{query}: {before} <= {created} <= {started}");
    }
    let created = prometheus.query_until("items_sold_created", "item", |answer| answer.len() == 1);
    assert!((started..=wall_clock() as f64 / 1e9).contains(&created["pear"]), "{started} {created:?}");
    // Nobody gets them who does not ask.
    assert!(!server.scrape().contains("_created"));
}
