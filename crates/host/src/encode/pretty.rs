//! Log records for a person at a terminal.
//!
//! Control characters are escaped, and so are characters that change the direction of text: a guest
//! cannot control the terminal.

use std::fmt::Write;

use super::escape::{quoted_visible, visible};
use super::{field, json};
use crate::Identity;
use crate::record::{Entry, FieldValue, Level, LogRecord};

/// The use of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// No colours.
    Off,
    /// The colours of ANSI terminals.
    On,
}

/// Encodes records, one line for each.
///
/// ```
/// use std::sync::Arc;
/// use wasmetry_host::{Identity, encode::pretty, record::{Entry, FieldValue, Level, LogRecord}};
///
/// let record = LogRecord {
///     time: 1_700_000_000_123_456_789,
///     observed: 1_700_000_000_123_999_999,
///     level: Level::Warn,
///     target: "shop::cart".into(),
///     message: "no such cart".into(),
///     fields: vec![
///         ("cart".into(), FieldValue::Signed(3)),
///         ("name".into(), FieldValue::Text("Ann Lee".into())),
///     ],
///     source: None,
///     trace: None,
///     is_audit: false,
///     stream: None,
/// };
/// let entry = Entry::new(Arc::new(Identity::new("shop")), record);
/// assert_eq!(
///     pretty::encode(&[entry], pretty::Colors::Off),
///     "2023-11-14T22:13:20.123Z  WARN shop: no such cart cart=3 name=\"Ann Lee\" \
///      target=shop::cart\n"
/// );
/// ```
pub fn encode(entries: &[Entry<LogRecord>], colors: Colors) -> String {
    let mut out = String::new();
    for entry in entries {
        encode_into(&entry.identity, &entry.record, colors, &mut out);
    }
    out
}

/// Appends one record to `out`, with its line break.
pub fn encode_into(identity: &Identity, record: &LogRecord, colors: Colors, out: &mut String) {
    let paint = Paint { colors };
    // Writing to a string cannot fail.
    let time = humantime::format_rfc3339_millis(json::time(record.time));
    paint.with(DIM, out, |out| _ = write!(out, "{time}"));
    out.push(' ');
    let (color, level) = match record.stream {
        Some(stream) => (GREY, stream.name()),
        None => level(record.level),
    };
    paint.with(color, out, |out| out.push_str(level));
    out.push(' ');
    paint.with(BOLD, out, |out| visible(identity.component(), out));
    out.push_str(": ");
    visible(&record.message, out);
    for (key, value) in field::unique(&record.fields) {
        paint.key(key, out);
        text(value, out);
    }
    if !record.target.is_empty() && record.stream.is_none() {
        paint.key("target", out);
        visible(&record.target, out);
    }
    if let Some(source) = &record.source {
        paint.key("at", out);
        visible(&source.file, out);
        let _ = write!(out, ":{}", source.line);
    }
    if let Some(context) = record.trace {
        paint.key("trace", out);
        let _ = write!(out, "{}", context.trace_id);
        paint.key("span", out);
        let _ = write!(out, "{}", context.span_id);
    }
    if record.is_audit {
        paint.key("audit", out);
        out.push_str("true");
    }
    out.push('\n');
}

// Parameters of the control function "select graphic rendition".
//
// Source: ECMA-48, 8.3.117; 90 is the bright black of nearly every terminal.
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";
const GREY: &str = "90";

/// A level's colour and name. All names have the same width.
const fn level(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::Off => (GREY, "  OFF"),
        Level::Error => (RED, "ERROR"),
        Level::Warn => (YELLOW, " WARN"),
        Level::Info => (GREEN, " INFO"),
        Level::Debug => (BLUE, "DEBUG"),
        Level::Trace => (GREY, "TRACE"),
    }
}

struct Paint {
    colors: Colors,
}

impl Paint {
    fn with(&self, parameter: &str, out: &mut String, add: impl FnOnce(&mut String)) {
        if self.colors == Colors::Off {
            return add(out);
        }
        out.extend(["\x1b[", parameter, "m"]);
        add(out);
        out.push_str("\x1b[0m");
    }

    fn key(&self, key: &str, out: &mut String) {
        out.push(' ');
        self.with(DIM, out, |out| {
            visible(key, out);
            out.push('=');
        });
    }
}

fn text(value: &FieldValue, out: &mut String) {
    let _ = match value {
        FieldValue::Signed(value) => write!(out, "{value}"),
        FieldValue::Unsigned(value) => write!(out, "{value}"),
        FieldValue::Float(value) => write!(out, "{value}"),
        FieldValue::Bool(value) => write!(out, "{value}"),
        FieldValue::Text(value) => {
            let needs_quotes = value.is_empty() || value.contains([' ', '"', '=']);
            if !needs_quotes {
                visible(value, out);
                return;
            }
            quoted_visible(value, out);
            Ok(())
        }
    };
}
