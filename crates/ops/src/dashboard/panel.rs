//! Panels: a title, queries, a unit, and the way they are drawn.

use crate::format::grafana::{
    Color, DataSource, Defaults, FieldConfig, Graph, GridPosition, Heatmap, Logs, Options, Override, Panel, Prometheus,
    Property, Stacking, Stat, Table, Target, Threshold, Thresholds, ThresholdsStyle, TimeSeries, Transformation,
};
use crate::promql::Expr;

use super::select::Select;

/// The heights of panels.
const HEIGHT: u32 = 8;
const STAT_HEIGHT: u32 = 4;

fn empty(title: &str, options: Options, width: u32, height: u32, custom: Option<Graph>) -> Panel {
    Panel {
        id: 0,
        r#type: options.panel_type(),
        title: title.to_owned(),
        description: String::new(),
        datasource: DataSource::PROMETHEUS,
        grid_pos: GridPosition { w: width, h: height, ..GridPosition::default() },
        repeat: None,
        repeat_direction: None,
        max_per_row: None,
        targets: Vec::new(),
        exprs: Vec::new(),
        transformations: Vec::new(),
        field_config: FieldConfig { defaults: Defaults { custom, ..Defaults::default() }, overrides: Vec::new() },
        options,
    }
}

/// Returns a panel of time series, half as wide as the dashboard.
pub(super) fn series(title: &str, unit: &str) -> Panel {
    empty(title, Options::TimeSeries(TimeSeries::default()), 12, HEIGHT, Some(Graph::default())).unit(unit)
}

/// Returns a panel with one number.
pub(super) fn number(title: &str, unit: &str) -> Panel {
    let mut panel = empty(title, Options::Stat(Stat::default()), 4, STAT_HEIGHT, None).unit(unit);
    panel.field_config.defaults.color = Some(Color::THRESHOLD);
    panel.thresholds(&[("green", None)])
}

/// Returns a panel with the buckets of a histogram, whose values have this unit.
pub(super) fn heatmap(title: &str, unit: &str) -> Panel {
    empty(title, Options::Heatmap(Heatmap::new(unit)), 12, HEIGHT, None)
}

/// Returns a table, as wide as the dashboard.
pub(super) fn table(title: &str, sorted_by: Option<&str>) -> Panel {
    empty(title, Options::Table(Table::new(sorted_by)), 24, HEIGHT, None)
}

/// Returns a panel of log lines, as wide as the dashboard.
pub(super) fn logs(title: &str) -> Panel {
    empty(title, Options::Logs(Logs::default()), 24, HEIGHT + 2, None)
}

impl Panel {
    fn unit(mut self, unit: &str) -> Self {
        self.field_config.defaults.unit = Some(unit.to_owned());
        self
    }

    /// Sets the width in columns.
    #[must_use]
    pub(super) const fn wide(mut self, width: u32) -> Self {
        self.grid_pos.w = width;
        self
    }

    /// Sets the text behind the panel's information sign.
    #[must_use]
    pub(super) fn describe(mut self, text: &str) -> Self {
        self.description = text.to_owned();
        self
    }

    /// Adds a query. Its data source becomes the panel's.
    #[must_use]
    pub(super) fn target(mut self, mut target: Target) -> Self {
        let mut number = self.targets.len();
        let mut name = String::new();
        loop {
            name.insert(0, char::from(b'A' + (number % 26) as u8));
            if number < 26 {
                break;
            }
            number = number / 26 - 1;
        }
        *target.ref_id() = name;
        self.datasource = target.data_source();
        self.targets.push(target);
        self
    }

    /// Adds a query to Prometheus.
    #[must_use]
    pub(super) fn query(mut self, select: &Select<'_>, expr: Expr, legend: &str) -> Self {
        self.exprs.push(expr.clone());
        self.target(Target::Prometheus(Prometheus::new(expr.to_string(), legend, select.interval())))
    }

