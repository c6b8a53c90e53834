//! `wasmetry inspect`: the metrics, logs and spans that a binary declares, read without running it.

pub(crate) mod conflict;
pub(crate) mod diff;
mod label_set;
mod site;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use wasmetry_host::encode::visible_json;
use wasmetry_host::{Declarations, Identity, Kind, LabelValues, Merge, Metric, Rejected};

use crate::binary::{Binary, Kind as BinaryKind};
use crate::serve;
use crate::text;
use conflict::TrialRegistry;
use label_set::label_sets;
use site::{LogReport, SpanReport};

/// List every metric, log, span and route that a binary declares, without running it
///
/// A custom section of the binary has the names, help texts, units, labels and buckets of metrics,
/// the messages, levels and source lines of logs and spans, and routes. It survives optimization
/// and the stripping of symbols. The exit code is 1 if a declaration has a problem, or conflicts
/// with another one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The component or core module to read
    #[arg(value_name = "APP.wasm", required_unless_present_any = ["config", "diff"], conflicts_with = "config")]
    path: Option<PathBuf>,

    /// Read the components of a configuration, and list the metrics that conflict with those of
    /// another one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Compare the declarations of two binaries; the exit code is 1 if a query of the older one's
    /// metrics would be empty or mean something else
    #[arg(long, num_args = 2, value_names = ["OLD.wasm", "NEW.wasm"], conflicts_with_all = ["path", "config"])]
    diff: Option<Vec<PathBuf>>,

    /// Print JSON: an object with `metrics`, `logs`, `spans`, `routes`, `problems` and `conflicts`;
    /// with --config, one for each of its `components`; with --diff, an object with `changes`
    #[arg(long)]
    json: bool,

    /// Has no effect: a problem or a conflict is always the exit code 1
    #[arg(long = "strict", hide = true)]
    _strict: bool,
}

const EXAMPLES: &str = "\
Examples:
  wasmetry inspect storefront.wasm
  wasmetry inspect --json storefront.wasm | jq -r '.metrics[].name'
  wasmetry inspect --config wasmetry.toml
  wasmetry inspect --diff released.wasm built.wasm";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (text, is_sound) = match (&args.path, &args.config, args.diff.as_deref()) {
        (_, _, Some([old, new])) => diff::inspect(old, new, args.json)?,
        (Some(path), ..) => inspect_binary(path, args.json)?,
        (None, Some(config), _) => inspect_config(config, args.json)?,
        (None, None, _) => {
            bail!("there is nothing to inspect; give a binary (`wasmetry inspect APP.wasm`) or --config FILE")
        }
    };
    text::print(&text)?;
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the report on a binary, and `false` if it has problems or conflicts.
fn inspect_binary(path: &Path, is_json: bool) -> Result<(String, bool)> {
    let binary = Binary::read(path)?;
    let declarations = Declarations::from_wasm(&binary.bytes).with_context(|| path.display().to_string())?;
    let conflicts = TrialRegistry::new().register(Identity::new(binary.stem()), &declarations);
    let report = Report::new(&declarations, conflicts);
    let text = if is_json { to_json(&report)? } else { report.table(&binary) };
    Ok((text, report.is_sound()))
}

/// Returns the report on the components of a configuration, and `false` if one has problems or
/// conflicts.
fn inspect_config(path: &Path, is_json: bool) -> Result<(String, bool)> {
    let registry = TrialRegistry::new();
    let mut declared = Vec::new();
    for component in serve::configured_components(path)? {
        let declarations = Declarations::from_wasm(&component.binary.bytes)
            .with_context(|| component.binary.path.display().to_string())?;
        let conflicts = registry.register(component.identity.clone(), &declarations);
        declared.push((component, declarations, conflicts));
    }
    let components: Vec<ComponentReport<'_>> = declared
        .iter()
        .map(|(component, declarations, conflicts)| ComponentReport {
            position: &component.position,
            component: component.identity.component(),
            version: component.identity.version(),
            tenant: component.identity.tenant(),
            report: Report::new(declarations, conflicts.clone()),
        })
        .collect();
    let is_sound = components.iter().all(|component| component.report.is_sound());
    let text = if is_json {
        to_json(&serde_json::json!({ "components": components }))?
    } else {
        let mut out = String::new();
        for (ComponentReport { position, component, report, .. }, (configured, ..)) in components.iter().zip(&declared)
        {
            let _ = write!(out, "{position}: `{}`: {}", text::line(component), report.summary(&configured.binary));
            report.push_problems(&mut out);
        }
        out
    };
    Ok((text, is_sound))
}

