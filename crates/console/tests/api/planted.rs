//! A console with planted data, and the records to plant.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use wasmetry_console::{Answer, Body, Config, Console, Recorder, Request};
use wasmetry_host::Sink as _;
use wasmetry_host::record::{
    FieldValue, Level, LogRecord, Source, SpanEvent, SpanId, SpanKind, SpanRecord, SpanStatus, TraceContext, TraceId,
};
use wasmetry_host::{Identity, Registry};

const SECOND: u64 = 1_000_000_000;

/// A console with a registry and a sink.
pub(crate) struct Planted {
    pub(crate) console: Console,
    pub(crate) registry: Registry,
    pub(crate) recorder: Recorder,
    pub(crate) identity: Arc<Identity>,
    /// The time of the next snapshot.
    time: SystemTime,
}

impl Planted {
    pub(crate) fn new() -> Self {
        Self::with_memory(64 << 20)
    }

    pub(crate) fn with_memory(bytes: usize) -> Self {
        let registry = Registry::new();
        let console = Console::new(Config::default().with_memory(bytes).with_registry(registry.clone()));
        let recorder = Recorder::new(console.clone(), None, true);
        let identity = Arc::new(Identity::new("storefront").with_version("1").with_tenant("acme"));
        Self { console, registry, recorder, identity, time: SystemTime::now() }
    }

    pub(crate) fn store(&mut self) {
        self.console.store(&self.registry.snapshot(Duration::ZERO), self.time);
        self.time += Duration::from_secs(5);
    }

    pub(crate) fn answer(&self, path: &str) -> Answer {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        self.console.answer(&Request { method: "GET", path, query, ..Request::default() })
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.answer(path);
        let text = text(&answer);
        assert_eq!(answer.status, 200, "{path}: {text}");
        serde_json::from_str(text).unwrap()
    }

    /// Ends a request with these properties, with a span and a log of the guest.
    pub(crate) fn request(&self, trace: u128, route: &str, status: u16, duration: u64) {
        self.request_at(nanos(SystemTime::now()), trace, route, status, duration);
    }

    /// Ends a request at a time.
    pub(crate) fn request_at(&self, now: u64, trace: u128, route: &str, status: u16, duration: u64) {
        self.request_of(&self.identity, [now, duration, 42], trace, route, status);
    }

    /// Ends a request of a component, whose panic would be in a line.
    pub(crate) fn request_of(
        &self,
        identity: &Arc<Identity>,
        [now, duration, line]: [u64; 3],
        trace: u128,
        route: &str,
        status: u16,
    ) {
        let start = now - duration;
        let root = context(trace, 1);
        self.recorder.log(identity, log(Some(context(trace, 2)), start + 1, Level::Info, "cart loaded"));
        let mut inner = span(context(trace, 2), Some(1), "load_cart", start + duration / 4, start + duration / 2);
        // To the guest, the host's span is in another process.
        inner.is_parent_remote = true;
        inner.events.push(SpanEvent { time: start + duration / 3, name: "found".into(), attributes: Vec::new() });
        self.recorder.span(identity, inner);
        let mut server = span(root, None, &format!("POST {route}"), start, now);
        server.kind = SpanKind::Server;
        server.is_slow = duration > SECOND;
        server.attributes = vec![
            ("http.request.method".into(), FieldValue::Text("POST".into())),
            ("http.route".into(), FieldValue::Text(route.into())),
            ("http.response.status_code".into(), FieldValue::Unsigned(status.into())),
        ];
        if status >= 500 {
            server.attributes.push(("error.type".into(), FieldValue::Text("unreachable".into())));
            server.status = SpanStatus::Error("index out of bounds".into());
            let place = [
                ("code.file.path", FieldValue::Text("src/cart.rs".into())),
                ("code.line.number", FieldValue::Unsigned(line)),
            ];
            let attributes = place.map(|(key, value)| (key.into(), value)).to_vec();
            server.events.push(SpanEvent { time: now - 1, name: "exception".into(), attributes });
        }
        self.recorder.span(identity, server);
    }
}

