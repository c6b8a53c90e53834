//! The logs and spans of a capture, as lines.

extern crate std;

use core::fmt::{self, Write};
use std::borrow::ToOwned as _;
use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use wasmetry_abi::Level;
use wasmetry_abi::ring::{RecordKind, StatusCode, TEXT_BYTES};
use wasmetry_abi::site::{Site, SiteKind, Sites, SpanKind};
use wasmetry_abi::trace::{SpanId, TraceId};

use crate::record::argument::Arg;

/// The logs and spans of one capture.
pub(super) struct Recorded {
    finest: Level,
    /// The sites' hashes and declarations.
    sites: Vec<(u64, &'static [u8])>,
    records: Vec<Record>,
}

impl Default for Recorded {
    fn default() -> Self {
        Self { finest: Level::Trace, sites: Vec::new(), records: Vec::new() }
    }
}

/// One record, with the words in front of its arguments.
pub(super) struct Record {
    kind: RecordKind,
    span: u64,
    fixed: Vec<u64>,
    values: Vec<Value>,
}

impl Record {
    pub(super) fn new(kind: RecordKind, span: u64, fixed: &[u64], arguments: &[Arg<'_>]) -> Self {
        Self { kind, span, fixed: fixed.to_vec(), values: arguments.iter().map(Value::new).collect() }
    }
}

/// The value of an argument.
enum Value {
    /// A number or a boolean.
    Plain(String),
    /// A text, which fields show in quotes.
    Text(String),
}

impl Value {
    fn new(argument: &Arg<'_>) -> Self {
        match argument {
            Arg::Signed(value) => Self::Plain(value.to_string()),
            Arg::Unsigned(value) => Self::Plain(value.to_string()),
            Arg::Float(value) => Self::Plain(value.to_string()),
            Arg::Bool(value) => Self::Plain(value.to_string()),
            Arg::Text(text) => Self::Text(cut((*text).to_owned())),
            Arg::Display(value) => Self::Text(cut(value.to_string())),
            Arg::Debug(value) => Self::Text(cut(format!("{value:?}"))),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Text(text) => text,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// A text, cut as in the ring, with the host's ellipsis.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        text.push('\u{2026}');
    }
    text
}

/// A span or an event.
struct Node {
    /// The index of the span above it.
    parent: Option<usize>,
    /// The span's id; 0 for an event.
    span: u64,
    name: String,
    attributes: Vec<(String, String)>,
    links: String,
    status: String,
    is_open: bool,
}

impl Recorded {
    pub(super) fn up_to(&mut self, level: Level) {
        self.finest = level;
    }

    pub(super) fn finest(&self) -> Level {
        self.finest
    }

    #[cfg(feature = "dynamic")]
    pub(super) fn has_site(&self, hash: u64) -> bool {
        self.sites.iter().any(|(known, _)| *known == hash)
    }

    pub(super) fn add_site(&mut self, hash: u64, record: &'static [u8]) {
        if !self.sites.iter().any(|(known, _)| *known == hash) {
            self.sites.push((hash, record));
        }
    }

    pub(super) fn add(&mut self, record: Record) {
        self.records.push(record);
    }

    pub(super) fn logs(&self) -> Vec<String> {
        let line = |record: &Record| match record.kind {
            RecordKind::Log => Some(line(&self.site(record)?, &record.values)),
            RecordKind::Exception => Some(Exception::of(record)?.line()),
            _ => None,
        };
        self.records.iter().filter_map(line).collect()
    }

    pub(super) fn spans(&self) -> Vec<String> {
        let mut nodes: Vec<Node> = Vec::new();
        for record in &self.records {
            let at = |nodes: &[Node], span| nodes.iter().rposition(|node| span != 0 && node.span == span);
            match record.kind {
                RecordKind::Log | RecordKind::RequestAttribute => {}
                RecordKind::Start => {
                    let Some(site) = self.site(record) else { continue };
                    let parent = at(&nodes, record.fixed[3]);
                    let kind = match site.kind {
                        SiteKind::Span(kind) if kind != SpanKind::Internal => format!(" ({})", kind.name()),
                        _ => String::new(),
                    };
                    let name = format!("{}{kind}", site.text);
                    nodes.push(Node::new(parent, record.span, name, fields(&site, &record.values)));
                }
                RecordKind::Event => {
                    let Some(site) = self.site(record) else { continue };
                    let name = format!("event {}", message(site.text, &[]));
                    nodes.push(Node::new(at(&nodes, record.span), 0, name, fields(&site, &record.values)));
                }
                // Captures keep declarations in another place.
                RecordKind::Site => {}
                RecordKind::Exception => {
                    let (Some(exception), Some(index)) = (Exception::of(record), at(&nodes, record.span)) else {
                        continue;
                    };
                    nodes[index].set("error.type", format!("{:?}", exception.kind));
                    nodes[index].status = format!(" error {:?}", exception.description());
                    nodes.push(Node::new(Some(index), 0, "event exception".to_owned(), exception.attributes()));
                }
                RecordKind::End | RecordKind::Attribute | RecordKind::Link | RecordKind::Status => {
                    if let Some(index) = at(&nodes, record.span) {
                        nodes[index].apply(record);
                    }
                }
            }
        }
        let mut lines = Vec::new();
        list(&nodes, None, 0, &mut lines);
        lines
    }

