//! `wasmetry ops`: Prometheus' configuration, rules and alerts of a service, their delivery, its
//! dashboards, and the shipping of logs and traces, generated from what its binaries declare.
//!
//! In comes a binary or a configuration, out come files. Their contents are `wasmetry-ops`' own.

mod output;
mod prometheus;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use wasmetry_host::Declarations;
use wasmetry_ops::{Component, Kind, Month, Report, Service, WindowScale, generate};

use crate::binary::Binary;
use crate::inspect::conflict::TrialRegistry;
use crate::inspect::{self, SECTION_LOST};
use crate::process::regular_file;
use crate::serve::{self, ConfiguredService, DEFAULT_CONFIG, Origin};
use crate::text;

/// The export of a service.
const HANDLER: &str = "wasi:http/incoming-handler";

/// Generate the operations of a service from what its binary declares
///
/// The binary is not run. Thresholds, targets and URLs are in the table `[ops]` of the
/// configuration; each has a default. Service level objectives are tables `[[slo]]` or OpenSLO
/// documents. The same input always gives the same files.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The files to generate
    #[arg(value_name = "KIND", required_unless_present = "diff")]
    kind: Option<KindArg>,

    /// The component that is served [default: the configuration `wasmetry.toml` of this directory]
    #[arg(value_name = "APP.wasm", conflicts_with = "config")]
    path: Option<PathBuf>,

    /// The configuration that is served
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The directory of the files, which is made if it does not exist
    #[arg(short, long, value_name = "DIRECTORY", required_unless_present_any = ["diff", "report"])]
    output: Option<PathBuf>,

    /// Write nothing, and name what a newer binary breaks of what is generated for an older one;
    /// the exit code is 1 if that is anything
    #[arg(long, num_args = 2, value_names = ["OLD.wasm", "NEW.wasm"], conflicts_with_all = ["kind", "path", "output", "check", "tests", "report", "prometheus", "month", "window_scale"])]
    diff: Option<Vec<PathBuf>>,

    /// Write nothing, and exit with 1 if a file differs from what would be written
    #[arg(long)]
    check: bool,

    /// Also generate tests of the rules for `promtool test rules`
    #[arg(long)]
    tests: bool,

    /// Multiply every range, `for`, interval and wait by a factor from 0.002 to 1 (`0.02`, `1/60`),
    /// for drills and tests only
    ///
    /// For prometheus, rules, slo, alertmanager and all. An interval of scrapes is at least 500ms,
    /// as far as a range then holds four scrapes. Texts, names and dashboards keep the durations
    /// that they have.
    #[arg(long, value_name = "FACTOR")]
    window_scale: Option<WindowScale>,

    /// A file of OpenSLO v1 documents; may be repeated
    #[arg(long, value_name = "FILE")]
    openslo: Vec<PathBuf>,

    /// With the kind `slo`: generate the report of a month, and print it if there is no --output
    #[arg(long, requires = "prometheus", conflicts_with_all = ["check", "tests"])]
    report: bool,

    /// The Prometheus that evaluates the rules of the kind `slo` (`http://127.0.0.1:9090`)
    #[arg(long, value_name = "URL", requires = "report")]
    prometheus: Option<String>,

    /// The month of the report, such as `2026-11` [default: the last one that is over]
    #[arg(long, value_name = "MONTH", requires = "report")]
    month: Option<Month>,
}

