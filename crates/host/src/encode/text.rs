//! The lines that the Prometheus text format and OpenMetrics share.
//!
//! A *family* is all that has one name. Its text begins with *metadata*, the lines with a `#`. The
//! *samples* of each of its *series* follow, one line each: name, labels, value.
//!
//! ```text
//! # HELP jobs_total Jobs done.                              metadata
//! # TYPE jobs_total counter
//! jobs_total{queue="mail"} 3                                one series: one sample
//! jobs_total{queue="push"} 1                                another series
//!
//! # TYPE wait_seconds histogram
//! wait_seconds_bucket{queue="mail",le="0.1"} 2              one series of a histogram: a sample for
//! wait_seconds_bucket{queue="mail",le="+Inf"} 3             each bucket, the sum and the count
//! wait_seconds_sum{queue="mail"} 0.85
//! wait_seconds_count{queue="mail"} 3
//! ```
//!
//! In OpenMetrics, a bucket can end in an *exemplar*, and the *start time* of a series can follow
//! its samples:
//!
//! ```text
//! wait_seconds_bucket{queue="mail",le="+Inf"} 3 # {trace_id="4bf9…",span_id="00f0…"} 0.7 1700000000.5
//! wait_seconds_created{queue="mail"} 1699999990
//! ```
//!
//! The labels of a series never change, so their text is made once, when the series is created, and
//! only copied here. That text includes the space before the value: `{queue="mail"} `, or one space
//! if there are no labels. The label `le` of a bucket is stored in the same way, as `le="0.1"} `.

mod number;

use std::fmt::Write;

use crate::aggregate::exemplar::Exemplar;
use crate::registry::family::FamilyKind;
use crate::snapshot::number::Number;
use crate::snapshot::{Block, FamilySnapshot, Series, Snapshot, Value, Values};
pub(crate) use number::{write_canonical_float, write_number};

/// The text format that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The Prometheus text format. It has neither exemplars nor start times.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics {
        /// Writes a sample `_created` for each series whose start time is known.
        with_created: bool,
    },
}

impl Format {
    fn has_exemplars(self) -> bool {
        matches!(self, Self::OpenMetrics { .. })
    }

    /// Returns `true` if the series of this kind have a sample `_created`.
    fn has_created(self, kind: FamilyKind) -> bool {
        // Up/down counters have a start time. They are written as gauges, which have none.
        self == Self::OpenMetrics { with_created: true } && kind != FamilyKind::UpDownCounter
    }

    /// Returns `true` if a histogram with these bounds has the samples `_sum` and `_count`.
    ///
    /// OpenMetrics requires that a sum never falls. A bound below zero means that values may be
    /// negative and the sum may fall, so OpenMetrics then has neither of the two.
    fn has_sum_and_count(self, bounds: &[f64]) -> bool {
        self == Self::Prometheus || bounds.first().is_none_or(|lowest| *lowest >= 0.0)
    }
}

/// The characters that are escaped in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// `\` and line feeds.
    Lines,
    /// `\`, line feeds and `"`.
    LinesAndQuotes,
}

impl Escape {
    /// Returns the escape sequence of a character, if it has one.
    fn sequence(self, character: u8) -> Option<&'static str> {
        match character {
            b'\\' => Some("\\\\"),
            b'\n' => Some("\\n"),
            b'"' if self == Self::LinesAndQuotes => Some("\\\""),
            _ => None,
        }
    }
}

/// Appends the line `# TYPE name kind`.
pub(crate) fn write_type(out: &mut String, name: &str, kind: &str) {
    write_strs(out, ["# TYPE ", name, " ", kind, "\n"]);
}

/// Appends the line `# UNIT name unit`, unless the unit is empty.
pub(crate) fn write_unit(out: &mut String, name: &str, unit: &str) {
    if !unit.is_empty() {
        write_strs(out, ["# UNIT ", name, " ", unit, "\n"]);
    }
}

/// Appends the line `# HELP name help`, unless the help is empty.
pub(crate) fn write_help(out: &mut String, name: &str, help: &str, escape: Escape) {
    if !help.is_empty() {
        write_strs(out, ["# HELP ", name, " "]);
        write_escaped(out, help, escape);
        out.push('\n');
    }
}

fn write_escaped(out: &mut String, text: &str, escape: Escape) {
    let mut rest_start = 0;
    for (index, byte) in text.bytes().enumerate() {
        if let Some(sequence) = escape.sequence(byte) {
            write_strs(out, [&text[rest_start..index], sequence]);
            rest_start = index + 1;
        }
    }
    out.push_str(&text[rest_start..]);
}

/// Appends the samples of all series of a family.
pub(crate) fn write_samples(out: &mut String, family: &FamilySnapshot, format: Format) {
    for block in &family.blocks {
        match &block.values {
            Values::Unsigned(counts) => {
                write_number_series(out, family, block, counts.iter().copied().map(Number::Unsigned), format);
            }
            Values::Numbers(numbers) => write_number_series(out, family, block, numbers.iter().copied(), format),
            Values::Histograms { .. } | Values::Exponentials(_) => write_histogram_series(out, family, block, format),
        }
    }
}

/// Appends the samples of a block's series, each of which has a number.
#[inline(never)]
fn write_number_series(
    out: &mut String,
    family: &FamilySnapshot,
    block: &Block,
    numbers: impl Iterator<Item = Number>,
    format: Format,
) {
    let name = family.name();
    let series = block.series().zip(numbers);
    if !format.has_created(family.kind()) {
        return series.for_each(|(series, number)| write_sample(out, [name], series, number));
    }
    for (series, number) in series {
        write_sample(out, [name], series, number);
        write_created(out, family, series);
    }
}

