//! The writer of JSON. The host's `encode` escapes its texts, also what is markup in HTML: an
//! answer is safe wherever it is shown.

use std::fmt::Write as _;

use wasmetry_host::Number;
use wasmetry_host::encode::html_safe_json_string;

use crate::record::code::FieldView;

/// The greatest integer up to which each has an `f64` of its own.
const MAX_EXACT: u64 = 1 << 53;

/// The powers of ten by which a number is multiplied to have six digits before its point.
const SCALES: [f64; 12] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11];

/// A JSON text under construction.
#[derive(Debug, Default)]
pub(crate) struct Json {
    text: String,
}

impl Json {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// Writes an object, whose members `write` adds.
    pub(crate) fn object(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.separate();
        self.text.push('{');
        write(self);
        self.text.push('}');
        self
    }

    /// Writes an array, whose elements `write` adds.
    pub(crate) fn array(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.separate();
        self.text.push('[');
        write(self);
        self.text.push(']');
        self
    }

    /// Writes the key of a member; its value follows.
    pub(crate) fn member(&mut self, key: &str) -> &mut Self {
        self.text(key);
        self.text.push(':');
        self
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
        html_safe_json_string(text, &mut self.text);
        self
    }

    /// Writes a text that is cut to `bytes`. Returns `true` if it was longer.
    pub(crate) fn cut_text(&mut self, text: &str, bytes: usize) -> bool {
        if text.len() <= bytes {
            self.text(text);
            return false;
        }
        self.text(&format!("{}…", &text[..text.floor_char_boundary(bytes)]));
        true
    }

