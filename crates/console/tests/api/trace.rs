//! Traces, one trace, traps, and explain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use wasmetry_console::Recorder;
use wasmetry_host::handle_api::{Attributes, Log};
use wasmetry_host::record::{FieldValue, Level, SpanEvent, SpanId, SpanKind, SpanStatus, TraceContext};
use wasmetry_host::{Declarations, HttpSummary, Identity, Outcome, Recording, Sink};

use crate::fixture::assert_has_members;
use crate::planted::{Planted, context, log, nanos, shop, span};

#[test]
fn traces_begin_with_failed_ones() {
    let shop = shop();
    let traces = shop.get("/api/v1/traces");
    assert_has_members(&traces, "traces.json");
    let outcomes: Vec<&str> =
        traces["traces"].as_array().unwrap().iter().map(|trace| trace["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failed", "failed", "slow", "slow", "normal", "normal", "normal", "normal"]);
    // Pages have each request once.
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.get(&format!("/api/v1/traces?limit=3{cursor}"));
        pages.extend(page["traces"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&pages, traces["traces"].as_array().unwrap());
    for (query, count) in [
        ("status=5xx", 2),
        ("status=200", 6),
        ("outcome=slow", 2),
        ("outcome=failed,slow", 4),
        ("reason=unreachable", 2),
        ("min=1.5", 2),
        ("max=0.04", 4),
        ("route=/cart", 8),
        ("route=/", 0),
        ("component=other", 0),
    ] {
        let found = shop.get(&format!("/api/v1/traces?{query}"));
        assert_eq!(found["traces"].as_array().unwrap().len(), count, "{query}");
    }
    let slowest = shop.get("/api/v1/traces?order=slowest&limit=1");
    assert_eq!(slowest["traces"][0]["outcome"], "slow");
}

#[test]
fn trace_has_spans_logs_and_trap() {
    let shop = shop();
    let now = nanos(SystemTime::now());
    let mut call = span(context(2 << 64, 5), Some(1), "GET", now, now + 1000);
    call.kind = SpanKind::Client;
    call.attributes = vec![
        ("server.address".into(), FieldValue::Text("inventory".into())),
        ("server.port".into(), FieldValue::Unsigned(8080)),
    ];
    shop.recorder.span(&shop.identity, call);
    let trace = shop.get(&format!("/api/v1/traces/{:032x}", 2u128 << 64));
    assert_has_members(&trace, "trace.json");
    assert_eq!(trace["services"][0]["to"], "inventory:8080");
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 3);
    assert_eq!((&spans[1]["name"], &spans[1]["depth"]), (&Value::from("load_cart"), &Value::from(1)));
    assert_eq!(spans[1]["is_critical"], true);
    let path = trace["critical_path"].as_array().unwrap();
    let sum: f64 = path.iter().map(|piece| piece["duration_seconds"].as_f64().unwrap()).sum();
    assert!((sum - 0.05).abs() < 1e-9, "{path:?}");
    assert_eq!(trace["trap"]["place"], "src/cart.rs:42");
    assert_eq!(trace["logs"][0]["message"], "cart loaded");
    let distribution = &trace["distribution"];
    assert_eq!((&distribution["requests"], &distribution["bucket"]), (&Value::from(8), &Value::from(1)));
    assert_eq!(shop.answer(&format!("/api/v1/traces/{:032x}", 99)).status, 404);
    let traps = shop.get("/api/v1/traps");
    assert_has_members(&traps, "traps.json");
    assert_eq!(
        (&traps["traps"][0]["count"], &traps["traps"][0]["place"]),
        (&Value::from(2), &Value::from("src/cart.rs:42"))
    );
}

/// A request is slow by its component's `keep-slow`, else from a second on: in the list of traces,
/// in its filter and order, and in what is explained.
#[test]
fn slow_has_one_meaning() {
    for (keep_slow, millis, is_slow) in
        [(Some(100), 500, true), (Some(2000), 1500, false), (None, 1500, true), (None, 500, false)]
    {
        // Whether the sampler of the exporter has selected the request, or not.
        for (exports_spans, flags) in [(true, TraceContext::SAMPLED), (true, 0), (false, 0)] {
            let shop = Planted::new();
            let component = shop.registry.component(Identity::clone(&shop.identity), Declarations::default());
            let sink: Arc<dyn Sink> = Arc::new(Recorder::new(shop.console.clone(), None, exports_spans));
            let recording = Recording { keep_slow: keep_slow.map(Duration::from_millis), ..Recording::default() };
            let now = nanos(SystemTime::now());
            let of_request = TraceContext { flags, ..context(7, 1) };
            let mut request = component.request_telemetry(sink, Arc::new(recording));
            request.set_context(of_request, now);
            let is_kept = request.finish(Outcome::Ok, Duration::from_millis(millis), now);
            assert!(request.wants_span(of_request, is_kept));
            request.span(span(of_request, None, "GET /cart", now - millis * 1_000_000, now));
            drop(request);
            let case = format!("{keep_slow:?} {millis} {exports_spans} {flags}");
            let outcome = if is_slow { "slow" } else { "normal" };
            assert_eq!(shop.get("/api/v1/traces")["traces"][0]["outcome"], outcome, "{case}");
            let count = |path: &str| shop.get(path)["traces"].as_array().unwrap().len();
            assert_eq!(count("/api/v1/traces?outcome=slow"), usize::from(is_slow), "{case}");
            let explained = shop.get("/api/v1/explain?outcome=slow");
            assert_eq!(explained["selected"]["requests"], u64::from(is_slow), "{case}: {explained}");
            assert_eq!(explained["normal"]["requests"], u64::from(!is_slow), "{case}: {explained}");
        }
    }
}

