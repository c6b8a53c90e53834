//! The OpenMetrics text format, version 1.0.
//!
//! Source: OpenMetrics 1.0.0, "ABNF" and "Overall structure".

use super::text::{self, Format};
use crate::Snapshot;

/// The media type of the format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Encodes a snapshot, with exemplars and without [creation times](crate::Series::created).
///
/// ```
/// # use std::time::Duration;
/// let registry = wasmetry_host::Registry::new();
/// registry.counter("jobs_total", "Jobs done.", &["queue"]).with(&["mail"]).inc();
/// let text = wasmetry_host::encode::openmetrics::encode(&registry.snapshot(Duration::ZERO));
/// let jobs = "# TYPE jobs counter\n# HELP jobs Jobs done.\njobs_total{queue=\"mail\"} 1\n";
/// assert!(text.starts_with(jobs));
/// assert!(text.ends_with("# EOF\n"));
/// ```
pub fn encode(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    encode_into(snapshot, &mut out);
    out
}

/// Encodes a snapshot, with a sample `_created` for each counter and histogram whose [creation
/// time](crate::Series::created) is known.
///
/// By default Prometheus stores such a sample as a series of its own, which doubles the series of
/// counters. So these samples are optional.
///
/// ```
/// # use std::time::Duration;
/// let registry = wasmetry_host::Registry::with_clock(|| 1_700_000_000_500_000_000);
/// registry.counter("jobs_total", "Jobs done.", &["queue"]).with(&["mail"]).inc();
/// let snapshot = registry.snapshot(Duration::ZERO);
/// let text = wasmetry_host::encode::openmetrics::encode_with_created(&snapshot);
/// assert!(text.contains("\njobs_created{queue=\"mail\"} 1700000000.5\n"));
/// ```
pub fn encode_with_created(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    text::write_all(snapshot, Format::OpenMetrics { with_created: true }, &mut out);
    out
}

/// Appends a snapshot to `out`, as [`encode`] does.
pub fn encode_into(snapshot: &Snapshot, out: &mut String) {
    text::write_all(snapshot, Format::OpenMetrics { with_created: false }, out);
}
