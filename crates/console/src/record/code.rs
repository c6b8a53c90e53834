//! Logs and spans as bytes.

use wasmetry_host::Identity;
use wasmetry_host::record::{Field, FieldValue, LogRecord, SpanKind, SpanRecord, SpanStatus};

use crate::code::{Reader, put, put_signed, put_text};
use crate::limits;

/// The keys that most spans and logs have. A key that is not among them is written in full.
const KEYS: [&str; 29] = [
    "",
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "url.path",
    "url.query",
    "url.scheme",
    "url.full",
    "server.address",
    "server.port",
    "user_agent.original",
    "network.protocol.version",
    "error.type",
    "exception.type",
    "exception.message",
    "exception.stacktrace",
    "code.file.path",
    "code.line.number",
    "code.column.number",
    "method",
    "route",
    "status",
    "duration",
    "duration_ms",
    "error_type",
    "request_bytes",
    "response_bytes",
    "http.request.method_original",
    "id",
];

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FieldView<'a> {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
}

/// A log as it was written.
#[derive(Clone, Debug)]
pub(crate) struct LogView<'a> {
    pub(crate) message: &'a str,
    pub(crate) target: &'a str,
    pub(crate) observed: u64,
    pub(crate) span_id: u64,
    pub(crate) is_audit: bool,
    /// The stream of a printed line.
    pub(crate) stream: Option<&'static str>,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
    pub(crate) fields: Fields<'a>,
    /// The number of fields that found no room.
    pub(crate) dropped: u64,
}

impl LogView<'_> {
    /// Returns the call site: file and line, else the target.
    pub(crate) fn site(&self) -> String {
        if self.file.is_empty() { self.target.to_owned() } else { format!("{}:{}", self.file, self.line) }
    }

    /// Returns `true` if this is the log's call site.
    pub(crate) fn is_at(&self, site: &str) -> bool {
        if self.file.is_empty() {
            return self.target == site;
        }
        let line = site.strip_prefix(self.file).and_then(|rest| rest.strip_prefix(':'));
        line.is_some_and(|line| line.parse() == Ok(self.line))
    }
}

/// Fields or attributes.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Fields<'a> {
    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<FieldView<'a>> {
        self.clone().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Returns the text of a key.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key) {
            Some(FieldView::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number of a key.
    pub(crate) fn unsigned(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(FieldView::Unsigned(number)) => Some(number),
            Some(FieldView::Signed(number)) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// Skips the fields, and returns the reader behind them.
    fn end(mut self) -> Reader<'a> {
        while self.next().is_some() {}
        self.reader
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, FieldView<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let reader = &mut self.reader;
        let key = match reader.byte() {
            0 => reader.text(),
            known => KEYS.get(usize::from(known)).copied().unwrap_or_default(),
        };
        let value = match reader.byte() {
            0 => FieldView::Signed(reader.signed()),
            1 => FieldView::Unsigned(reader.get()),
            2 => FieldView::Float(f64::from_le_bytes(reader.array())),
            3 => FieldView::Bool(false),
            4 => FieldView::Bool(true),
            _ => FieldView::Text(reader.text()),
        };
        Some((key, value))
    }
}

fn known_key(key: &str) -> Option<u8> {
    // Few keys have the same length.
    let at = KEYS.iter().position(|known| known.len() == key.len() && *known == key)?;
    (at > 0).then_some(at as u8)
}

/// Appends fields, up to `end` bytes of `out`. Returns the number of those that were left out.
fn put_fields(out: &mut Vec<u8>, fields: &[Field], end: usize) -> u64 {
    let size = |(key, value): &Field| {
        let text = if let FieldValue::Text(text) = value { text.len().min(limits::TEXT_BYTES) } else { 10 };
        key.len() + text + 16
    };
    let mut room = end.saturating_sub(out.len());
    let fits = |field: &&Field| {
        let size = size(field);
        let has_room = size <= room;
        room = room.saturating_sub(if has_room { size } else { room });
        has_room
    };
    let kept = fields.iter().take_while(fits).count();
    put(out, kept as u64);
    for (key, value) in &fields[..kept] {
        match known_key(key) {
            Some(known) => out.push(known),
            None => {
                out.push(0);
                put_text(out, key);
            }
        }
        match value {
            FieldValue::Signed(value) => {
                out.push(0);
                put_signed(out, *value);
            }
            FieldValue::Unsigned(value) => {
                out.push(1);
                put(out, *value);
            }
            FieldValue::Float(value) => {
                out.push(2);
                out.extend(value.to_le_bytes());
            }
            FieldValue::Bool(value) => out.push(3 + u8::from(*value)),
            FieldValue::Text(text) => {
                out.push(5);
                put_text(out, cut(text));
            }
            _ => out.extend([5, 0]),
        }
    }
    (fields.len() - kept) as u64
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::TEXT_BYTES)]
}

