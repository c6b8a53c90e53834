//! Numbers as text: the values of samples, and the bounds of buckets.

use std::fmt::Write;

use crate::snapshot::number::Number;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Below this magnitude, the shortest text of a whole `f64` is that of the integer.
const WHOLE_FLOAT_LIMIT: f64 = 9e15;

/// Appends the value of a sample. A duration is written in seconds.
#[inline]
pub(crate) fn write_number(out: &mut String, value: Number) {
    match value {
        Number::Unsigned(value) => write_integer(out, value),
        Number::Signed(value) => write_integer(out, value),
        Number::Float(value) if value.trunc() == value && value.abs() < WHOLE_FLOAT_LIMIT => {
            write_integer(out, value as i64)
        }
        Number::Float(value) => write_float(out, value),
        Number::Nanos(value) => write_seconds(out, value),
    }
}

/// Appends a finite bound so that it always shows a fraction or an exponent (`1.0`, not `1`), else
/// `+Inf`, `-Inf` or `NaN`.
///
/// Label values are compared as text: every format has to write the same bound in the same way.
///
/// Source: OpenMetrics 1.0.0, "Considerations: Canonical Numbers".
pub(crate) fn write_canonical_float(out: &mut String, value: f64) {
    let start = out.len();
    write_float(out, value);
    if value.is_finite() && !out[start..].contains(['.', 'e']) {
        out.push_str(".0");
    }
}

fn write_integer(out: &mut String, value: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Appends a number of nanoseconds in seconds, such as `0.0015`, without rounding.
fn write_seconds(out: &mut String, nanos: u64) {
    write_integer(out, nanos / NANOS_PER_SECOND);
    let fraction = nanos % NANOS_PER_SECOND;
    if fraction == 0 {
        return;
    }
    // 1_500_000 becomes `1001500000`: the first digit keeps the zeros after the decimal point.
    let mut digits = itoa::Buffer::new();
    let padded = digits.format(NANOS_PER_SECOND + fraction);
    out.push('.');
    out.push_str(padded[1..].trim_end_matches('0'));
}

/// Appends the shortest text that parses to the same number, as Prometheus writes it: in the form
/// of `%g` in Go.
fn write_float(out: &mut String, value: f64) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    // Writing to a string cannot fail.
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        let _ = write!(out, "{value}");
        return;
    }
    // Rust writes `1.5e-7`, Go `1.5e-07`.
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
