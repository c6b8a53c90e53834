//! Attributes of requests, and the small numbers that stand for them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::limits;

/// The kind of an attribute, in the order in which attributes that always occur together are
/// listed: what a request brings with it before what its guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AttributeKind {
    /// The tenant of the component.
    Tenant,
    /// The component's version.
    Version,
    /// The component.
    Component,
    /// The route.
    Route,
    /// The request's method.
    Method,
    /// An attribute of the request's own span that the guest has set.
    RequestAttribute,
    /// The value of a label of a series that the request has touched.
    Label,
    /// A span that the guest has started.
    Span,
    /// The place of a log or event that the guest has reached.
    LogSite,
    /// A metric without labels that the request has touched.
    Metric,
    /// A log or event of the level `error`.
    ErrorSite,
    /// The value of a label that names an outcome, such as `error_type`.
    Outcome,
    /// The status that the client got.
    Status,
    /// The reason for which the request failed.
    Reason,
}

impl AttributeKind {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Version => "version",
            Self::Component => "component",
            Self::Route => "route",
            Self::Method => "method",
            Self::RequestAttribute => "attribute",
            Self::Label | Self::Outcome => "label",
            Self::Span => "span",
            Self::LogSite | Self::ErrorSite => "log_site",
            Self::Metric => "metric",
            Self::Status => "status",
            Self::Reason => "reason",
        }
    }

    /// Returns `true` if the attribute reports a failure. It is a sign of it, not its cause.
    pub fn is_sign_of_failure(self) -> bool {
        matches!(self, Self::ErrorSite | Self::Outcome | Self::Status | Self::Reason)
    }
}

/// Keys of labels and attributes whose values name the outcome of a request.
///
/// Sources: OpenTelemetry's semantic conventions (`error.type`, `http.response.status_code`,
/// `rpc.grpc.status_code`, `otel.status_code`), and names in wide use.
const OUTCOME_KEYS: [&str; 13] = [
    "error",
    "error_type",
    "error_code",
    "exception_type",
    "outcome",
    "result",
    "status",
    "status_code",
    "code",
    "http_status",
    "http_response_status_code",
    "rpc_grpc_status_code",
    "otel_status_code",
];

/// Returns `true` if the values of a label or attribute name the outcome of a request.
pub(crate) fn is_outcome_key(key: &str) -> bool {
    OUTCOME_KEYS.iter().any(|known| {
        let mut bytes = key.bytes().map(|byte| if byte == b'.' { b'_' } else { byte.to_ascii_lowercase() });
        known.bytes().all(|byte| bytes.next() == Some(byte)) && bytes.next().is_none()
    })
}

/// An attribute that a request has or has not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    /// The kind.
    pub kind: AttributeKind,
    /// The key: a metric and its label, a place in the source, or the kind's name.
    pub key: Box<str>,
    /// The value.
    pub value: Box<str>,
}

impl Attribute {
    /// Creates an attribute. Texts longer than [`limits::TEXT`] are cut.
    pub fn new(kind: AttributeKind, key: &str, value: &str) -> Self {
        Self { kind, key: cut(key), value: cut(value) }
    }

    /// The attribute as people read it.
    pub fn text(&self) -> String {
        let Self { kind, key, value } = self;
        match kind {
            AttributeKind::Label | AttributeKind::Outcome => match key.split_once('{') {
                Some((metric, label)) => format!("{metric}{{{}={value:?}}}", label.trim_end_matches('}')),
                None => format!("{key}={value:?}"),
            },
            AttributeKind::Metric => format!("a value of `{key}`"),
            AttributeKind::LogSite | AttributeKind::ErrorSite => format!("the log `{value}` at {key}"),
            AttributeKind::Span => format!("the span `{value}`"),
            AttributeKind::RequestAttribute => format!("{key}={value:?}"),
            AttributeKind::Tenant if value.is_empty() => "no tenant".to_owned(),
            _ => format!("{key} {value}"),
        }
    }