    /// Writes a text, or `null`.
    pub(crate) fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.raw("null")
    }

    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    /// Writes an integer; one that no `f64` holds is a text.
    pub(crate) fn unsigned(&mut self, value: u64) -> &mut Self {
        self.separate();
        // Writing to a string cannot fail.
        let _ = if value <= MAX_EXACT { write!(self.text, "{value}") } else { write!(self.text, "\"{value}\"") };
        self
    }

    fn signed(&mut self, value: i64) -> &mut Self {
        self.separate();
        let is_exact = value.unsigned_abs() <= MAX_EXACT;
        let _ = if is_exact { write!(self.text, "{value}") } else { write!(self.text, "\"{value}\"") };
        self
    }

    /// Writes a number; NaN and the infinities are texts.
    pub(crate) fn float(&mut self, value: f64) -> &mut Self {
        self.separate();
        let _ = match value {
            _ if value.is_nan() => write!(self.text, "\"NaN\""),
            f64::INFINITY => write!(self.text, "\"Infinity\""),
            f64::NEG_INFINITY => write!(self.text, "\"-Infinity\""),
            _ if value != 0.0 && !(1e-5..1e16).contains(&value.abs()) => write!(self.text, "{value:e}"),
            _ => write!(self.text, "{value}"),
        };
        self
    }

    /// Writes a number with six significant digits, or `null`. From a million on, it is rounded to
    /// a whole number; whole numbers keep all of their digits.
    pub(crate) fn rounded(&mut self, value: Option<f64>) -> &mut Self {
        let Some(value) = value else { return self.null() };
        let size = value.abs();
        if size == 0.0 || !(1e-5..1e15).contains(&size) {
            return self.rounded_by_scale(value);
        }
        // The formatting of floats takes most of the time of a large answer.
        self.separate();
        if value < 0.0 {
            self.text.push('-');
        }
        let is_whole = size.fract() == 0.0;
        let digits = if is_whole { 0 } else { SCALES.partition_point(|scale| size * scale < 1e5) };
        let scale = SCALES[digits];
        let scaled = (size * scale).round() as u64;
        let (whole, fraction) = (scaled / scale as u64, scaled % scale as u64);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{whole}");
        if fraction > 0 {
            self.text.push('.');
            let mut rest = fraction;
            for digit in (0..digits).rev() {
                let unit = SCALES[digit] as u64;
                self.text.push(char::from(b'0' + (rest / unit) as u8));
                rest %= unit;
                if rest == 0 {
                    break;
                }
            }
        }
        self
    }

    fn rounded_by_scale(&mut self, value: f64) -> &mut Self {
        if !value.is_finite() || value == 0.0 {
            return self.float(value);
        }
        let digits = 5 - value.abs().log10().floor() as i32;
        let scale = 10f64.powi(digits.clamp(-300, 300));
        let rounded = (value * scale).round() / scale;
        let is_whole = value.fract() == 0.0 || !rounded.is_finite();
        self.float(if is_whole { value } else { rounded })
    }

    /// Writes a number as the registry has it.
    pub(crate) fn number(&mut self, value: Number) -> &mut Self {
        match value {
            Number::Unsigned(value) => self.unsigned(value),
            Number::Signed(value) => self.signed(value),
            value => self.float(value.as_f64()),
        }
    }

    /// Writes a time in nanoseconds as seconds with microseconds.
    pub(crate) fn time(&mut self, nanos: u64) -> &mut Self {
        self.seconds(nanos, 1000)
    }

    /// Writes a duration in nanoseconds as seconds.
    pub(crate) fn duration(&mut self, nanos: u64) -> &mut Self {
        self.seconds(nanos, 1)
    }

    fn seconds(&mut self, nanos: u64, precision: u64) -> &mut Self {
        self.separate();
        let (whole, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000 / precision * precision);
        let _ = write!(self.text, "{whole}");
        if fraction > 0 {
            let digits = format!("{fraction:09}");
            let _ = write!(self.text, ".{}", digits.trim_end_matches('0'));
        }
        self
    }

    /// Writes the value of a field; returns `true` if it is a text that was cut to `bytes`.
    pub(crate) fn value(&mut self, value: &FieldView<'_>, bytes: usize) -> bool {
        match value {
            FieldView::Signed(value) => _ = self.signed(*value),
            FieldView::Unsigned(value) => _ = self.unsigned(*value),
            FieldView::Float(value) => _ = self.float(*value),
            FieldView::Bool(value) => _ = self.boolean(*value),
            FieldView::Text(text) => return self.cut_text(text, bytes),
        }
        false
    }

    fn raw(&mut self, text: &str) -> &mut Self {
        self.separate();
        self.text.push_str(text);
        self
    }

    /// Writes a comma unless a value begins here.
    fn separate(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    #[test]
    fn texts_are_escaped_and_read_back() {
        for text in ["", "a\"b\\c", "</script><script>", "\u{0}\u{1b}[31m\u{9f}\u{2028}", "grüße 東京 \n\t\r"] {
            let mut json = Json::new();
            json.text(text);
            let json = json.finish();
            assert!(!json.contains(['<', '\u{1b}', '\u{9f}', '\u{2028}']), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn numbers_stay_exact() {
        let mut json = Json::new();
        json.array(|json| {
            json.unsigned(u64::MAX).unsigned(1 << 53).signed(i64::MIN).float(f64::NAN).float(1e300).float(0.1);
            json.time(1_764_374_400_123_456_789).duration(1_500_000).duration(2_000_000_000);
            json.rounded(Some(0.123_456_78)).rounded(Some(1_234_567_890.0)).rounded(None).rounded(Some(-0.0));
        });
        assert_eq!(
            json.finish(),
            "[\"18446744073709551615\",9007199254740992,\"-9223372036854775808\",\"NaN\",1e300,0.1,\
             1764374400.123456,0.0015,2,0.123457,1234567890,null,-0]"
        );
    }

    /// A number differs from what is written by less than six digits show, whatever its size.
    #[test]
    fn rounded_numbers_keep_six_digits() {
        let mut value: f64 = 1.234_567_891e-7;
        while value < 1e17 {
            for value in [value, -value, value * 0.81, value.round(), 9.999_999_6 * value] {
                let mut json = Json::new();
                json.rounded(Some(value));
                let found: f64 = json.finish().parse().unwrap();
                let is_exact = value.fract() == 0.0 && found == value;
                assert!(is_exact || (found / value - 1.0).abs() <= 5.1e-6, "{value} {found}");
                assert!(value.fract() != 0.0 || is_exact, "{value} {found}");
            }
            value *= 3.7;
        }
    }

    #[test]
    fn cut_texts_end_between_characters() {
        let mut json = Json::new();
        json.array(|json| {
            assert!(json.cut_text("größe", 3));
            assert!(!json.cut_text("größe", 7));
        });
        assert_eq!(json.finish(), "[\"gr…\",\"größe\"]");
    }
}
