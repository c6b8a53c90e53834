//! Adapted apps in a Wasmtime embedding without wasmetry.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use http_body_util::Empty;
use hyper::Request;
use wasmetry_sink::{Reply, Sink};
use wasmetry_tests::adapted::{Adapted, Lines, adapt, fresh, warnings};
use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::embedding::plain::PlainHost;
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::otlp::sum_of_deltas;
use wasmparser::{Parser, Payload};

/// Adapts a guest with the checked-in components and with those built from this tree.
fn both(guest: &str, arguments: &[&str]) -> [Adapted; 2] {
    let fresh = fresh();
    let with_fresh = [arguments, &["--parts", fresh.to_str().unwrap()]].concat();
    [adapt(guest, arguments), adapt(guest, &with_fresh)]
}

#[test]
fn checked_in_components_match_sources() {
    let checked_in = wasmetry_tests::root().join("crates/adapter-provider");
    let compiler = |directory: &PathBuf| fs::read_to_string(directory.join("compiler.txt")).unwrap();
    if compiler(&checked_in) != compiler(&fresh()) {
        // Another compiler makes other bytes. The other tests run the components of this compiler.
        eprintln!("skipped: the checked-in components were made by {}", compiler(&checked_in).trim());
        return;
    }
    for part in ["collector.wasm", "otlp-collector.wasm", "http.wasm", "command.wasm", "exit.wasm"] {
        let [old, new] = [&checked_in, &fresh()].map(|directory| fs::read(directory.join(part)).unwrap());
        assert!(old == new, "crates/adapter-provider/{part} is out of date: run `cargo xtask adapter` and commit it");
    }
}

#[test]
fn adapted_apps_import_only_wasi() {
    for guest in ["storefront", "uninstrumented", "greeter", "recorder"] {
        for arguments in [&[][..], &["--otlp", "http://127.0.0.1:4318"]] {
            for adapted in both(guest, arguments) {
                let bytes = fs::read(&adapted.path).unwrap();
                let mut depth = 0;
                let mut imports = Vec::new();
                for payload in Parser::new(0).parse_all(&bytes) {
                    match payload.unwrap() {
                        Payload::Version { .. } => depth += 1,
                        Payload::End(_) => depth -= 1,
                        Payload::ComponentImportSection(section) if depth == 1 => {
                            imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
                        }
                        _ => {}
                    }
                }
                assert!(imports.len() > 5 && imports.iter().all(|import| import.starts_with("wasi:")), "{imports:?}");
                let has_outgoing = imports.iter().any(|import| import.starts_with("wasi:http/outgoing-handler"));
                assert_eq!(has_outgoing, !arguments.is_empty(), "{imports:?}");
            }
        }
    }
}

/// Paths, the guest's routes and numbers of requests.
const TRAFFIC: [(&str, &str, usize); 4] = [
    ("/", "/", 40),
    ("/cart?session=secret", "/cart", 25),
    ("/checkout?item=pear", "/checkout", 10),
    ("/nowhere", "other", 5),
];

/// With an instance for each request, the lines add up to the exact counts.
#[test]
fn instance_per_request_counts_exactly() {
    for adapted in both("storefront", &["--name", "shop", "--component-version", "1.2", "--tenant", "acme"]) {
        let host = PlainHost::new(&adapted.path);
        for (path, _, count) in TRAFFIC {
            for _ in 0..count {
                host.service().get(path).unwrap();
            }
        }
        let lines = Lines::parse(&host.stderr());
        assert_eq!(lines.0.len(), 80);
        assert!(lines.0.iter().all(|line| line["service"] == "shop" && line["version"] == "1.2"));
        assert!(lines.0.iter().all(|line| line["tenant"] == "acme" && line["method"] == "GET"));
        let total = check_traffic(&lines);
        assert_eq!(total, 80);
        assert!(!host.stderr().contains("secret"), "lines have no query");
    }
}

