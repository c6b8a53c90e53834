//! Log records as JSON lines and as text for people.

use std::sync::Arc;

use serde_json::Value;
use wasmetry_host::encode::pretty::Colors;
use wasmetry_host::encode::{json, pretty};
use wasmetry_host::record::{
    Entry, Field, FieldValue, Level, LogRecord, OutputStream, Source, SpanId, TraceContext, TraceId,
};
use wasmetry_host::{Identity, limits};

pub(crate) const TIME: u64 = 1_700_000_000_123_456_789;
const LEVELS: [Level; 6] = [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

/// Texts that need escaping.
pub(crate) const ODD: [&str; 12] = [
    "",
    "plain",
    "two\nlines\r\n",
    "a \"quote\" and a back\\slash",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{9b}31m\u{85}",
    "\0\u{1}\u{7f}",
    "grüße, 東京 🚀",
    "\u{202e}txt.exe\u{2066}",
    "line\u{2028}separator\u{2029}",
    "{\"message\":\"forged\"}\n{\"level\":\"error\"}",
    "\u{fffd}\u{feff}\u{10ffff}",
];

pub(crate) fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.into())
}

pub(crate) fn field(key: &str, value: FieldValue) -> Field {
    (key.into(), value)
}

pub(crate) fn context(trace: u128, span: u64, flags: u8) -> TraceContext {
    TraceContext { trace_id: TraceId::new(trace).unwrap(), span_id: SpanId::new(span).unwrap(), flags }
}

pub(crate) fn log() -> LogRecord {
    LogRecord {
        time: TIME,
        observed: TIME + 1,
        level: Level::Info,
        target: "shop::cart".into(),
        message: "cart loaded".into(),
        fields: Vec::new(),
        source: None,
        trace: None,
        is_audit: false,
        stream: None,
    }
}

pub(crate) fn entry<T>(record: T) -> Entry<T> {
    Entry::new(Arc::new(Identity::new("shop").with_version("1.2").with_tenant("acme")), record)
}

fn line(record: LogRecord) -> Value {
    let line = json::encode(&[entry(record)]);
    assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?} is one line");
    assert!(line.chars().all(|char| char == '\n' || !char.is_control()), "{line:?} writes nothing invisible");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn json_line_has_documented_keys() {
    let mut record = log();
    record.trace = Some(context(0x4bf9, 0xf067, 1));
    record.source = Some(Source { file: "src/cart.rs".into(), line: 12 });
    record.fields = vec![
        field("items", FieldValue::Signed(-3)),
        field("bytes", FieldValue::Unsigned(u64::MAX)),
        field("latency_ms", FieldValue::Float(1.5)),
        field("ok", FieldValue::Bool(true)),
    ];
    let expected = serde_json::json!({
        "timestamp": "2023-11-14T22:13:20.123456789Z", "level": "info", "message": "cart loaded",
        "service": "shop", "version": "1.2", "tenant": "acme", "target": "shop::cart",
        "trace_id": "00000000000000000000000000004bf9", "span_id": "000000000000f067",
        "code.file.path": "src/cart.rs", "code.line.number": 12,
        "items": -3, "bytes": u64::MAX, "latency_ms": 1.5, "ok": true,
    });
    assert_eq!(line(record), expected);
    let bare = json::encode(&[Entry::new(Arc::new(Identity::new("x")), LogRecord { target: "".into(), ..log() })]);
    let bare: Value = serde_json::from_str(&bare).unwrap();
    let keys: Vec<_> = bare.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["level", "message", "service", "timestamp"], "what is not there has no key");
    assert_eq!(line(LogRecord { is_audit: true, ..log() })["audit"], true);
}

/// A line that a guest printed has neither message nor level, so it cannot be mistaken for a
/// record.
#[test]
fn printed_lines_have_no_message() {
    let trace = Some(context(0x4bf9, 0xf067, 1));
    let print = |text: &[u8]| LogRecord::output(OutputStream::Stdout, text, trace, TIME);
    let expected = serde_json::json!({
        "timestamp": "2023-11-14T22:13:20.123456789Z", "stream": "stdout", "log": "{\"message\":\"x\"}\u{1b}[1m",
        "service": "shop", "version": "1.2", "tenant": "acme",
        "trace_id": "00000000000000000000000000004bf9", "span_id": "000000000000f067",
    });
    assert_eq!(line(print(b"{\"message\":\"x\"}\x1b[1m")), expected);
    assert_eq!(line(print(b"a\xffb"))["log"], "a\u{fffd}b");
    // A cut never divides a character.
    let long = "é".repeat(limits::OUTPUT_LINE);
    let shown = line(print(&long.as_bytes()[1..]))["log"].as_str().unwrap().to_owned();
    assert!(shown.len() <= limits::OUTPUT_LINE + 8 && shown.ends_with("é…"), "{}", shown.len());
    let entry = entry(print(b"done\n2023 INFO other: forged"));
    let pretty = pretty::encode(&[entry], Colors::Off);
    assert!(pretty.starts_with("2023-11-14T22:13:20.123Z stdout shop: done\\n2023 INFO"), "{pretty}");
}

