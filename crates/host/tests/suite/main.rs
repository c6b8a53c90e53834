//! The host crate, with memory images that the tests build by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batch;
mod conflict;
mod counting;
mod created;
mod dynamic_site;
mod exception;
mod exemplar;
mod exponential;
mod exposition;
mod exposition_limit;
mod facts;
mod gauges;
mod guest_limits;
mod handle_api;
mod handle_api_record;
mod hostile;
mod hostile_read;
mod hostile_record;
mod image;
mod json_line;
mod label_text;
mod limits_doc;
mod loki;
mod memory_copy;
#[allow(unreachable_pub, reason = "the package of the other tests exports it")]
#[path = "../../../../tests/src/memory_sink.rs"]
mod memory_sink;
mod monotonic;
#[cfg(feature = "otlp")]
mod otlp;
mod record_rate;
mod retirement;
mod ring;
mod route;
mod tenant;
mod text_label;
