//! A guest that records by the handle API, without the crate `wasmetry`; see `wit/handle_api.wit`.
//!
//! As a command, it records once.

#![allow(clippy::too_many_arguments, reason = "the bindings pass the parts of the arguments one by one")]

use std::mem::ManuallyDrop;

use self::wasmetry::telemetry::attributes::{Attribute, Value};
use self::wasmetry::telemetry::logs::{self, Level, LogRecord};
use self::wasmetry::telemetry::metrics::{Counter, Descriptor, Error, Gauge, Histogram, Label, Merge, UpDownCounter};
use self::wasmetry::telemetry::requests;
use self::wasmetry::telemetry::spans::{self, Span, SpanContext, SpanKind, Status};

wit_bindgen::generate!({
    path: ["../../wit", "wit/handle_api.wit"],
    world: "wasmetry:test-guests/handle-api",
    generate_all,
});

struct HandleApi;

fn metric(name: &str) -> Descriptor {
    Descriptor { name: name.to_owned(), help: "Help.".to_owned(), unit: None }
}

fn label(key: &str, value: &str) -> Label {
    Label { key: key.to_owned(), value: value.to_owned() }
}

fn int(key: &str, value: i64) -> Attribute {
    Attribute { key: key.to_owned(), value: Value::Int(value) }
}

fn text(key: &str, value: &str) -> Attribute {
    Attribute { key: key.to_owned(), value: Value::String(value.to_owned()) }
}

fn log(level: Level, target: Option<&str>, message: &str, attributes: Vec<Attribute>) -> LogRecord {
    LogRecord { level, target: target.map(str::to_owned), message: message.to_owned(), attributes }
}

fn error_text(error: &Error) -> String {
    match error {
        Error::Invalid(text) => format!("invalid: {text}"),
        Error::Conflict(text) => format!("conflict: {text}"),
        Error::Limit(text) => format!("limit: {text}"),
    }
}

impl Guest for HandleApi {
    fn set_route(route: String) {
        requests::set_route(&route);
    }

    fn set_request_attribute(key: String, value: i64) {
        requests::set_attribute(&int(&key, value));
    }

    fn measure(route: String, seconds: f64) {
        let requests = Counter::resolve(&metric("requests_total"), &[label("route", &route)]).unwrap();
        requests.inc();
        requests.add(2.0);
        Counter::resolve(&metric("paid_total"), &[]).unwrap().add(0.25);
        UpDownCounter::resolve(&metric("stock"), &[]).unwrap().add(-3.0);
        let time = Descriptor { unit: Some("seconds".to_owned()), ..metric("time_seconds") };
        let time = Histogram::resolve(&time, &[0.1, 1.0], &[label("component", "mine")]).unwrap();
        time.observe(seconds);
        time.observe_all(&[0.1, 7.5]);
    }

    fn set_gauges(value: f64) {
        for (name, rule) in [("sum", Merge::Sum), ("max", Merge::Max), ("min", Merge::Min), ("last", Merge::Last)] {
            Gauge::resolve(&metric(name), rule, &[]).unwrap().set(value);
        }
    }

    fn resolve(
        kind: String,
        name: String,
        unit: Option<String>,
        buckets: Vec<f64>,
        labels: Vec<(String, String)>,
    ) -> Result<(), String> {
        let labels: Vec<Label> = labels.into_iter().map(|(key, value)| Label { key, value }).collect();
        let metric = Descriptor { unit, ..metric(&name) };
        match kind.as_str() {
            "counter" => Counter::resolve(&metric, &labels).map(drop),
            "up-down-counter" => UpDownCounter::resolve(&metric, &labels).map(drop),
            "gauge" => Gauge::resolve(&metric, Merge::Last, &labels).map(drop),
            _ => Histogram::resolve(&metric, &buckets, &labels).map(drop),
        }
        .map_err(|error| error_text(&error))
    }

    fn count(name: String, amount: f64, times: u32) {
        let counter = Counter::resolve(&metric(&name), &[]).unwrap();
        for _ in 0..times {
            counter.add(amount);
        }
    }

    fn emit_records(user: i64) -> String {
        logs::emit(&log(Level::Info, None, "requested", vec![int("user", user)]), None);
        let outer = Span::start("outer", SpanKind::Internal, None, &[int("user", user)]);
        let inner = outer.child("inner", SpanKind::Client, &[]);
        let attributes = vec![
            text("name", "Ada"),
            Attribute { key: "ok".to_owned(), value: Value::Bool(true) },
            Attribute { key: "ratio".to_owned(), value: Value::Double(1.5) },
        ];
        logs::emit(&log(Level::Warn, Some("shop.cart"), "slow", attributes), Some(&inner));
        logs::emit(&log(Level::Debug, None, "detail", vec![]), Some(&outer));
        logs::audit(&log(Level::Debug, Some("audit"), "seen", vec![]), Some(&outer));
        inner.set_attribute(&text("peer", "db"));
        inner.set_attribute(&text("peer", "cache"));
        inner.add_event("retried", &[int("after", 3)]);
        let other = SpanContext {
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span_id: "b7ad6b7169203331".to_owned(),
            trace_flags: 1,
        };
        inner.add_link(&other, &[text("why", "so")]);
        inner.set_status(&Status::Error("timed out".to_owned()));
        inner.end();
        let traceparent = inner.traceparent();
        let context = inner.context();
        assert_eq!(traceparent[3..52], format!("{}-{}", context.trace_id, context.span_id));
        outer.set_status(&Status::Ok);
        drop(Span::start("from afar", SpanKind::Consumer, Some(&other), &[]));
        // The handle is leaked, so that the host ends the span.
        let _ = ManuallyDrop::new(Span::start("left open", SpanKind::Internal, None, &[]));
        traceparent
    }