/// A service with traffic of 20 s: 8 requests, of which 2 trapped.
pub(crate) fn shop() -> Planted {
    let mut shop = Planted::new();
    let keys = ["component", "version", "tenant"];
    let with = |more: &[&'static str]| [&keys[..], more].concat();
    let of = |more: &[&'static str]| [&["storefront", "1", "acme"][..], more].concat();
    let registry = &shop.registry;
    let requests = registry.counter("wasm_http_requests_total", "Requests.", &with(&["route", "method", "status"]));
    let durations =
        registry.histogram("wasm_http_request_duration_seconds", "Durations.", &with(&["route"]), &[0.01, 0.1, 1.0]);
    let traps = registry.counter("wasm_traps_total", "Traps.", &with(&["reason", "route"]));
    registry.gauge("wasm_instances", "Instances.", &keys).with(&of(&[])).set(2.0);
    registry.gauge("wasm_instances_limit", "Most instances.", &keys).with(&of(&[])).set(128.0);
    registry.gauge("wasm_linear_memory_bytes", "Memory.", &keys).with(&of(&[])).set(131_072.0);
    registry.gauge("wasm_http_requests_in_flight", "In flight.", &with(&["route"])).with(&of(&["/cart"])).set(1.0);
    let (good, failed) = (requests.with(&of(&["/cart", "POST", "200"])), requests.with(&of(&["/cart", "POST", "500"])));
    let times = durations.with(&of(&["/cart"]));
    requests.with(&of(&["/", "GET", "200"]));
    let trapped = traps.with(&of(&["unreachable", "/cart"]));
    shop.store();
    for step in 0..4u128 {
        good.add(1);
        times.observe(0.005);
        shop.request(1 << 64 | step, "/cart", 200, 5_000_000);
        if step < 2 {
            failed.add(1);
            trapped.add(1);
            times.observe(0.05);
            shop.request(2 << 64 | step, "/cart", 500, 50_000_000);
        } else {
            good.add(1);
            times.observe(2.0);
            shop.request(3 << 64 | step, "/cart", 200, 2 * SECOND);
        }
        shop.store();
    }
    shop
}

pub(crate) fn nanos(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}

pub(crate) fn context(trace: u128, span: u64) -> TraceContext {
    TraceContext {
        trace_id: TraceId::new(trace).unwrap(),
        span_id: SpanId::new(span).unwrap(),
        flags: TraceContext::SAMPLED,
    }
}

pub(crate) fn log(trace: Option<TraceContext>, time: u64, level: Level, message: &str) -> LogRecord {
    LogRecord {
        time,
        observed: time + 1,
        level,
        target: "storefront::cart".into(),
        message: message.into(),
        fields: vec![("cart".into(), FieldValue::Signed(42)), ("kind".into(), FieldValue::Text("gift".into()))],
        source: Some(Source { file: "src/cart.rs".into(), line: 42 }),
        trace,
        is_audit: false,
        stream: None,
    }
}

pub(crate) fn span(context: TraceContext, parent: Option<u64>, name: &str, start: u64, end: u64) -> SpanRecord {
    SpanRecord {
        context,
        parent: parent.and_then(SpanId::new),
        is_parent_remote: false,
        trace_state: "".into(),
        name: name.into(),
        kind: SpanKind::Internal,
        start,
        end,
        attributes: vec![("items".into(), FieldValue::Float(1.5))],
        events: Vec::new(),
        links: Vec::new(),
        status: SpanStatus::Unset,
        dropped: 0,
        target: "storefront".into(),
        request: SpanId::new(1),
        is_slow: false,
    }
}

pub(crate) fn text(answer: &Answer) -> &str {
    match &answer.body {
        Body::Bytes(bytes) => std::str::from_utf8(bytes).unwrap(),
        body => panic!("{body:?}"),
    }
}