    fn size(&self) -> usize {
        // Beside the texts, an entry of the map and of the list, and two counts.
        self.key.len() + self.value.len() + 2 * size_of::<Self>() + 32
    }
}

/// Returns the beginning of a text by which it is known.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::TEXT)]
}

fn cut(text: &str) -> Box<str> {
    match head(text) {
        head if head.len() < text.len() => format!("{head}…").into(),
        head => head.into(),
    }
}

/// The number that stands for an attribute, as long as a request that is kept has it.
pub(crate) type AttributeId = u32;

/// The attributes that are known.
#[derive(Debug)]
pub(crate) struct Names {
    limit: usize,
    /// The number of the attribute with each hash. Of two with one hash, the second one has the
    /// next number that is free.
    ids: HashMap<u64, AttributeId>,
    hasher: RandomState,
    by_id: Vec<Option<Arc<Attribute>>>,
    free: Vec<AttributeId>,
    bytes: usize,
}

impl Names {
    /// Creates an empty one for at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ids: HashMap::new(), hasher: RandomState::new(), by_id: Vec::new(), free: Vec::new(), bytes: 0 }
    }

    /// Returns the number of an attribute, or `None` if there is no room for a new one.
    pub(crate) fn intern(&mut self, kind: AttributeKind, key: &str, value: &str) -> Option<AttributeId> {
        let hash = match self.position(kind, key, value) {
            Ok(id) => return Some(id),
            Err(hash) => hash,
        };
        // A value for each request must not displace what many requests share.
        let share = if kind == AttributeKind::RequestAttribute { 2 } else { 1 };
        if self.ids.len() >= limits::ATTRIBUTES / share || self.bytes >= self.limit / share {
            return None;
        }
        let attribute = Arc::new(Attribute::new(kind, key, value));
        self.bytes += attribute.size();
        let id = self.free.pop().unwrap_or_else(|| {
            self.by_id.push(None);
            self.by_id.len() as u32 - 1
        });
        self.by_id[id as usize] = Some(attribute);
        self.ids.insert(hash, id);
        Some(id)
    }

    /// Returns the number of an attribute, if it is known.
    pub(crate) fn find(&self, kind: AttributeKind, key: &str, value: &str) -> Option<AttributeId> {
        self.position(kind, key, value).ok()
    }

    /// Returns the number of an attribute, or else the hash under which it belongs.
    fn position(&self, kind: AttributeKind, key: &str, value: &str) -> Result<AttributeId, u64> {
        let (key, value) = (head(key), head(value));
        let mut hash = self.hasher.hash_one((kind, key, value));
        while let Some(id) = self.ids.get(&hash) {
            let is_same =
                |known: &Arc<Attribute>| known.kind == kind && head(&known.key) == key && head(&known.value) == value;
            if self.get(*id).is_some_and(is_same) {
                return Ok(*id);
            }
            hash = hash.wrapping_add(1);
        }
        Err(hash)
    }

    pub(crate) fn get(&self, id: AttributeId) -> Option<&Arc<Attribute>> {
        self.by_id.get(id as usize)?.as_ref()
    }

    /// Forgets the attributes that are not in use.
    pub(crate) fn sweep(&mut self, in_use: impl Iterator<Item = AttributeId>) {
        let mut used = vec![false; self.by_id.len()];
        in_use.for_each(|id| used[id as usize] = true);
        for (id, is_used) in used.iter().enumerate() {
            if !is_used && let Some(attribute) = self.by_id[id].take() {
                self.bytes -= attribute.size();
                self.free.push(id as u32);
            }
        }
        self.ids.retain(|_, id| used[*id as usize]);
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes
    }

    /// Returns `true` if there is no room for a new attribute of some kind.
    pub(crate) fn is_full(&self) -> bool {
        self.ids.len() >= limits::ATTRIBUTES / 2 || self.bytes >= self.limit / 2
    }
}
