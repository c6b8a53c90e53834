//! Panels: their place, what they draw, and how.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::promql::Expr;

use super::{DataSource, Options, Target};

/// A row or a panel.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Items {
    Row(Row),
    Panel(Box<Panel>),
}

/// A heading. A collapsed row has the panels below it; the panels of another one follow it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) id: u32,
    pub(crate) r#type: &'static str,
    pub(crate) title: String,
    pub(crate) collapsed: bool,
    pub(crate) grid_pos: GridPosition,
    pub(crate) panels: Vec<Panel>,
}

/// The place of a panel in a grid of 24 columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct GridPosition {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) w: u32,
    pub(crate) h: u32,
}

/// A panel.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Panel {
    pub(crate) id: u32,
    pub(crate) r#type: &'static str,
    pub(crate) title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    pub(crate) datasource: DataSource,
    pub(crate) grid_pos: GridPosition,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeat: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeat_direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_per_row: Option<u32>,
    pub(crate) targets: Vec<Target>,
    /// The expressions of the queries to Prometheus.
    #[serde(skip)]
    pub(crate) exprs: Vec<Expr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) transformations: Vec<Transformation>,
    pub(crate) field_config: FieldConfig,
    pub(crate) options: Options,
}

/// The properties of a panel's fields.
#[derive(Debug, Serialize)]
pub(crate) struct FieldConfig {
    pub(crate) defaults: Defaults,
    pub(crate) overrides: Vec<Override>,
}

/// The properties of all fields.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Defaults {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decimals: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) color: Option<Color>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) thresholds: Option<Thresholds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_value: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom: Option<Graph>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Color {
    mode: &'static str,
}

impl Color {
    /// The color of the threshold that a value has reached.
    pub(crate) const THRESHOLD: Self = Self { mode: "thresholds" };
}

#[derive(Debug, Serialize)]
pub(crate) struct Thresholds {
    mode: &'static str,
    steps: Vec<Threshold>,
}

impl Thresholds {
    pub(crate) const fn new(steps: Vec<Threshold>) -> Self {
        Self { mode: "absolute", steps }
    }
}

/// A color from a value on; the first one has no value.
#[derive(Debug, Serialize)]
pub(crate) struct Threshold {
    pub(crate) color: &'static str,
    pub(crate) value: Option<f64>,
}

/// The drawing of time series.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Graph {
    pub(crate) draw_style: &'static str,
    pub(crate) line_width: u8,
    pub(crate) fill_opacity: u8,
    pub(crate) show_points: &'static str,
    pub(crate) stacking: Stacking,
    pub(crate) thresholds_style: ThresholdsStyle,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            draw_style: "line",
            line_width: 1,
            fill_opacity: 10,
            show_points: "never",
            stacking: Stacking { mode: "none", group: "A" },
            thresholds_style: ThresholdsStyle { mode: "off" },
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Stacking {
    pub(crate) mode: &'static str,
    pub(crate) group: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct ThresholdsStyle {
    pub(crate) mode: &'static str,
}

/// Properties of the fields of a name.
#[derive(Debug, Serialize)]
pub(crate) struct Override {
    matcher: Matcher,
    properties: Vec<Property>,
}

#[derive(Debug, Serialize)]
struct Matcher {
    id: &'static str,
    options: String,
}

impl Override {
    /// Returns the override for the field of this name.
    pub(crate) fn of(field: &str, properties: Vec<Property>) -> Self {
        Self { matcher: Matcher { id: "byName", options: field.to_owned() }, properties }
    }
}

/// A property of a field.
#[derive(Debug, Serialize)]
#[serde(tag = "id", content = "value", rename_all = "camelCase")]
pub(crate) enum Property {
    Unit(String),
    Color(FixedColor),
    Links(Vec<DataLink>),
    #[serde(rename = "custom.width")]
    Width(u32),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FixedColor {
    mode: &'static str,
    fixed_color: &'static str,
}

impl Property {
    /// Returns a fixed color.
    pub(crate) const fn color(color: &'static str) -> Self {
        Self::Color(FixedColor { mode: "fixed", fixed_color: color })
    }
}

/// A link of a value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataLink {
    pub(crate) title: &'static str,
    pub(crate) url: String,
    pub(crate) target_blank: bool,
}

/// A change of the queries' results before they are drawn.
#[derive(Debug, Serialize)]
#[serde(tag = "id", content = "options", rename_all = "camelCase")]
pub(crate) enum Transformation {
    /// Makes one table of several.
    Merge {},
    /// Makes columns of a column with objects.
    #[serde(rename_all = "camelCase")]
    ExtractFields { source: &'static str, format: &'static str, keep_time: bool, replace: bool },
    /// Keeps the columns of these names.
    FilterFieldsByName { include: Names },
    /// Orders and renames columns.
    #[serde(rename_all = "camelCase")]
    Organize {
        exclude_by_name: BTreeMap<String, bool>,
        index_by_name: BTreeMap<String, u32>,
        rename_by_name: BTreeMap<String, String>,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct Names {
    names: Vec<String>,
}

/// The column of a table: its field and its heading.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    field: String,
    heading: String,
}

impl Column {
    pub(crate) fn new(field: &str, heading: &str) -> Self {
        Self { field: field.to_owned(), heading: heading.to_owned() }
    }
}

impl Transformation {
    /// Returns those that keep these columns, in this order.
    pub(crate) fn columns(columns: &[Column]) -> [Self; 2] {
        let names = columns.iter().map(|column| column.field.clone()).collect();
        let organize = Self::Organize {
            exclude_by_name: BTreeMap::new(),
            index_by_name: (0..).zip(columns).map(|(at, column)| (column.field.clone(), at)).collect(),
            rename_by_name: columns.iter().map(|column| (column.field.clone(), column.heading.clone())).collect(),
        };
        [Self::FilterFieldsByName { include: Names { names } }, organize]
    }
}