/// Appends the samples of a block's series, each of which is a histogram.
fn write_histogram_series(out: &mut String, family: &FamilySnapshot, block: &Block, format: Format) {
    let has_created = format.has_created(family.kind());
    for series in block.series() {
        match series.value() {
            // All values of a block are of one type.
            Value::Number(_) => {}
            Value::Histogram { counts, sum } => {
                write_histogram(out, family, series, running_totals(counts), sum, format);
            }
            Value::Exponential(value) => {
                let cumulative_counts = value.counts.cumulative(family.bounds()).into_iter();
                write_histogram(out, family, series, cumulative_counts, value.sum, format);
            }
        }
        if has_created {
            write_created(out, family, series);
        }
    }
}

/// Appends the line of one sample. The name is the concatenation of its parts.
// Inlined, because most lines of a scrape are written here.
#[inline(always)]
fn write_sample<const N: usize>(out: &mut String, name: [&str; N], series: Series<'_>, value: Number) {
    write_strs(out, name);
    out.push_str(series.rendered_labels());
    write_number(out, value);
    out.push('\n');
}

/// Appends the samples of one series of a histogram.
///
/// `cumulative_counts` are the numbers of values up to each bound, then the number of all values.
fn write_histogram(
    out: &mut String,
    family: &FamilySnapshot,
    series: Series<'_>,
    cumulative_counts: impl Iterator<Item = u64>,
    sum: Number,
    format: Format,
) {
    let (name, labels) = (family.name(), series.rendered_labels());
    let labels_before_le = begin_labels(labels);
    // Only some buckets have an exemplar. They are in the order of the buckets.
    let exemplars = if format.has_exemplars() { series.bucket_exemplars() } else { &[] };
    let mut exemplars = exemplars.iter().peekable();

    let mut total = 0;
    for (bucket, (le, count)) in (0..).zip(family.info.le_labels.iter().zip(cumulative_counts)) {
        write_strs(out, [name, "_bucket", &labels_before_le, le]);
        write_number(out, Number::Unsigned(count));
        if let Some(exemplar) = exemplars.next_if(|exemplar| exemplar.bucket == bucket) {
            write_exemplar(out, &exemplar.exemplar);
        }
        out.push('\n');
        total = count;
    }
    if format.has_sum_and_count(family.bounds()) {
        write_sample(out, [name, "_sum"], series, sum);
        write_sample(out, [name, "_count"], series, Number::Unsigned(total));
    }
}

/// Appends the line `name_created labels time`, if the start time is known.
#[cold]
fn write_created(out: &mut String, family: &FamilySnapshot, series: Series<'_>) {
    if let Some(time) = series.created() {
        write_sample(out, [family.info.stem(), "_created"], series, Number::Nanos(time));
    }
}

/// Appends ` # {labels} value time`. The labels have 63 characters, of which 128 are allowed.
fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let Exemplar { value, trace_id, span_id, time } = *exemplar;
    // Writing to a string cannot fail.
    let _ = write!(out, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} ");
    write_number(out, value);
    out.push(' ');
    write_number(out, Number::Nanos(time));
}

/// Returns rendered labels as the beginning of longer ones: `{queue="mail",`, or `{` if there are
/// none.
fn begin_labels(labels: &str) -> String {
    match labels.strip_suffix("} ") {
        Some(unclosed) => format!("{unclosed},"),
        None => "{".to_owned(),
    }
}

/// Returns the sum of all counts up to each one.
fn running_totals(counts: &[u64]) -> impl Iterator<Item = u64> {
    counts.iter().scan(0, |total: &mut u64, count| {
        *total = total.saturating_add(*count);
        Some(*total)
    })
}

#[inline]
fn write_strs<const N: usize>(out: &mut String, texts: [&str; N]) {
    for text in &texts {
        out.push_str(text);
    }
}

/// The bytes of the metadata of a family, beside its help text.
const METADATA_SIZE_HINT: usize = 256;

/// The bytes of a suffix and a value.
const VALUE_SIZE_HINT: usize = 16;

/// Returns the approximate length in bytes of a snapshot's text.
pub(crate) fn size_hint(snapshot: &Snapshot) -> usize {
    let families = snapshot.families();
    families.map(|family| METADATA_SIZE_HINT + family.help().len() + samples_size_hint(family)).sum()
}

fn samples_size_hint(family: &FamilySnapshot) -> usize {
    let samples_per_series = match family.kind() {
        FamilyKind::Histogram => family.info.le_labels.len() + 2,
        _ => 1,
    };
    let blocks = family.blocks.iter().map(|block| {
        let line = family.name().len() + block.labels(0).len() + VALUE_SIZE_HINT;
        block.len() * samples_per_series * line
    });
    blocks.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_text_is_escaped() {
        let help = "\"für\"\\\n\\n";
        for (escape, expected) in [
            (Escape::Lines, "# HELP jobs \"für\"\\\\\\n\\\\n\n"),
            (Escape::LinesAndQuotes, "# HELP jobs \\\"für\\\"\\\\\\n\\\\n\n"),
        ] {
            let mut out = String::new();
            write_help(&mut out, "jobs", help, escape);
            assert_eq!(out, expected);
        }
    }
}