/// Compares the lines with [`TRAFFIC`], and returns their number of requests.
fn check_traffic(lines: &Lines) -> u64 {
    for (path, route, count) in TRAFFIC {
        assert_eq!(lines.requests(path.split('?').next().unwrap()), count);
        assert_eq!(lines.sum("http_requests_total", &[("method", "GET"), ("route", route)]), count as u64);
        assert_eq!(lines.sum("http_request_duration_seconds", &[("route", route)]), count as u64);
    }
    assert_eq!(lines.sum("items_sold_total", &[("item", "pear")]), 10);
    assert_eq!(lines.sum("http_requests_failed_total", &[("route", "other"), ("status", "404")]), 5);
    lines.sum("http_requests_total", &[])
}

/// With one instance for all requests, the lines and the metrics path have the exact counts.
#[test]
fn shared_instance_counts_exactly() {
    for adapted in both("storefront", &["--name", "shop", "--component-version", "1.2", "--metrics-path", "/metrics"]) {
        let host = PlainHost::new(&adapted.path);
        let mut service = host.service();
        for (path, _, count) in TRAFFIC {
            for _ in 0..count {
                service.get(path).unwrap();
            }
        }
        let (status, text) = service.get("/metrics?all").unwrap();
        assert_eq!(status, 200);
        for (_, route, count) in TRAFFIC {
            let labels = [("component", "shop"), ("version", "1.2"), ("method", "GET"), ("route", route)];
            assert_eq!(value(&text, "http_requests_total", &labels), count as f64);
        }
        assert_eq!(sum(&text, "wasm_http_request_duration_seconds_count", &[("component", "shop")]), 80.0);
        let lines = Lines::parse(&host.stderr());
        assert_eq!(check_traffic(&lines), 80);
        // A scrape is not a request of the app.
        assert_eq!(lines.activities().count(), 80);
    }
}

/// A trap loses no line of an earlier request.
#[test]
fn lines_before_trap_are_complete() {
    for adapted in both("storefront", &[]) {
        let host = PlainHost::new(&adapted.path);
        for _ in 0..5 {
            host.service().get("/").unwrap();
            host.service().get("/boom").unwrap_err();
        }
        let mut service = host.service();
        for _ in 0..3 {
            service.get("/").unwrap();
        }
        service.get("/boom").unwrap_err();
        let lines = Lines::parse(&host.stderr());
        assert_eq!(lines.sum("http_requests_total", &[("route", "/")]), 8);
        assert_eq!(lines.sum("http_requests_total", &[("route", "/boom")]), 0);
        assert_eq!(lines.activities().count(), 8);
    }
}

/// A service without wasmetry has lines with the durations of its requests.
#[test]
fn uninstrumented_service_has_request_times() {
    for adapted in both("uninstrumented", &["--metrics-path", "/-/metrics"]) {
        let host = PlainHost::new(&adapted.path);
        let mut service = host.service();
        for _ in 0..7 {
            assert_eq!(service.get("/a").unwrap(), (200, "plain\n".to_owned()));
        }
        let lines = Lines::parse(&host.stderr());
        assert_eq!(lines.requests("/a"), 7);
        assert!(lines.0.iter().all(|line| line["metrics"].as_array().unwrap().is_empty()));
        assert!(lines.0.iter().all(|line| line["duration_seconds"].as_f64().unwrap() > 0.0));
        let (_, text) = service.get("/-/metrics").unwrap();
        assert_eq!(value(&text, "wasm_http_request_duration_seconds_count", &[("component", "uninstrumented")]), 7.0);
    }
}

#[test]
fn command_writes_a_line() {
    for adapted in both("greeter", &[]) {
        let host = PlainHost::new(&adapted.path);
        assert!(host.run().unwrap());
        assert!(host.run().unwrap());
        let lines = Lines::parse(&host.stderr());
        assert_eq!(lines.activities().count(), 2);
        assert!(lines.0.iter().all(|line| line["succeeded"] == true));
        assert_eq!(lines.sum("greetings_total", &[]), 2);
    }
}