fn to_json(report: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(report).context("cannot write JSON")? + "\n";
    Ok(visible_json(&json).into_owned())
}

/// The report on a component of a configuration.
#[derive(Debug, Serialize)]
struct ComponentReport<'a> {
    position: &'a str,
    component: &'a str,
    version: &'a str,
    tenant: &'a str,
    #[serde(flatten)]
    report: Report<'a>,
}

/// The report, in the shape of the JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    metrics: Vec<MetricReport<'a>>,
    logs: Vec<LogReport<'a>>,
    spans: Vec<SpanReport<'a>>,
    /// The routes that the guest can set for a request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<&'a str>,
    problems: Vec<Problem<'a>>,
    /// The metrics that are not exported because another one has their name.
    conflicts: Vec<Conflict>,
    /// `true` if it records by the handle API, whose series are known only when it runs.
    #[serde(rename = "typed_imports", skip_serializing_if = "std::ops::Not::not")]
    uses_handle_api: bool,
    /// The facades whose call sites are known only when it runs, such as `log`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    facades: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct MetricReport<'a> {
    name: &'a str,
    r#type: &'static str,
    help: &'a str,
    unit: &'a str,
    labels: Vec<LabelReport<'a>>,
    const_labels: serde_json::Map<String, serde_json::Value>,
    /// A histogram's bounds; `+Inf` is implied.
    buckets: &'a [f64],
    /// The merge rule of a gauge.
    #[serde(skip_serializing_if = "Option::is_none")]
    merge: Option<&'static str>,
    /// The meaning of a gauge's rule.
    #[serde(skip)]
    merge_meaning: Option<&'static str>,
    /// Set if an observer of the guest sets it right before it is collected.
    observed: bool,
    /// The maximum number of series of one component.
    max_series: u64,
}

#[derive(Debug, Serialize)]
struct LabelReport<'a> {
    key: &'a str,
    #[serde(flatten)]
    values: ValuesReport<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ValuesReport<'a> {
    Listed { values: &'a [String] },
    Below { below: u32 },
    Text { max_values: u32, max_length: u32 },
}

#[derive(Debug, Serialize)]
struct Conflict {
    /// The name of the metric that is not exported.
    name: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Problem<'a> {
    /// The name of the metric, or an empty string if the problem is not one of a single metric.
    name: &'a str,
    reason: Cow<'a, str>,
}

/// The problem of a binary whose descriptors were removed.
pub(crate) const SECTION_LOST: &str = "the binary uses wasmetry but declares nothing: a tool has removed its custom sections, so that \
    hosts cannot name its metrics; keep the section `wasmetry.v1` (strip symbols with `strip = true` in Cargo's \
    profile, not with `wasm-tools strip --all` or `wasm-opt --strip-producers` after it), or build it again";

/// Returns `true` if a tool has removed the descriptors of a binary: it uses wasmetry and declares
/// nothing, not even something that is refused.
pub(crate) fn has_lost_section(declarations: &Declarations) -> bool {
    declarations.uses_wasmetry()
        && declarations.metrics().is_empty()
        && declarations.sites().is_empty()
        && declarations.routes().is_empty()
        && declarations.facades().len() == 0
        && declarations.rejected().is_empty()
}

/// The note about a binary that declares nothing because it uses the handle API.
const HANDLE_API: &str = "\nIt uses the handle API (wasmetry:telemetry/metrics, logs, spans): its metrics, logs and spans are known when it runs.\n";

