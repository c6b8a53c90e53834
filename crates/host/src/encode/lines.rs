//! JSON lines of metrics, for readers of a program's standard error.
//!
//! `crates/adapter/LINES.md` describes the fields.

use super::escape::json_string;
use super::text;
use crate::snapshot::FamilySnapshot;
use crate::{ExponentialValue, FamilyKind, Identity, Number, Series, Snapshot, Value, limits};

/// A line under construction: the fields before its metrics.
///
/// ```
/// # use std::time::Duration;
/// use wasmetry_host::encode::lines::Line;
/// use wasmetry_host::Number;
///
/// let registry = wasmetry_host::Registry::new();
/// registry.counter("jobs_total", "Jobs done.", &["queue"]).with(&["mail"]).inc();
/// let mut jobs = registry.snapshot(Duration::ZERO);
/// jobs.retain(|family| family.name() == "jobs_total");
/// let line = Line::new().text("service", "post");
/// let lines = line.number("duration_seconds", Number::Nanos(1_500_000)).finish(&jobs);
/// let expected = [
///     r#"{"service":"post","duration_seconds":0.0015,"metrics":["#,
///     r#"{"name":"jobs_total","type":"counter","labels":{"queue":"mail"},"value":1}]}"#,
///     "\n",
/// ];
/// assert_eq!(lines, [expected.concat()]);
/// ```
#[derive(Clone, Debug)]
pub struct Line {
    text: String,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// Creates a line without fields.
    pub fn new() -> Self {
        Self { text: "{".to_owned() }
    }

    /// Adds a text. A text longer than [`limits::LINE_TEXT`] bytes is truncated.
    #[must_use]
    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        json_string(&value[..value.floor_char_boundary(limits::LINE_TEXT)], &mut self.text);
        self
    }

    /// Adds a number; a duration in seconds.
    #[must_use]
    pub fn number(mut self, key: &str, value: Number) -> Self {
        self.key(key);
        number(&mut self.text, value);
        self
    }

    /// Adds `true` or `false`.
    #[must_use]
    pub fn flag(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// Adds the field `metrics`, an array with an object for each series, and ends the line.
    ///
    /// If a line would be longer than [`limits::LINE_BYTES`], the remaining series follow on lines
    /// with the same fields and `"continued":true`. A line is longer only if one series alone is.
    pub fn finish(self, changes: &Snapshot) -> Vec<String> {
        let (mut lines, mut object) = (Vec::new(), String::new());
        let mut line = self.begin(false);
        let mut is_first = true;
        for family in changes.families() {
            for value in family.series() {
                object.clear();
                series(&mut object, family, &value);
                if !is_first && line.len() + object.len() + ",]}\n".len() > limits::LINE_BYTES {
                    lines.push(end(std::mem::replace(&mut line, self.begin(true))));
                    is_first = true;
                }
                if !std::mem::take(&mut is_first) {
                    line.push(',');
                }
                line.push_str(&object);
            }
        }
        lines.push(end(line));
        lines
    }

    /// Ends the line without the field `metrics`.
    pub fn end(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }

    fn begin(&self, is_continued: bool) -> String {
        let mut line = self.clone();
        if is_continued {
            line = line.flag("continued", true);
        }
        line.key("metrics");
        line.text.push('[');
        line.text
    }

    fn key(&mut self, key: &str) {
        self::key(&mut self.text, key);
    }
}

fn end(mut line: String) -> String {
    line.push_str("]}\n");
    line
}

/// Appends one series as an object.
fn series(out: &mut String, family: &FamilySnapshot, series: &Series<'_>) {
    out.push('{');
    key(out, "name");
    json_string(family.name(), out);
    key(out, "type");
    json_string(kind(family.kind()), out);
    if !family.unit().is_empty() {
        key(out, "unit");
        json_string(family.unit(), out);
    }
    // The labels of the identity are fields of the line. A guest's label with such a key was
    // renamed.
    let mut labels = series.labels().filter(|(key, _)| !Identity::KEYS.contains(key)).peekable();
    if labels.peek().is_some() {
        key(out, "labels");
        out.push('{');
        for (label, value) in labels {
            key(out, label);
            json_string(&value, out);
        }
        out.push('}');
    }
    match series.value() {
        Value::Number(value) => {
            key(out, "value");
            number(out, value);
        }
        Value::Histogram { counts, sum } => histogram(out, family, counts, sum),
        Value::Exponential(value) => exponential(out, value),
    }
    out.push('}');
}

/// The type's name. Unlike the exposition formats, it distinguishes up-down counters from gauges.
fn kind(kind: FamilyKind) -> &'static str {
    match kind {
        FamilyKind::UpDownCounter => "up_down_counter",
        kind => kind.name(),
    }
}

/// Appends the fields of an exponential histogram, with OTLP's keys.
fn exponential(out: &mut String, value: &ExponentialValue) {
    key(out, "count");
    number(out, Number::Unsigned(value.count()));
    key(out, "sum");
    number(out, value.sum());
    key(out, "scale");
    number(out, Number::Signed(value.scale().into()));
    key(out, "zero_count");
    number(out, Number::Unsigned(value.zero_count()));
    key(out, "offset");
    number(out, Number::Signed(value.first_index().into()));
    key(out, "bucket_counts");
    out.push('[');
    for (i, count) in value.counts().iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        number(out, Number::Unsigned(*count));
    }
    out.push(']');
}

fn histogram(out: &mut String, family: &FamilySnapshot, counts: &[u64], sum: Number) {
    key(out, "count");
    number(out, Number::Unsigned(counts.iter().fold(0, |all, count| all.saturating_add(*count))));
    key(out, "sum");
    number(out, sum);
    key(out, "buckets");
    out.push('[');
    let bounds = family.bounds().iter().copied().chain([f64::INFINITY]);
    let mut is_first = true;
    for (bound, count) in bounds.zip(counts).filter(|(_, count)| **count != 0) {
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        out.push('{');
        key(out, "le");
        number(out, Number::Float(bound));
        key(out, "count");
        number(out, Number::Unsigned(*count));
        out.push('}');
    }
    out.push(']');
}

/// Appends a key, with a comma before it unless it is the object's first.
fn key(out: &mut String, key: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    json_string(key, out);
    out.push(':');
}

/// Appends a number. NaN and the infinities, which JSON cannot express, are strings.
fn number(out: &mut String, value: Number) {
    let is_number = !matches!(value, Number::Float(value) if !value.is_finite());
    if !is_number {
        out.push('"');
    }
    text::write_number(out, value);
    if !is_number {
        out.push('"');
    }
}