#[test]
fn exiting_command_writes_a_line() {
    for adapted in both("failing-command", &[]) {
        let host = PlainHost::new(&adapted.path);
        assert!(!host.run().unwrap());
        let lines = Lines::parse(&host.stderr());
        assert_eq!(lines.activities().count(), 1);
        assert_eq!(lines.0[0]["succeeded"], false);
        // The guest pushes when it exits, and observes before.
        assert_eq!(lines.sum("attempts_total", &[]), 1);
        assert_eq!(lines.sum("attempts_observed_total", &[]), 7);
    }
}

#[test]
fn library_writes_line_per_push() {
    for adapted in both("recorder", &[]) {
        let host = PlainHost::new(&adapted.path);
        let mut library = host.library();
        for n in 1..=10u64 {
            library.call("count", (n,)).unwrap();
            library.call("set-gauges", (n as f64,)).unwrap();
        }
        library.call("count", (1000u64,)).unwrap();
        // A call that panics sends what it has recorded, by the panic hook of the handler.
        library.call("trap", (1u64,)).unwrap_err();
        let lines = Lines::parse(&host.stderr());
        // Each call of the recorder sends when it returns.
        assert_eq!(lines.0.len(), 22);
        assert_eq!(lines.sum("counted_total", &[]), 1056);
        assert_eq!(lines.last("level_greatest").into_values().collect::<Vec<_>>(), [10.0]);
    }
}

/// The arguments of tests that count answers, on a machine that may be busy.
const PATIENT: [&str; 2] = ["--otlp-timeout", "10s"];

/// Adapts a guest in both ways with a sink as its OTLP endpoint, and calls `check` for each.
fn with_otlp(guest: &str, script: fn(usize) -> Reply, check: impl Fn(&PlainHost, &Sink)) {
    for number in 0..2 {
        let sink = Sink::start(script);
        let identity = ["--name", guest, "--component-version", "1.2"];
        let url = sink.url("/");
        let arguments = [&identity[..], &PATIENT, &["--otlp", &url]].concat();
        let adapted = &both(guest, &arguments)[number];
        check(&PlainHost::new(&adapted.path), &sink);
    }
}

/// The exported deltas add up to the exact counts, for any number of instances.
#[test]
fn otlp_deltas_add_up_exactly() {
    let secret = ["--otlp-header", "Authorization=Bearer a=b", "--otlp-header", "x-scope-orgid=acme"];
    for number in 0..2 {
        let sink = Sink::start(|_| Reply::Accept);
        let url = sink.url("");
        let identity = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme"];
        let arguments = [&identity[..], &PATIENT, &["--no-lines", "--otlp", &url], &secret[..]].concat();
        let host = PlainHost::new(&both("storefront", &arguments)[number].path);
        let mut shared = host.service();
        for (path, _, count) in TRAFFIC {
            for _ in 0..count {
                host.service().get(path).unwrap();
                shared.get(path).unwrap();
            }
        }
        let metrics = sink.metrics();
        for (_, route, count) in TRAFFIC {
            let requests = 2 * count as u64;
            assert_eq!(
                sum_of_deltas(&metrics, "http_requests_total", &[("method", "GET"), ("route", route)]),
                requests
            );
            assert_eq!(sum_of_deltas(&metrics, "http_request_duration_seconds", &[("route", route)]), requests);
        }
        assert_eq!(sum_of_deltas(&metrics, "items_sold_total", &[("item", "pear")]), 20);
        assert_eq!(sum_of_deltas(&metrics, "wasm_http_request_duration_seconds", &[]), 160);
        for metric in &metrics {
            let attribute = |key| metric.resource_attribute(key);
            assert_eq!(attribute("service.name").as_deref(), Some("shop"));
            // The metrics of the export itself belong to no component.
            if !metric.record.name.starts_with("wasmetry_") {
                let identity = (attribute("component"), attribute("service.version"), attribute("tenant"));
                assert_eq!(identity, (Some("shop".into()), Some("1.2".into()), Some("acme".into())), "{metric:?}");
            }
        }
        let requests = sink.seen();
        assert_eq!(requests.len(), 160);
        for request in requests {
            assert_eq!(request.headers["authorization"], "Bearer a=b");
            assert_eq!(request.headers["x-scope-orgid"], "acme");
        }
        assert_eq!(Lines::parse(&host.stderr()).0.len(), 0);
    }
}

