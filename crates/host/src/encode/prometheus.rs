//! Prometheus' text format, version 0.0.4.
//!
//! Source: Prometheus, "Exposition formats", "Text-based format".

use super::text::{self, Format};
use crate::Snapshot;

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Encodes a snapshot.
///
/// ```
/// # use std::time::Duration;
/// let registry = wasmetry_host::Registry::new();
/// registry.counter("jobs_total", "Jobs done.", &["queue"]).with(&["mail"]).inc();
/// let text = wasmetry_host::encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
/// let jobs = "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{queue=\"mail\"} 1\n";
/// assert!(text.starts_with(jobs));
/// ```
pub fn encode(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    encode_into(snapshot, &mut out);
    out
}

/// Appends an encoded snapshot to `out`.
pub fn encode_into(snapshot: &Snapshot, out: &mut String) {
    text::write_all(snapshot, Format::Prometheus, out);
}
