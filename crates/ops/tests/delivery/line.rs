//! Real lines of `wasmetry serve`: records of the host crate in its encoding.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmetry_host::record::{Entry, LogRecord, OutputStream, SpanRecord, TraceContext};
use wasmetry_host::{AccessLog, Declarations, HttpSummary, Identity, Outcome, Recording, Registry, Sink, encode};

/// The time of the lines: 2023-11-14T22:13:20.123456789Z.
pub(crate) const TIME: u64 = 1_700_000_000_123_456_789;

/// The trace of the lines.
pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[derive(Default)]
struct Lines(Mutex<String>);

impl Sink for Lines {
    fn log(&self, identity: &Arc<Identity>, log: LogRecord) {
        self.0.lock().unwrap().push_str(&encode::json::encode(&[Entry::new(identity.clone(), log)]));
    }

    fn span(&self, _: &Arc<Identity>, _: SpanRecord) {}
}

/// Returns the lines of one request that failed: what the guest printed to stderr, and the access
/// log.
pub(crate) fn failed_request() -> [String; 2] {
    let registry = Registry::new();
    let identity = Identity::new("shop").with_version("1.2").with_tenant("acme");
    let component = registry.component(identity, Declarations::from_wasm(b"\0asm\x0d\0\x01\0").unwrap());
    let sink = Arc::new(Lines::default());
    let recording = Recording { access_log: AccessLog::ALL, ..Recording::default() };
    let mut request = component.request_telemetry(sink.clone(), Arc::new(recording));
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let caller = TraceContext::parse(parent.as_bytes());
    request.set_caller(caller);
    request.printed_lines(caller).record(OutputStream::Stderr, b"cannot reach the database", TIME);
    request.set_http(HttpSummary {
        method: "POST",
        route: "/cart/{id}".into(),
        status: 500,
        request_bytes: Some(4),
        response_bytes: Some(19),
        error: None,
    });
    request.finish(Outcome::Ended("deadline"), Duration::from_millis(1250), TIME);
    let lines = sink.0.lock().unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let [printed, access] = &lines[..] else { panic!("{lines:?}") };
    assert!(printed.contains("\"stream\":\"stderr\"") && access.contains("\"target\":\"access\""), "{lines:?}");
    [(*printed).to_owned(), (*access).to_owned()]
}