#[test]
fn commands_and_libraries_export() {
    with_otlp(
        "greeter",
        |_| Reply::Accept,
        |host, sink| {
            assert!(host.run().unwrap() && host.run().unwrap());
            assert_eq!(sum_of_deltas(&sink.metrics(), "greetings_total", &[]), 2);
            assert_eq!(Lines::parse(&host.stderr()).activities().count(), 2);
        },
    );
    with_otlp(
        "failing-command",
        |_| Reply::Accept,
        |host, sink| {
            assert!(!host.run().unwrap());
            assert_eq!(sum_of_deltas(&sink.metrics(), "attempts_total", &[]), 1);
        },
    );
    with_otlp(
        "recorder",
        |_| Reply::Accept,
        |host, sink| {
            let mut library = host.library();
            for n in 1..=10u64 {
                library.call("count", (n,)).unwrap();
            }
            library.call("trap", (1000u64,)).unwrap_err();
            // The panic hook of the handler sends what the call has recorded.
            assert_eq!(sum_of_deltas(&sink.metrics(), "counted_total", &[]), 1055);
        },
    );
}

/// An unreachable collector fails no request and is reported.
#[test]
fn unreachable_collector_is_reported() {
    for number in 0..2 {
        // No process listens on this port.
        let [addr] = free_addresses();
        let url = format!("http://{addr}");
        let host = PlainHost::new(&both("storefront", &["--otlp", &url])[number].path);
        for _ in 0..5 {
            assert_eq!(host.service().get("/").unwrap().0, 200);
        }
        let warned = warnings(&host.stderr());
        assert_eq!(warned.len(), 5, "{warned:#?}");
        assert!(warned.iter().all(|warning| warning.starts_with(&format!("{url}/v1/metrics: "))), "{warned:#?}");
        // A reused instance waits between its attempts, and reports only those.
        let mut service = host.service();
        for _ in 0..200 {
            assert_eq!(service.get("/").unwrap().0, 200);
        }
        let more = warnings(&host.stderr()).len() - 5;
        assert!((1..100).contains(&more), "{more}");
        assert_eq!(Lines::parse(&host.stderr()).sum("http_requests_total", &[("route", "/")]), 205);
    }
}

/// The end of the warning about an answer that is late.
const LATE: &str = "no answer within 50 ms; the metrics are lost if the instance ends before the answer";

/// A collector that accepts and never answers holds an instance for 50 ms, so that a host does not
/// run out of instances. One that is reused waits for it once.
#[test]
fn hanging_collector_holds_instances_briefly() {
    for number in 0..2 {
        let sink = Sink::start(|_| Reply::Hang);
        let host = PlainHost::new(&both("storefront", &["--otlp", &sink.url("")])[number].path);
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(host.service().get("/").unwrap().0, 200);
        }
        let elapsed = start.elapsed();
        // Far above 20 times 50 ms, for a busy machine.
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
        let warned = warnings(&host.stderr());
        assert_eq!(warned.len(), 20, "{warned:#?}");
        assert!(warned.iter().all(|warning| warning.ends_with(LATE)), "{warned:#?}");

        let mut service = host.service();
        for _ in 0..100 {
            assert_eq!(service.get("/").unwrap().0, 200);
        }
        assert_eq!(warnings(&host.stderr()).len(), 21);
        assert_eq!(Lines::parse(&host.stderr()).sum("http_requests_total", &[("route", "/")]), 120);
    }
}