    /// The site that a record names.
    fn site(&self, record: &Record) -> Option<Site<'static>> {
        let hash = record.fixed.get(2)?;
        let (_, declaration) = self.sites.iter().find(|(known, _)| known == hash)?;
        Some(Sites::new(declaration).next()?.ok()?.site)
    }
}

impl Node {
    fn new(parent: Option<usize>, span: u64, name: String, attributes: Vec<(String, String)>) -> Self {
        Self { parent, span, name, attributes, links: String::new(), status: String::new(), is_open: span != 0 }
    }

    fn set(&mut self, key: &str, value: String) {
        match self.attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((key.to_owned(), value)),
        }
    }

    fn apply(&mut self, record: &Record) {
        match (record.kind, record.fixed.as_slice(), record.values.as_slice()) {
            (RecordKind::End, ..) => self.is_open = false,
            (RecordKind::Attribute, _, [key, value]) => {
                self.set(key.text(), value.to_string());
            }
            (RecordKind::Link, [high, low, span], _) => {
                let trace = TraceId::new(u128::from(*high) << 64 | u128::from(*low));
                if let (Some(trace_id), Some(span_id)) = (trace, SpanId::new(*span)) {
                    let _ = write!(self.links, " link={trace_id}-{span_id}");
                }
            }
            (RecordKind::Status, [code], [why]) if *code == StatusCode::Error as u64 => {
                self.status = format!(" error {why:?}", why = why.text());
            }
            (RecordKind::Status, [_], _) => self.status = " ok".to_owned(),
            _ => {}
        }
    }
}

/// The panic or error of a record.
struct Exception<'a> {
    kind: &'a str,
    message: &'a str,
    causes: &'a str,
}

impl<'a> Exception<'a> {
    fn of(record: &'a Record) -> Option<Self> {
        let [_, _, _, _, kind, message, causes] = record.values.as_slice() else { return None };
        Some(Self { kind: kind.text(), message: message.text(), causes: causes.text() })
    }

    fn description(&self) -> String {
        let causes = self.causes.lines().flat_map(|cause| [": ", cause]);
        core::iter::once(self.message).chain(causes).collect()
    }

    fn attributes(&self) -> Vec<(String, String)> {
        let texts = [("exception.type", self.kind), ("exception.message", self.message)];
        texts.map(|(key, text)| (key.to_owned(), format!("{text:?}"))).into()
    }

    fn line(&self) -> String {
        let mut line = format!("ERROR {}", self.description());
        write_fields(&mut line, &self.attributes());
        line
    }
}

/// Appends the lines of all nodes below a span, or below none.
fn list(nodes: &[Node], parent: Option<usize>, depth: usize, lines: &mut Vec<String>) {
    for (index, node) in nodes.iter().enumerate().filter(|(_, node)| node.parent == parent) {
        let mut line = format!("{:1$}{2}", "", 2 * depth, node.name);
        write_fields(&mut line, &node.attributes);
        line.push_str(&node.links);
        line.push_str(&node.status);
        if node.is_open {
            line.push_str(" open");
        }
        lines.push(line);
        // An event has no children.
        if node.span != 0 {
            list(nodes, Some(index), depth + 1, lines);
        }
    }
}

/// A log's line.
fn line(site: &Site<'_>, values: &[Value]) -> String {
    let is_audit = matches!(site.kind, SiteKind::Log { is_audit: true });
    let mut line = if is_audit { "AUDIT".to_owned() } else { site.level.name().to_uppercase() };
    let message = message(site.text, &values[..values.len().min(site.message_arguments.into())]);
    if !message.is_empty() {
        line.push(' ');
        line.push_str(&message);
    }
    write_fields(&mut line, &fields(site, values));
    line
}

/// The fields of a record, which follow its message's arguments.
fn fields(site: &Site<'_>, values: &[Value]) -> Vec<(String, String)> {
    let values = values.iter().skip(site.message_arguments.into());
    site.keys().zip(values).map(|(key, value)| (key.to_owned(), value.to_string())).collect()
}

fn write_fields(line: &mut String, fields: &[(String, String)]) {
    for (key, value) in fields {
        // Writing to a string does not fail.
        let _ = write!(line, " {key}={value}");
    }
}

/// A message with its arguments in the place of `{}`; two braces stand for one.
fn message(text: &str, arguments: &[Value]) -> String {
    let mut arguments = arguments.iter();
    let mut message = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, chars.clone().next()) {
            ('{', Some('}')) => message.push_str(arguments.next().map_or("", Value::text)),
            ('{', Some('{')) | ('}', Some('}')) => message.push(char),
            _ => {
                message.push(char);
                continue;
            }
        }
        chars.next();
    }
    message
}