impl<'a> Report<'a> {
    fn new(declarations: &'a Declarations, conflicts: Vec<Rejected>) -> Self {
        let mut problems: Vec<_> = declarations
            .rejected()
            .iter()
            .map(|rejected| Problem { name: &rejected.name, reason: (&rejected.reason).into() })
            .chain(label_sets(declarations))
            .collect();
        if has_lost_section(declarations) {
            problems.push(Problem { name: "", reason: SECTION_LOST.into() });
        }
        Self {
            metrics: declarations.metrics().iter().map(|metric| MetricReport::new(metric)).collect(),
            logs: declarations.sites().iter().filter_map(|site| LogReport::new(site)).collect(),
            spans: declarations.sites().iter().filter_map(|site| SpanReport::new(site)).collect(),
            routes: declarations.routes().iter().map(|(_, route)| &**route).collect(),
            problems,
            conflicts: conflicts.into_iter().map(|Rejected { name, reason, .. }| Conflict { name, reason }).collect(),
            uses_handle_api: declarations.uses_handle_api(),
            facades: declarations.facades().collect(),
        }
    }

    fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.conflicts.is_empty()
    }

    /// Returns the line with the binary's path and the number of its metrics, logs and spans.
    fn summary(&self, binary: &Binary) -> String {
        let kind = match binary.kind {
            BinaryKind::Component => "component",
            BinaryKind::Module => "core module",
        };
        let mut out =
            format!("{}: {kind}, {}", text::line(&binary.path.to_string_lossy()), plural(self.metrics.len(), "metric"));
        for (count, noun) in [(self.logs.len(), "log"), (self.spans.len(), "span"), (self.routes.len(), "route")] {
            if count > 0 {
                out.push_str(", ");
                out.push_str(&plural(count, noun));
            }
        }
        out.push('\n');
        out
    }

    fn table(&self, binary: &Binary) -> String {
        let mut out = self.summary(binary);
        if !self.metrics.is_empty() {
            let rows: Vec<_> = self.metrics.iter().map(MetricReport::row).collect();
            let head = ["NAME", "TYPE", "UNIT", "SERIES", "LABELS"].map(str::to_owned);
            let widths: [usize; 4] = std::array::from_fn(|i| {
                std::iter::once(&head).chain(&rows).map(|row| row[i].chars().count()).max().unwrap_or(0)
            });
            out.push('\n');
            push_row(&mut out, &head, widths);
            for (metric, row) in self.metrics.iter().zip(&rows) {
                push_row(&mut out, row, widths);
                metric.push_details(&mut out);
            }
        }
        site::tables(&mut out, &self.logs, &self.spans);
        if !self.routes.is_empty() {
            out.push_str("\nROUTE\n");
            self.routes.iter().for_each(|route| out.extend([text::line(route).as_str(), "\n"]));
        }
        if self.uses_handle_api {
            out.push_str(HANDLE_API);
        }
        if !self.facades.is_empty() {
            let facades: Vec<String> = self.facades.iter().map(|facade| format!("`{}`", text::line(facade))).collect();
            let _ = write!(
                out,
                "\nIt records the logs and spans of libraries that use {}. They are not listed: their call sites are known when it runs.\n",
                facades.join(" or ")
            );
        }
        self.push_problems(&mut out);
        out
    }

    fn push_problems(&self, out: &mut String) {
        for problem in &self.problems {
            let name =
                if problem.name.is_empty() { String::new() } else { format!("`{}`: ", text::line(problem.name)) };
            let _ = write!(out, "\nproblem: {name}{}\n", text::line(&problem.reason));
        }
        for Conflict { name, reason } in &self.conflicts {
            let _ = write!(out, "\nconflict: `{}` is refused: {}\n", text::line(name), text::line(reason));
        }
    }
}

