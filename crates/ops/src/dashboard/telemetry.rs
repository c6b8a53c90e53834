//! The telemetry itself: what is lost, and how exports and scrapes do.

use crate::Service;
use crate::host;
use crate::promql::Expr;

use super::layout::Section;
use super::panel::series;
use super::select::{Select, quantile, rate};

pub(super) fn section(service: &Service, select: &Select<'_>) -> Section {
    let by_destination = ["signal", "destination"];
    let with_outcome = ["signal", "destination", "outcome"];
    let process = |metric| select.process(metric);
    let by_outcome = "{{signal}} {{destination}} {{outcome}}";
    let mut panels = vec![
        series("Lost telemetry", "cps")
            .query(
                select,
                rate(&["component", "signal", "reason"], process(host::DROPPED).with("reason", "!=", "console_memory")),
                "{{component}} {{signal}} {{reason}}",
            )
            .alert_line(service.settings.dropped_rate)
            .describe("Values and records that were dropped, by reason. Zero is normal."),
        series("Exported records", "cps")
            .query(select, rate(&with_outcome, process(host::EXPORT_RECORDS)), by_outcome)
            .describe("Records that were sent, or dropped for a reason."),
        series("Export requests", "reqps")
            .query(select, rate(&with_outcome, process(host::EXPORT_REQUESTS)), by_outcome)
            .describe("Requests to destinations: accepted, to be retried, or refused."),
        series("Export queues", "short")
            .query(select, Expr::sum(&by_destination, process(host::EXPORT_QUEUE).now()), "{{signal}} {{destination}}")
            .query(
                select,
                Expr::sum(&by_destination, process(host::EXPORT_QUEUE_LIMIT).now()),
                "{{signal}} {{destination}} limit",
            )
            .lines()
            .describe("Records that wait, and the most that can: a full queue drops."),
        series("95th percentile of export requests", "s")
            .query(
                select,
                quantile(0.95, &by_destination, process(host::EXPORT_DURATION_BUCKET)),
                "{{signal}} {{destination}}",
            )
            .lines(),
        series("95th percentile of scrapes", "s")
            .query(select, quantile(0.95, &["instance"], process(host::SCRAPE_DURATION_BUCKET)), "{{instance}}")
            .lines()
            .describe("Time to collect and encode the metrics for a scrape."),
        series("Requests that no component serves", "reqps").query(
            select,
            rate(&["instance"], process(host::UNROUTED)),
            "{{instance}}",
        ),
        series("Connections that were not accepted", "cps")
            .query(select, rate(&["instance", "listener"], process(host::ACCEPT_ERRORS)), "{{instance}} {{listener}}")
            .describe("It rises when file descriptors have run out."),
    ];
    if service.is_reloaded {
        let configuration = series("Configuration", "bool_on_off")
            .query(select, process(host::RELOAD).now(), "{{instance}}")
            .bounded(Some(0.0), Some(1.0))
            .describe("On if the last load of the configuration was successful; off while an older one is used.");
        panels.push(configuration);
    }
    Section::new("Telemetry", panels).collapsed()
}
