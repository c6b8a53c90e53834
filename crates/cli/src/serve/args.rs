//! The command line of `wasmetry serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::limits;
use crate::flag::export::ExportArgs;
use crate::flag::value;

/// The name of the configuration that is read if no flag names one.
const DEFAULT_CONFIG: &str = "wasmetry.toml";

/// Serve WebAssembly components over HTTP, with their metrics on a second address
///
/// Every request gets an instance of its own, with its own memory, deadline and memory limit. Whatever
/// becomes of the request (an answer, a trap, a kill at the deadline), what it had counted is in the metrics.
///
/// A component must export wasi:http/incoming-handler 0.2, as `cargo build --target wasm32-wasip2`
/// makes it. It need not use wasmetry: the runtime's own metrics (requests, durations, traps, memory) are
/// there for every component.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The component to serve [default: what `wasmetry.toml` in this directory says]
    #[arg(value_name = "APP.wasm", conflicts_with = "config")]
    path: Option<PathBuf>,

    /// A configuration of any number of components, each with its hosts, path prefixes and limits
    ///
    /// It is read again when it or one of its components has changed, and on SIGHUP. Flags go before what it says.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) flags: Flags,

    #[command(flatten)]
    pub(super) export: ExportArgs,
}

/// What a configuration can say too.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Flags {
    /// Address to serve on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT", value_parser = value::address)]
    pub(super) addr: Option<SocketAddr>,

    /// Address of /metrics, /healthz and /readyz; port 0 takes a free one [default: 127.0.0.1:9464]
    #[arg(long, value_name = "IP:PORT", value_parser = value::address)]
    pub(super) telemetry_addr: Option<SocketAddr>,

    /// How long a request may take before its instance is ended and the client gets 504 (`200ms`, `1m`) [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = value::duration, help_heading = "Limits")]
    pub(super) request_timeout: Option<Duration>,

    /// Linear memory that one request may have, in bytes or with a unit (`1MiB`), at most 4GiB [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = value::memory, help_heading = "Limits")]
    pub(super) max_memory: Option<u64>,

    /// Requests of a component that have an instance at the same time; the others wait [default: 128]
    ///
    /// All of them together can take so many times --max-memory.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=limits::MAX_CONCURRENT_REQUESTS), help_heading = "Limits")]
    pub(super) max_concurrent_requests: Option<u32>,

    /// Requests of a component that may wait for an instance; one more gets 503 at once, and one that waits longer
    /// than --request-timeout gets 503 then [default: 1024]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(super) max_waiting_requests: Option<usize>,

    /// How long requests in progress may take after SIGINT or SIGTERM [default: the longest request timeout]
    #[arg(long, value_name = "DURATION", value_parser = value::duration, help_heading = "Limits")]
    pub(super) shutdown_timeout: Option<Duration>,

    /// The metrics' label `component` [default: the file's name without its extension]
    #[arg(long, value_name = "NAME", value_parser = value::label, help_heading = "Identity", conflicts_with = "config")]
    pub(super) name: Option<String>,

    /// The metrics' label `version` [default: the first 12 digits of the file's SHA-256]
    #[arg(long, value_name = "VERSION", value_parser = value::label, help_heading = "Identity", conflicts_with = "config")]
    pub(super) component_version: Option<String>,

    /// The metrics' label `tenant` [default: no such label]
    #[arg(long, value_name = "TENANT", value_parser = value::label, help_heading = "Identity")]
    pub(super) tenant: Option<String>,

    /// An environment variable for the components, which see no other; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = value::variable)]
    pub(super) variables: Vec<(String, String)>,
}

/// Where a plan comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// One component, by the command line.
    App(PathBuf),
    /// Any number of components, by a configuration.
    Config(PathBuf),
}

impl Args {
    /// Where it is said what is to be served.
    pub(super) fn origin(&self) -> Result<Origin> {
        match (&self.path, &self.config) {
            (Some(path), _) => Ok(Origin::App(path.clone())),
            (None, Some(path)) => Ok(Origin::Config(path.clone())),
            (None, None) if PathBuf::from(DEFAULT_CONFIG).is_file() => {
                if self.flags.name.is_some() || self.flags.component_version.is_some() {
                    bail!(
                        "--name and --component-version are of one component; give its file, or set them in {}",
                        DEFAULT_CONFIG
                    );
                }
                Ok(Origin::Config(DEFAULT_CONFIG.into()))
            }
            (None, None) => bail!(
                "nothing is said of what to serve, and there is no {} in this directory; give a component (`wasmetry serve \
                 APP.wasm`) or a configuration (`--config FILE`)",
                DEFAULT_CONFIG
            ),
        }
    }
}

const NOTES: &str = "\
Examples:
  wasmetry serve storefront.wasm
  wasmetry serve storefront.wasm --addr 0.0.0.0:80 --request-timeout 5s --max-memory 32MiB
  wasmetry serve storefront.wasm --name shop --tenant acme --env RUST_LOG=info
  wasmetry serve --config wasmetry.toml
  curl http://127.0.0.1:9464/metrics

Answers that the host gives itself: 400 for a request without a valid Host, 404 where no component is
mounted, 500 after a trap or when the component set no response, 503 when too many requests wait, 504 at the deadline.

Components may send HTTP requests to other services. They have no files and no sockets.
What they write to stdout and stderr goes to those of this process.

OpenTelemetry's variables (OTEL_EXPORTER_OTLP_ENDPOINT, …) send logs, spans and metrics elsewhere, the
last ones at the end; WASMETRY_LOKI_ENDPOINT sends logs to Loki, WASMETRY_AUDIT_FILE names a file for audit records.

On SIGINT or SIGTERM, no more requests are taken, those in progress are finished, their metrics are
collected, and the exit code is 0; a second signal ends the process at once.";