fn read_fields<'a>(reader: &mut Reader<'a>) -> Fields<'a> {
    let left = reader.get();
    let fields = Fields { reader: reader.clone(), left };
    *reader = fields.clone().end();
    fields
}

/// Appends the parts of a log that its store does not compare. Returns the number of fields that
/// were left out.
pub(crate) fn put_log(log: &LogRecord, out: &mut Vec<u8>) -> u64 {
    let stream = log.stream.map_or(0, |stream| if stream.name() == "stdout" { 1 } else { 2 });
    out.push(stream << 1 | u8::from(log.is_audit));
    put_text(out, cut(&log.message));
    put_text(out, cut(&log.target));
    put(out, log.observed);
    put(out, log.trace.map_or(0, |trace| trace.span_id.number()));
    put_text(out, log.source.as_ref().map_or("", |source| cut(&source.file)));
    put(out, log.source.as_ref().map_or(0, |source| source.line.into()));
    let dropped = put_fields(out, &log.fields, limits::LOG_BYTES);
    put(out, dropped);
    dropped
}

/// Reads what [`put_log`] has written.
pub(crate) fn read_log(bytes: &[u8]) -> LogView<'_> {
    let mut reader = Reader::new(bytes);
    let flags = reader.byte();
    LogView {
        is_audit: flags & 1 != 0,
        stream: [None, Some("stdout"), Some("stderr"), None][usize::from(flags >> 1 & 3)],
        message: reader.text(),
        target: reader.text(),
        observed: reader.get(),
        span_id: reader.get(),
        file: reader.text(),
        line: reader.get() as u32,
        fields: read_fields(&mut reader),
        dropped: reader.get(),
    }
}

/// A span as it was written.
#[derive(Clone, Debug)]
pub(crate) struct SpanView<'a> {
    pub(crate) span_id: u64,
    /// 0 for a span without a parent.
    pub(crate) parent: u64,
    pub(crate) is_parent_remote: bool,
    pub(crate) kind: &'static str,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) component: &'a str,
    pub(crate) version: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) name: &'a str,
    pub(crate) target: &'a str,
    pub(crate) status: &'static str,
    pub(crate) status_text: &'a str,
    pub(crate) dropped: u64,
    pub(crate) attributes: Fields<'a>,
    pub(crate) events: Vec<EventView<'a>>,
    pub(crate) links: Vec<LinkView<'a>>,
}

/// An event of a span.
#[derive(Clone, Debug)]
pub(crate) struct EventView<'a> {
    pub(crate) time: u64,
    pub(crate) name: &'a str,
    pub(crate) attributes: Fields<'a>,
}

/// A link of a span.
#[derive(Clone, Debug)]
pub(crate) struct LinkView<'a> {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) attributes: Fields<'a>,
}