/// An answer that arrives after the wait counts, if the instance is still there: nothing is sent
/// twice, and nothing is lost.
#[test]
fn late_answer_counts_once() {
    for number in 0..2 {
        let (open, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let sink = Sink::start(move |number| {
            if number == 0 {
                // Until the test has seen the warning.
                let _ = gate.lock().unwrap().recv();
            }
            Reply::Accept
        });
        let host = PlainHost::new(&both("storefront", &["--otlp", &sink.url("")])[number].path);
        let mut service = host.service();
        for _ in 0..5 {
            assert_eq!(service.get("/").unwrap().0, 200);
        }
        let warned = warnings(&host.stderr());
        assert!(warned.len() == 1 && warned[0].ends_with(LATE), "{warned:#?}");
        open.send(()).unwrap();
        let mut requests = 5;
        loop {
            service.get("/").unwrap();
            requests += 1;
            let sent = sum_of_deltas(&sink.metrics(), "http_requests_total", &[("route", "/")]);
            assert!(sent <= requests, "{sent} of {requests}");
            if sent == requests {
                break;
            }
        }
        let outcome = |outcome| [("signal", "metrics"), ("destination", "otlp"), ("outcome", outcome)];
        assert_eq!(sum_of_deltas(&sink.metrics(), "wasmetry_export_requests_total", &outcome("retried")), 0);
    }
}

/// Lines of instances that run at the same time do not mix, even if they are longer than what
/// `wasi:io` writes at once.
#[test]
fn each_line_is_one_write() {
    // Escaped, each of these has twice the length.
    let long = "\"".repeat(128);
    let identity = ["--name", &long, "--component-version", &long, "--tenant", &long];
    let adapted = adapt("storefront", &[&identity[..], &["--parts", fresh().to_str().unwrap()]].concat());
    let host = PlainHost::new(&adapted.path);
    let method = "X".repeat(1024);
    let path = format!("http://localhost/{}", "\"".repeat(1023));
    let request = Request::builder().method(method.as_str()).uri(path).body(Empty::new()).unwrap();
    host.service().send(request).unwrap();
    let writes = host.stderr_writes();
    let lengths: Vec<_> = writes.iter().map(String::len).collect();
    assert!(lengths.iter().any(|length| *length > 4096), "{lengths:?}");
    assert!(writes.iter().all(|write| write.starts_with('{') && write.ends_with("}\n")), "{lengths:?}");
}

/// Metrics of a failed export are part of a later one.
#[test]
fn failed_export_is_sent_again() {
    let script = |number| if number == 0 { Reply::Status(503, Vec::new(), "busy") } else { Reply::Accept };
    with_otlp("storefront", script, |host, sink| {
        let mut service = host.service();
        let mut requests = 0;
        while sink.seen().len() < 3 {
            service.get("/").unwrap();
            requests += 1;
        }
        assert_eq!(sum_of_deltas(&sink.metrics(), "http_requests_total", &[("route", "/")]), requests);
        let outcome = |outcome| [("signal", "metrics"), ("destination", "otlp"), ("outcome", outcome)];
        assert_eq!(sum_of_deltas(&sink.metrics(), "wasmetry_export_requests_total", &outcome("retried")), 1);
        let warned = warnings(&host.stderr());
        assert!(warned.len() == 1 && warned[0].ends_with("status 503"), "{warned:#?}");
    });
}

/// A refused export is dropped, counted and reported.
#[test]
fn refused_export_is_dropped() {
    let script = |number| if number == 0 { Reply::Status(403, Vec::new(), "no") } else { Reply::Accept };
    with_otlp("storefront", script, |host, sink| {
        let mut service = host.service();
        for _ in 0..3 {
            service.get("/").unwrap();
        }
        assert_eq!(sum_of_deltas(&sink.metrics(), "http_requests_total", &[("route", "/")]), 2);
        let lost =
            sum_of_deltas(&sink.metrics(), "wasmetry_dropped_total", &[("signal", "metrics"), ("reason", "rejected")]);
        assert!(lost > 0, "{lost}");
        let warned = warnings(&host.stderr());
        assert!(warned.len() == 1 && warned[0].ends_with("status 403; the metrics are lost"), "{warned:#?}");
    });
}
