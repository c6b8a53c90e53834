//! Queries of panels.

use serde::Serialize;

use super::DataSource;

/// A query.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Target {
    Prometheus(Prometheus),
    Loki(Loki),
    Jaeger(Jaeger),
    Tempo(Tempo),
}

impl Target {
    /// The data source of the query.
    pub(crate) const fn data_source(&self) -> DataSource {
        match self {
            Self::Prometheus(query) => query.datasource,
            Self::Loki(query) => query.datasource,
            Self::Jaeger(query) => query.datasource,
            Self::Tempo(query) => query.datasource,
        }
    }

    /// The name of the query in its panel.
    pub(crate) const fn ref_id(&mut self) -> &mut String {
        match self {
            Self::Prometheus(query) => &mut query.ref_id,
            Self::Loki(query) => &mut query.ref_id,
            Self::Jaeger(query) => &mut query.ref_id,
            Self::Tempo(query) => &mut query.ref_id,
        }
    }
}

/// A query in PromQL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prometheus {
    ref_id: String,
    datasource: DataSource,
    editor_mode: &'static str,
    expr: String,
    legend_format: String,
    /// The least step, which is also the scrape interval that `$__rate_interval` assumes.
    interval: String,
    format: &'static str,
    range: bool,
    instant: bool,
    exemplar: bool,
}

impl Prometheus {
    /// Returns a query over the dashboard's time range.
    pub(crate) fn new(expr: String, legend: &str, interval: String) -> Self {
        Self {
            ref_id: String::new(),
            datasource: DataSource::PROMETHEUS,
            editor_mode: "code",
            expr,
            legend_format: legend.to_owned(),
            interval,
            format: "time_series",
            range: true,
            instant: false,
            exemplar: false,
        }
    }

    /// Returns the query with the exemplars of its series.
    pub(crate) const fn with_exemplars(mut self) -> Self {
        self.exemplar = true;
        self
    }

    /// Returns the query for a heatmap.
    pub(crate) const fn for_heatmap(mut self) -> Self {
        self.format = "heatmap";
        self
    }

    /// Returns the query of the values at the end of the time range, for a table.
    pub(crate) const fn for_table(mut self) -> Self {
        self.format = "table";
        (self.range, self.instant) = (false, true);
        self
    }
}

/// A query in LogQL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Loki {
    ref_id: String,
    datasource: DataSource,
    editor_mode: &'static str,
    expr: String,
    query_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    legend_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_lines: Option<u32>,
}

impl Loki {
    /// Returns a query whose result are numbers.
    pub(crate) fn metric(expr: String, legend: &str) -> Self {
        Self { legend_format: Some(legend.to_owned()), max_lines: None, ..Self::lines(expr, 0) }
    }

    /// Returns a query whose result are at most so many lines.
    pub(crate) const fn lines(expr: String, max_lines: u32) -> Self {
        Self {
            ref_id: String::new(),
            datasource: DataSource::LOKI,
            editor_mode: "code",
            expr,
            query_type: "range",
            legend_format: None,
            max_lines: Some(max_lines),
        }
    }
}

/// A search for traces in Jaeger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Jaeger {
    ref_id: String,
    datasource: DataSource,
    query_type: &'static str,
    service: String,
    /// Tags in logfmt.
    tags: String,
    min_duration: String,
    limit: u32,
}

impl Jaeger {
    /// Returns a search for traces of a service that have these tags and this duration.
    pub(crate) fn new(service: &str, tags: &str, min_duration: &str, limit: u32) -> Self {
        Self {
            ref_id: String::new(),
            datasource: DataSource::JAEGER,
            query_type: "search",
            service: service.to_owned(),
            tags: tags.to_owned(),
            min_duration: min_duration.to_owned(),
            limit,
        }
    }
}

/// A query in TraceQL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tempo {
    ref_id: String,
    datasource: DataSource,
    query_type: &'static str,
    query: String,
    limit: u32,
    table_type: &'static str,
    /// The editor's filters, which a query in TraceQL does not use.
    filters: [(); 0],
}

impl Tempo {
    /// Returns a search for traces.
    pub(crate) const fn new(query: String, limit: u32) -> Self {
        Self {
            ref_id: String::new(),
            datasource: DataSource::TEMPO,
            query_type: "traceql",
            query,
            limit,
            table_type: "traces",
            filters: [],
        }
    }
}
