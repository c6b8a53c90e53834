//! Log records in the two forms of Loki's push API.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use wasmetry_host::encode::loki;
use wasmetry_host::record::{Entry, FieldValue, Level, LogRecord, OutputStream, Source};
use wasmetry_host::{Identity, limits};

use crate::json_line::{ODD, TIME, context, entry, field, log, text};

type Pairs = BTreeMap<String, String>;

/// A stream as Loki decodes it: labels and entries.
#[derive(Debug, PartialEq)]
struct Stream {
    labels: Pairs,
    entries: Vec<(u64, String, Pairs)>,
}

fn pairs(value: &Value) -> Pairs {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Encodes one push as JSON, and decodes it.
fn streams(entries: &[Entry<LogRecord>]) -> Vec<Stream> {
    push(&mut loki::Encoder::new(None), entries)
}

/// Encodes a push as JSON, and decodes it.
fn push(encoder: &mut loki::Encoder, entries: &[Entry<LogRecord>]) -> Vec<Stream> {
    let body = encoder.json(entries);
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let entry = |entry: &Value| {
        let [time, line, metadata] = &entry.as_array().unwrap()[..] else { panic!("{entry}") };
        let time = time.as_str().unwrap().parse().unwrap();
        (time, line.as_str().unwrap().to_owned(), pairs(metadata))
    };
    let stream = |stream: &Value| Stream {
        labels: pairs(&stream["stream"]),
        entries: stream["values"].as_array().unwrap().iter().map(entry).collect(),
    };
    body["streams"].as_array().unwrap().iter().map(stream).collect()
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Pairs {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn labels_are_few_fields_are_metadata() {
    let mut record = log();
    record.trace = Some(context(0x4bf9, 0xf067, 1));
    record.source = Some(Source { file: "src/cart.rs".into(), line: 12 });
    record.fields = vec![
        field("items", FieldValue::Signed(-3)),
        field("bytes", FieldValue::Unsigned(u64::MAX)),
        field("ms", FieldValue::Float(1.5)),
        field("nan", FieldValue::Float(f64::NAN)),
        field("ok", FieldValue::Bool(true)),
        field("user", text("Zoë")),
    ];
    let [stream] = &streams(&[entry(record)])[..] else { panic!() };
    assert_eq!(
        stream.labels,
        owned([
            ("service_name", "shop"),
            ("component", "shop"),
            ("version", "1.2"),
            ("tenant", "acme"),
            ("level", "info")
        ])
    );
    let metadata = owned([
        ("trace_id", "00000000000000000000000000004bf9"),
        ("span_id", "000000000000f067"),
        ("target", "shop::cart"),
        ("code_file_path", "src/cart.rs"),
        ("code_line_number", "12"),
        ("items", "-3"),
        ("bytes", "18446744073709551615"),
        ("ms", "1.5"),
        ("nan", "NaN"),
        ("ok", "true"),
        ("user", "Zoë"),
    ]);
    assert_eq!(stream.entries, [(TIME, "cart loaded".to_owned(), metadata)]);
    let body = loki::Encoder::new(Some("storefront".to_owned())).json(&[entry(log())]);
    assert!(body.contains("\"service_name\":\"storefront\",\"component\":\"shop\""), "{body}");
}

#[test]
fn keys_become_unused_names() {
    let mut record = log();
    let keys = ["a.b", "a_b", "a-b", "9", "", "level", "exported_level", "trace_id", "ä", "ok"];
    record.fields = keys.iter().zip(0..).map(|(key, number)| field(key, FieldValue::Signed(number))).collect();
    let found = &streams(&[entry(record)])[0].entries[0].2;
    let expected = owned([
        ("target", "shop::cart"),
        ("a_b", "0"),
        ("exported_a_b", "1"),
        ("exported_exported_a_b", "2"),
        ("_9", "3"),
        ("_", "4"),
        ("exported_level", "5"),
        ("exported_exported_level", "6"),
        ("exported_trace_id", "7"),
        ("exported__", "8"),
        ("ok", "9"),
    ]);
    assert_eq!(*found, expected);
}

#[test]
fn timestamps_rise_within_each_stream() {
    let shop = Arc::new(Identity::new("shop"));
    let other = Arc::new(Identity::new("other"));
    let with = |identity: &Arc<Identity>, time, level, is_audit, message: &str| {
        Entry::new(identity.clone(), LogRecord { time, level, is_audit, message: message.into(), ..log() })
    };
    let found = streams(&[
        with(&shop, 50, Level::Info, false, "c"),
        with(&shop, 20, Level::Info, false, "a"),
        with(&other, 7, Level::Info, false, "other"),
        with(&shop, 20, Level::Info, false, "b"),
        with(&shop, 20, Level::Error, false, "error"),
        with(&shop, 20, Level::Info, true, "audit"),
        with(&shop, 20, Level::Info, false, "b"),
    ]);
    let labels = |stream: &Stream| stream.labels.values().cloned().collect::<Vec<_>>().join(" ");
    let entries = |stream: &Stream| {
        stream.entries.iter().map(|(time, line, _)| format!("{time}{line}")).collect::<Vec<_>>().join(" ")
    };
    let found: Vec<_> = found.iter().map(|stream| (labels(stream), entries(stream))).collect();
    let expected = [
        ("shop info shop", "20a 21b 22b 50c"),
        ("other info other", "7other"),
        ("shop error shop", "20error"),
        ("shop info shop audit", "20audit"),
    ];
    assert_eq!(found, expected.map(|(labels, entries)| (labels.to_owned(), entries.to_owned())));
    // Even at the greatest time.
    let last = streams(&[with(&shop, u64::MAX, Level::Info, false, ""), with(&shop, u64::MAX, Level::Info, false, "")]);
    assert_eq!(last[0].entries.len(), 2);
}

/// Loki keeps one of the entries of a stream that have the same timestamp and line, also if they
/// are of different pushes.
#[test]
fn timestamps_are_unique_across_pushes() {
    let shop = Arc::new(Identity::new("shop"));
    let at = |time, level| Entry::new(shop.clone(), LogRecord { time, level, message: "same".into(), ..log() });
    let mut encoder = loki::Encoder::new(None);
    let mut times = |batch: &[(u64, Level)]| {
        let entries: Vec<_> = batch.iter().map(|(time, level)| at(*time, *level)).collect();
        let streams = push(&mut encoder, &entries);
        streams.iter().flat_map(|stream| &stream.entries).map(|(time, ..)| *time).collect::<Vec<_>>()
    };
    assert_eq!(times(&[(10, Level::Info), (10, Level::Info), (40, Level::Info)]), [10, 11, 40]);
    // The lines of one moment go on behind those of the push before. A late line keeps its time.
    assert_eq!(times(&[(10, Level::Info), (30, Level::Info), (40, Level::Info)]), [12, 30, 41]);
    // Another level is another stream.
    assert_eq!(times(&[(10, Level::Warn), (11, Level::Info)]), [10, 13]);
}

/// Records that arrive in the order of their times get timestamps that rise, in each push and from
/// one to the next.
#[test]
fn ordered_records_get_rising_timestamps() {
    let shop = Arc::new(Identity::new("shop"));
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..50 {
        let mut encoder = loki::Encoder::new(None);
        let (mut now, mut last) = (1_000, 0);
        for _ in 0..40 {
            let mut batch = Vec::new();
            for _ in 0..1 + random % 20 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Most records have the time of the one before; others follow within what those
                // records were moved by, or after it.
                now += [0, 0, 0, 1, 2, 7, 100][random as usize % 7];
                batch.push(Entry::new(shop.clone(), LogRecord { time: now, message: "same".into(), ..log() }));
            }
            for (time, ..) in &push(&mut encoder, &batch)[0].entries {
                assert!(*time > last, "{time} after {last}");
                last = *time;
            }
        }
    }
}

/// A guest that states a time in the future must not use up the timestamps of later lines.
#[test]
fn future_timestamps_are_clamped() {
    let record = LogRecord { time: u64::MAX, ..log() };
    let observed = record.observed;
    assert_eq!(streams(&[entry(record)])[0].entries[0].0, observed);
}

#[test]
fn printed_lines_have_no_level() {
    let record = LogRecord::output(OutputStream::Stderr, b"oops", None, TIME);
    let [stream] = &streams(&[Entry::new(Arc::new(Identity::new("shop")), record)])[..] else { panic!() };
    assert_eq!(stream.labels, owned([("service_name", "shop"), ("component", "shop")]));
    assert_eq!(stream.entries, [(TIME, "oops".to_owned(), owned([("log_iostream", "stderr")]))]);
}

#[test]
fn excess_metadata_is_dropped_and_counted() {
    let mut record = log();
    record.fields = (0..500).map(|i| field(&format!("k{i}"), FieldValue::Signed(i))).collect();
    let found = &streams(&[entry(record.clone())])[0].entries[0].2;
    assert_eq!((found.len(), found["dropped_fields"].as_str()), (limits::LOKI_METADATA + 1, "374"));
    record.fields = vec![
        field("large", text(&"x".repeat(60_000))),
        field("larger", text(&"x".repeat(60_000))),
        field("small", text("y")),
    ];
    let found = &streams(&[entry(record)])[0].entries[0].2;
    let bytes: usize = found.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= 64 << 10, "{bytes}");
    assert_eq!((found["dropped_fields"].as_str(), found["small"].as_str()), ("1", "y"));
}

#[test]
fn texts_round_trip() {
    for odd in ODD {
        let mut record = log();
        record.message = odd.into();
        record.fields = vec![field("text", text(odd))];
        let found = streams(&[Entry::new(Arc::new(Identity::new(format!("c{odd}"))), record)]);
        assert_eq!(found[0].labels["component"], format!("c{odd}"));
        assert_eq!(found[0].entries[0].1, odd);
        assert_eq!(found[0].entries[0].2["text"], odd);
    }
}

#[cfg(feature = "loki")]
mod protobuf {
    use prost::Message;
    use wasmetry_host::encode::loki::proto::{LabelPair, PushRequest};

    use super::*;

    #[test]
    fn protobuf_and_json_agree() {
        let mut entries = Vec::new();
        for odd in ODD {
            let mut record = log();
            record.message = odd.into();
            record.fields = vec![field("text", text(odd)), field("n", FieldValue::Signed(1))];
            entries.push(entry(record.clone()));
            record.level = Level::Error;
            entries.push(Entry::new(Arc::new(Identity::new("x")), record));
        }
        let request = PushRequest::decode(loki::Encoder::new(None).protobuf(&entries).as_slice()).unwrap();
        let json = streams(&entries);
        assert_eq!(request.streams.len(), json.len());
        for (stream, json) in request.streams.iter().zip(&json) {
            let found: Vec<_> = stream
                .entries
                .iter()
                .map(|entry| {
                    let time = entry.timestamp.unwrap();
                    let pair = |pair: &LabelPair| (pair.name.clone(), pair.value.clone());
                    let metadata: Pairs = entry.structured_metadata.iter().map(pair).collect();
                    (time.seconds as u64 * 1_000_000_000 + time.nanos as u64, entry.line.clone(), metadata)
                })
                .collect();
            assert_eq!(found, json.entries);
        }
        assert_eq!(
            request.streams[0].labels,
            "{service_name=\"shop\", component=\"shop\", version=\"1.2\", tenant=\"acme\", level=\"info\"}"
        );
    }

    #[test]
    fn selector_values_are_quoted() {
        let identity = Identity::new("a\"b\\c\nd\u{1}, x=\"y\"}");
        let body = loki::Encoder::new(Some("s".to_owned())).protobuf(&[Entry::new(Arc::new(identity), log())]);
        let request = PushRequest::decode(body.as_slice()).unwrap();
        let expected = r#"{service_name="s", component="a\"b\\c\nd\u0001, x=\"y\"}", level="info"}"#;
        assert_eq!(request.streams[0].labels, expected);
    }
}