/// A response of 503 has no description in its span: the list has what the guest has logged.
#[test]
fn failure_without_description_has_text() {
    let shop = Planted::new();
    let end = |trace: u128, status: u64, logs: &[(Level, &str, &str)]| {
        let now = nanos(SystemTime::now());
        for (level, target, message) in logs {
            let mut record = log(Some(context(trace, 2)), now, *level, message);
            record.target = (*target).into();
            shop.recorder.log(&shop.identity, record);
        }
        let mut server = span(context(trace, 1), None, "GET /cart", now - 1000, now);
        server.attributes.push(("http.response.status_code".into(), FieldValue::Unsigned(status)));
        server.status = SpanStatus::Error("".into());
        shop.recorder.span(&shop.identity, server);
        shop.get(&format!("/api/v1/traces/{trace:032x}"))["error"].clone()
    };
    let (access, cart) = ("access", "storefront::cart");
    let access_record = (Level::Warn, access, "GET /cart 503: the guest has logged no error");
    let warned = [(Level::Warn, cart, "few left"), (Level::Warn, cart, "out of stock"), access_record];
    assert_eq!(end(1, 503, &warned), "503: out of stock");
    let failed = [(Level::Error, cart, "no route to stock"), (Level::Warn, cart, "later"), (Level::Info, cart, "x")];
    assert_eq!(end(2, 500, &failed), "500: no route to stock");
    assert_eq!(end(3, 503, &[access_record]), "503: no error or warning of it is kept");
    let long = "ä".repeat(4000);
    let text = end(4, 500, &[(Level::Error, cart, &long)]);
    assert!(text.as_str().unwrap().len() <= 512 + "…".len(), "{text}");
    let listed = shop.get("/api/v1/traces?order=newest");
    let errors: Vec<&Value> = listed["traces"].as_array().unwrap().iter().map(|trace| &trace["error"]).collect();
    assert_eq!((errors[0], errors[3]), (&text, &Value::from("503: out of stock")));
}

/// A guest's span is none of the host, whatever its kind and parent.
#[test]
fn guest_server_spans_are_no_requests() {
    let shop = Planted::new();
    for (number, parent) in [(3, Some(1)), (4, None)] {
        let mut guests = span(context(7, number), parent, "GET /forged", 1, 2);
        guests.kind = SpanKind::Server;
        shop.recorder.span(&shop.identity, guests);
    }
    assert_eq!(shop.get("/api/v1/status")["traces"]["received"], 0);
    shop.request(7, "/cart", 200, 5_000_000);
    let traces = shop.get("/api/v1/traces");
    assert_eq!((traces["traces"].as_array().unwrap().len(), &traces["traces"][0]["spans"]), (1, &Value::from(4)));
    let trace = shop.get(&format!("/api/v1/traces/{:032x}", 7));
    assert_eq!((&trace["route"], &trace["spans"].as_array().unwrap().len()), (&Value::from("/cart"), &4));
}

