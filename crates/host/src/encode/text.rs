//! The parts that the two text formats share: samples and numbers.

use std::fmt::Write;

use crate::aggregate::exemplar::{Exemplar, SeriesExemplar};
use crate::registry::family::FamilyKind;
use crate::snapshot::number::Number;
use crate::snapshot::{Block, FamilySnapshot, Snapshot, Values};

/// The differences between the samples of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    /// OpenMetrics has exemplars. It requires that `_sum` and `_count` are counters: a histogram
    /// whose sum may fall, because it has bounds below zero, has neither.
    OpenMetrics {
        /// Adds the samples `_created`.
        with_created: bool,
    },
}

/// Appends the beginning of a line of metadata: `# HELP name `.
pub(crate) fn write_metadata(out: &mut String, keyword: &str, name: &str) {
    for part in ["# ", keyword, " ", name, " "] {
        out.push_str(part);
    }
}

/// Appends a help text, escaped.
pub(crate) fn write_escaped(out: &mut String, text: &str, quotes: bool) {
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            char => out.push(char),
        }
    }
}

/// The approximate length in bytes of a snapshot's text.
pub(crate) fn size_hint(snapshot: &Snapshot) -> usize {
    let block = |family: &FamilySnapshot, block: &Block| {
        let lines = match &block.values {
            Values::Histograms { counts, sums } => counts.len() + 2 * sums.len(),
            Values::Exponentials(values) => values.len() * (family.info.buckets.len() + 2),
            _ => block.len(),
        };
        lines * (family.name().len() + block.labels(0).len() + 16)
    };
    snapshot
        .families()
        .map(|family| 256 + family.help().len() + family.blocks.iter().map(|b| block(family, b)).sum::<usize>())
        .sum()
}

/// Appends the samples of a family, one line for each.
///
/// The labels of a block are text that ends in the space before the value: `{a="b"} `, or one space
/// without labels.
pub(crate) fn write_samples(out: &mut String, family: &FamilySnapshot, format: Format) {
    let name = family.name();
    let is_openmetrics = format != Format::Prometheus;
    let with_created =
        format == Format::OpenMetrics { with_created: true } && family.kind() != FamilyKind::UpDownCounter;
    for block in &family.blocks {
        match &block.values {
            Values::Unsigned(values) => {
                let mut digits = itoa::Buffer::new();
                for (index, value) in values.iter().enumerate() {
                    out.push_str(name);
                    out.push_str(block.labels(index));
                    out.push_str(digits.format(*value));
                    out.push('\n');
                    if with_created {
                        write_created(out, family, block, index);
                    }
                }
            }
            Values::Numbers(values) => {
                for (index, value) in values.iter().enumerate() {
                    out.push_str(name);
                    out.push_str(block.labels(index));
                    write_number(out, *value);
                    out.push('\n');
                    if with_created {
                        write_created(out, family, block, index);
                    }
                }
            }
            Values::Histograms { counts, sums: values } => {
                let with_sums = !is_openmetrics || family.bounds().first().is_none_or(|bound| *bound >= 0.0);
                let series = counts.chunks_exact(family.info.buckets.len()).zip(values);
                for (index, (counts, sum)) in series.enumerate() {
                    let mut cumulated = 0u64;
                    let cumulative = counts.iter().map(|count| {
                        cumulated = cumulated.saturating_add(*count);
                        cumulated
                    });
                    let exemplars = if is_openmetrics { block.exemplars(index) } else { &[] };
                    write_histogram(out, family, block.labels(index), cumulative, exemplars, with_sums.then_some(*sum));
                    if with_created {
                        write_created(out, family, block, index);
                    }
                }
            }
            Values::Exponentials(values) => {
                for (index, value) in values.iter().enumerate() {
                    let cumulative = value.counts.cumulative(family.bounds()).into_iter();
                    let exemplars = if is_openmetrics { block.exemplars(index) } else { &[] };
                    write_histogram(out, family, block.labels(index), cumulative, exemplars, Some(value.sum));
                    if with_created {
                        write_created(out, family, block, index);
                    }
                }
            }
        }
    }
}

/// Appends the sample `_created`, if the time is known.
#[cold]
fn write_created(out: &mut String, family: &FamilySnapshot, block: &Block, index: usize) {
    if let Some(time) = block.created.get(index) {
        for part in [family.info.stem(), "_created", block.labels(index)] {
            out.push_str(part);
        }
        write_number(out, Number::Nanos(time));
        out.push('\n');
    }
}

