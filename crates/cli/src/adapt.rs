//! `wasmetry adapt`: composes an app with a collector of its metrics, to one component that needs
//! only WASI.
//!
//! `app` reads the app, `config` encodes the flags as a component, `compose` connects all of them,
//! and `output` writes the result.

mod app;
mod compose;
mod config;
mod destination;
pub(crate) mod output;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::binary::Binary;
use crate::flag::secret::secret;
use crate::flag::value;
use crate::inspect::SECTION_LOST;
use crate::text;
use app::App;
use compose::Parts;
use config::{Config, Otlp};

/// Make a component report its metrics on hosts without wasmetry
///
/// The result is the app composed with components that implement its telemetry imports by WASI 0.2.
/// It writes a JSON line to stderr for each request or run, with the changes since the last line.
///
/// The app must send its telemetry: put #[wasmetry::handler] on the function that handles requests,
/// or call wasmetry::publish(). The lines of an app without wasmetry have the times of its
/// requests.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The component to adapt, which stays unchanged
    #[arg(value_name = "APP.wasm")]
    path: PathBuf,

    /// The file to write the result to
    #[arg(short, long, value_name = "OUT.wasm")]
    output: PathBuf,

    /// Answer GET and HEAD of this path with the metrics, for Prometheus
    ///
    /// The metrics are those of one instance, for hosts that use one instance for all requests,
    /// such as `jco serve`. On hosts with an instance per request, such as `wasmtime serve`, they
    /// are empty.
    #[arg(long, value_name = "PATH", value_parser = metrics_path, help_heading = "Metrics")]
    metrics_path: Option<String>,

    /// Write no lines to stderr
    #[arg(long, help_heading = "Metrics")]
    no_lines: bool,

    /// Send the metrics to an OpenTelemetry collector at this address, over the host's outgoing
    /// HTTP
    ///
    /// As with OTEL_EXPORTER_OTLP_ENDPOINT, `/v1/metrics` is appended. The changes are sent as
    /// Protobuf after each request, run or push, once the app has answered. Changes that a
    /// collector does not take are reported on stderr, and sent again with the next ones of the
    /// instance.
    #[arg(long, value_name = "URL", value_parser = secret(destination::url), help_heading = "Metrics")]
    otlp: Option<String>,

    /// The wait for the collector's answer, once the app has answered
    ///
    /// The host keeps an instance for that time. A later answer counts if the host uses the
    /// instance again; if the instance ends before, the metrics of this request are lost. Raise it
    /// for a distant collector and a host with an instance per request, such as `wasmtime serve`.
    #[arg(long, value_name = "DURATION", requires = "otlp", default_value = "50ms", value_parser = otlp_timeout)]
    #[arg(help_heading = "Metrics")]
    otlp_timeout: Duration,

    /// A header for the collector, such as `x-scope-orgid=shop`; may be repeated. Whoever has the
    /// result can read it
    #[arg(long, value_name = "KEY=VALUE", requires = "otlp", value_parser = secret(destination::header), help_heading = "Metrics")]
    otlp_header: Vec<(String, String)>,

    /// A file with such headers, one on each line, such as `authorization=Bearer TOKEN`: a secret
    /// is then not on the command line
    #[arg(long, value_name = "FILE", requires = "otlp", help_heading = "Metrics")]
    otlp_header_file: Option<PathBuf>,

    /// A directory of components to use in place of the built-in ones, as `cargo xtask adapter`
    /// makes them
    #[arg(long, value_name = "DIRECTORY")]
    parts: Option<PathBuf>,

    /// The label `component` of the metrics [default: the file's name without its extension]
    #[arg(long, value_name = "NAME", value_parser = value::label, help_heading = "Identity")]
    name: Option<String>,

    /// The label `version` of the metrics [default: the first 12 digits of the file's SHA-256]
    #[arg(long, value_name = "VERSION", value_parser = value::label, help_heading = "Identity")]
    component_version: Option<String>,

    /// The label `tenant` of the metrics [default: no such label]
    #[arg(long, value_name = "TENANT", value_parser = value::label, help_heading = "Identity")]
    tenant: Option<String>,
}