const NOTES: &str = "\
Files:
  prometheus.yml        the scrape configuration        (prometheus, all)
  costs.md              series and bytes of each metric (prometheus, all)
  rules/recording.yml   recording rules                 (prometheus, rules, dashboard, compose, all)
  alerts/wasm-alerts.yml  alerts                        (rules, compose, all)
  tests/*.yml           with --tests
  rules/slo.yml         objectives: recording rules     (slo, dashboard, compose, all)
  rules/slo-alerts.yml  objectives: alerts              (slo, compose, all)
  sla-MONTH.md          with --report                   (slo)
  alertmanager.yml      routes, inhibition, receivers   (alertmanager, all)
  templates/*.tmpl      Alertmanager's messages         (alertmanager, all)
  logs/*                log shippers, LogQL recipes     (logs, all)
  traces/*.yml          the Collector of traces         (traces, all)
  grafana-*.json        Grafana's dashboards            (dashboard, all)
  grafana-datasources.yml  Grafana's data sources       (dashboard, all)
  kubernetes/*.yml      manifests                       (kubernetes, all)
  prometheus-adapter.yml  the autoscaler's metrics      (kubernetes, all)
  compose/              a Compose file, and its configurations  (compose, all)
  container/Containerfile  the image of the service     (kubernetes, compose, all)

Examples:
  wasmetry ops all storefront.wasm -o ops --tests && promtool test rules ops/tests/*.yml
  wasmetry ops all --config wasmetry.toml -o ops --check
  wasmetry ops --diff released.wasm built.wasm
  wasmetry ops slo --report --prometheus http://127.0.0.1:9090 --month 2026-11
  wasmetry ops kubernetes shop.wasm -o ops && kubectl apply -f ops/kubernetes

Alerts about declared metrics: counters named *_failed_total or *_errors_total, gauges with a second gauge
*_limit, *_max or *_capacity (before the unit), and histograms of durations with explicit buckets.
Anomalies need three weeks of recorded history.";

/// A kind of files, as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    /// The scrape configuration, recording rules, and notes on cost
    Prometheus,
    /// Alerts, and the recording rules that they use
    Rules,
    /// All files
    All,
    /// Recording rules and alerts of service level objectives, or their report
    Slo,
    /// Alertmanager's routes, inhibition, receivers and messages
    Alertmanager,
    /// The configuration of Alloy, Promtail and a Collector for logs, and LogQL recipes
    Logs,
    /// The configuration of an OpenTelemetry Collector for traces
    Traces,
    /// Grafana's dashboards and data sources, and the recording rules that they use
    Dashboard,
    /// Kubernetes' manifests, the container file, and the rules of the Prometheus adapter
    Kubernetes,
    /// A Compose file with Prometheus, Alertmanager, Grafana, Loki and Jaeger, and all rules
    Compose,
}

impl KindArg {
    /// Returns `true` if its files are mostly windows, intervals and waits.
    fn has_windows(self) -> bool {
        matches!(self, Self::Prometheus | Self::Rules | Self::All | Self::Slo | Self::Alertmanager)
    }
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Prometheus => Self::Prometheus,
            KindArg::Rules => Self::Rules,
            KindArg::All => Self::All,
            KindArg::Slo => Self::Slo,
            KindArg::Alertmanager => Self::Alertmanager,
            KindArg::Logs => Self::Logs,
            KindArg::Traces => Self::Traces,
            KindArg::Dashboard => Self::Dashboard,
            KindArg::Kubernetes => Self::Kubernetes,
            KindArg::Compose => Self::Compose,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some([old, new]) = args.diff.as_deref() {
        return diff(args, old, new);
    }
    let Some(kind) = args.kind else {
        bail!("there is nothing to generate; give a kind and a directory (`wasmetry ops all APP.wasm -o DIRECTORY`)")
    };
    let (origin, source) = origin(args)?;
    let mut service = service(serve::configured_service(&origin)?, source, matches!(origin, Origin::Config(_)))?;
    add_openslo(&mut service, &origin, &args.openslo)?;
    if matches!(kind, KindArg::Slo) && service.objectives().is_empty() {
        return Err(wasmetry_ops::Error::NoObjective.into());
    }
    if let (true, Some(url)) = (args.report, &args.prometheus) {
        if !matches!(kind, KindArg::Slo) {
            bail!("--report needs the kind `slo`; write `wasmetry ops slo --report`");
        }
        return report(&service, url, args.month, args.output.as_deref());
    }
    if let Some(scale) = args.window_scale {
        if !kind.has_windows() {
            bail!(
                "--window-scale: the kind `{}` has no windows; use it with prometheus, rules, slo, alertmanager or all",
                Kind::from(kind).name()
            );
        }
        service.scale = scale;
    }
    // The command line has it, unless there is a report.
    let Some(output) = &args.output else { bail!("there is no --output; give a directory") };
    let files = generate(&service, kind.into(), args.tests);
    if args.check {
        let mut differences = output::differences(output, &files);
        if matches!(kind, KindArg::All) {
            differences.extend(output::left_over(output, &generate(&service, kind.into(), true))?);
        }
        for difference in &differences {
            text::print_stderr(format_args!("{difference}"));
        }
        return Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    output::write(output, &files)?;
    Ok(ExitCode::SUCCESS)
}

/// Adds the objectives of OpenSLO documents: those that the configuration names, and those of the
/// command line.
fn add_openslo(service: &mut Service, origin: &Origin, given: &[PathBuf]) -> Result<()> {
    service.openslo = given.iter().map(|path| path.display().to_string()).collect();
    let directory = match origin {
        Origin::Config(path) => path.parent().unwrap_or(Path::new("")),
        Origin::App(_) => Path::new(""),
    };
    let configured: Vec<PathBuf> = service.settings.openslo.iter().map(|path| directory.join(path)).collect();
    for path in configured.iter().chain(given) {
        let shown = path.display();
        let text = read_text(path)?;
        let objectives = wasmetry_ops::openslo(&text).map_err(|error| match error.line {
            0 => anyhow!("{shown}: {error}"),
            _ => anyhow!("{shown}:{error}"),
        })?;
        for found in objectives {
            let place = format!("{shown}:{}:{}", found.line, found.column);
            service.add_objective(found.objective).map_err(|error| anyhow!("{place}: {error}"))?;
        }
    }
    Ok(())
}

/// Reads a file with OpenSLO documents.
fn read_text(path: &Path) -> Result<String> {
    const MAX: u64 = 4 << 20;
    let shown = path.display();
    let mut text = String::new();
    let file = regular_file::open(path, "OpenSLO documents")?;
    file.take(MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| anyhow!("cannot read the OpenSLO documents {shown}: {error}; check the path"))?;
    if text.len() as u64 > MAX {
        bail!("{shown} is larger than {}; check that it has OpenSLO documents", text::size(MAX));
    }
    Ok(text)
}

/// Prints the report of a month, or writes it to a directory.
fn report(service: &Service, url: &str, month: Option<Month>, output: Option<&Path>) -> Result<ExitCode> {
    let prometheus = prometheus::Prometheus::new(url)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let month = month.unwrap_or_else(|| Month::before(now));
    let report = Report::new(service, month, now)?;
    let answers = prometheus.query(&report.queries())?;
    let contents = report.markdown(&answers)?;
    match output {
        Some(directory) => {
            output::write(directory, &[wasmetry_ops::File { path: format!("sla-{month}.md"), contents }])?;
        }
        None => text::print(&contents)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what the newer binary breaks of what is generated for the older one.
///
/// A configuration has the component's name, thresholds and objectives; the older binary takes the
/// place of the one that it serves.
fn diff(args: &Args, old: &Path, new: &Path) -> Result<ExitCode> {
    let changes = inspect::diff::between(old, new)?;
    let origin = match &args.config {
        Some(config) => Origin::Config(config.clone()),
        None => Origin::App(old.to_owned()),
    };
    let mut configured = serve::configured_service(&origin)?;
    if let Some(config) = &args.config {
        let binary = Binary::read(old)?;
        let names = [old, new].map(Path::file_name);
        let is_compared =
            |component: &&mut serve::ConfiguredComponent| names.contains(&component.binary.path.file_name());
        let component = match configured.components.as_mut_slice() {
            [only] => Some(only),
            several => several.iter_mut().find(is_compared),
        };
        let Some(component) = component else {
            bail!(
                "{} has several components, and none is served from a file of the name of {} or {}; rename one of the two",
                config.display(),
                old.display(),
                new.display()
            )
        };
        component.binary = Arc::new(binary);
    }
    let mut service = service(configured, old.display().to_string(), false)?;
    add_openslo(&mut service, &origin, &args.openslo)?;
    let broken = wasmetry_ops::diff::broken(&service.uses(), &changes);
    let lines: Vec<String> = broken.iter().map(|use_of| text::line(&use_of.to_string()) + "\n").collect();
    text::print(&lines.concat())?;
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the input, and the arguments that name it.
fn origin(args: &Args) -> Result<(Origin, String)> {
    let config = |path: &Path| (Origin::Config(path.to_owned()), format!("--config {}", path.display()));
    match (&args.path, &args.config) {
        (Some(path), _) => Ok((Origin::App(path.clone()), path.display().to_string())),
        (None, Some(path)) => Ok(config(path)),
        (None, None) if Path::new(DEFAULT_CONFIG).is_file() => Ok(config(Path::new(DEFAULT_CONFIG))),
        (None, None) => bail!(
            "there is nothing to generate from: no component is given, and this directory has no {DEFAULT_CONFIG}; give a \
             component (`wasmetry ops all APP.wasm -o DIRECTORY`) or a configuration (`--config FILE`)"
        ),
    }
}

/// Returns a service with all its objectives, for drills.
pub(crate) fn service_of(configured: ConfiguredService, origin: &Origin) -> Result<Service> {
    let mut service = service(configured, String::new(), matches!(origin, Origin::Config(_)))?;
    add_openslo(&mut service, origin, &[])?;
    Ok(service)
}

fn service(configured: ConfiguredService, source: String, is_reloaded: bool) -> Result<Service> {
    let registry = TrialRegistry::new();
    let mut components = Vec::new();
    for component in configured.components {
        let shown = component.binary.path.display();
        let place = if component.position.is_empty() { String::new() } else { format!("{}: ", component.position) };
        if !component.binary.exports(HANDLER) {
            bail!(
                "{place}{shown} serves no HTTP: it does not export {HANDLER}; give a component that `wasmetry serve` serves"
            );
        }
        let declarations =
            Declarations::from_wasm(&component.binary.bytes).with_context(|| format!("{place}{shown}"))?;
        if inspect::has_lost_section(&declarations) {
            bail!("{place}{shown}: {SECTION_LOST}");
        }
        let conflicts = registry.register(component.identity.clone(), &declarations);
        let mut described = Component::new(component.identity.component(), declarations);
        described.tenant = Some(component.identity.tenant().to_owned()).filter(|tenant| !tenant.is_empty());
        described.version = component.identity.version().to_owned();
        described.path = Some(shown.to_string());
        described.instances = component.instances;
        described.memory = component.memory;
        described.routes = component.routes as u64;
        described.withdrawn = conflicts.into_iter().map(|rejected| rejected.name).collect();
        components.push(described);
    }
    let mut service = Service::new(source, components);
    for (position, objective) in configured.objectives {
        service.add_objective(objective).map_err(|error| anyhow!("{position}: {error}"))?;
    }
    service.settings = configured.ops;
    service.is_reloaded = is_reloaded;
    service.shutdown_timeout = configured.shutdown_timeout.as_secs_f64().ceil() as u64;
    let settings = &mut service.settings;
    if !settings.has_targets() && !settings.kubernetes.discovery {
        let targets: Vec<String> = configured.targets.iter().map(ToString::to_string).collect();
        let mut addr = configured.telemetry_addr;
        if addr.ip().is_unspecified() {
            addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        settings.targets = if targets.is_empty() { vec![addr.to_string()] } else { targets };
    }
    Ok(service)
}
