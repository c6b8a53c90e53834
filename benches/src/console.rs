//! The workloads of the console: what a log, a request and a snapshot cost.

pub mod service;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wasmetry_console::{Config, Console, Recorder};
use wasmetry_host::record::{
    FieldValue, Level, LogRecord, Source, SpanId, SpanKind, SpanRecord, SpanStatus, TraceContext, TraceId,
};
use wasmetry_host::{Component, Counter, Declarations, HttpSummary, Identity, Outcome, Registry, Sink};

/// The operations in one round.
const OPERATIONS: u64 = 10_000;

/// The series of a snapshot.
const SERIES: u64 = 10_000;

/// A console that receives logs, spans and facts.
struct Receiver {
    console: Console,
    recorder: Recorder,
    sink: Arc<dyn Sink>,
    identity: Arc<Identity>,
    next: u64,
}

impl Receiver {
    fn new() -> Self {
        let console = Console::new(Config::default());
        let recorder = || Recorder::new(console.clone(), None, false);
        let identity = Arc::new(Identity::new("storefront").with_version("1"));
        Self { recorder: recorder(), sink: Arc::new(recorder()), console, identity, next: 0 }
    }

    /// Passes the spans of a request.
    fn spans(&self, time: u64, flags: u8, pass: fn(&Recorder, &Arc<Identity>, SpanRecord)) {
        let of = |span| Some(TraceContext { flags, ..context(self.next, span)? });
        let (Some(root), Some(inner)) = (of(2 * self.next), of(2 * self.next + 1)) else { return };
        pass(&self.recorder, &self.identity, span(inner, root.span_id, time));
        pass(&self.recorder, &self.identity, request_span(root, "/cart", 200, time));
    }

    /// Ends a request, whose facts the console keeps.
    fn facts(&self, component: &Component, time: u64) {
        let mut telemetry = component.request_telemetry(Arc::clone(&self.sink), Arc::default());
        if let Some(root) = context(self.next, 2 * self.next) {
            telemetry.set_context(root, time);
        }
        telemetry.set_http(HttpSummary {
            method: "GET",
            route: "/cart".into(),
            status: 200,
            request_bytes: None,
            response_bytes: None,
            error: None,
        });
        telemetry.finish(Outcome::Ok, Duration::from_millis(1), time);
    }
}

fn context(number: u64, span: u64) -> Option<TraceContext> {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let trace_id = TraceId::new(1 << 127 | u128::from(random))?;
    Some(TraceContext { trace_id, span_id: SpanId::new(span)?, flags: 0 })
}

fn log(time: u64) -> LogRecord {
    LogRecord {
        time,
        observed: time,
        level: Level::Info,
        target: "storefront::cart".into(),
        message: "cart of 7 loaded".into(),
        fields: vec![("user".into(), FieldValue::Unsigned(7)), ("ok".into(), FieldValue::Bool(true))],
        source: Some(Source { file: "src/cart.rs".into(), line: 42 }),
        trace: context(1, 1),
        is_audit: false,
        stream: None,
    }
}

/// A span of the guest.
fn span(context: TraceContext, request: SpanId, time: u64) -> SpanRecord {
    let text = |text: &str| FieldValue::Text(text.into());
    SpanRecord {
        context,
        parent: Some(request),
        is_parent_remote: false,
        trace_state: "".into(),
        name: "load_cart".into(),
        kind: SpanKind::Internal,
        start: time,
        end: time + 1_000_000,
        attributes: vec![("cart".into(), FieldValue::Unsigned(42)), ("kind".into(), text("gift"))],
        events: Vec::new(),
        links: Vec::new(),
        status: SpanStatus::Unset,
        dropped: 0,
        target: "storefront".into(),
        request: Some(request),
        is_slow: false,
    }
}

/// The host's span of a request.
fn request_span(context: TraceContext, route: &str, status: u16, time: u64) -> SpanRecord {
    let text = |text: &str| FieldValue::Text(text.into());
    SpanRecord {
        parent: None,
        name: format!("GET {route}").into(),
        kind: SpanKind::Server,
        attributes: vec![
            ("http.request.method".into(), text("GET")),
            ("http.route".into(), text(route)),
            ("url.path".into(), text(route)),
            ("http.response.status_code".into(), FieldValue::Unsigned(status.into())),
        ],
        target: "wasmetry".into(),
        ..span(context, context.span_id, time)
    }
}

/// Returns a round of logs that are kept. The records are made before, but for a clone of each.
pub fn logs() -> Box<dyn FnMut() -> u64> {
    let mut receiver = Receiver::new();
    Box::new(move || {
        for _ in 0..OPERATIONS {
            receiver.next += 1;
            receiver.recorder.log(&receiver.identity, log(receiver.next));
        }
        OPERATIONS
    })
}

/// Returns a round of requests of a busy service, each of which the console rejects.
pub fn rejected_requests() -> Box<dyn FnMut() -> u64> {
    let mut receiver = Receiver::new();
    Box::new(move || {
        let mut kept = 0;
        for _ in 0..OPERATIONS {
            receiver.next += 1;
            // 100,000 requests a second.
            let now = receiver.next * 10_000;
            let Some(context) = context(receiver.next, 1) else { continue };
            let Receiver { recorder, identity, .. } = &receiver;
            kept += u64::from(recorder.selects(identity, context.trace_id, Outcome::Ok, false, now));
        }
        assert!(kept < OPERATIONS / 10, "{kept} requests are kept");
        OPERATIONS
    })
}

/// Returns a round of requests of a busy service that are exported, each with two spans, and that
/// the console rejects.
pub fn exported_requests() -> Box<dyn FnMut() -> u64> {
    let mut receiver = Receiver::new();
    receiver.recorder = Recorder::new(receiver.console.clone(), None, true);
    Box::new(move || {
        for _ in 0..OPERATIONS {
            receiver.next += 1;
            receiver.spans(receiver.next * 10_000, TraceContext::SAMPLED, Recorder::span);
        }
        OPERATIONS
    })
}

/// Returns a round of requests that are kept, each with two spans and its facts.
pub fn kept_requests() -> Box<dyn FnMut() -> u64> {
    let mut receiver = Receiver::new();
    let registry = Registry::new();
    let component = registry.component(Identity::clone(&receiver.identity), Declarations::default());
    Box::new(move || {
        for _ in 0..OPERATIONS {
            receiver.next += 1;
            // No more than the console keeps of them.
            let time = receiver.next * 100_000_000;
            receiver.facts(&component, time);
            receiver.spans(time, 0, Recorder::observed_span);
        }
        OPERATIONS
    })
}

/// Returns a round of one snapshot of 10,000 series that have all changed. The operation is a
/// series.
pub fn snapshot() -> Box<dyn FnMut() -> u64> {
    let registry = Registry::new();
    let family = registry.counter("jobs_total", "Jobs.", &["component", "version", "queue"]);
    let counters: Vec<Counter> =
        (0..SERIES).map(|queue| family.with(&["storefront", "77ab01c2de44", &format!("queue-{queue}")])).collect();
    let console = Console::new(Config::default());
    let mut time = SystemTime::now();
    Box::new(move || {
        counters.iter().for_each(|counter| counter.add(3));
        console.store(&registry.snapshot(Duration::ZERO), time);
        time += Duration::from_secs(5);
        SERIES
    })
}