impl<'a> MetricReport<'a> {
    fn new(metric: &'a Metric) -> Self {
        let is_up_down = matches!(metric.kind, Kind::UpDownI64 | Kind::UpDownF64);
        let is_gauge = matches!(metric.kind, Kind::GaugeI64 | Kind::GaugeF64);
        let const_labels = metric.const_labels.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        Self {
            name: &metric.name,
            r#type: metric.kind.type_name(),
            help: &metric.help,
            unit: &metric.unit,
            labels: metric
                .labels
                .iter()
                .map(|l| LabelReport { key: &l.key, values: ValuesReport::new(&l.values) })
                .collect(),
            const_labels,
            buckets: &metric.buckets,
            merge: (is_gauge || is_up_down).then(|| metric.merge.name()),
            merge_meaning: is_gauge.then(|| merge_meaning(metric.merge)),
            observed: metric.is_observed,
            max_series: metric.labels.iter().map(|label| positions(&label.values)).fold(1, u64::saturating_mul),
        }
    }

    fn row(&self) -> [String; 5] {
        let mut labels: Vec<String> = self.labels.iter().map(LabelReport::line).collect();
        labels.extend(self.const_labels.iter().map(|(key, value)| format!("{key}={value}")));
        let details: Vec<&str> = self.merge.into_iter().chain(self.observed.then_some("observed")).collect();
        let r#type = match details.as_slice() {
            [] => self.r#type.to_owned(),
            details => format!("{} ({})", self.r#type, details.join(", ")),
        };
        [self.name.to_owned(), r#type, self.unit.to_owned(), self.max_series.to_string(), labels.join(" ")]
            .map(|cell| text::line(&cell))
    }

    fn push_details(&self, out: &mut String) {
        let _ = writeln!(out, "    {}", text::line(self.help));
        if let Some(meaning) = self.merge_meaning {
            let _ = writeln!(out, "    merge: {meaning}");
        }
        if !self.buckets.is_empty() {
            let bounds: Vec<String> = self.buckets.iter().map(f64::to_string).collect();
            let _ = writeln!(out, "    buckets: {}", bounds.join(" "));
        }
    }
}

/// Returns the meaning of a gauge's merge rule, and the instances that it fits.
fn merge_meaning(rule: Merge) -> &'static str {
    match rule {
        Merge::Last => "the value that was set last, by an instance of any lifetime",
        Merge::Max => "the greatest value, kept for five minutes after its instance has ended",
        Merge::Min => "the least value, kept for five minutes after its instance has ended",
        Merge::Sum => "the sum over the live instances; nothing is left of one instance per request",
    }
}

impl LabelReport<'_> {
    fn line(&self) -> String {
        match &self.values {
            ValuesReport::Listed { values } => format!("{}={{{}}}", self.key, values.join(",")),
            ValuesReport::Below { below } => format!("{}={{0..{below}}}", self.key),
            ValuesReport::Text { max_values, .. } => format!("{}={{at most {max_values}}}", self.key),
        }
    }
}

impl<'a> ValuesReport<'a> {
    fn new(values: &'a LabelValues) -> Self {
        match values {
            LabelValues::Listed(values) => Self::Listed { values },
            LabelValues::Below(below) => Self::Below { below: *below },
            LabelValues::Text { capacity, max_len } => Self::Text { max_values: *capacity, max_length: *max_len },
            _ => Self::Listed { values: &[] },
        }
    }
}

/// Returns the maximum number of values of a label, including the overflow series.
fn positions(values: &LabelValues) -> u64 {
    match values {
        LabelValues::Listed(values) => values.len() as u64,
        LabelValues::Below(below) => u64::from(*below) + 1,
        LabelValues::Text { capacity, .. } => u64::from(*capacity) + 1,
        _ => 1,
    }
}

fn push_row(out: &mut String, row: &[String; 5], widths: [usize; 4]) {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let _ = write!(line, "{cell:width$}  ");
    }
    line.push_str(&row[4]);
    out.push_str(line.trim_end());
    out.push('\n');
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