/// Two requests of one trace, the second one inside of the first or a repetition, each with a trap
/// of its own and a span that ends after it.
#[test]
fn requests_of_one_trace_keep_spans() {
    let shop = Planted::new();
    let event = |line: u64| SpanEvent {
        time: 5,
        name: "exception".into(),
        attributes: vec![
            ("code.file.path".into(), FieldValue::Text("src/cart.rs".into())),
            ("code.line.number".into(), FieldValue::Unsigned(line)),
        ],
    };
    let of = |request: u64, number: u64, name: &str| {
        let mut record = span(context(9, number), (number != request).then_some(request), name, 1, 9);
        record.request = SpanId::new(request);
        record
    };
    // Both are in progress, and the one that began first ends first.
    for request in [10, 20] {
        let mut guests = of(request, request + 1, "load_cart");
        guests.events.push(event(request));
        shop.recorder.span(&shop.identity, guests);
    }
    for request in [10, 20] {
        let mut server = of(request, request, "GET /cart");
        server.attributes.push(("error.type".into(), FieldValue::Text("unreachable".into())));
        server.status = SpanStatus::Error("index out of bounds".into());
        shop.recorder.span(&shop.identity, server);
        shop.recorder.span(&shop.identity, of(request, request + 2, "late"));
    }
    let traps = shop.get("/api/v1/traps");
    let mut places: Vec<_> = traps["traps"].as_array().unwrap().iter().map(|trap| trap["place"].to_string()).collect();
    places.sort();
    assert_eq!(places, ["\"src/cart.rs:10\"", "\"src/cart.rs:20\""]);
    let trace = shop.get(&format!("/api/v1/traces/{:032x}", 9));
    let names: BTreeSet<_> =
        trace["spans"].as_array().unwrap().iter().map(|span| span["span_id"].to_string()).collect();
    assert_eq!(names.len(), 6, "{trace}");
    assert_eq!(shop.get("/api/v1/traces?limit=1")["traces"][0]["spans"], 6);
}

/// A failed request of a trace stays when the normal ones after it are dropped.
#[test]
fn failed_request_outlives_its_trace() {
    let shop = Planted::with_memory(4 << 20);
    let now = nanos(SystemTime::now());
    let end = |trace: u128, id: u64, route: &str, is_failed: bool, duration: u64| {
        let mut server = span(context(trace, id), None, "GET /cart", now, now + duration);
        server.request = SpanId::new(id);
        server.attributes.push(("http.route".into(), FieldValue::Text(route.into())));
        server.attributes.push(("text".into(), FieldValue::Text("x".repeat(4096).into())));
        if is_failed {
            server.status = SpanStatus::Error("no stock".into());
        }
        shop.recorder.span(&shop.identity, server);
    };
    // These are the slowest of the route.
    (1..=5).for_each(|id| end(u128::from(id), id, "/cart", false, 1000));
    for (id, is_failed) in [(10, true), (20, false), (30, false)] {
        end(9, id, "/cart", is_failed, 10);
    }
    let path = format!("/api/v1/traces/{:032x}", 9);
    assert_eq!(shop.get(&path)["spans"].as_array().unwrap().len(), 3);
    (100..2000).for_each(|id| end(u128::from(id), id, "/", true, 10));
    let trace = shop.get(&path);
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!((spans.len(), &spans[0]["status"]), (1, &Value::from("error")));
}

/// A tenth of the requests fail: those that reach one log. Another log is in half of each group.
#[test]
fn explain_names_the_planted_log() {
    let shop = Planted::new();
    let component = shop.registry.component(Identity::clone(&shop.identity), Declarations::default());
    let sink: Arc<dyn Sink> = Arc::new(Recorder::new(shop.console.clone(), None, true));
    for number in 0..100u128 {
        let is_failed = number % 10 == 0;
        let status = if is_failed { 500 } else { 200 };
        let now = nanos(SystemTime::now());
        let mut request = component.request_telemetry(Arc::clone(&sink), Arc::default());
        request.set_context(context(number + 1, 1), now);
        let messages = [(is_failed, "cart has no items"), (number % 20 < 10, "a coupon was used")];
        for (_, message) in messages.into_iter().filter(|(is_there, _)| *is_there) {
            let attributes = Attributes::default();
            let log = Log { level: Level::Warn, target: None, message, attributes, trace: None, is_audit: false };
            request.log(log, now);
        }
        request.set_http(HttpSummary {
            method: "POST",
            route: "/cart".into(),
            status,
            request_bytes: None,
            response_bytes: None,
            error: None,
        });
        let outcome = if is_failed { Outcome::Failed } else { Outcome::Ok };
        request.finish(outcome, Duration::from_millis(5), now);
        shop.request(number + 1, "/cart", status, 5_000_000);
    }
    let found = shop.get("/api/v1/explain?alert=StorefrontHighErrorRate");
    assert_has_members(&found, "explain.json");
    assert_eq!((&found["selection"]["component"], &found["verdict"]), (&"storefront".into(), &"causes".into()));
    assert_eq!(
        found["text"],
        "10 of 10 failed requests (100%) have the log `cart has no items` at storefront; 0 of 90 normal ones (0%)"
    );
    assert_eq!(found["causes"].as_array().unwrap().len(), 1);
    let signs = found["signs"].to_string();
    assert!(signs.contains("status 500") && !signs.contains("coupon"), "{signs}");
    let examples = found["examples"].as_array().unwrap();
    assert!(examples.len() == 5 && examples.iter().all(|trace| trace["status"] == 500), "{examples:#?}");
    assert_eq!(shop.get("/api/v1/explain?route=/nowhere")["verdict"], "no_requests");
    assert!(shop.get("/api/v1/status")["memory"]["fingerprints_bytes"].as_u64().unwrap() > 10_000);
}