/// Appends the lines of one histogram. `cumulative` has the count of the values up to each bound,
/// then that of all values; `exemplars` are in the order of the buckets.
fn write_histogram(
    out: &mut String,
    family: &FamilySnapshot,
    labels: &str,
    cumulative: impl Iterator<Item = u64>,
    exemplars: &[SeriesExemplar],
    sum: Option<Number>,
) {
    let mut digits = itoa::Buffer::new();
    let mut sample = |out: &mut String, suffix: &str, labels: &str, bucket: &str, value: u64| {
        for part in [family.name(), suffix, labels, bucket, digits.format(value)] {
            out.push_str(part);
        }
    };
    // The text before the label `le`: `{`, or the other labels and a comma.
    let mut open = String::with_capacity(labels.len() + 1);
    match labels.strip_suffix("} ") {
        Some(inner) => open.extend([inner, ","]),
        None => open.push('{'),
    }
    let mut all = 0;
    let mut exemplars = exemplars.iter().peekable();
    for ((at, bucket), count) in (0..).zip(&family.info.buckets).zip(cumulative) {
        sample(out, "_bucket", &open, bucket, count);
        if let Some(shown) = exemplars.next_if(|shown| shown.bucket == at) {
            write_exemplar(out, &shown.exemplar);
        }
        out.push('\n');
        all = count;
    }
    if let Some(sum) = sum {
        for part in [family.name(), "_sum", labels] {
            out.push_str(part);
        }
        write_number(out, sum);
        out.push('\n');
        sample(out, "_count", labels, "", all);
        out.push('\n');
    }
}

/// Appends an exemplar to a sample. Its labels have 63 characters; the format allows 128.
fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let Exemplar { value, trace_id, span_id, time } = *exemplar;
    // Writing to a string cannot fail.
    let _ = write!(out, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} ");
    write_number(out, value);
    out.push(' ');
    write_number(out, Number::Nanos(time));
}

/// Appends a sample's value.
pub(crate) fn write_number(out: &mut String, value: Number) {
    let mut digits = itoa::Buffer::new();
    match value {
        Number::Unsigned(value) => out.push_str(digits.format(value)),
        Number::Signed(value) => out.push_str(digits.format(value)),
        // An integer below 2^53 has no shorter form.
        Number::Float(value) if value.trunc() == value && value.abs() < 9e15 => {
            out.push_str(digits.format(value as i64))
        }
        Number::Float(value) => write_float(out, value),
        Number::Nanos(value) => {
            out.push_str(digits.format(value / 1_000_000_000));
            let fraction = value % 1_000_000_000;
            if fraction != 0 {
                // The leading digit keeps the zeros after the decimal point.
                let padded = digits.format(fraction + 1_000_000_000);
                out.push('.');
                out.push_str(padded[1..].trim_end_matches('0'));
            }
        }
    }
}

/// Appends the value of a label `le`. It is the same in every format, so that a change of format
/// does not change the series.
///
/// Source: OpenMetrics 1.0.0, "Considerations: Canonical Numbers".
pub(crate) fn write_canonical_float(out: &mut String, value: f64) {
    let start = out.len();
    write_float(out, value);
    if value.is_finite() && !out[start..].contains(['.', 'e']) {
        out.push_str(".0");
    }
}

/// Appends the shortest text that parses to the same number, in the form of Go's `%g`, as
/// Prometheus prints it.
fn write_float(out: &mut String, value: f64) {
    if !value.is_finite() {
        return out.push_str(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        });
    }
    let magnitude = value.abs();
    // Writing to a string cannot fail.
    if value == 0.0 || (1e-4..1e6).contains(&magnitude) {
        let _ = write!(out, "{value}");
        return;
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(add: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        add(&mut out);
        out
    }

    #[test]
    fn numbers_are_short_and_exact() {
        for (value, expected) in [
            (Number::Unsigned(u64::MAX), "18446744073709551615"),
            (Number::Signed(-7), "-7"),
            (Number::Nanos(1_500_000), "0.0015"),
            (Number::Nanos(1), "0.000000001"),
            (Number::Nanos(2_000_000_000), "2"),
            (Number::Nanos(u64::MAX), "18446744073.709551615"),
            (Number::Float(3.0), "3"),
            (Number::Float(-0.25), "-0.25"),
            (Number::Float(0.1 + 0.2), "0.30000000000000004"),
            (Number::Float(f64::NAN), "NaN"),
            (Number::Float(f64::INFINITY), "+Inf"),
            (Number::Float(f64::NEG_INFINITY), "-Inf"),
            (Number::Float(1.5e300), "1.5e+300"),
            (Number::Float(1e-7), "1e-07"),
        ] {
            assert_eq!(text(|out| write_number(out, value)), expected);
        }
    }

    #[test]
    fn bounds_are_canonical() {
        for (value, expected) in [
            (0.005, "0.005"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-2.0, "-2.0"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1e10, "1e+10"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(text(|out| write_canonical_float(out, value)), expected);
        }
    }

    #[test]
    fn every_float_reads_back() {
        let mut seed = 7u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(seed);
            if value.is_finite() {
                assert_eq!(text(|out| write_number(out, Number::Float(value))).parse(), Ok(value));
                assert_eq!(text(|out| write_canonical_float(out, value)).parse(), Ok(value));
            }
        }
    }
}
