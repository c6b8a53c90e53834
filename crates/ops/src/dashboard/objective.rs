//! Service level objectives: what is left of their budgets, and how fast they are spent.
//!
//! The panels read the recorded series of objectives, whose names and labels are the same for all:
//! the variables select among them, so that a new objective needs no new dashboard.

use crate::Service;
use crate::format::grafana::{Column, Dashboard, DataSource, Property, Transformation, Variable};
use crate::promql::{Expr, Selector};

use super::layout::Section;
use super::panel::{number, series, table};
use super::select::{Select, plain, regex};

/// The names of recorded series.
const OBJECTIVE: &str = "slo:objective:ratio";
const BUDGET_EVENTS: &str = "slo:error_budget:events";
const REMAINING: &str = "slo:error_budget:remaining_ratio";
const ACHIEVED: &str = "slo:good_events:ratio";

/// The long windows of the alerts on burn rates, each with its short one, and the burn rate from
/// which on it fires.
const WINDOWS: [(&str, &str, f64); 4] = [("1h", "5m", 14.4), ("6h", "30m", 6.0), ("1d", "2h", 3.0), ("3d", "6h", 1.0)];

const LEGEND: &str = "{{slo}} {{component}} {{tenant}}";

fn select(record: &str) -> Selector {
    plain(record).with("slo", "=~", "$slo").with("component", "=~", "$component").with("tenant", "=~", "$tenant")
}

/// Returns the dashboard without panels.
pub(super) fn base(service: &Service) -> Dashboard {
    let values = |label: &str| {
        format!(
            "label_values({}, {label})",
            plain(OBJECTIVE).with("component", "=~", &format!("({})|", regex(service)))
        )
    };
    Dashboard::new(
        vec![
            Variable::data_source(DataSource::PROMETHEUS, "Prometheus"),
            Variable::query("slo", "Objective", values("slo")),
            Variable::query("component", "Component", values("component")).all_is_any(),
            Variable::query("tenant", "Tenant", values("tenant")).all_is_any(),
        ],
        Vec::new(),
    )
}

pub(super) fn sections(interval: &Select<'_>) -> Vec<Section> {
    let record = |name: &str| select(name).now();
    let least = |name| Expr::aggregate("min", &[], record(name));
    let fields = ["slo", "component", "tenant", "Value #A", "Value #B", "Value #C", "Value #D"];
    let headings = ["Objective", "Component", "Tenant", "Target", "Achieved", "Budget left", "Allowed bad events"];
    let columns: Vec<Column> = fields.into_iter().zip(headings).map(|(field, name)| Column::new(field, name)).collect();
    let unit = |unit: &str| vec![Property::Unit(unit.to_owned())];
    let budget = vec![
        number("Objectives", "none").query(interval, Expr::aggregate("count", &[], record(OBJECTIVE)), "").wide(6),
        number("Missed", "none")
            .query(
                interval,
                super::select::or_zero(Expr::aggregate("count", &[], record(REMAINING).op("<", Expr::Number(0.0)))),
                "",
            )
            .thresholds(&[("green", None), ("red", Some(1.0))])
            .wide(6)
            .describe("The objectives whose budget is overspent."),
        number("Least budget left", "percentunit")
            .query(interval, least(REMAINING), "")
            .thresholds(&[("red", None), ("orange", Some(0.0)), ("green", Some(0.25))])
            .wide(6),
        number("Fastest burn rate, 1 h", "none")
            .query(interval, Expr::aggregate("max", &[], record(&burn_rate(WINDOWS[0].0))), "")
            .decimals(1)
            .thresholds(&[("green", None), ("orange", Some(1.0)), ("red", Some(WINDOWS[0].2))])
            .wide(6)
            .describe("At 1, the budget lasts for exactly the period of the objective."),
        table("Objectives", Some("Budget left"))
            .column(interval, record(OBJECTIVE))
            .column(interval, record(ACHIEVED))
            .column(interval, record(REMAINING))
            .column(interval, record(BUDGET_EVENTS))
            .transform([Transformation::Merge {}])
            .transform(Transformation::columns(&columns))
            .field("Target", unit("percentunit"))
            .field("Achieved", unit("percentunit"))
            .field("Budget left", unit("percentunit"))
            .field("Allowed bad events", unit("short"))
            .describe("Over the period of each objective."),
        series("Budget left", "percentunit")
            .query(interval, record(REMAINING), LEGEND)
            .bounded(None, Some(1.0))
            .alert_line(0.0)
            .lines()
            .wide(24)
            .describe("The share of the period's budget that is not spent; negative once it is overspent."),
    ];
    let burn = WINDOWS.map(|(long, short, threshold)| {
        series(&format!("Burn rate, {long}"), "none")
            .query(interval, record(&burn_rate(long)), &format!("{LEGEND} {long}"))
            .query(interval, record(&burn_rate(short)), &format!("{LEGEND} {short}"))
            .bounded(Some(0.0), None)
            .alert_line(threshold)
            .lines()
            .describe(&format!("An alert fires while both windows are above {threshold}."))
    });
    let events = vec![
        series("Events", "cps")
            .query(interval, record("slo:events:rate5m"), LEGEND)
            .describe("Events per second that objectives count."),
        series("Bad events", "cps").query(interval, record("slo:bad_events:rate5m"), LEGEND),
    ];
    vec![Section::new("Budgets", budget), Section::new("Burn rates", burn.into()), Section::new("Events", events)]
}

fn burn_rate(window: &str) -> String {
    format!("slo:burn_rate:ratio{window}")
}
