//! The bound of memory: an hour of 100,000 series, and in some of its steps 10,000 requests and
//! 10,000 logs a second, measured by an allocator that counts.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use wasmetry_console::{Body, Config, Console, Recorder, Request};
use wasmetry_host::handle_api::{Attributes, Log};
use wasmetry_host::record::{
    FieldValue, Level, LogRecord, Source, SpanId, SpanKind, SpanRecord, SpanStatus, TraceContext, TraceId,
};
use wasmetry_host::{Component, Declarations, HttpSummary, Identity, Outcome, Registry, Sink};

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The most bytes that were allocated at a time since it was set.
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = ALLOCATED.fetch_add(layout.size() + 16, Relaxed);
        PEAK.fetch_max(before + layout.size() + 16, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() + 16, Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMIT: usize = 64 << 20;

/// Runs a part of the load. Returns the bytes that a console takes at the most and at the end: all
/// that is allocated, but for what was before.
fn taken(before: usize, run: impl FnOnce()) -> (usize, usize) {
    PEAK.store(ALLOCATED.load(Relaxed), Relaxed);
    run();
    let [peak, end] = [&PEAK, &ALLOCATED].map(|bytes| bytes.load(Relaxed).saturating_sub(before));
    (peak, end)
}

fn status(console: &Console) -> serde_json::Value {
    let answer = console.answer(&Request { method: "GET", path: "/api/v1/status", ..Request::default() });
    let Body::Bytes(bytes) = answer.body else { panic!("{:?}", answer.body) };
    serde_json::from_slice(&bytes).unwrap()
}

fn request(recorder: &Recorder, identity: &Arc<Identity>, number: u64, status: u64) {
    let trace = u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64
        | u128::from(number.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        | 1;
    let context = |span| TraceContext {
        trace_id: TraceId::new(trace).unwrap(),
        span_id: SpanId::new(span).unwrap(),
        flags: TraceContext::SAMPLED,
    };
    let start = number * 100_000;
    let text = |text: &str| FieldValue::Text(text.into());
    let span = |context, parent: Option<u64>, kind| SpanRecord {
        context,
        parent: parent.and_then(SpanId::new),
        is_parent_remote: false,
        trace_state: "".into(),
        name: "GET /cart".into(),
        kind,
        start,
        end: start + 5_000_000,
        attributes: vec![
            // Some routes are a client's, as of a guest that sets paths.
            (
                "http.route".into(),
                text(&format!("/cart/{}", if number.is_multiple_of(10) { number } else { number % 50 })),
            ),
            ("http.response.status_code".into(), FieldValue::Unsigned(status)),
            ("url.path".into(), text(&"x".repeat(200))),
        ],
        events: Vec::new(),
        links: Vec::new(),
        status: if status >= 500 { SpanStatus::Error("failed".into()) } else { SpanStatus::Unset },
        dropped: 0,
        target: "storefront".into(),
        request: SpanId::new(2 * number),
        is_slow: false,
    };
    recorder.span(identity, span(context(2 * number + 1), Some(2 * number), SpanKind::Internal));
    recorder.span(identity, span(context(2 * number), None, SpanKind::Server));
}

fn log(number: u64, level: Level) -> LogRecord {
    LogRecord {
        time: number,
        observed: number,
        level,
        target: "storefront::cart".into(),
        message: format!("cart {number} has {} items", number % 7).into(),
        fields: vec![("cart".into(), FieldValue::Unsigned(number))],
        source: Some(Source { file: "src/cart.rs".into(), line: 42 }),
        trace: None,
        is_audit: false,
        stream: None,
    }
}

/// Ends a request whose facts are kept if they are selected. Each has a log of its own.
fn facts(component: &Component, sink: &Arc<dyn Sink>, number: u64, status: u16) {
    let time = number * 100_000;
    let mut telemetry = component.request_telemetry(Arc::clone(sink), Arc::default());
    let trace = TraceId::new(u128::from(number) + 1).unwrap();
    telemetry.set_context(TraceContext { trace_id: trace, span_id: SpanId::new(number + 1).unwrap(), flags: 0 }, time);
    let (message, attributes) = (format!("cart {number} was loaded"), Attributes::default());
    telemetry.log(
        Log { level: Level::Trace, target: None, message: &message, attributes, trace: None, is_audit: false },
        time,
    );
    telemetry.set_http(HttpSummary {
        method: "GET",
        route: format!("/cart/{}", number % 50).as_str().into(),
        status,
        request_bytes: None,
        response_bytes: None,
        error: None,
    });
    let outcome = if status >= 500 { Outcome::Failed } else { Outcome::Ok };
    telemetry.finish(outcome, Duration::from_millis(5), time);
}

/// Bytes beside the bound while records are added: a log or span that is encoded, and a table that
/// grows, whose old place is there until it was copied.
const TRANSIENT: usize = 4 << 20;

/// Snapshots of an hour.
const STEPS: u64 = 720;

/// The steps between two with records: the whole hour of them would take minutes.
const BETWEEN_FLOODS: u64 = 40;

/// The requests, and the logs, of a step of 5 s with 10,000 of each a second.
const RECORDS: u64 = 50_000;

/// All of it at once stays within the bound at each moment, what was dropped is counted, and the
/// latest is there: an hour of 100,000 series, and in each 40th of its steps 10,000 logs and 10,000
/// requests a second, each in a trace of its own, with facts and hostile routes.
#[test]
fn bound_holds_under_floods() {
    let registry = Registry::new();
    let names: Vec<String> = (0..9).map(|family| format!("family_{family}_total")).collect();
    let queues = || (0..10_000).map(|queue| format!("queue-{queue}"));
    let counters: Vec<_> = names
        .iter()
        .flat_map(|name| {
            let family = registry.counter(name, "Jobs.", &["queue"]);
            queues().map(move |queue| family.with(&[&queue])).collect::<Vec<_>>()
        })
        .collect();
    let family = registry.histogram("job_duration_seconds", "Times.", &["queue"], &[0.1, 1.0, 10.0]);
    let histograms: Vec<_> = queues().map(|queue| family.with(&[&queue])).collect();
    let identity = Arc::new(Identity::new("storefront"));
    let component = registry.component(Identity::clone(&identity), Declarations::default());
    let before = ALLOCATED.load(Relaxed);
    let console = Console::new(Config::default().with_memory(LIMIT));
    let recorder = Recorder::new(console.clone(), None, true);
    let sink: Arc<dyn Sink> = Arc::new(Recorder::new(console.clone(), None, true));
    let mut time = SystemTime::now();
    let (mut requests, mut logs, mut most) = (0, 0, [0; 2]);
    for step in 0..STEPS {
        counters.iter().zip(0..).for_each(|(counter, at)| counter.add((at + step) % 3));
        histograms.iter().zip(0..).for_each(|(histogram, at)| histogram.observe(((at + step) % 20) as f64));
        let without = ALLOCATED.load(Relaxed);
        let snapshot = registry.snapshot(Duration::ZERO);
        let of_snapshot = ALLOCATED.load(Relaxed) - without;
        let (peak, _) = taken(before + of_snapshot, || console.store(&snapshot, time));
        most[0] = most[0].max(peak);
        drop(snapshot);
        time += Duration::from_secs(5);
        let records = if step % BETWEEN_FLOODS == 0 || step + 1 == STEPS { RECORDS } else { 0 };
        let (peak, used) = taken(before, || {
            for _ in 0..records {
                requests += 1;
                let status = if requests % 100 == 0 { 500 } else { 200 };
                request(&recorder, &identity, requests, status);
                if requests % 4 == 0 {
                    facts(&component, &sink, requests, status as u16);
                    // The host logs the error of a failed request.
                    logs += u64::from(status == 500);
                }
            }
            for _ in 0..records {
                logs += 1;
                recorder.log(&identity, log(logs, if logs % 2 == 0 { Level::Debug } else { Level::Info }));
            }
        });
        most[1] = most[1].max(peak);
        let status = status(&console);
        assert!(used <= LIMIT, "step {step}: {used} bytes are allocated; {}", status["memory"]);
        assert!(most[0].max(most[1]) <= LIMIT + TRANSIENT, "step {step}: {most:?} at the most; {}", status["memory"]);
        let counted = status["memory"]["used_bytes"].as_u64().unwrap() as usize;
        assert!(counted <= LIMIT, "{counted}");
        // What is counted is what is allocated, within a fifth.
        assert!(used < counted + counted / 5 + (1 << 20), "{used} are allocated, {counted} are counted");
    }
    println!("at the most {most:?} bytes, of snapshots and of records");
    let status = status(&console);
    // The registry has one of its own, and the component one for each level of logs.
    assert_eq!(status["series"]["kept"].as_u64().unwrap() + status["series"]["refused"].as_u64().unwrap(), 100_006);
    assert!(status["series"]["kept"].as_u64().unwrap() > 90_000, "{}", status["series"]);
    // An hour of them does not fit: what is older is coarser, and the oldest points are gone.
    let steps: Vec<u64> = status["series"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step_seconds"].as_u64().unwrap())
        .collect();
    assert_eq!(steps.first(), Some(&5), "{}", status["series"]);
    assert!(steps.len() > 1 && steps.windows(2).all(|pair| pair[0] < pair[1]), "{}", status["series"]);
    assert_eq!(status["logs"]["received"], logs);
    let kept_and_dropped = status["logs"]["kept"].as_u64().unwrap() + status["logs"]["dropped"].as_u64().unwrap();
    assert_eq!(kept_and_dropped, logs);
    assert_eq!(status["traces"]["received"], requests);
    assert!(status["traces"]["kept"].as_u64().unwrap() > 1000);
    assert!(status["memory"]["fingerprints_bytes"].as_u64().unwrap() > 1 << 20, "{}", status["memory"]);
    // Failed requests are kept; of the others, as many as the sampling allows.
    let dropped = status["dropped"].as_array().unwrap();
    assert!(dropped.iter().any(|drop| drop["reason"] == "sampled_out"), "{dropped:?}");
}
