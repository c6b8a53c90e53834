//! Dashboards of Grafana.
//!
//! The fields are those of schema version 39, of Grafana 10.4; later versions read it as it is.

mod option;
mod panel;
mod query;

use serde::Serialize;

pub(crate) use option::{Heatmap, Logs, Options, Stat, Table, TimeSeries};
pub(crate) use panel::{
    Color, Column, DataLink, Defaults, FieldConfig, Graph, GridPosition, Items, Override, Panel, Property, Row,
    Stacking, Threshold, Thresholds, ThresholdsStyle, Transformation,
};
pub(crate) use query::{Jaeger, Loki, Prometheus, Target, Tempo};

/// The version of the schema.
const SCHEMA: u16 = 39;

/// A dashboard.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dashboard {
    pub(crate) uid: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
    timezone: &'static str,
    editable: bool,
    /// 1: a cursor that all panels share.
    graph_tooltip: u8,
    time: TimeRange,
    refresh: &'static str,
    schema_version: u16,
    links: Vec<Link>,
    templating: List<Variable>,
    annotations: List<Annotation>,
    pub(crate) panels: Vec<Items>,
}

impl Dashboard {
    /// Returns a dashboard without panels.
    pub(crate) fn new(variables: Vec<Variable>, annotations: Vec<Annotation>) -> Self {
        Self {
            uid: String::new(),
            title: String::new(),
            description: String::new(),
            tags: Vec::new(),
            timezone: "browser",
            editable: true,
            graph_tooltip: 1,
            time: TimeRange { from: "now-6h", to: "now" },
            refresh: "30s",
            schema_version: SCHEMA,
            links: Vec::new(),
            templating: List { list: variables },
            annotations: List { list: annotations },
            panels: Vec::new(),
        }
    }

    /// Adds a menu with the dashboards that have this tag.
    pub(crate) fn link(&mut self, tag: &str) {
        self.links.push(Link {
            r#type: "dashboards",
            title: "Dashboards of this service".to_owned(),
            tags: vec![tag.to_owned()],
            icon: "external link",
            tooltip: String::new(),
            as_dropdown: true,
            include_vars: true,
            keep_time: true,
            target_blank: false,
        });
    }
}

#[derive(Debug, Serialize)]
struct List<T> {
    list: Vec<T>,
}

#[derive(Debug, Serialize)]
struct TimeRange {
    from: &'static str,
    to: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    r#type: &'static str,
    title: String,
    tags: Vec<String>,
    icon: &'static str,
    tooltip: String,
    as_dropdown: bool,
    include_vars: bool,
    keep_time: bool,
    target_blank: bool,
}

/// A data source: always a variable, so that a dashboard can be used with any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DataSource {
    r#type: &'static str,
    uid: &'static str,
}

impl DataSource {
    /// Returns Prometheus' data source.
    pub(crate) const PROMETHEUS: Self = Self { r#type: "prometheus", uid: "${datasource}" };
    /// Returns Loki's data source.
    pub(crate) const LOKI: Self = Self { r#type: "loki", uid: "${loki}" };
    /// Returns Jaeger's data source.
    pub(crate) const JAEGER: Self = Self { r#type: "jaeger", uid: "${traces}" };
    /// Returns Tempo's data source.
    pub(crate) const TEMPO: Self = Self { r#type: "tempo", uid: "${traces}" };

    /// The name of the variable.
    const fn variable(self) -> &'static str {
        match self.uid.as_bytes() {
            b"${datasource}" => "datasource",
            b"${loki}" => "loki",
            _ => "traces",
        }
    }
}

/// A variable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variable {
    r#type: &'static str,
    name: &'static str,
    label: &'static str,
    query: VariableQuery,
    #[serde(skip_serializing_if = "Option::is_none")]
    datasource: Option<DataSource>,
    refresh: u8,
    hide: u8,
    multi: bool,
    include_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    all_value: Option<&'static str>,
    regex: &'static str,
    sort: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<Current>,
    options: [(); 0],
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum VariableQuery {
    Plugin(&'static str),
    #[serde(rename_all = "camelCase")]
    Prometheus {
        query: String,
        ref_id: &'static str,
    },
}

#[derive(Clone, Debug, Serialize)]
struct Current {
    selected: bool,
    text: [&'static str; 1],
    value: [&'static str; 1],
}

impl Variable {
    /// Returns a variable whose values are the data sources of a type.
    pub(crate) const fn data_source(source: DataSource, label: &'static str) -> Self {
        Self {
            r#type: "datasource",
            name: source.variable(),
            label,
            query: VariableQuery::Plugin(source.r#type),
            datasource: None,
            // When the dashboard is loaded.
            refresh: 1,
            hide: 0,
            multi: false,
            include_all: false,
            all_value: None,
            regex: "",
            sort: 0,
            current: None,
            options: [],
        }
    }

    /// Returns a variable whose values are those of a query to Prometheus; all are selected.
    pub(crate) fn query(name: &'static str, label: &'static str, query: String) -> Self {
        Self {
            r#type: "query",
            query: VariableQuery::Prometheus { query, ref_id: "StandardVariableQuery" },
            datasource: Some(DataSource::PROMETHEUS),
            name,
            // When the time range changes.
            refresh: 2,
            multi: true,
            include_all: true,
            sort: 1,
            current: Some(Current { selected: true, text: ["All"], value: ["$__all"] }),
            ..Self::data_source(DataSource::PROMETHEUS, label)
        }
    }

    /// Makes all values match any text, also that of series without the label.
    #[must_use]
    pub(crate) const fn all_is_any(mut self) -> Self {
        self.all_value = Some(".*");
        self
    }

    /// Makes exactly one value be selected, at first the first one.
    #[must_use]
    pub(crate) fn single(mut self) -> Self {
        (self.multi, self.include_all, self.current) = (false, false, None);
        self
    }
}

/// A query whose results are marked on the time axis of all panels.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotation {
    pub(crate) name: &'static str,
    pub(crate) datasource: DataSource,
    pub(crate) enable: bool,
    pub(crate) hide: bool,
    pub(crate) icon_color: &'static str,
    pub(crate) expr: String,
    pub(crate) step: String,
    pub(crate) title_format: &'static str,
    pub(crate) text_format: &'static str,
    pub(crate) tag_keys: &'static str,
    /// `true` if the value is the time, in milliseconds.
    pub(crate) use_value_for_time: bool,
}
