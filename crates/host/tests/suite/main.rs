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
mod hostile;
mod image;
mod loki;
mod monotonic;
#[cfg(feature = "otlp")]
mod otlp;
mod pushed;
mod records;
mod retirement;
mod rings;
mod texts;
mod typed;
