//! The options of each type of panel.

use serde::Serialize;

/// The options of a panel.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Options {
    TimeSeries(TimeSeries),
    Stat(Stat),
    Heatmap(Heatmap),
    Table(Table),
    Logs(Logs),
}

impl Options {
    /// The type of the panel.
    pub(crate) const fn panel_type(&self) -> &'static str {
        match self {
            Self::TimeSeries(_) => "timeseries",
            Self::Stat(_) => "stat",
            Self::Heatmap(_) => "heatmap",
            Self::Table(_) => "table",
            Self::Logs(_) => "logs",
        }
    }
}

/// Time series with a legend below.
#[derive(Debug, Serialize)]
pub(crate) struct TimeSeries {
    legend: Legend,
    tooltip: Tooltip,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Legend {
    display_mode: &'static str,
    placement: &'static str,
    show_legend: bool,
    calcs: [&'static str; 0],
}

#[derive(Debug, Serialize)]
struct Tooltip {
    mode: &'static str,
    sort: &'static str,
}

impl Default for TimeSeries {
    fn default() -> Self {
        Self {
            legend: Legend { display_mode: "list", placement: "bottom", show_legend: true, calcs: [] },
            tooltip: Tooltip { mode: "multi", sort: "desc" },
        }
    }
}

/// The last value, with its line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stat {
    reduce_options: Reduction,
    orientation: &'static str,
    color_mode: &'static str,
    graph_mode: &'static str,
    justify_mode: &'static str,
    text_mode: &'static str,
    percent_change_color_mode: &'static str,
    show_percent_change: bool,
    wide_layout: bool,
}

#[derive(Debug, Serialize)]
struct Reduction {
    calcs: [&'static str; 1],
    fields: &'static str,
    values: bool,
}

impl Default for Stat {
    fn default() -> Self {
        Self {
            reduce_options: Reduction { calcs: ["lastNotNull"], fields: "", values: false },
            orientation: "auto",
            color_mode: "value",
            graph_mode: "area",
            justify_mode: "auto",
            text_mode: "auto",
            percent_change_color_mode: "standard",
            show_percent_change: false,
            wide_layout: true,
        }
    }
}

/// The buckets of a histogram over time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Heatmap {
    calculate: bool,
    cell_gap: u8,
    color: Scheme,
    exemplars: Exemplars,
    filter_values: Filter,
    legend: Show,
    rows_frame: RowsFrame,
    show_value: &'static str,
    tooltip: HeatmapTooltip,
    y_axis: Axis,
}

#[derive(Debug, Serialize)]
struct Scheme {
    mode: &'static str,
    scheme: &'static str,
    scale: &'static str,
    exponent: f64,
    fill: &'static str,
    reverse: bool,
    steps: u8,
}

#[derive(Debug, Serialize)]
struct Exemplars {
    color: &'static str,
}

/// Values up to this one are not drawn.
#[derive(Debug, Serialize)]
struct Filter {
    le: f64,
}

#[derive(Debug, Serialize)]
struct Show {
    show: bool,
}

#[derive(Debug, Serialize)]
struct RowsFrame {
    layout: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeatmapTooltip {
    mode: &'static str,
    y_histogram: bool,
    show_color_scale: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Axis {
    axis_placement: &'static str,
    unit: String,
}

impl Heatmap {
    /// Returns a heatmap whose buckets have this unit.
    pub(crate) fn new(unit: &str) -> Self {
        Self {
            calculate: false,
            cell_gap: 1,
            color: Scheme {
                mode: "scheme",
                scheme: "Oranges",
                scale: "exponential",
                exponent: 0.5,
                fill: "dark-orange",
                reverse: false,
                steps: 64,
            },
            exemplars: Exemplars { color: "rgba(255,0,255,0.7)" },
            filter_values: Filter { le: 1e-9 },
            legend: Show { show: true },
            rows_frame: RowsFrame { layout: "auto" },
            show_value: "never",
            tooltip: HeatmapTooltip { mode: "single", y_histogram: true, show_color_scale: true },
            y_axis: Axis { axis_placement: "left", unit: unit.to_owned() },
        }
    }
}

/// A table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Table {
    frame_index: u8,
    show_header: bool,
    cell_height: &'static str,
    sort_by: Vec<Sort>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sort {
    display_name: String,
    desc: bool,
}

impl Table {
    /// Returns a table that is sorted by the heading of a column, the greatest value first.
    pub(crate) fn new(sorted_by: Option<&str>) -> Self {
        let sort = |heading: &str| Sort { display_name: heading.to_owned(), desc: true };
        Self {
            frame_index: 0,
            show_header: true,
            cell_height: "sm",
            sort_by: sorted_by.map(sort).into_iter().collect(),
        }
    }
}

/// Log lines, the newest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Logs {
    dedup_strategy: &'static str,
    enable_log_details: bool,
    prettify_log_message: bool,
    show_common_labels: bool,
    show_labels: bool,
    show_log_context_toggle: bool,
    show_time: bool,
    sort_order: &'static str,
    wrap_log_message: bool,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            dedup_strategy: "none",
            enable_log_details: true,
            prettify_log_message: false,
            show_common_labels: false,
            show_labels: false,
            show_log_context_toggle: true,
            show_time: true,
            sort_order: "Descending",
            wrap_log_message: true,
        }
    }
}
