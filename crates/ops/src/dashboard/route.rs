//! Rate, errors and duration of each route.

use crate::Service;
use crate::format::grafana::{Column, Property, Transformation};
use crate::host;
use crate::promql::Expr;

use super::layout::Section;
use super::overview::RECORDED;
use super::panel::{heatmap, series, table};
use super::select::{Select, rate};

const REQUESTS: &str = "component_route:wasm_http_requests:rate5m";
const ERRORS: &str = "component_route:wasm_http_requests:error_ratio5m";
const LATENCY: &str = "component_route:wasm_http_request_duration_seconds";

/// The labels of a route.
const BY: [&str; 3] = ["component", "tenant", "route"];
const LEGEND: &str = "{{component}} {{route}}";

pub(super) fn section(service: &Service, select: &Select<'_>) -> Section {
    let settings = &service.settings;
    let recorded = |record: &str| select.recorded(record).with("route", "=~", "$route").now();
    let latency = |quantile: &str| recorded(&format!("{LATENCY}:{quantile}_5m"));
    let rate = |by: &[&str], metric| rate(by, select.route(metric));
    let heading = ["Component", "Tenant", "Route", "Requests", "Failed", "P50", "P95", "P99"];
    let fields = ["component", "tenant", "route", "Value #A", "Value #B", "Value #C", "Value #D", "Value #E"];
    let columns: Vec<Column> = fields.into_iter().zip(heading).map(|(field, name)| Column::new(field, name)).collect();
    let unit = |unit: &str| vec![Property::Unit(unit.to_owned())];
    let panels = vec![
        table("Routes", Some("Requests"))
            .column(select, recorded(REQUESTS))
            .column(select, recorded(ERRORS))
            .column(select, latency("p50"))
            .column(select, latency("p95"))
            .column(select, latency("p99"))
            .transform([Transformation::Merge {}])
            .transform(Transformation::columns(&columns))
            .field("Requests", unit("reqps"))
            .field("Failed", unit("percentunit"))
            .field("P50", unit("s"))
            .field("P95", unit("s"))
            .field("P99", unit("s"))
            .describe(RECORDED),
        series("Requests by route", "reqps").query(select, recorded(REQUESTS), LEGEND).stacked().describe(RECORDED),
        series("Failed requests by route", "percentunit")
            .query(select, recorded(ERRORS), LEGEND)
            .bounded(Some(0.0), None)
            .alert_line(settings.error_ratio)
            .describe(RECORDED),
        series("95th percentile by route", "s")
            .query(select, latency("p95"), LEGEND)
            .alert_line(settings.latency)
            .lines()
            .describe(RECORDED),
        heatmap("Durations", "s")
            .buckets(select, rate(&["le"], host::DURATION_BUCKET))
            .describe("Requests per second in each bucket of durations."),
        series("Requests by status", "reqps").query(select, rate(&["status"], host::REQUESTS), "{{status}}").stacked(),
        series("Requests by method", "reqps").query(select, rate(&["method"], host::REQUESTS), "{{method}}").stacked(),
        series("Requests in progress", "short")
            .query(select, Expr::sum(&BY, select.route(host::IN_FLIGHT).now()), LEGEND)
            .stacked(),
        series("Aborted requests", "reqps")
            .query(select, rate(&["route", "reason"], host::ABORTED), "{{route}} {{reason}}")
            .describe("Requests that ended before their response was complete."),
    ];
    Section::new("Routes: rate, errors, duration", panels)
}
