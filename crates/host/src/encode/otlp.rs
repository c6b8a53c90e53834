//! The OpenTelemetry protocol: requests of its version 1, made of the OpenTelemetry project's own types.
//!
//! Source: OTLP specification 1.10 and the `.proto` files beside it; semantic conventions for the attributes' names.
//!
//! ```
//! use std::sync::Arc;
//! use wasmetry_host::{Identity, encode::otlp, record::{Entry, Level, LogRecord}};
//!
//! let record = LogRecord {
//!     time: 1_700_000_000_000_000_000,
//!     observed: 1_700_000_000_000_000_000,
//!     level: Level::Info,
//!     target: "shop::cart".into(),
//!     message: "cart loaded".into(),
//!     fields: Vec::new(),
//!     source: None,
//!     trace: None,
//!     is_audit: false,
//! };
//! let entry = Entry::new(Arc::new(Identity::new("shop")), record);
//! let request = otlp::logs(&[entry], &otlp::Process::default(), otlp::Encoding::Json);
//! let scope = &request.resource_logs[0].scope_logs[0];
//! assert_eq!(scope.scope.as_ref().unwrap().name, "shop::cart");
//! assert_eq!(scope.log_records[0].severity_number, 9);
//! let json = String::from_utf8(otlp::Encoding::Json.encode(&request)).unwrap();
//! assert!(json.contains(r#""timeUnixNano":"1700000000000000000""#));
//! ```

mod log;
mod trace;

use std::collections::HashMap;

/// The types of the protocol, at the version that the requests are made of.
pub use opentelemetry_proto::tonic as proto;
use prost::Message;
use proto::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use proto::resource::v1::Resource;
use serde::Serialize;

pub use self::log::logs;
pub use self::trace::traces;
use super::{field, json};
use crate::Identity;
use crate::record::{Entry, Field, FieldValue};

/// The attribute and label by which audit records are told from others: `stream="audit"`.
pub const STREAM: &str = "stream";

/// The value of [`STREAM`] for audit records.
pub const AUDIT: &str = "audit";

/// What all resources of one process have in common: what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
///
/// A resource has these attributes, the first of a key being the one that counts:
///
/// | attribute | value |
/// |---|---|
/// | `service.name` | [`service_name`](Self::service_name), else the component |
/// | `service.version` | the component's version, if there is one |
/// | `component`, `tenant` | as the labels of metrics; `tenant` only if there is one |
/// | `stream` | `audit` for audit records, else absent |
/// | any other | [`attributes`](Self::attributes) |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// The name of the service, where it is not to be the component's.
    pub service_name: Option<String>,
    /// Further attributes: key and value.
    pub attributes: Vec<(String, String)>,
}

impl Process {
    /// Sets the name of the service for all components.
    #[must_use]
    pub fn with_service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// The resource of a component, or of its audit records.
    pub fn resource(&self, identity: &Identity, is_audit: bool) -> Resource {
        let own = [
            ("service.name", self.service_name.as_deref().unwrap_or(identity.component())),
            ("service.version", identity.version()),
            ("component", identity.component()),
            ("tenant", identity.tenant()),
            (STREAM, if is_audit { AUDIT } else { "" }),
        ];
        let own = own.into_iter().filter(|(_, value)| !value.is_empty());
        let all = own.chain(self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let mut attributes: Vec<KeyValue> = Vec::new();
        for (key, value) in all {
            if !key.is_empty() && attributes.iter().all(|attribute| attribute.key != key) {
                attributes.push(attribute(key, any_value::Value::StringValue(value.to_owned())));
            }
        }
        Resource { attributes, ..Resource::default() }
    }
}

/// The two forms of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protocol Buffers.
    Protobuf,
    /// OTLP's JSON: hexadecimal ids, 64-bit integers as texts, enums as numbers.
    ///
    /// It has no attributes that are NaN or infinite; such ones are texts.
    Json,
}

impl Encoding {
    /// The media type of a request in this form.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The bytes of a request that was made for this form.
    pub fn encode<M: Message + Serialize>(self, request: &M) -> Vec<u8> {
        match self {
            Self::Protobuf => request.encode_to_vec(),
            // Writing structures to memory cannot fail.
            Self::Json => serde_json::to_vec(request).unwrap_or_default(),
        }
    }
}

/// The entries of one component and stream, by scope.
struct Group<'a, T> {
    identity: &'a Identity,
    is_audit: bool,
    scopes: Vec<(&'a str, Vec<&'a T>)>,
}

/// Groups records by resource and scope, all in the order in which they come.
fn group<'a, T>(entries: &'a [Entry<T>], scope: fn(&T) -> &str, is_audit: fn(&T) -> bool) -> Vec<Group<'a, T>> {
    let mut groups: Vec<Group<'a, T>> = Vec::new();
    let mut places: HashMap<(&Identity, bool, &str), (usize, usize)> = HashMap::new();
    let mut resources: HashMap<(&Identity, bool), usize> = HashMap::new();
    for Entry { identity, record } in entries {
        let (identity, is_audit, scope) = (&**identity, is_audit(record), scope(record));
        let (at, inner) = *places.entry((identity, is_audit, scope)).or_insert_with(|| {
            let at = *resources.entry((identity, is_audit)).or_insert_with(|| {
                groups.push(Group { identity, is_audit, scopes: Vec::new() });
                groups.len() - 1
            });
            groups[at].scopes.push((scope, Vec::new()));
            (at, groups[at].scopes.len() - 1)
        });
        groups[at].scopes[inner].1.push(record);
    }
    groups
}

/// The scope of a target.
fn scope(target: &str) -> Option<InstrumentationScope> {
    let name = if target.is_empty() { "wasmetry" } else { target };
    Some(InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() })
}

/// The attributes of fields, each key once, and how many fields can be none.
fn attributes(fields: &[Field], encoding: Encoding) -> (Vec<KeyValue>, u32) {
    let fields = field::unique(fields);
    let all = fields.len();
    // The protocol knows no attribute without a key.
    let attributes: Vec<_> = fields
        .into_iter()
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, field)| attribute(key, value(field, encoding)))
        .collect();
    let dropped = u32::try_from(all - attributes.len()).unwrap_or(u32::MAX);
    (attributes, dropped)
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn value(field: &FieldValue, encoding: Encoding) -> any_value::Value {
    match field {
        FieldValue::Signed(value) => any_value::Value::IntValue(*value),
        // Source: OpenTelemetry, "Mapping Arbitrary Data to OTLP AnyValue", Integer Values: what does not fit is a text.
        FieldValue::Unsigned(value) => match i64::try_from(*value) {
            Ok(value) => any_value::Value::IntValue(value),
            Err(_) => any_value::Value::StringValue(value.to_string()),
        },
        FieldValue::Float(value) if encoding == Encoding::Json && !value.is_finite() => {
            any_value::Value::StringValue(json::not_finite(*value).to_owned())
        }
        FieldValue::Float(value) => any_value::Value::DoubleValue(*value),
        FieldValue::Bool(value) => any_value::Value::BoolValue(*value),
        FieldValue::Text(value) => any_value::Value::StringValue(value.as_ref().to_owned()),
    }
}
