//! `wasmetry ops`: Prometheus' configuration, rules and alerts of a service, generated from what
//! its binaries declare.
//!
//! In comes a binary or a configuration, out come files. Their contents are `wasmetry-ops`' own.

mod output;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use wasmetry_host::Declarations;
use wasmetry_ops::{Component, Kind, Service, generate};

use crate::inspect::SECTION_LOST;
use crate::inspect::conflict::TrialRegistry;
use crate::serve::{self, ConfiguredService, DEFAULT_CONFIG, Origin};
use crate::text;

/// The export of a service.
const HANDLER: &str = "wasi:http/incoming-handler";

/// Generate the operations of a service from what its binary declares
///
/// The binary is not run. Thresholds, targets and URLs are in the table `[ops]` of the
/// configuration; each has a default. The same input always gives the same files.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The files to generate
    #[arg(value_name = "KIND")]
    kind: KindArg,

    /// The component that is served [default: the configuration `wasmetry.toml` of this directory]
    #[arg(value_name = "APP.wasm", conflicts_with = "config")]
    path: Option<PathBuf>,

    /// The configuration that is served
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The directory of the files, which is made if it does not exist
    #[arg(short, long, value_name = "DIRECTORY")]
    output: PathBuf,

    /// Write nothing, and exit with 1 if a file differs from what would be written
    #[arg(long)]
    check: bool,

    /// Also generate tests of the rules for `promtool test rules`
    #[arg(long)]
    tests: bool,
}

const NOTES: &str = "\
Files:
  prometheus.yml        the scrape configuration        (prometheus, all)
  costs.md              series and bytes of each metric (prometheus, all)
  rules/recording.yml   recording rules                 (all kinds)
  rules/alerts.yml      alerts                          (rules, all)
  tests/*.yml           with --tests
  kubernetes/*.yml      manifests                       (kubernetes, all)
  prometheus-adapter.yml  the autoscaler's metrics      (kubernetes, all)
  compose/              a Compose file, and its configurations  (compose, all)
  container/Containerfile  the image of the service     (kubernetes, compose, all)

Examples:
  wasmetry ops all storefront.wasm -o ops --tests && promtool test rules ops/tests/*.yml
  wasmetry ops all --config wasmetry.toml -o ops --check
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
    /// Kubernetes' manifests, the container file, and the rules of the Prometheus adapter
    Kubernetes,
    /// A Compose file with Prometheus, Alertmanager, Grafana, Loki and Jaeger, and all rules
    Compose,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Prometheus => Self::Prometheus,
            KindArg::Rules => Self::Rules,
            KindArg::All => Self::All,
            KindArg::Kubernetes => Self::Kubernetes,
            KindArg::Compose => Self::Compose,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (origin, source) = origin(args)?;
    let service = service(serve::configured_service(&origin)?, source, matches!(origin, Origin::Config(_)))?;
    let files = generate(&service, args.kind.into(), args.tests);
    if args.check {
        let differences = output::differences(&args.output, &files);
        for difference in &differences {
            text::print_stderr(format_args!("{difference}"));
        }
        return Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    output::write(&args.output, &files)?;
    Ok(ExitCode::SUCCESS)
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
        if declarations.uses_wasmetry() && declarations.metrics().is_empty() && declarations.sites().is_empty() {
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
    service.settings = configured.ops;
    service.is_reloaded = is_reloaded;
    service.shutdown_timeout = configured.shutdown_timeout.as_secs_f64().ceil() as u64;
    let settings = &mut service.settings;
    let has_targets =
        !(settings.targets.is_empty() && settings.target_files.is_empty() && settings.target_url.is_none());
    if !has_targets && !settings.kubernetes.discovery {
        let mut addr = configured.telemetry_addr;
        if addr.ip().is_unspecified() {
            addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        settings.targets = vec![addr.to_string()];
    }
    Ok(service)
}
