//! The OpenTelemetry protocol, version 1, in the OpenTelemetry project's own types.
//!
//! Source: OTLP specification 1.10 and the `.proto` files beside it; semantic conventions for the
//! attributes' names.
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
//!     stream: None,
//! };
//! let entry = Entry::new(Arc::new(Identity::new("shop")), record);
//! let request = otlp::logs(&[entry], &otlp::Process::default(), otlp::Encoding::Json);
//! let scope = &request.resource_logs[0].scope_logs[0];
//! assert_eq!(scope.scope.as_ref().unwrap().name, "shop::cart");
//! assert_eq!(scope.log_records[0].severity_number, 9);
//! let json = String::from_utf8(otlp::Encoding::Json.encode(&request)).unwrap();
//! assert!(json.contains(r#""timeUnixNano":"1700000000000000000""#));
//! ```

#[cfg(not(bare_wasm))]
mod log;
mod metric;
/// The types of the protocol, at the version that the requests are made of.
#[cfg(bare_wasm)]
#[path = "otlp/message.rs"]
pub mod proto;
#[cfg(not(bare_wasm))]
mod record;
#[cfg(not(bare_wasm))]
mod trace;

/// The types of the protocol, at the version that the requests are made of.
#[cfg(not(bare_wasm))]
pub use opentelemetry_proto::tonic as proto;
use prost::Message;
use proto::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use proto::resource::v1::Resource;

#[cfg(not(bare_wasm))]
pub use self::log::logs;
pub use self::metric::{Period, metrics, points};
#[cfg(not(bare_wasm))]
pub use self::trace::traces;
use crate::Identity;

/// The attribute and label that distinguishes audit records: `stream="audit"`.
pub const STREAM: &str = "stream";

/// The value of [`STREAM`] for audit records.
pub const AUDIT: &str = "audit";

/// The attributes that all resources of one process share, from `OTEL_SERVICE_NAME` and
/// `OTEL_RESOURCE_ATTRIBUTES`.
///
/// A resource has these attributes. The first one of a key counts:
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
    /// The service name; `None` for that of each component.
    pub service_name: Option<String>,
    /// Further attributes: key and value.
    pub attributes: Vec<(String, String)>,
}

impl Process {
    /// Sets the service name of all components.
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

    /// Returns the resource of a component, or of its audit records.
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

/// The encoding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protocol Buffers.
    Protobuf,
    /// OTLP's JSON: hexadecimal ids, 64-bit integers as texts, enums as numbers.
    ///
    /// Attributes that are NaN or infinite are strings.
    Json,
}

impl Encoding {
    /// The media type of a request.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// Encodes a request that was built for this encoding.
    #[cfg(not(bare_wasm))]
    pub fn encode<M: Message + serde::Serialize>(self, request: &M) -> Vec<u8> {
        match self {
            Self::Protobuf => request.encode_to_vec(),
            Self::Json => {
                // Structures always serialise.
                let mut json = serde_json::to_value(request).unwrap_or_default();
                prune(&mut json);
                json.to_string().into_bytes()
            }
        }
    }

    /// Encodes a request. Here [`Protobuf`](Self::Protobuf) is the only encoding.
    #[cfg(bare_wasm)]
    pub fn encode<M: Message>(self, request: &M) -> Vec<u8> {
        request.encode_to_vec()
    }
}

/// Removes null members. Protobuf's JSON allows them, but OpenTelemetry's collector rejects them
/// for numbers.
#[cfg(not(bare_wasm))]
fn prune(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(prune);
        }
        serde_json::Value::Array(elements) => elements.iter_mut().for_each(prune),
        _ => {}
    }
}

/// Returns the scope of a target.
fn scope(target: &str) -> Option<InstrumentationScope> {
    let name = if target.is_empty() { "wasmetry" } else { target };
    Some(InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() })
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
