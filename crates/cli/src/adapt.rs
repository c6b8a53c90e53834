//! `wasmetry adapt`: an app and what collects its metrics, as one component that needs nothing of its host but WASI.

mod app;
mod compose;
mod config;
mod destination;
mod output;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::binary::Binary;
use crate::inspect::SECTION_LOST;
use crate::quantity::display_size;
use crate::{quantity, text};
use app::App;
use compose::Parts;
use config::{Config, Otlp};

/// Make a component report its metrics on hosts that know nothing of wasmetry
///
/// The result is the app composed with components that satisfy its telemetry imports with standard WASI 0.2. It writes a
/// JSON line to stderr for each request or run, with what has changed since the last one.
///
/// The app must send what it records: put #[wasmetry::handler] on the function that handles requests, or call
/// wasmetry::publish(). An app without wasmetry gets lines with the times of its requests.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The component to adapt; it is not changed
    #[arg(value_name = "APP.wasm")]
    path: PathBuf,

    /// Where to write the result
    #[arg(short, long, value_name = "OUT.wasm")]
    output: PathBuf,

    /// Answer GET and HEAD of this path with the metrics, for Prometheus
    ///
    /// An instance shows what it has seen itself: useful on hosts that use one instance for all requests, such as
    /// `jco serve`. Where each request has an instance of its own, such as in `wasmtime serve`, it shows nothing.
    #[arg(long, value_name = "PATH", value_parser = metrics_path, help_heading = "Metrics")]
    metrics_path: Option<String>,

    /// Write no lines to stderr
    #[arg(long, help_heading = "Metrics")]
    no_lines: bool,

    /// Send the metrics to an OpenTelemetry collector at this address, over the host's outgoing HTTP
    ///
    /// As with OTEL_EXPORTER_OTLP_ENDPOINT, `/v1/metrics` is appended. The changes are sent as
    /// Protobuf after each request, run or push, once the app has answered. Changes that a collector
    /// does not take are reported on stderr, and sent again with the next ones of the instance.
    #[arg(long, value_name = "URL", value_parser = destination::url, help_heading = "Metrics")]
    otlp: Option<String>,

    /// The wait for the collector's answer, once the app has answered
    ///
    /// The host keeps an instance for that time. A later answer counts if the host uses the instance
    /// again; if the instance ends before, the metrics of this request are lost. Raise it for a
    /// distant collector and a host with an instance per request, such as `wasmtime serve`.
    #[arg(long, value_name = "DURATION", requires = "otlp", default_value = "50ms", value_parser = otlp_timeout)]
    #[arg(help_heading = "Metrics")]
    otlp_timeout: Duration,

    /// A header to send there, such as `authorization=Bearer 1234`; whoever can read the result can read it [repeatable]
    #[arg(long, value_name = "KEY=VALUE", requires = "otlp", value_parser = destination::header, help_heading = "Metrics")]
    otlp_header: Vec<(String, String)>,

    /// Use the components of this directory in place of the built-in ones, such as `cargo xtask adapter` made
    #[arg(long, value_name = "DIRECTORY")]
    parts: Option<PathBuf>,

    /// The metrics' label `component` [default: the file's name without its extension]
    #[arg(long, value_name = "NAME", value_parser = quantity::label, help_heading = "Identity")]
    name: Option<String>,

    /// The metrics' label `version` [default: the first 12 digits of the file's SHA-256]
    #[arg(long, value_name = "VERSION", value_parser = quantity::label, help_heading = "Identity")]
    component_version: Option<String>,

    /// The metrics' label `tenant` [default: no such label]
    #[arg(long, value_name = "TENANT", value_parser = quantity::label, help_heading = "Identity")]
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

The lines' fields are described in crates/adapter/LINES.md. Adding up `metrics` over all lines gives exact
totals, whatever the number of instances; what a request recorded after it last sent is lost if it traps.";

/// The longest wait for a collector.
const MAX_OTLP_TIMEOUT: Duration = Duration::from_secs(10);

fn otlp_timeout(value: &str) -> Result<Duration, String> {
    match quantity::duration(value)? {
        long if long > MAX_OTLP_TIMEOUT => {
            Err("it must be at most `10s`: the host keeps an instance for that time".to_owned())
        }
        timeout => Ok(timeout),
    }
}

/// The longest path in bytes that can be the metrics'.
const MAX_PATH: usize = 256;

fn metrics_path(value: &str) -> Result<String, String> {
    let is_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\');
    if !value.starts_with('/') {
        return Err("it must begin with a slash, such as `/metrics`".to_owned());
    }
    if value.len() > MAX_PATH || !value.bytes().all(is_path) {
        return Err(format!("it must be a path without a query, as a client sends it, of at most {MAX_PATH} bytes"));
    }
    Ok(value.to_owned())
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.no_lines && args.metrics_path.is_none() && args.otlp.is_none() {
        bail!("with --no-lines nothing would show the metrics; give --metrics-path or --otlp, or leave it away");
    }
    output::check(&args.path, &args.output)?;
    let binary = Binary::read(&args.path)?;
    let app = App::read(&binary)?;
    let shown = args.path.display();
    if args.metrics_path.is_some() && app.handler.is_none() {
        bail!("{shown} serves no HTTP, so it has no place for --metrics-path; leave it away");
    }
    if app.region.is_some() && app.declarations.is_empty() {
        text::complain(format_args!("warning: {shown}: {SECTION_LOST}"));
    }
    let config = Config {
        service: args.name.clone().unwrap_or_else(|| binary.stem()),
        version: args.component_version.clone().unwrap_or_else(|| binary.digest().version()),
        tenant: args.tenant.clone(),
        declarations: app.declarations.clone(),
        lines: !args.no_lines,
        metrics_path: args.metrics_path.clone(),
        otlp: args.otlp.clone().map(|url| Otlp { url, headers: args.otlp_header.clone() }),
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
    let added = display_size((adapted.len() - binary.bytes.len().min(adapted.len())) as u64);
    let telemetry = if app.region.is_some() { "" } else { " without wasmetry" };
    text::complain(format_args!("{}: {what}{telemetry}, {added} added", args.output.display()));
    Ok(ExitCode::SUCCESS)
}
