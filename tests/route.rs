//! Routes that only the guest knows: in metrics, spans, exemplars and reports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::thread;

use wasmetry_host::encode::otlp::proto::trace::v1::span::SpanKind;
use wasmetry_host::limits;
use wasmetry_host::propagation::{Propagated, Sampler};
use wasmetry_tests::embedding::observed::Host;
use wasmetry_tests::exposition::{has, sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::memory_sink::MemorySink;
use wasmetry_tests::otlp::{Collector, attributes};
use wasmetry_tests::server::{Server, agent, get};
use wasmetry_wasmtime::ServerSpan;

const REQUESTS: &str = "wasm_http_requests_total";
const DURATIONS: &str = "wasm_http_request_duration_seconds_count";

/// A path, the route that its requests have, and their status.
const PATHS: [(&str, &str, u16); 10] = [
    ("/users/7", "/users/{id}", 200),
    ("/users/7/trap", "/users/{id}", 500),
    ("/users/7/fail", "/users/{id}", 500),
    ("/orders/7", "/orders/{id}", 200),
    ("/twice", "/users/{id}", 200),
    ("/undeclared", "other", 200),
    ("/many", "/orders/{id}", 200),
    ("/concurrent", "/users/{id}", 200),
    ("/other", "/", 200),
    ("/nowhere", "/", 200),
];

/// Returns the number of requests of each path that have this route, and status if one is given.
fn expected(route: &str, status: Option<u16>) -> u64 {
    let matches = |of: &&(&str, &str, u16)| of.1 == route && status.is_none_or(|status| of.2 == status);
    PATHS.iter().filter(matches).count() as u64
}

/// Requests are counted by the guest's route, also if the guest traps after it has set it.
#[test]
fn requests_are_counted_by_route() {
    const EACH: u64 = 20;
    let server = Server::start(&guest("router"), &[]);
    // Declared routes exist before the first request.
    let text = server.scrape();
    assert_eq!(value(&text, DURATIONS, &[("route", "/orders/{id}")]), 0.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("route", "/users/{id}"), ("reason", "unreachable")]), 0.0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let agent = agent();
                for _ in 0..EACH / 4 {
                    for (path, _, status) in PATHS {
                        assert_eq!(get(&agent, &format!("{}{path}", server.url)).0, status, "{path}");
                    }
                }
            });
        }
    });
    let all = EACH * PATHS.len() as u64;
    let text = server.scrape_until(|text| sum(text, REQUESTS, &[]) == all as f64);
    for route in ["/", "/users/{id}", "/orders/{id}", "other"] {
        let count = |status| (EACH * expected(route, status)) as f64;
        assert_eq!(sum(&text, REQUESTS, &[("route", route)]), count(None), "{route}:\n{text}");
        assert_eq!(sum(&text, REQUESTS, &[("route", route), ("status", "500")]), count(Some(500)), "{route}");
        assert_eq!(value(&text, DURATIONS, &[("route", route)]), count(None), "{route}");
    }
    let trapped = [("route", "/users/{id}"), ("reason", "unreachable")];
    assert_eq!(value(&text, "wasm_traps_total", &trapped), EACH as f64);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), EACH as f64);
    assert_eq!(value(&text, "wasmetry_dropped_total", &[("reason", "undeclared_route")]), EACH as f64);
    // In flight, a request has the mount's route.
    assert_eq!(value(&text, "wasm_http_requests_in_flight", &[]), 0.0);
    let (_, stderr) = server.stop();
    let report = "GET /users/7/trap (route /users/{id}): unreachable";
    assert!(stderr.iter().any(|line| line.contains(report)), "{stderr:#?}");
}

