//! Explain: the requests that a selection, an alert or a time stand for, and their causes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use wasmetry_console::Recorder;
use wasmetry_host::handle_api::{Attributes, Log};
use wasmetry_host::record::{Level, SpanId, TraceContext, TraceId};
use wasmetry_host::{Component, Declarations, HttpSummary, Identity, Outcome, Sink};

use crate::planted::{Planted, nanos, text};

const SECOND: u64 = 1_000_000_000;

/// Ends requests of one component, 20 ms after each other.
struct Requests {
    component: Component,
    sink: Arc<dyn Sink>,
    number: u64,
    /// The end of the next one.
    time: u64,
}

impl Requests {
    /// The requests of `storefront`, the first of which ends some seconds before now.
    fn new(shop: &Planted, seconds: u64) -> Self {
        let component = shop.registry.component(Identity::new("storefront"), Declarations::default());
        let sink: Arc<dyn Sink> = Arc::new(Recorder::new(shop.console.clone(), None, true));
        Self { component, sink, number: 0, time: nanos(SystemTime::now()) - seconds * SECOND }
    }

    /// Ends some requests, each of which has this log.
    fn end(&mut self, count: u64, status: u16, took: Duration, message: &str) {
        for _ in 0..count {
            self.number += 1;
            self.time += SECOND / 50;
            let mut telemetry = self.component.request_telemetry(Arc::clone(&self.sink), Arc::default());
            let trace_id = TraceId::new(u128::from(self.number)).unwrap();
            let context = TraceContext { trace_id, span_id: SpanId::new(self.number).unwrap(), flags: 0 };
            telemetry.set_context(context, self.time);
            let attributes = Attributes::default();
            let log = Log { level: Level::Info, target: None, message, attributes, trace: None, is_audit: false };
            telemetry.log(log, self.time);
            telemetry.set_http(HttpSummary {
                method: "GET",
                route: "/cart".into(),
                status,
                request_bytes: None,
                response_bytes: None,
                error: None,
            });
            let outcome = if status >= 500 { Outcome::Failed } else { Outcome::Ok };
            telemetry.finish(outcome, took, self.time);
        }
    }
}

/// Asserts that this log is the first cause, of this number of requests.
#[track_caller]
fn assert_cause(answer: &Value, requests: u64, log: &str) {
    assert_eq!((&answer["verdict"], &answer["selected"]["requests"]), (&"causes".into(), &requests.into()), "{answer}");
    let first = &answer["causes"][0];
    assert!(first["attributes"].to_string().contains(log), "{answer}");
    assert_eq!(first["selected"]["with"], requests, "{answer}");
}

const QUICK: Duration = Duration::from_millis(20);

/// Requests that are slow for an alert, and not for the host, have causes.
#[test]
fn latency_alerts_select_by_duration() {
    let shop = Planted::new();
    let mut requests = Requests::new(&shop, 10);
    requests.end(60, 200, QUICK, "cart loaded");
    requests.end(20, 200, Duration::from_millis(600), "cache missed");
    requests.end(60, 200, QUICK, "cart loaded");
    assert_eq!(shop.get("/api/v1/explain?outcome=slow")["verdict"], "no_requests");
    for alert in ["StorefrontHighLatency", "StorefrontLatencyAnomaly", "StorefrontCartDurationSecondsHigh"] {
        let answer = shop.get(&format!("/api/v1/explain?alert={alert}"));
        assert_cause(&answer, 20, "cache missed");
        assert_eq!(answer["normal"]["requests"], 120);
        let selection = &answer["selection"];
        assert_eq!((&selection["component"], &selection["min"]), (&"storefront".into(), &0.5.into()), "{selection}");
        assert_eq!(selection["text"], "requests that took from 0.5 s of `storefront` in the last 15 minutes");
        assert!(answer["text"].as_str().unwrap().starts_with("20 of 20 slow requests (100%)"), "{answer}");
        // A request has a threshold of its own.
        let slower = shop.get(&format!("/api/v1/explain?alert={alert}&min=0.7"));
        assert_eq!((&slower["verdict"], &slower["selection"]["min"]), (&"no_requests".into(), &0.7.into()));
    }
    // An objective's budget is spent by failed requests, too.
    requests.end(5, 500, QUICK, "cache missed");
    let burn = shop.get("/api/v1/explain?alert=StorefrontLatencyBudgetBurn&min=0.5");
    assert_cause(&burn, 25, "cache missed");
    assert!(burn["text"].as_str().unwrap().starts_with("25 of 25 failed or slow requests"), "{burn}");
    assert_cause(&shop.get("/api/v1/explain?alert=StorefrontHighErrorRate"), 5, "cache missed");
}

