//! The golden signals of a service: traffic, errors, latency, saturation.

use crate::Service;
use crate::host;
use crate::promql::{Expr, Selector};

use super::layout::Section;
use super::panel::{number, series};
use super::select::{COMPONENT, OWN, Select, or_zero, plain, quantile, rate};

/// The labels that name a version of a component.
const VERSION: [&str; 3] = [OWN[0], OWN[1], "version"];

/// The names of recorded series.
const REQUESTS: &str = "component:wasm_http_requests:rate5m";
const ERRORS: &str = "component:wasm_http_requests:error_ratio5m";
const APDEX: &str = "component:wasm_http_requests:apdex5m";
const MEMORY: &str = "component:wasm_linear_memory:ratio5m";
const INSTANCES: &str = "component:wasm_instances:ratio5m";
const LATENCY: &str = "component:wasm_http_request_duration_seconds:p95_5m";

/// The legend of a component.
pub(super) const LEGEND: &str = "{{component}} {{tenant}}";

/// A note on panels of recorded series.
pub(super) const RECORDED: &str = "From the recording rules, over all instances.";

pub(super) fn section(service: &Service, select: &Select<'_>) -> Section {
    let settings = &service.settings;
    let failed = select.raw(host::REQUESTS).with("status", "=~", "5..");
    let failure_ratio = or_zero(rate(&[], failed)).op("/", rate(&[], select.raw(host::REQUESTS)));
    let up = || select.process("up").now();
    let firing = plain("ALERTS").with("alertstate", "=", "firing").with("component", "=~", COMPONENT);
    let latency = |at| quantile(at, &[], select.raw(host::DURATION_BUCKET));
    let recorded = |record| select.recorded(record).now();
    // Each process has one such series of each version of a component, also without requests.
    let versions = Expr::aggregate("count", &VERSION, select.raw(host::STARTS).now());
    let panels = vec![
        number("Requests", "reqps").query(select, Expr::sum(&[], recorded(REQUESTS)), "").describe(RECORDED),
        number("Failed requests", "percentunit")
            .query(select, failure_ratio, "")
            .thresholds(&[("green", None), ("red", Some(settings.error_ratio))])
            .describe("The share of requests that were answered with 5xx. It is red from the threshold of the alert on."),
        number("95th percentile", "s")
            .query(select, latency(0.95), "")
            .thresholds(&[("green", None), ("red", Some(settings.latency))])
            .describe("19 of 20 requests are faster. It is red from the threshold of the alert on."),
        number("Apdex", "none")
            .query(select, Expr::aggregate("min", &[], recorded(APDEX)), "")
            .decimals(2)
            .thresholds(&[("red", None), ("orange", Some(0.7)), ("green", Some(0.85))])
            .describe("The component with the least one: (requests up to 0.1 s + half of those up to four times as long) / all."),
        number("Processes", "none")
            .query(select, Expr::sum(&[], up()), "up")
            .query(select, Expr::aggregate("count", &[], up()), "known")
            .describe("The processes that Prometheus reaches, and those that it knows."),
        number("Alerts", "none")
            .query(select, or_zero(Expr::aggregate("count", &[], firing.now())), "")
            .thresholds(&[("green", None), ("red", Some(1.0))])
            .describe("The alerts on these components that fire."),
        series("Traffic", "reqps").query(select, recorded(REQUESTS), LEGEND).describe(RECORDED),
        series("Failed requests", "percentunit")
            .query(select, recorded(ERRORS), LEGEND)
            .bounded(Some(0.0), None)
            .alert_line(settings.error_ratio)
            .describe(RECORDED),
        series("Latency", "s")
            .query_with_exemplars(select, latency(0.5), "P50")
            .query_with_exemplars(select, latency(0.95), "P95")
            .query_with_exemplars(select, latency(0.99), "P99")
            .lines()
            .alert_line(settings.latency)
            .describe("Of all routes. Each diamond is a request, with a link to its trace."),
        series("Saturation", "percentunit")
            .query(select, recorded(MEMORY), &format!("{LEGEND} memory"))
            .query(select, recorded(INSTANCES), &format!("{LEGEND} instances"))
            .bounded(Some(0.0), None)
            .lines()
            .alert_line(settings.memory_ratio)
            .describe(&format!(
                "Shares of the limits: of an average instance's memory, and of the instances of the fullest process. {RECORDED}"
            )),
        season(select, service, "Traffic against earlier weeks", "reqps", REQUESTS, "component:wasm_http_requests"),
        season(
            select,
            service,
            "Latency against earlier weeks",
            "s",
            LATENCY,
            "component:wasm_http_request_duration_seconds",
        ),
        series("Processes by version", "none")
            .query(select, versions, &format!("{LEGEND} {{{{version}}}}"))
            .wide(24)
            .decimals(0)
            .bounded(Some(0.0), None)
            .stacked()
            .describe("The processes that have each version of a component: in a rolling restart, the new one takes over. \
                A process that was reloaded has the earlier version's counters, too."),
    ];
    Section::new("Golden signals", panels)
}

/// Returns a panel of a record, its mean at this hour of earlier weeks, and the band outside of
/// which its alert fires.
fn season(
    select: &Select<'_>,
    service: &Service,
    title: &str,
    unit: &str,
    record: &str,
    name: &str,
) -> crate::format::grafana::Panel {
    let settings = &service.settings;
    let of = |suffix: &str| -> Selector { select.recorded(&format!("{name}:{suffix}")) };
    let mean = || of("mean3w").now();
    let least = mean().op("*", Expr::Number(settings.anomaly_ratio));
    let band = of("stddev3w").now().op("*", Expr::Number(settings.anomaly_deviations));
    // The greater of both: a value outside is that far from the mean in either measure.
    let distance = band.clone().op(">=", least.clone()).op("or", least);
    let edge = |operator| mean().op_on(operator, &OWN, false, distance.clone());
    let lower = Expr::Call { function: "clamp_min", arguments: vec![edge("-"), Expr::Number(0.0)] };
    series(title, unit)
        .query(select, select.recorded(record).now(), &format!("{LEGEND} now"))
        .query(select, mean(), &format!("{LEGEND} mean"))
        .query(select, lower, &format!("{LEGEND} low"))
        .query(select, edge("+"), &format!("{LEGEND} high"))
        .lines()
        .describe(&format!(
            "The same hour of the last three weeks: their mean, and the values outside of which an anomaly is reported. {RECORDED}"
        ))
}
