//! Region images made by hand, read by the host.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod conflict;
mod copied;
mod counting;
mod created;
mod exemplar;
mod exponential;
mod exposition;
mod gauges;
mod handle_api;
mod hostile;
mod image;
mod loki;
#[allow(unreachable_pub, reason = "the package of the other tests exports it")]
#[path = "../../../../tests/src/memory_sink.rs"]
mod memory_sink;
mod monotonic;
#[cfg(feature = "otlp")]
mod otlp;
mod pushed;
mod records;
mod retirement;
mod rings;
mod texts;
