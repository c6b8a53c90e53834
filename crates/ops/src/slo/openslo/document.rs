//! The serde types of OpenSLO v1. What is not read is not accepted either.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::{Location, Spanned};

use super::OpenSloError;

/// A document, as its kind has it.
pub(super) enum Document {
    Slo(Box<Slo>),
    Sli(Box<Sli>),
    /// A data source: its name, and `true` if it is a Prometheus.
    DataSource(String, bool),
    /// A service, which has a name and a description only.
    Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Spanned<String>,
    kind: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "the other fields are accepted, and have no meaning for rules")]
pub(super) struct Metadata {
    pub(super) name: Spanned<String>,
    display_name: Option<String>,
    labels: Option<IgnoredAny>,
    annotations: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "the version and kind are read before")]
pub(super) struct Slo {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: SloSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "the description has no meaning for rules")]
pub(super) struct SloSpec {
    description: Option<String>,
    pub(super) service: Spanned<String>,
    pub(super) indicator: Option<Sli>,
    pub(super) indicator_ref: Option<Spanned<String>>,
    pub(super) time_window: Spanned<Vec<Spanned<Window>>>,
    pub(super) budgeting_method: Spanned<String>,
    pub(super) objectives: Spanned<Vec<Spanned<Goal>>>,
    pub(super) alert_policies: Option<Spanned<Vec<IgnoredAny>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Window {
    pub(super) duration: Spanned<String>,
    #[serde(default)]
    pub(super) is_rolling: bool,
    pub(super) calendar: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "the name that is displayed has no meaning for rules")]
pub(super) struct Goal {
    display_name: Option<String>,
    pub(super) op: Option<Spanned<Condition>>,
    pub(super) value: Option<f64>,
    pub(super) target: Option<Spanned<f64>>,
    pub(super) target_percent: Option<Spanned<f64>>,
    pub(super) indicator: Option<Sli>,
    pub(super) indicator_ref: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Condition {
    Lte,
    Lt,
    Gte,
    Gt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "the version and kind are read before")]
pub(super) struct Sli {
    api_version: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
    pub(super) metadata: Metadata,
    pub(super) spec: SliSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "the description has no meaning for rules")]
pub(super) struct SliSpec {
    description: Option<String>,
    pub(super) ratio_metric: Option<Spanned<RatioMetric>>,
    pub(super) threshold_metric: Option<Metric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "a raw ratio is refused")]
pub(super) struct RatioMetric {
    #[serde(default)]
    pub(super) counter: bool,
    pub(super) good: Option<Metric>,
    pub(super) bad: Option<Metric>,
    pub(super) total: Option<Metric>,
    pub(super) raw: Option<Spanned<IgnoredAny>>,
    raw_type: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metric {
    pub(super) metric_source: MetricSource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MetricSource {
    pub(super) metric_source_ref: Option<Spanned<String>>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Spanned<String>>,
    pub(super) spec: SourceSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SourceSpec {
    pub(super) query: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "Prometheus' address is not part of rules")]
struct DataSource {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    metadata: Metadata,
    spec: DataSourceSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "Prometheus' address is not part of rules")]
struct DataSourceSpec {
    description: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    connection_details: Option<IgnoredAny>,
}

/// Returns the documents of a file.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, OpenSloError> {
    // Each document is read by itself, because its kind decides about its keys. Empty lines before
    // it keep the positions.
    let mut all = Vec::new();
    let (mut begin, mut offset) = (0, 0);
    for line in text.split_inclusive('\n').chain(["---"]) {
        if line.starts_with("---") {
            let lines = text[..begin].matches('\n').count();
            all.extend(document(&text[begin..offset], lines)?);
            begin = (offset + line.len()).min(text.len());
        }
        offset = (offset + line.len()).min(text.len());
    }
    if all.is_empty() {
        return Err(OpenSloError {
            line: 0,
            column: 0,
            message: "it has no OpenSLO document; add one of kind `SLO`".into(),
        });
    }
    Ok(all)
}

/// Returns a document that begins after some lines, or `None` if it is empty.
fn document(text: &str, lines: usize) -> Result<Option<Document>, OpenSloError> {
    let has_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !text.lines().any(has_content) {
        return Ok(None);
    }
    let placed = "\n".repeat(lines) + text;
    let head: Head = parse(&placed)?;
    if head.api_version.value != "openslo/v1" {
        return Err(OpenSloError::of(
            &head.api_version,
            format!("the version `{}` is not supported; use `openslo/v1`", head.api_version.value),
        ));
    }
    Ok(Some(match head.kind.value.as_str() {
        "SLO" => Document::Slo(parse(&placed)?),
        "SLI" => Document::Sli(parse(&placed)?),
        "DataSource" => {
            let source: DataSource = parse(&placed)?;
            Document::DataSource(source.metadata.name.value, source.spec.kind.eq_ignore_ascii_case("prometheus"))
        }
        "Service" => Document::Service,
        other => {
            return Err(OpenSloError::of(
                &head.kind,
                format!(
                    "the kind `{other}` has no counterpart; remove the document: alerts on burn rates are generated"
                ),
            ));
        }
    }))
}

fn parse<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, OpenSloError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let options = serde_saphyr::render_options! { snippets: serde_saphyr::SnippetMode::Off };
        let shown = error.render_with_options(options);
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        let line = lines.join(" ");
        // The position is in front of the message already.
        let message = line.rsplit_once(" at line ").map_or(&*line, |(message, _)| message);
        OpenSloError::at(location, format!("{message}; correct the document"))
    })
}
