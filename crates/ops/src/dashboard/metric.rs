//! The declared metrics: one panel for each, drawn by its kind and unit; of a histogram, one more
//! for its buckets.

use std::borrow::Cow;
use std::collections::BTreeMap;

use wasmetry_host::{Kind, LabelValues, Merge, Metric};

use crate::format::grafana::{Column, Panel, Transformation};
use crate::promql::{Expr, Selector};
use crate::scope::Scope;
use crate::{Component, Service};

use super::layout::Section;
use super::panel::{heatmap, series, table};
use super::select::{COMPONENT, Select, TENANT, rate};
use super::unit;

/// The metrics of one dashboard: more of them are slow to load.
const METRICS: usize = 80;

/// The series that a panel shows: of metrics that can have more, the greatest.
const SERIES: u64 = 20;

/// The quantiles of a histogram, and their legends.
const QUANTILES: [(f64, &str); 3] = [(0.5, "P50"), (0.95, "P95"), (0.99, "P99")];

/// A metric of a component; it may have several declarations, whose labels differ.
#[derive(Debug)]
struct Declared<'a> {
    metric: &'a Metric,
    /// The labels of its series in Prometheus, without those that name the component.
    labels: Vec<String>,
    /// The greatest number of its series in a process.
    series: u64,
}

/// Returns the rows of each dashboard: one for each component.
pub(super) fn sections(service: &Service, select: &Select<'_>) -> Vec<Vec<Section>> {
    let mut dashboards: Vec<Vec<Section>> = Vec::new();
    let mut count = 0;
    for component in &service.components {
        let declared = declared(component);
        for part in declared.chunks(METRICS) {
            if dashboards.is_empty() || count + part.len() > METRICS {
                dashboards.push(Vec::new());
                count = 0;
            }
            count += part.len();
            let panels = part.iter().flat_map(|metric| panels(service, component, metric, select)).collect();
            let title = match &component.tenant {
                Some(tenant) => format!("{} (tenant {tenant})", component.name),
                None => component.name.clone(),
            };
            let section = Section::new(&title, panels);
            if let Some(sections) = dashboards.last_mut() {
                // Queries of the first row only run at once.
                let is_first = sections.is_empty();
                sections.push(if is_first { section } else { section.collapsed() });
            }
        }
    }
    dashboards
}

/// Returns the exported metrics of a component, sorted by name.
fn declared(component: &Component) -> Vec<Declared<'_>> {
    let mut all: BTreeMap<&str, Declared<'_>> = BTreeMap::new();
    for metric in component.exported() {
        let values = |values: &LabelValues| match values {
            LabelValues::Listed(values) => values.len() as u64,
            LabelValues::Below(bound) => u64::from(*bound) + 1,
            LabelValues::Text { capacity, .. } => u64::from(*capacity) + 1,
            _ => 1,
        };
        let series = metric.labels.iter().map(|label| values(&label.values)).fold(1, u64::saturating_mul);
        let mut labels: Vec<String> = metric.exported_keys().into_iter().map(Cow::into_owned).collect();
        let declarations = component.exported().into_iter().filter(|other| other.name == metric.name).count();
        // A constant label has one value, unless it distinguishes declarations.
        if metric.kind != Kind::Info && declarations == 1 {
            labels.truncate(metric.labels.len());
        }
        let entry = all.entry(&metric.name).or_insert_with(|| Declared { metric, labels: Vec::new(), series: 0 });
        entry.series = entry.series.saturating_add(series);
        for label in labels {
            if !entry.labels.contains(&label) {
                entry.labels.push(label);
            }
        }
    }
    all.into_values().collect()
}

impl Declared<'_> {
    fn by(&self) -> Vec<&str> {
        self.labels.iter().map(String::as_str).collect()
    }

    /// Returns the legend: the values of the labels, or a text if there are none.
    fn legend(&self, without: &str) -> String {
        if self.labels.is_empty() {
            return without.to_owned();
        }
        self.labels.iter().map(|label| format!("{{{{{label}}}}}")).collect::<Vec<_>>().join(" ")
    }

    /// Returns the greatest series of an expression, if there can be many.
    fn greatest(&self, expr: Expr) -> Expr {
        if self.series <= SERIES {
            return expr;
        }
        Expr::Call { function: "topk", arguments: vec![Expr::Number(SERIES as f64), expr] }
    }

    /// Returns the help text, and a note.
    fn description(&self, note: &str) -> String {
        let help = self.metric.help.trim();
        let stop = if help.is_empty() || help.ends_with(['.', '!', '?']) { "" } else { "." };
        let many = match self.series {
            series if series > SERIES => format!(" The {SERIES} greatest of at most {series} series."),
            _ => String::new(),
        };
        format!("{help}{stop} {note}{many}").trim().to_owned()
    }
}