/// Appends a span with its length.
pub(crate) fn put_span(identity: &Identity, span: &SpanRecord, out: &mut Vec<u8>) {
    let mut bytes = Vec::with_capacity(512);
    let kind = match span.kind {
        SpanKind::Internal => 0,
        SpanKind::Server => 1,
        SpanKind::Client => 2,
        SpanKind::Producer => 3,
        SpanKind::Consumer => 4,
    };
    let (status, text) = match &span.status {
        SpanStatus::Unset => (0, ""),
        SpanStatus::Ok => (1, ""),
        SpanStatus::Error(text) => (2, &**text),
    };
    bytes.push(kind << 3 | status << 1 | u8::from(span.is_parent_remote));
    bytes.extend(span.context.span_id.number().to_le_bytes());
    bytes.extend(span.parent.map_or(0, |parent| parent.number()).to_le_bytes());
    put(&mut bytes, span.start);
    put(&mut bytes, span.end.saturating_sub(span.start));
    identity.values().iter().for_each(|text| put_text(&mut bytes, cut(text)));
    put_text(&mut bytes, cut(&span.name));
    put_text(&mut bytes, cut(&span.target));
    put_text(&mut bytes, cut(text));
    let mut dropped = u64::from(span.dropped);
    dropped += put_fields(&mut bytes, &span.attributes, limits::SPAN_BYTES / 2);
    let fits = |bytes: &Vec<u8>| bytes.len() < limits::SPAN_BYTES - limits::TEXT_BYTES;
    // The number of events is known only once they were written.
    for event in &span.events {
        if !fits(&bytes) {
            dropped += 1;
            continue;
        }
        bytes.push(1);
        put(&mut bytes, event.time);
        put_text(&mut bytes, cut(&event.name));
        dropped += put_fields(&mut bytes, &event.attributes, limits::SPAN_BYTES);
    }
    for link in &span.links {
        if !fits(&bytes) {
            dropped += 1;
            continue;
        }
        bytes.push(2);
        bytes.extend(link.context.trace_id.number().to_le_bytes());
        bytes.extend(link.context.span_id.number().to_le_bytes());
        dropped += put_fields(&mut bytes, &link.attributes, limits::SPAN_BYTES);
    }
    bytes.push(0);
    put(&mut bytes, dropped);
    put(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

/// Reads spans that [`put_span`] has written one after the other.
pub(crate) fn read_spans(bytes: &[u8]) -> impl Iterator<Item = SpanView<'_>> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        (!reader.is_empty()).then(|| {
            let len = reader.get() as usize;
            read_span(reader.bytes(len))
        })
    })
}

fn read_span(bytes: &[u8]) -> SpanView<'_> {
    let mut reader = Reader::new(bytes);
    let flags = reader.byte();
    let (span_id, parent) = (u64::from_le_bytes(reader.array()), u64::from_le_bytes(reader.array()));
    let (start, duration) = (reader.get(), reader.get());
    let [component, version, tenant, name, target, status_text] = std::array::from_fn(|_| reader.text());
    let attributes = read_fields(&mut reader);
    let (mut events, mut links) = (Vec::new(), Vec::new());
    loop {
        match reader.byte() {
            1 => {
                let (time, name) = (reader.get(), reader.text());
                events.push(EventView { time, name, attributes: read_fields(&mut reader) });
            }
            2 => {
                let (trace_id, span_id) = (u128::from_le_bytes(reader.array()), u64::from_le_bytes(reader.array()));
                links.push(LinkView { trace_id, span_id, attributes: read_fields(&mut reader) });
            }
            _ => break,
        }
    }
    SpanView {
        span_id,
        parent,
        is_parent_remote: flags & 1 != 0,
        kind: ["internal", "server", "client", "producer", "consumer", "internal", "internal", "internal"]
            [usize::from(flags >> 3 & 7)],
        start,
        duration,
        component,
        version,
        tenant,
        name,
        target,
        status: ["unset", "ok", "error", "error"][usize::from(flags >> 1 & 3)],
        status_text,
        dropped: reader.get(),
        attributes,
        events,
        links,
    }
}
