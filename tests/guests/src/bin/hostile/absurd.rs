//! Calls of the handle API with every absurd value. More than 16 MiB in one call would end the
//! guest.

use crate::log;
use crate::wasmetry::telemetry::attributes::{Attribute, Value};
use crate::wasmetry::telemetry::metrics::{Counter, Descriptor, Gauge, Histogram, Label, Merge, UpDownCounter};
use crate::wasmetry::telemetry::{logs, spans};

/// Bytes of each long text. A call of the host may pass 16 MiB.
const LONG: usize = 10_000_000;

fn descriptor(name: &str) -> Descriptor {
    Descriptor { name: name.to_owned(), help: String::new(), unit: None }
}

fn label(key: &str, value: &str) -> Label {
    Label { key: key.to_owned(), value: value.to_owned() }
}

/// Passes every absurd value.
pub(crate) fn pass_all() {
    descriptors();
    values();
    records();
}

/// Descriptors that are refused, each for one reason: 12.
fn descriptors() {
    let long = "n".repeat(LONG);
    for name in ["", "a b_total", "no_suffix", "wasm_total", "up", long.as_str()] {
        let _ = Counter::resolve(&descriptor(name), &[]);
    }
    let labels: Vec<_> = (0..33).map(|number| label(&format!("k{number}"), "v")).collect();
    for labels in [&labels[..], &[label("k", "v"), label("k", "w")], &[label("le", "1")]] {
        let _ = Counter::resolve(&descriptor("absurd_refused_total"), labels);
    }
    for buckets in [&[f64::NAN][..], &[2.0, 1.0], &[f64::INFINITY]] {
        let _ = Histogram::resolve(&descriptor("absurd_refused"), buckets, &[]);
    }
}

/// Values that no metric has: 9, of which 3 are observed in one call, and 4 that are too many.
fn values() {
    if let Ok(counter) = Counter::resolve(&descriptor("absurd_total"), &[]) {
        [f64::NAN, -1.0, f64::INFINITY].into_iter().for_each(|amount| counter.add(amount));
        counter.add(5e-324);
    }
    if let Ok(sum) = UpDownCounter::resolve(&descriptor("absurd_sum_of_all"), &[]) {
        [f64::NAN, f64::NEG_INFINITY].into_iter().for_each(|amount| sum.add(amount));
    }
    if let Ok(gauge) = Gauge::resolve(&descriptor("absurd_level"), Merge::Last, &[]) {
        gauge.set(f64::NAN);
        gauge.set(f64::NEG_INFINITY);
    }
    if let Ok(histogram) = Histogram::resolve(&descriptor("absurd_wait"), &[1.0], &[]) {
        histogram.observe_all(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0]);
        histogram.observe_all(&vec![2.0; (1 << 16) + 4]);
    }
    // A value of 10 MB is the text `overflow`.
    let long = "v".repeat(LONG);
    if let Ok(counter) = Counter::resolve(&descriptor("absurd_texts_total"), &[label("text", &long)]) {
        counter.inc();
    }
}

/// Records with 10 MB, too many attributes, and invalid contexts.
fn records() {
    let long = "m".repeat(LONG);
    logs::emit(&log(&long), None);
    let attribute = |number: usize| Attribute { key: format!("k{number}"), value: Value::Double(f64::NAN) };
    let attributes: Vec<_> = (0..200).map(attribute).collect();
    logs::emit(&logs::LogRecord { attributes, target: Some(long.clone()), ..log("many attributes") }, None);
    let context = |trace: &str, span: &str| spans::SpanContext {
        trace_id: trace.to_owned(),
        span_id: span.to_owned(),
        trace_flags: 255,
    };
    let invalid = context("no trace", "no span");
    let span = spans::Span::start(&long, spans::SpanKind::Server, Some(&invalid), &[]);
    span.add_link(&context(&"0".repeat(32), &"0".repeat(16)), &[]);
    // It is its own parent.
    let child = spans::Span::start("child", spans::SpanKind::Internal, Some(&span.context()), &[]);
    child.add_link(&child.context(), &[]);
    span.set_status(&spans::Status::Error(long));
    child.end();
    child.end();
    span.end();
    span.add_event("late", &[]);
}