/// A name that begins with no component explains none; the error names those that are served.
#[test]
fn alerts_of_no_component_are_refused() {
    let mut shop = Planted::new();
    // This one has had no request.
    let instances = shop.registry.gauge("wasm_instances", "Instances.", &["component", "version", "tenant"]);
    for tenant in ["acme", "zeta"] {
        instances.with(&["ware-house", "1", tenant]).set(1.0);
    }
    shop.store();
    Requests::new(&shop, 10).end(20, 500, QUICK, "cart loaded");
    for wrong in ["StorfrontHighErrorRate", "HighErrorRate", "StorefrontsTrapRate", "StorfrontFastBudgetBurn"] {
        let answer = shop.answer(&format!("/api/v1/explain?alert={wrong}"));
        let text = text(&answer);
        assert_eq!(answer.status, 400, "{wrong}: {text}");
        assert!(text.contains("`storefront`, `ware-house`") && text.contains("add `component`"), "{text}");
        let named = shop.get(&format!("/api/v1/explain?alert={wrong}&component=storefront"));
        assert_eq!(named["selected"]["requests"], 20);
    }
    let selected = |alert: &str| {
        let answer = shop.get(&format!("/api/v1/explain?alert={alert}"));
        let selection = &answer["selection"];
        (selection["component"].clone(), selection["tenant"].clone(), answer["selected"]["requests"].clone())
    };
    assert_eq!(selected("WareHouseHighErrorRate2"), ("ware-house".into(), Value::Null, 0.into()));
    assert_eq!(selected("WareHouseZetaTrapRate"), ("ware-house".into(), "zeta".into(), 0.into()));
    // An objective has its component's name; those of the whole service are about no requests.
    assert_eq!(selected("WareHouseZetaOrdersSlowBudgetBurn"), ("ware-house".into(), "zeta".into(), 0.into()));
}

/// A time alone selects all of its requests against the rest: a peak of normal ones has a cause.
#[test]
fn time_selects_all_requests() {
    let shop = Planted::new();
    let mut requests = Requests::new(&shop, 60);
    requests.end(60, 200, QUICK, "cart loaded");
    let from = requests.time + 1000;
    requests.end(40, 200, QUICK, "campaign opened");
    requests.end(10, 503, QUICK, "campaign opened");
    let to = requests.time;
    requests.time += SECOND;
    requests.end(60, 200, QUICK, "cart loaded");
    let seconds = |nanos: u64| format!("{}.{:09}", nanos / SECOND, nanos % SECOND);
    // Times are read as floats, which are exact to some hundred nanoseconds.
    let path = format!("/api/v1/explain?from={}&to={}", seconds(from), seconds(to + 1000));
    let all = shop.get(&path);
    assert_cause(&all, 50, "campaign opened");
    assert_eq!((&all["normal"]["requests"], &all["selection"]["outcome"]), (&120.into(), &"all".into()));
    assert_eq!(all["selection"]["text"], "all requests in the selected time");
    // What reports a failure is apart.
    assert!(!all["causes"].to_string().contains("503") && all["signs"].to_string().contains("503"), "{all}");
    // With an outcome, the normal requests of this time are those that others are compared with.
    let failed = shop.get(&format!("{path}&outcome=failed"));
    assert_eq!((&failed["selected"]["requests"], &failed["normal"]["requests"]), (&10.into(), &40.into()));
    // Unusual traffic is the time of the alert against the time before.
    let anomaly = shop.get("/api/v1/explain?alert=StorefrontTrafficAnomaly&since=30");
    assert_eq!(anomaly["selection"]["text"], "all requests of `storefront` in the last 30 seconds");
}
