//! The samples of series.

use std::fmt::Write;

use super::label::Labels;
use super::number::write_number;
use super::{Format, write_strs};
use crate::aggregate::exemplar::Exemplar;
use crate::snapshot::number::Number;
use crate::snapshot::{Block, FamilySnapshot, Series, Value, Values};

/// The position in a block of series: a series, and the next line of it if it is a histogram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    index: usize,
    line: usize,
}

/// The output, of which each piece is written until it has a size.
pub(super) struct Output<'a> {
    pub(super) text: &'a mut String,
    pub(super) size: usize,
    /// A buffer for the text before a value, which many lines share.
    pub(super) start: String,
    /// The suffix of the only samples that are written, of a family that is split.
    pub(super) part: Option<&'static str>,
}

impl Output<'_> {
    /// Returns `true` if the piece has its size.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= self.size
    }
}

/// Appends the samples of a block's series from a position on, and moves the position. Returns
/// `true` at the end of the block.
pub(super) fn write_block(
    out: &mut Output<'_>,
    family: &FamilySnapshot,
    block: &Block,
    position: &mut Position,
    format: Format,
) -> bool {
    let numbers = position.index..;
    match &block.values {
        Values::Unsigned(counts) => {
            let numbers = counts[numbers].iter().copied().map(Number::Unsigned);
            write_numbers(out, family, block, numbers, position, format);
        }
        Values::Numbers(all) => write_numbers(out, family, block, all[numbers].iter().copied(), position, format),
        Values::Histograms { .. } | Values::Exponentials(_) => write_histograms(out, family, block, position, format),
    }
    position.index == block.len()
}

/// Appends the samples of series, each of which has one of the numbers.
#[inline(never)]
fn write_numbers(
    out: &mut Output<'_>,
    family: &FamilySnapshot,
    block: &Block,
    numbers: impl Iterator<Item = Number>,
    position: &mut Position,
    format: Format,
) {
    let Output { text, size, start, part } = out;
    let (text, size) = (&mut **text, *size);
    let mut labels = Labels::new(&block.labels);
    let has_created = format.has_created(family.kind()) && part.is_none();
    start.clear();
    write_strs(start, [family.name(), labels.constant()]);
    let mut index = position.index;
    for number in numbers {
        if text.len() >= size {
            break;
        }
        let row = labels.row(block.row(index));
        text.push_str(start);
        text.push_str(row);
        write_number(text, number);
        text.push('\n');
        if has_created {
            write_created(text, family, block.at(index), &mut labels);
        }
        index += 1;
    }
    position.index = index;
}

/// Appends the samples of series, each of which is a histogram.
fn write_histograms(
    out: &mut Output<'_>,
    family: &FamilySnapshot,
    block: &Block,
    position: &mut Position,
    format: Format,
) {
    let mut labels = Labels::new(&block.labels);
    while position.index < block.len() {
        let series = block.at(position.index);
        let line = &mut position.line;
        let is_whole = match series.value() {
            // All values of a block are of one type.
            Value::Number(_) => true,
            Value::Histogram { counts, sum } => {
                write_histogram(out, family, series, &mut labels, running_totals(counts), sum, line, format)
            }
            Value::Exponential(value) => {
                let cumulative_counts = value.counts.cumulative(family.bounds()).into_iter();
                write_histogram(out, family, series, &mut labels, cumulative_counts, value.sum, line, format)
            }
        };
        if !is_whole {
            return;
        }
        if format.has_created(family.kind()) && out.part.is_none() {
            write_created(out.text, family, series, &mut labels);
        }
        *position = Position { index: position.index + 1, line: 0 };
    }
}

/// Appends the samples of one series of a histogram from the bucket `next` on. Returns `true` if
/// all of them are written.
///
/// `cumulative_counts` are the numbers of values up to each bound, then the number of all values.
#[expect(clippy::too_many_arguments, reason = "the parts of one series, for both kinds of histograms")]
fn write_histogram(
    out: &mut Output<'_>,
    family: &FamilySnapshot,
    series: Series<'_>,
    labels: &mut Labels<'_>,
    cumulative_counts: impl Iterator<Item = u64>,
    sum: Number,
    next: &mut usize,
    format: Format,
) -> bool {
    // Only some buckets have an exemplar. They are in the order of the buckets.
    let exemplars = if format.has_exemplars() && out.part.is_none() { series.bucket_exemplars() } else { &[] };
    let first = if out.part.is_none_or(|part| part == "_bucket") { *next } else { usize::MAX };
    let mut exemplars = exemplars.iter().skip_while(|exemplar| (exemplar.bucket as usize) < first).peekable();

    let Output { text, size, start, part } = out;
    start.clear();
    write_strs(start, [family.name(), "_bucket", labels.constant()]);
    start.push_str(labels.row_without_end(series.row()));
    start.push(if start.ends_with('"') { ',' } else { '{' });
    let mut total = 0;
    let bounds = family.info.rendered_bounds();
    for (bucket, (le, count)) in bounds.iter().zip(cumulative_counts).enumerate() {
        total = count;
        if bucket < first {
            continue;
        }
        if text.len() >= *size {
            *next = bucket;
            return false;
        }
        write_strs(text, [start, le]);
        write_number(text, Number::Unsigned(count));
        if let Some(exemplar) = exemplars.next_if(|exemplar| exemplar.bucket as usize == bucket) {
            write_exemplar(text, &exemplar.exemplar);
        }
        text.push('\n');
    }
    let (has_sum, has_count) = match *part {
        None => (format.has_sum_and_count(family.bounds()), format.has_sum_and_count(family.bounds())),
        Some(part) => (part == "_sum", part == "_count"),
    };
    if has_sum {
        write_sample(text, [family.name(), "_sum"], series, labels, sum);
    }
    if has_count {
        write_sample(text, [family.name(), "_count"], series, labels, Number::Unsigned(total));
    }
    true
}

/// Appends the line of one sample. The name is the concatenation of its parts.
fn write_sample(out: &mut String, name: [&str; 2], series: Series<'_>, labels: &mut Labels<'_>, value: Number) {
    write_strs(out, name);
    out.push_str(labels.constant());
    out.push_str(labels.row(series.row()));
    write_number(out, value);
    out.push('\n');
}

/// Appends the line `name_created labels time`, if the start time is known.
#[cold]
fn write_created(out: &mut String, family: &FamilySnapshot, series: Series<'_>, labels: &mut Labels<'_>) {
    if let Some(time) = series.created() {
        write_sample(out, [family.info.stem(), "_created"], series, labels, Number::Nanos(time));
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

/// Returns the sum of all counts up to each one.
fn running_totals(counts: &[u64]) -> impl Iterator<Item = u64> {
    counts.iter().scan(0, |total: &mut u64, count| {
        *total = total.saturating_add(*count);
        Some(*total)
    })
}
