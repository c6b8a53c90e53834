//! Panics and errors of a core module without the standard library, in wasmi.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmetry_host::record::{FieldValue, LogRecord, SpanRecord, SpanStatus};
use wasmetry_host::{Declarations, Identity, Outcome, Recording, Registry, Sink, Timestamp};
use wasmetry_wasmi::Regions;
use wasmi::{Engine, Linker, Module, Store};

#[derive(Default)]
struct Exported {
    logs: Mutex<Vec<LogRecord>>,
    spans: Mutex<Vec<SpanRecord>>,
}

impl Sink for Exported {
    fn log(&self, _: &Arc<Identity>, log: LogRecord) {
        self.logs.lock().unwrap().push(log);
    }

    fn span(&self, _: &Arc<Identity>, span: SpanRecord) {
        self.spans.lock().unwrap().push(span);
    }
}

/// Has an instance do a job. Returns the logs and the span.
fn work(job: u32) -> (Vec<LogRecord>, SpanRecord) {
    // <target>/<profile>/deps/<test>
    let test = std::env::current_exe().unwrap();
    let guest = test.ancestors().nth(3).unwrap().join("guests/failing-module.wasm");
    let wasm =
        std::fs::read(&guest).unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", guest.display()));
    let registry = Registry::new();
    let component = registry.component(Identity::new("job"), Declarations::from_wasm(&wasm).unwrap());
    let sink = Arc::<Exported>::default();
    let mut request = component.request_telemetry(Arc::<Exported>::clone(&sink), Arc::new(Recording::default()));

    let engine = Engine::default();
    let module = Module::new(&engine, &wasm).unwrap();
    assert_eq!(module.imports().len(), 0);
    let mut store = Store::new(&engine, ());
    let instance = Linker::<()>::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
    let mut regions = Regions::of(&component, &mut store, &instance).unwrap();
    let result = instance.get_typed_func::<u32, u32>(&store, "work").unwrap().call(&mut store, job);
    let outcome = match &result {
        Ok(_) if job == 9 => Outcome::Failed,
        Ok(_) => Outcome::Ok,
        Err(_) => Outcome::Ended("unreachable"),
    };
    let now = Timestamp { wall: 1_700_000_000_000_000_000, ..Timestamp::default() };
    regions.read_records(&store, now, &mut request);
    request.finish(outcome, Duration::from_millis(1), now.wall);
    regions.read_last(&store, Duration::ZERO);
    let logs = std::mem::take(&mut *sink.logs.lock().unwrap());
    let mut spans = std::mem::take(&mut *sink.spans.lock().unwrap());
    (logs, spans.pop().unwrap())
}

#[track_caller]
fn assert_panic(job: u32, message: &str) {
    let (logs, span) = work(job);
    let [log] = &logs[..] else { panic!("{logs:?}") };
    let source = log.source.as_ref().unwrap();
    assert!(source.file.ends_with("src/lib.rs"), "{source:?}");
    assert!(log.message.starts_with("panicked at ") && log.message.ends_with(message), "{}", log.message);
    assert_eq!(log.trace.unwrap().span_id, span.context.span_id);
    assert_eq!(span.status, SpanStatus::Error(log.message.clone()));
    assert_eq!(&*span.events[0].name, "exception");
}

#[test]
fn panic_handler_records_panics() {
    assert_panic(7, ": no job 7");
}

/// The record whose value panics is abandoned, and the panic takes its place.
#[test]
fn panic_within_record_is_recorded() {
    assert_panic(8, ": unprintable");
}

#[test]
fn error_has_its_source() {
    let (logs, span) = work(9);
    let [log] = &logs[..] else { panic!("{logs:?}") };
    assert_eq!(&*log.message, "job 9 failed: an error occurred when formatting an argument");
    assert_eq!(span.status, SpanStatus::Error(log.message.clone()));
    let kind = FieldValue::Text("failing_module::JobError".into());
    assert_eq!(span.attributes, [("error.type".into(), kind)]);
}

#[test]
fn success_records_no_exception() {
    let (logs, span) = work(1);
    assert!(logs.is_empty() && span.events.is_empty() && span.status == SpanStatus::Unset, "{logs:?} {span:?}");
}