const NOTES: &str = "\
Examples:
  wasmetry adapt storefront.wasm -o out.wasm
  jco serve out.wasm                                      each request is a line on stderr
  wasmtime serve -S cli --no-logging-prefix out.wasm      without the prefix, each line is JSON
  wasmetry adapt storefront.wasm -o out.wasm --metrics-path /metrics
  wasmetry adapt storefront.wasm -o out.wasm --otlp http://127.0.0.1:4318
  wasmetry adapt batch.wasm -o out.wasm && jco run out.wasm

crates/adapter/LINES.md describes the fields of the lines. The sums of `metrics` over all lines are exact totals,
for any number of instances. A request that traps loses what it recorded since it last sent.";

/// The longest wait for a collector.
const MAX_OTLP_TIMEOUT: Duration = Duration::from_secs(10);

fn otlp_timeout(value: &str) -> Result<Duration, String> {
    match value::duration(value)? {
        long if long > MAX_OTLP_TIMEOUT => {
            Err("it must be at most `10s`: the host keeps an instance for that time".to_owned())
        }
        timeout => Ok(timeout),
    }
}

/// Bytes of the longest path for metrics.
const MAX_PATH: usize = 256;

fn metrics_path(value: &str) -> Result<String, String> {
    let is_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\');
    if !value.starts_with('/') {
        return Err("it must begin with a slash, such as `/metrics`".to_owned());
    }
    if value.len() > MAX_PATH || !value.bytes().all(is_path) {
        return Err(format!("it must be a path without a query, encoded as in a URL, of at most {MAX_PATH} bytes"));
    }
    Ok(value.to_owned())
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.no_lines && args.metrics_path.is_none() && args.otlp.is_none() {
        bail!("with --no-lines the metrics have no destination; give --metrics-path or --otlp, or remove --no-lines");
    }
    let from_file = match &args.otlp_header_file {
        Some(path) => crate::flag::header::read(path, "--otlp-header-file", destination::header)?,
        None => Vec::new(),
    };
    output::check(&args.path, &args.output)?;
    let binary = Binary::read(&args.path)?;
    let app = App::read(&binary)?;
    let shown = args.path.display();
    if args.metrics_path.is_some() && app.handler.is_none() {
        bail!("{shown} serves no HTTP, so that --metrics-path has no effect; remove it");
    }
    if app.region.is_some() && app.declarations.is_empty() {
        text::print_stderr(format_args!("warning: {shown}: {SECTION_LOST}"));
    }
    let config = Config {
        service: args.name.clone().unwrap_or_else(|| binary.stem()),
        version: args.component_version.clone().unwrap_or_else(|| binary.digest().version()),
        tenant: args.tenant.clone(),
        declarations: app.declarations.clone(),
        lines: !args.no_lines,
        metrics_path: args.metrics_path.clone(),
        otlp: args.otlp.clone().map(|url| Otlp { url, headers: [from_file, args.otlp_header.clone()].concat() }),
        otlp_timeout: args.otlp_timeout,
    };
    let parts = args.parts.as_deref().map_or_else(|| Ok(Parts::built_in()), Parts::read)?;
    let adapted = compose::compose(&binary, &app, &config, &parts)?;
    output::write(&args.output, &adapted)?;
    let what = if app.handler.is_some() {
        "a service"
    } else if app.run.is_some() {
        "a command"
    } else {
        "a library"
    };
    let added = text::size((adapted.len() - binary.bytes.len().min(adapted.len())) as u64);
    let telemetry = if app.region.is_some() { "" } else { " without wasmetry" };
    text::print_stderr(format_args!("{}: {what}{telemetry}, {added} added", args.output.display()));
    Ok(ExitCode::SUCCESS)
}