#[test]
fn times_are_rfc_3339() {
    for (time, expected) in [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
        (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
    ] {
        assert_eq!(line(LogRecord { time, ..log() })["timestamp"], expected);
    }
}

#[test]
fn reserved_keys_are_renamed() {
    for key in json::RESERVED {
        let mut record = log();
        let renamed = format!("exported_{key}");
        record.fields = vec![field(key, text("forged")), field("plain", text("kept"))];
        let found = line(record.clone());
        assert_ne!(found[key], "forged", "{key}");
        assert_eq!((&found[&renamed], &found["plain"]), (&"forged".into(), &"kept".into()), "{key}");
        // The new name may be in use too.
        record.fields.push(field(&renamed, text("taken")));
        let found = line(record);
        assert_eq!(found[&renamed], "taken", "{key}");
        assert_eq!(found[format!("exported_{renamed}")], "forged", "{key}");
    }
}

#[test]
fn last_field_of_a_key_counts() {
    for others in [0, 100] {
        let mut record = log();
        record.fields = vec![field("a", FieldValue::Signed(1)), field("b", FieldValue::Signed(2))];
        record.fields.extend((0..others).map(|i| field(&format!("k{i}"), FieldValue::Signed(i))));
        record.fields.push(field("a", FieldValue::Signed(3)));
        let text = json::encode(&[entry(record.clone())]);
        assert_eq!(text.matches("\"a\":").count(), 1, "{text}");
        let found = line(record);
        assert_eq!((&found["a"], &found["b"]), (&3.into(), &2.into()));
        assert_eq!(found.as_object().unwrap().len() as i64, 7 + 2 + others);
    }
}

#[test]
fn nonfinite_numbers_are_strings() {
    let mut record = log();
    let values = [
        ("nan", f64::NAN),
        ("inf", f64::INFINITY),
        ("neg", f64::NEG_INFINITY),
        ("zero", -0.0),
        ("max", f64::MAX),
        ("min", f64::MIN_POSITIVE),
        ("tiny", 5e-324),
        ("third", 1.0 / 3.0),
    ];
    record.fields = values.iter().map(|(key, value)| field(key, FieldValue::Float(*value))).collect();
    let found = line(record);
    assert_eq!((&found["nan"], &found["inf"], &found["neg"]), (&"NaN".into(), &"Infinity".into(), &"-Infinity".into()));
    for (key, value) in &values[3..] {
        assert_eq!(found[key].as_f64().map(f64::to_bits), Some(value.to_bits()), "{key}");
    }
}

#[test]
fn texts_round_trip() {
    for odd in ODD {
        let mut record = log();
        record.message = odd.into();
        record.target = format!("t{odd}").into();
        record.fields = vec![field(&format!("k{odd}"), text(odd))];
        let found = line(record);
        assert_eq!(found["message"], odd);
        assert_eq!(found["target"], format!("t{odd}"));
        assert_eq!(found[format!("k{odd}")], odd);
    }
}

#[test]
fn control_characters_are_escaped() {
    for odd in ODD {
        for level in LEVELS {
            let mut record = log();
            record.level = level;
            record.message = odd.into();
            record.target = odd.into();
            record.source = Some(Source { file: odd.into(), line: 1 });
            record.fields = vec![field(odd, text(odd)), field("x", FieldValue::Float(f64::NAN))];
            record.trace = Some(context(1, 2, 0));
            let entry = Entry::new(Arc::new(Identity::new(odd)), record);
            let plain = pretty::encode(std::slice::from_ref(&entry), pretty::Colors::Off);
            assert_eq!(plain.find('\n'), Some(plain.len() - 1), "{plain:?} is one line");
            assert!(!plain[..plain.len() - 1].contains(char::is_control), "{plain:?}");
            for turn in ['\u{202e}', '\u{2066}', '\u{2028}'] {
                assert!(!plain.contains(turn), "{plain:?}");
            }
            // Without the escape sequences of its colours, the line is the same.
            let mut colored = pretty::encode(&[entry], pretty::Colors::On);
            assert_ne!(colored, plain);
            for parameter in ["0", "1", "2", "31", "32", "33", "34", "90"] {
                colored = colored.replace(&format!("\u{1b}[{parameter}m"), "");
            }
            assert_eq!(colored, plain);
        }
    }
}