/// The server span of each request has the guest's route and attributes.
#[test]
fn spans_and_exemplars_have_route() {
    let collector = Collector::start("grpc");
    let server = Server::start_with(&guest("router"), &[], &collector.variables());
    let paths = PATHS.into_iter().chain([("/chatty", "/users/{id}", 200), ("/attributes", "/", 200)]);
    for (path, _, status) in paths.clone() {
        assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, status, "{path}");
    }
    let count = paths.clone().count();
    let arrived = collector
        .wait(|arrived| arrived.spans.iter().filter(|(_, span)| span.kind() == SpanKind::Server).count() == count);
    let find = |path: &str| {
        let has_path = |of: &&(_, wasmetry_host::encode::otlp::proto::trace::v1::Span)| {
            of.1.kind() == SpanKind::Server && attributes(&of.1.attributes)["url.path"] == path
        };
        let (_, span) = arrived.spans.iter().find(has_path).unwrap();
        (span.name.clone(), attributes(&span.attributes), span.dropped_attributes_count)
    };
    for (path, route, _) in paths {
        let (name, attributes, _) = find(path);
        assert_eq!((name, attributes["http.route"].as_str()), (format!("GET {route}"), route), "{path}");
    }
    let (_, attributes, dropped) = find("/attributes");
    assert_eq!((attributes["user.id"].as_str(), attributes["user.name"].as_str()), ("8", "ann"));
    assert_eq!(attributes["http.response.status_code"], "200");
    assert_eq!(dropped, 2);

    // The durations' exemplars are traces of the route's requests.
    let request = agent().get(format!("{}/metrics", server.telemetry)).header("accept", "application/openmetrics-text");
    let text = request.call().unwrap().body_mut().read_to_string().unwrap();
    for (path, route) in [("/orders/7", "/orders/{id}"), ("/users/7", "/users/{id}")] {
        let is_bucket =
            |line: &&str| line.starts_with("wasm_http_request_duration_seconds_bucket") && line.contains(route);
        let traces = text.lines().filter(is_bucket).filter_map(|line| line.split_once("# {trace_id=\"")?.1.get(..32));
        let of_route: Vec<String> = PATHS
            .iter()
            .filter(|(_, of, _)| *of == route)
            .flat_map(|(path, ..)| trace_of(&arrived.spans, path))
            .chain(trace_of(&arrived.spans, "/chatty"))
            .collect();
        let mut found = 0;
        for trace in traces {
            found += 1;
            assert!(of_route.iter().any(|known| known == trace), "{path}: {trace} is not among {of_route:?}");
        }
        assert!(found > 0, "{path}: {text}");
    }
}

/// Returns the traces of the requests for a path.
fn trace_of<R>(spans: &[(R, wasmetry_host::encode::otlp::proto::trace::v1::Span)], path: &str) -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let of_path = spans.iter().filter(|(_, span)| {
        span.kind() == SpanKind::Server
            && attributes(&span.attributes).get("url.path").map(String::as_str) == Some(path)
    });
    of_path.map(|(_, span)| hex(&span.trace_id)).collect()
}

/// Guests that name routes at run time have a limited number of them.
#[test]
fn named_routes_are_limited() {
    for is_pushed in [false, true] {
        let host = Host::with_sink("handle-api", std::sync::Arc::new(MemorySink::default()));
        let host = if is_pushed { host.pushed() } else { host };
        let invalid = ["", "/search?q=1", "other", &"x".repeat(257)];
        let names: Vec<String> = (0..limits::NAMED_ROUTES + 6).map(|number| format!("/shop/{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            let mut instance = host.instance();
            instance.run("set-route", (name.as_str(),));
            let expected = if number < limits::NAMED_ROUTES { name.as_str() } else { "other" };
            assert_eq!(instance.store.route().as_deref(), Some(expected));
        }
        for name in invalid {
            let mut instance = host.instance();
            assert_eq!(instance.store.route(), None);
            instance.run("set-route", (name,));
            assert_eq!(instance.store.route().as_deref(), Some("other"), "{name}");
        }
        let text = host.scrape();
        assert_eq!(value(&text, "wasmetry_dropped_total", &[("reason", "route_limit")]), 6.0);
        assert_eq!(value(&text, "wasmetry_dropped_total", &[("reason", "invalid_route")]), 4.0);
    }
}

/// A span has the route and the attributes that the guest sets by the handle API; a trap counts
/// under the route.
#[test]
fn named_route_survives_trap() {
    let sink = std::sync::Arc::new(MemorySink::default());
    let host = Host::with_sink("handle-api", std::sync::Arc::<MemorySink>::clone(&sink));
    let mut instance = host.instance();
    let sampler = Sampler { ratio: 1.0, is_parent_based: true };
    instance.telemetry().set_server_span(ServerSpan::begin("GET", "/", None::<&Propagated>, &sampler));
    instance.run("set-route", ("/shop/{id}",));
    instance.run("set-request-attribute", ("shop.id", 7i64));
    instance.call::<_, ()>("trap", ()).unwrap_err();
    drop(instance);
    let spans = sink.spans();
    let span = spans.iter().find(|span| &*span.name == "GET /shop/{id}").unwrap_or_else(|| panic!("{spans:#?}"));
    let text =
        |key: &str| span.attributes.iter().find(|(known, _)| &**known == key).map(|(_, value)| format!("{value:?}"));
    assert!(text("http.route").unwrap().contains("/shop/{id}"));
    assert!(text("shop.id").unwrap().contains('7'));
    let scrape = host.scrape();
    assert_eq!(value(&scrape, "wasm_traps_total", &[("route", "/shop/{id}")]), 1.0);
    assert!(!has(&scrape, "wasm_traps_total", &[("route", "/")]));
}