    /// Adds a query to Prometheus with the exemplars of its series, which lead to traces.
    #[must_use]
    pub(super) fn query_with_exemplars(mut self, select: &Select<'_>, expr: Expr, legend: &str) -> Self {
        self.exprs.push(expr.clone());
        let query = Prometheus::new(expr.to_string(), legend, select.interval());
        self.target(Target::Prometheus(query.with_exemplars()))
    }

    /// Adds a query of buckets to Prometheus.
    #[must_use]
    pub(super) fn buckets(mut self, select: &Select<'_>, expr: Expr) -> Self {
        self.exprs.push(expr.clone());
        let query = Prometheus::new(expr.to_string(), "{{le}}", select.interval());
        self.target(Target::Prometheus(query.for_heatmap().with_exemplars()))
    }

    /// Adds a query for a column of a table.
    #[must_use]
    pub(super) fn column(mut self, select: &Select<'_>, expr: Expr) -> Self {
        self.exprs.push(expr.clone());
        let query = Prometheus::new(expr.to_string(), "", select.interval());
        self.target(Target::Prometheus(query.for_table()))
    }

    /// Sets the least and the greatest value of the axis.
    #[must_use]
    pub(super) const fn bounded(mut self, min: Option<f64>, max: Option<f64>) -> Self {
        (self.field_config.defaults.min, self.field_config.defaults.max) = (min, max);
        self
    }

    /// Sets the number of decimals.
    #[must_use]
    pub(super) const fn decimals(mut self, decimals: u8) -> Self {
        self.field_config.defaults.decimals = Some(decimals);
        self
    }

    /// Sets colors from values on.
    #[must_use]
    pub(super) fn thresholds(mut self, steps: &[(&'static str, Option<f64>)]) -> Self {
        let steps = steps.iter().map(|&(color, value)| Threshold { color, value }).collect();
        self.field_config.defaults.thresholds = Some(Thresholds::new(steps));
        self
    }

    /// Draws a line at the threshold of an alert.
    #[must_use]
    pub(super) fn alert_line(mut self, value: f64) -> Self {
        if let Some(graph) = &mut self.field_config.defaults.custom {
            graph.thresholds_style = ThresholdsStyle { mode: "dashed" };
        }
        self.thresholds(&[("transparent", None), ("red", Some(value))])
    }

    /// Draws series on top of each other.
    #[must_use]
    pub(super) const fn stacked(mut self) -> Self {
        if let Some(graph) = &mut self.field_config.defaults.custom {
            graph.stacking = Stacking { mode: "normal", group: "A" };
            graph.fill_opacity = 30;
        }
        self
    }

    /// Draws bars on top of each other.
    #[must_use]
    pub(super) const fn bars(mut self) -> Self {
        if let Some(graph) = &mut self.field_config.defaults.custom {
            graph.stacking = Stacking { mode: "normal", group: "A" };
            (graph.draw_style, graph.fill_opacity, graph.line_width) = ("bars", 100, 0);
        }
        self
    }

    /// Draws steps instead of areas.
    #[must_use]
    pub(super) const fn lines(mut self) -> Self {
        if let Some(graph) = &mut self.field_config.defaults.custom {
            graph.fill_opacity = 0;
        }
        self
    }

    /// Sets the text in place of a value that does not exist.
    #[must_use]
    pub(super) const fn without_value(mut self, text: &'static str) -> Self {
        self.field_config.defaults.no_value = Some(text);
        self
    }

    /// Sets properties of the field of a name.
    #[must_use]
    pub(super) fn field(mut self, name: &str, properties: Vec<Property>) -> Self {
        self.field_config.overrides.push(Override::of(name, properties));
        self
    }

    /// Changes the results before they are drawn.
    #[must_use]
    pub(super) fn transform(mut self, transformations: impl IntoIterator<Item = Transformation>) -> Self {
        self.transformations.extend(transformations);
        self
    }

    /// Repeats the panel for each component that is selected, three in a row.
    #[must_use]
    pub(super) const fn for_each_component(mut self) -> Self {
        (self.repeat, self.repeat_direction, self.max_per_row) = (Some("component"), Some("h"), Some(2));
        self
    }
}
