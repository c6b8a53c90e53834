//! Service level objectives: what is left of their budgets, and how fast they are spent.
//!
//! The panels read the recorded series of objectives, whose names and labels are the same for all:
//! the variables select among them, so that a new objective needs no new dashboard.

use crate::Service;
use crate::alert::component::percent;
use crate::format::grafana::{Column, Dashboard, DataSource, Property, Transformation, Variable};
use crate::promql::{Expr, Selector, duration};
use crate::slo::alert::burns;
use crate::slo::{HOUR, name, rounded};

use super::layout::Section;
use super::panel::{number, series, table};
use super::select::{MINUTE, Select, or_zero, plain, regex};

const LEGEND: &str = "{{slo}} {{component}} {{tenant}}";

fn select(record: &str) -> Selector {
    plain(record).with("slo", "=~", "$slo").with("component", "=~", "$component").with("tenant", "=~", "$tenant")
}

/// Returns the dashboard without panels.
pub(super) fn base(service: &Service) -> Dashboard {
    let values = |label: &str| {
        format!(
            "label_values({}, {label})",
            plain(name::OBJECTIVE).with("component", "=~", &format!("({})|", regex(service)))
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

pub(super) fn sections(service: &Service, interval: &Select<'_>) -> Vec<Section> {
    // The burn rate at which an alert fires depends on the period.
    let mut periods = service.objectives.iter().map(|objective| objective.window);
    let period = periods.next().filter(|period| periods.all(|other| other == *period));
    let record = |name: &str| select(name).now();
    let least = |name| Expr::aggregate("min", &[], record(name));
    let fields = ["slo", "component", "tenant", "Value #A", "Value #B", "Value #C", "Value #D"];
    let headings = ["Objective", "Component", "Tenant", "Target", "Achieved", "Budget left", "Allowed bad events"];
    let columns: Vec<Column> = fields.into_iter().zip(headings).map(|(field, name)| Column::new(field, name)).collect();
    let unit = |unit: &str| vec![Property::Unit(unit.to_owned())];
    let budget = vec![
        number("Objectives", "none")
            .query(interval, Expr::aggregate("count", &[], record(name::OBJECTIVE)), "")
            .wide(6),
        number("Missed", "none")
            .query(
                interval,
                or_zero(Expr::aggregate("count", &[], record(name::REMAINING).op("<", Expr::Number(0.0)))),
                "",
            )
            .thresholds(&[("green", None), ("red", Some(1.0))])
            .wide(6)
            .describe("The objectives whose budget is overspent."),
        number("Least budget left", "percentunit")
            .query(interval, least(name::REMAINING), "")
            .thresholds(&[("red", None), ("orange", Some(0.0)), ("green", Some(0.25))])
            .wide(6),
        number("Fastest burn rate, 1h", "none")
            .query(interval, Expr::aggregate("max", &[], record(&name::burn_rate(HOUR))), "")
            .decimals(1)
            .thresholds(&[("green", None), ("orange", Some(1.0))])
            .wide(6)
            .describe("At 1, the budget lasts for exactly the period of the objective."),
        table("Objectives", Some("Budget left"))
            .column(interval, record(name::OBJECTIVE))
            .column(interval, record(name::ACHIEVED))
            .column(interval, record(name::REMAINING))
            .column(interval, record(name::BUDGET_EVENTS))
            .transform([Transformation::Merge {}])
            .transform(Transformation::columns(&columns))
            .field("Target", unit("percentunit"))
            .field("Achieved", unit("percentunit"))
            .field("Budget left", unit("percentunit"))
            .field("Allowed bad events", unit("short"))
            .describe("Over the period of each objective."),
        series("Budget left", "percentunit")
            .query(interval, record(name::REMAINING), LEGEND)
            .bounded(None, Some(1.0))
            .alert_line(0.0)
            .lines()
            .wide(24)
            .describe("The share of the period's budget that is not spent; negative once it is overspent."),
    ];
    let burn = burns().map(|(long, short, share)| {
        let [long_name, short_name] = [long, short].map(duration);
        let panel = series(&format!("Burn rate, {long_name}"), "none")
            .query(interval, record(&name::burn_rate(long)), &format!("{LEGEND} {long_name}"))
            .query(interval, record(&name::burn_rate(short)), &format!("{LEGEND} {short_name}"))
            .bounded(Some(0.0), None)
            .lines()
            .describe(&format!(
                "An alert fires while both windows spend the budget so fast that {} of it is spent in {long_name}.",
                percent(share)
            ));
        match period {
            Some(period) => panel.alert_line(rounded(share * period as f64 / long as f64)),
            None => panel,
        }
    });
    let burn = burn.collect();
    let events = vec![
        series("Events", "cps")
            .query(interval, record(&name::events(5 * MINUTE)), LEGEND)
            .describe("Events per second that objectives count."),
        series("Bad events", "cps").query(interval, record(&name::bad_events(5 * MINUTE)), LEGEND),
    ];
    vec![Section::new("Budgets", budget), Section::new("Burn rates", burn), Section::new("Events", events)]
}
