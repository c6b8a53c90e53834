//! Encoders, one module for each format.
//!
//! In come snapshots, logs and spans. Out come bytes of one format: Prometheus' text, OpenMetrics,
//! Protocol Buffers, OTLP, Loki, JSON lines or text for people. The folder does not know
//! registries, sockets or queues.

mod escape;
mod exposition;
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

pub use escape::{html_safe_json_string, is_hidden, json_string, visible_char, visible_json};
pub use exposition::Exposition;
