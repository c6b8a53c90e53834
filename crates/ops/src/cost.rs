//! Notes on the cost of storing a service's metrics, with figures from its declarations.

use std::fmt::Write as _;

use wasmetry_host::{LabelValues, Metric};

use crate::format::Head;
use crate::{File, Service, host};

/// Bytes of a sample on disk: Prometheus' documentation has 1 to 2.
const SAMPLE_BYTES: f64 = 2.0;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Returns the largest number of series of a declared metric.
fn series(metric: &Metric) -> u64 {
    let positions = metric.labels.iter().map(|label| match &label.values {
        LabelValues::Listed(values) => values.len() as u64,
        LabelValues::Below(bound) => u64::from(*bound) + 1,
        LabelValues::Text { capacity, .. } => u64::from(*capacity) + 1,
        _ => 1,
    });
    let of_each = match metric.kind.type_name() {
        // Buckets with +Inf, the sum and the count.
        "histogram" => metric.buckets.len().max(usize::from(metric.max_buckets)) as u64 + 3,
        _ => 1,
    };
    positions.fold(of_each, u64::saturating_mul)
}

/// Returns the file `costs.md`.
pub(crate) fn notes(service: &Service, head: &Head) -> File {
    let mut rows: Vec<(u64, String, String)> = Vec::new();
    for component in &service.components {
        let host = host::COMPONENT_SERIES.iter().copied();
        let of_routes = host::ROUTE_SERIES.iter().map(|(name, series)| (*name, series * component.routes));
        rows.extend(host.chain(of_routes).map(|(name, series)| (series, name.to_owned(), component.name.clone())));
        let declared = component.exported();
        rows.extend(declared.iter().map(|metric| (series(metric), metric.name.clone(), component.name.clone())));
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (&a.2, &a.1).cmp(&(&b.2, &b.1))));
    let total: u64 = rows.iter().map(|row| row.0).fold(0, u64::saturating_add);
    let interval = service.settings.scrape_interval;
    let bytes = |series: u64| series as f64 * SECONDS_PER_DAY / interval as f64 * SAMPLE_BYTES / 1e6;
    let [first, second] = head.lines();
    let mut text = format!("# Cost of the metrics\n\n{first}\n\n    {second}\n\n");
    let _ = writeln!(
        text,
        "One process has at most {total} series, {interval} s apart: {:.1} MB per day at {SAMPLE_BYTES} bytes for each \
         sample, {:.2} GB in Prometheus' default retention of 15 days. Each further process adds as much; a new \
         version of a component adds its series once more until they leave the retention.\n",
        bytes(total),
        bytes(total) * 15.0 / 1e3
    );
    text.push_str("| component | metric | series | MB per day |\n|---|---|---|---|\n");
    for (series, metric, component) in &rows {
        let component = component.replace('|', "\\|").replace('<', "&lt;");
        let _ = writeln!(text, "| {component} | `{metric}` | {series} | {:.2} |", bytes(*series));
    }
    text.push_str(
        "\nSeries with text labels are counted as full; the others exist from the start. Methods and statuses beyond the usual \
         ones add series of `wasm_http_requests_total`.\n\n",
    );
    let large = rows.iter().filter(|row| row.0.saturating_mul(5) >= total).map(|row| format!("`{}`", row.1));
    let large: Vec<String> = large.collect();
    if !large.is_empty() {
        let _ = writeln!(
            text,
            "To drop first, if it is not used: {}, each a fifth of all series or more. In `prometheus.yml`, \
             `metric_relabel_configs` with `source_labels: [__name__]`, `regex` and `action: drop` does that.\n",
            large.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "To keep for long, keep the {} recorded series names of `rules/recording.yml`, which have no label of a process or \
         version, and send only them to the long-term store (`write_relabel_configs` with `regex: '.+:.+'`, `action: keep`).",
        crate::recording::recordings(service)
            .iter()
            .map(|recording| &recording.record)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    );
    File { path: "costs.md".to_owned(), contents: text }
}