fn panels(service: &Service, component: &Component, declared: &Declared<'_>, select: &Select<'_>) -> Vec<Panel> {
    let metric = declared.metric;
    let scope = Scope { settings: &service.settings, component, prefix: "" };
    let own = |name: &str| {
        let selector = scope.select(name).with("component", "=~", COMPONENT).with("tenant", "=~", TENANT);
        selector.with("instance", "=~", "$instance")
    };
    let name = metric.name.as_str();
    match metric.kind {
        Kind::CounterU64 | Kind::CounterF64 => {
            let expr = declared.greatest(rate(&declared.by(), own(name)));
            vec![
                series(name, &unit::of_rate(&metric.unit))
                    .query(select, expr, &declared.legend(name))
                    .describe(&declared.description("Per second.")),
            ]
        }
        Kind::Info => vec![info(declared, own(name), select)],
        kind if kind.type_name() == "histogram" => histogram(declared, &own, select),
        _ => vec![gauge(declared, own(name), select)],
    }
}

/// Returns the panel of a gauge. The values of several processes become one by the rule by which
/// the host merges those of instances; there is none for the value that was set last.
fn gauge(declared: &Declared<'_>, selector: Selector, select: &Select<'_>) -> Panel {
    let metric = declared.metric;
    let mut by = declared.by();
    let is_sum = matches!(metric.kind, Kind::UpDownI64 | Kind::UpDownF64);
    let (operator, note) = match metric.merge {
        _ if is_sum => ("sum", "The sum over all instances."),
        Merge::Sum => ("sum", "The sum over all instances."),
        Merge::Max => ("max", "The greatest value of all instances."),
        Merge::Min => ("min", "The least value of all instances."),
        Merge::Last => ("max", "The value that each process has set last."),
    };
    let mut legend = declared.legend(&metric.name);
    if metric.merge == Merge::Last && !is_sum {
        by.push("instance");
        legend.push_str(" {{instance}}");
    }
    let expr = declared.greatest(Expr::aggregate(operator, &by, selector.now()));
    series(&metric.name, &unit::of_value(&metric.unit))
        .query(select, expr, &legend)
        .describe(&declared.description(note))
}

/// Returns the panels of a histogram: its quantiles and its buckets.
///
/// An exponential one is a native histogram if Prometheus scrapes those, else it has `_bucket`.
fn histogram(declared: &Declared<'_>, own: &impl Fn(&str) -> Selector, select: &Select<'_>) -> Vec<Panel> {
    let metric = declared.metric;
    let is_exponential = metric.kind.is_exponential();
    let unit = unit::of_value(&metric.unit);
    let bucket = format!("{}_bucket", metric.name);
    let quantile = |at: f64, by: &[&str]| {
        let explicit = super::select::quantile(at, by, own(&bucket));
        if !is_exponential {
            return explicit;
        }
        let native = vec![Expr::Number(at), rate(by, own(&metric.name))];
        Expr::Call { function: "histogram_quantile", arguments: native }.op("or", explicit)
    };
    let mut quantiles = series(&metric.name, &unit).lines().describe(&declared.description("Quantiles."));
    for (at, legend) in QUANTILES {
        quantiles = quantiles.query_with_exemplars(select, quantile(at, &[]), legend);
    }
    let mut buckets = heatmap(&format!("{}: buckets", metric.name), &unit)
        .buckets(select, rate(&["le"], own(&bucket)))
        .describe(&declared.description("Values per second in each bucket."));
    if is_exponential {
        buckets = buckets.buckets(select, rate(&[], own(&metric.name)));
    }
    let mut panels = vec![quantiles, buckets];
    if !declared.labels.is_empty() {
        let by = declared.by();
        let count = |name: &str| rate(&by, own(name));
        let explicit = count(&format!("{}_count", metric.name));
        let rate = if is_exponential {
            Expr::call("histogram_count", count(&metric.name)).op("or", explicit)
        } else {
            explicit
        };
        panels.push(
            series(&format!("{}: 95th percentile by label", metric.name), &unit)
                .query_with_exemplars(select, declared.greatest(quantile(0.95, &by)), &declared.legend(""))
                .lines()
                .describe(&declared.description("")),
        );
        panels.push(
            series(&format!("{}: values by label", metric.name), "cps")
                .query(select, declared.greatest(rate), &declared.legend(""))
                .describe(&declared.description("Values per second.")),
        );
    }
    panels
}

/// Returns the panel of an info metric: a table of its labels.
fn info(declared: &Declared<'_>, selector: Selector, select: &Select<'_>) -> Panel {
    let by: Vec<&str> = ["version", "instance"].into_iter().chain(declared.by()).collect();
    let columns: Vec<Column> = by.iter().map(|label| Column::new(label, label)).collect();
    table(&declared.metric.name, None)
        .column(select, Expr::aggregate("group", &by, selector.now()))
        .transform(Transformation::columns(&columns))
        .describe(&declared.description(""))
        .wide(12)
}
