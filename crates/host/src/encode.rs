//! From snapshots and records to what collectors of metrics, logs and traces read.

mod field;
pub mod json;
pub mod lines;
pub mod loki;
pub mod openmetrics;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod pretty;
pub mod prometheus;
#[cfg(feature = "protobuf")]
pub mod protobuf;
pub(crate) mod text;