    fn enabled(target: Option<String>) -> Vec<bool> {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        levels.map(|level| logs::enabled(level, target.as_deref())).to_vec()
    }

    fn current_span() -> String {
        spans::current()
            .map_or(String::new(), |span| format!("{}-{}-{}", span.trace_id, span.span_id, span.trace_flags))
    }

    fn trap() {
        let outer = Span::start("before the end", SpanKind::Internal, None, &[]);
        let inner = outer.child("the last", SpanKind::Internal, &[]);
        logs::emit(&log(Level::Debug, None, "about to fail", vec![]), Some(&inner));
        Counter::resolve(&metric("failures_total"), &[]).unwrap().inc();
        panic!("requested by the test");
    }

    fn pass_invalid(size: u32) {
        let huge = "\u{e9}".repeat(size as usize / 2);
        let huge = huge.as_str();
        let labels: Vec<Label> = (0..size / 64).map(|_| label(huge.get(..2).unwrap_or_default(), "x")).collect();
        let _ = Counter::resolve(&metric(huge), &[]).map_err(|error| assert!(error_text(&error).len() < 1000));
        let _ = Counter::resolve(&metric("invalid_total"), &[label(huge, huge)])
            .map_err(|error| assert!(error_text(&error).len() < 1000));
        let _ = Counter::resolve(&metric("invalid_total"), &labels)
            .map_err(|error| assert!(error_text(&error).len() < 1000));
        let counter = Counter::resolve(&metric("invalid_total"), &[label("text", huge)]).unwrap();
        for amount in [f64::NAN, f64::INFINITY, -1.0, -f64::MIN_POSITIVE] {
            counter.add(amount);
        }
        let help = Descriptor { help: huge.to_owned(), unit: Some(huge.to_owned()), ..metric("x") };
        assert!(Gauge::resolve(&help, Merge::Sum, &[]).is_err());
        let rising: Vec<f64> = (0..size / 8).map(f64::from).collect();
        assert!(Histogram::resolve(&metric("x"), &rising, &[]).is_err());
        let histogram = Histogram::resolve(&metric("sizes"), &[1.0], &[]).unwrap();
        histogram.observe_all(&rising);
        histogram.observe_all(&[f64::NAN; 3]);

        let attributes: Vec<Attribute> =
            (0..size / 64).map(|n| Attribute { key: n.to_string(), value: Value::Double(f64::NAN) }).collect();
        logs::emit(&log(Level::Error, Some(huge), huge, attributes.clone()), None);
        logs::emit(&log(Level::Error, None, "", vec![text(huge, huge); 12]), None);
        let none = SpanContext { trace_id: "0".repeat(32), span_id: "0".repeat(16), trace_flags: 255 };
        let long = SpanContext { trace_id: huge.to_owned(), span_id: huge.to_owned(), trace_flags: 0 };
        let span = Span::start(huge, SpanKind::Server, Some(&none), &attributes);
        drop(Span::start("", SpanKind::Server, Some(&long), &[]));
        span.add_link(&none, &[]);
        span.add_link(&long, &attributes);
        span.set_attribute(&text(huge, huge));
        for _ in 0..200 {
            span.add_event(huge, &[]);
        }
        span.set_status(&Status::Error(huge.to_owned()));
        span.end();
        span.end();
        span.set_attribute(&int("late", 1));
        span.add_event("late", &[]);
        span.set_status(&Status::Ok);
        let below = span.child("below one that has ended", SpanKind::Internal, &[]);
        logs::emit(&log(Level::Info, None, "late", vec![]), Some(&below));
    }

    fn keep_handles(kind: String, count: u32) -> u32 {
        let mut kept = 0;
        for _ in 0..count {
            let is_kept = match kind.as_str() {
                "counter" => Counter::resolve(&metric("kept_total"), &[]).map(ManuallyDrop::new).is_ok(),
                "gauge" => Gauge::resolve(&metric("kept_gauge"), Merge::Sum, &[]).map(ManuallyDrop::new).is_ok(),
                "ended-span" => {
                    ManuallyDrop::new(Span::start("kept", SpanKind::Internal, None, &[])).end();
                    true
                }
                _ => {
                    let _ = ManuallyDrop::new(Span::start("kept", SpanKind::Internal, None, &[]));
                    true
                }
            };
            kept += u32::from(is_kept);
        }
        kept
    }
}

export!(HandleApi);

fn main() {
    HandleApi::measure("command".to_owned(), 0.5);
    HandleApi::emit_records(7);
    if std::env::args().any(|argument| argument == "trap") {
        HandleApi::trap();
    }
}
