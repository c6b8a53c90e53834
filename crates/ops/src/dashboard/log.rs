//! Logs: those of guests, and the access log.
//!
//! A stream has the labels with which `wasmetry serve` pushes to Loki: `component`, `tenant`,
//! `level`. The fields of a record are structured metadata there; of JSON lines that a shipper has
//! read, they are in the line. So a query parses the line, and ignores that a pushed one has no
//! JSON.

use crate::Service;
use crate::format::grafana::{Column, DataLink, DataSource, Loki, Property, Target, Transformation};

use super::layout::Section;
use super::panel::{logs, series, table};
use super::trace;

/// The streams of the selected components.
const STREAMS: &str = r#"{component=~"$component", tenant=~"$tenant"}"#;

/// The streams of their warnings and errors.
const WARNINGS: &str = r#"{component=~"$component", tenant=~"$tenant", level=~"warn|error"}"#;

/// The stages that make labels of a record's fields.
const FIELDS: &str = "| json | drop __error__, __error_details__";

/// The stages that keep the access log. Grafana escapes a variable for a text in double quotes.
const ACCESS: &str = r#"| target=`access` | route=~"$route""#;

/// The lines that a panel shows.
const LINES: u32 = 200;

/// The colors of levels.
const LEVELS: [(&str, &str); 5] =
    [("error", "red"), ("warn", "orange"), ("info", "green"), ("debug", "blue"), ("trace", "light-blue")];

/// Returns a query of records, by stages behind the parsing of fields.
fn records(stages: &str) -> String {
    format!("{STREAMS} {FIELDS} {stages}")
}

/// Returns the number of records in each step, by a label.
fn count(by: &str, query: &str) -> String {
    format!("sum by ({by}) (count_over_time({query} [$__auto]))")
}

fn metric(expr: String, legend: &str) -> Target {
    Target::Loki(Loki::metric(expr, legend))
}

fn lines(expr: String) -> Target {
    Target::Loki(Loki::lines(expr, LINES))
}

pub(super) fn section(service: &Service) -> Section {
    let access = || records(ACCESS);
    let milliseconds =
        format!("quantile_over_time(0.95, {} | unwrap duration_ms | __error__=`` [$__auto]) by (route)", access());
    let columns = ["Time", "component", "method", "route", "status", "duration_ms", "error_type", "trace_id"];
    let headings = ["Time", "Component", "Method", "Route", "Status", "Duration", "Error", "Trace"];
    let columns: Vec<Column> =
        columns.into_iter().zip(headings).map(|(field, name)| Column::new(field, name)).collect();
    let fields = Transformation::ExtractFields { source: "labels", format: "json", keep_time: true, replace: false };
    let mut by_level =
        series("Log records by level", "short").target(metric(count("level", STREAMS), "{{level}}")).bars();
    for (level, color) in LEVELS {
        by_level = by_level.field(level, vec![Property::color(color)]);
    }
    let panels = vec![
        by_level.describe("Lines that a guest has printed have no level."),
        series("Errors by type", "short")
            .target(metric(count("error_type", &records("| error_type!=``")), "{{error_type}}"))
            .bars(),
        series("Logged requests by status", "short")
            .target(metric(count("status", &access()), "{{status}}"))
            .bars()
            .describe(
                "The access log has the requests that failed or were slow, unless all are selected (`--access-log`).",
            ),
        series("95th percentile of logged requests", "ms")
            .target(metric(milliseconds, "{{route}}"))
            .lines()
            .describe("Of the requests in the access log only."),
        table("Failed and slow requests", None)
            .target(lines(access()))
            .transform([fields])
            .transform(Transformation::columns(&columns))
            .field("Duration", vec![Property::Unit("ms".to_owned()), Property::Width(100)])
            .field("Trace", vec![Property::Links(vec![trace_link(service)])]),
        logs("Warnings and errors").target(lines(WARNINGS.to_owned())),
        logs("All log records").target(lines(STREAMS.to_owned())),
    ];
    Section::new("Logs", panels).collapsed()
}

/// Returns the link from a trace's identifier to the trace.
fn trace_link(service: &Service) -> DataLink {
    let source = trace::source(service);
    let mut query = serde_json::json!({ "refId": "A", "datasource": source, "query": "${__value.raw}" });
    if source == DataSource::TEMPO {
        query["queryType"] = "traceql".into();
    }
    let panes = serde_json::json!({
        "trace": {
            "datasource": "${traces}",
            "queries": [query],
            "range": { "from": "${__from}", "to": "${__to}" },
        },
    });
    DataLink { title: "Show the trace", url: format!("/explore?schemaVersion=1&panes={panes}"), target_blank: true }
}
