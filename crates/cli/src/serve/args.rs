//! The command line of `wasmetry serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use wasmetry_console::{Config, Console};
use wasmetry_export::scrape::Target;
use wasmetry_host::{AccessLog, Registry};

use super::limits;
use crate::flag::export::ExportArgs;
use crate::flag::limit::Limit;
use crate::flag::outgoing::OutgoingArgs;
use crate::flag::secret::secret;
use crate::flag::telemetry::TelemetryArgs;
use crate::flag::value;

/// The name of the configuration that is read if no flag names one.
pub(crate) const DEFAULT_CONFIG: &str = "wasmetry.toml";

/// Serve WebAssembly components over HTTP, with their metrics on a second address
///
/// Every request gets an instance of its own, with its own memory, deadline and memory limit. The
/// metrics have everything that a request recorded, even if it trapped or was ended at its
/// deadline.
///
/// A component must export wasi:http/incoming-handler 0.2, as `cargo build --target wasm32-wasip2`
/// makes it. A component without wasmetry has the metrics of the runtime: requests, durations,
/// traps, memory.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The component to serve [default: the configuration `wasmetry.toml` of this directory]
    #[arg(value_name = "APP.wasm", conflicts_with = "config")]
    path: Option<PathBuf>,

    /// A configuration file: any number of components, each with its hosts, path prefixes and
    /// limits
    ///
    /// It is read again when it or one of its components changes, and on SIGHUP. Flags override its
    /// values.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Let clients that have the token of --telemetry-token-file inject faults, for `wasmetry
    /// drill`
    #[arg(long)]
    pub(super) allow_drills: bool,

    #[command(flatten)]
    pub(super) flags: Flags,

    #[command(flatten)]
    pub(super) export: ExportArgs,

    #[command(flatten)]
    pub(super) console: ConsoleArgs,
}

/// The flags of the console.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Console")]
pub(super) struct ConsoleArgs {
    /// Bytes of the recent metrics, logs and traces that the console keeps in memory
    #[arg(long, value_name = "SIZE", value_parser = value::console_memory, default_value = "64MiB")]
    console_memory: usize,

    /// No console: the telemetry address has no page and no /api, and nothing is kept for them
    #[arg(long, conflicts_with = "console_memory")]
    no_console: bool,
}

impl ConsoleArgs {
    /// Creates the console, unless it is switched off. Its drops are counted in the registry.
    pub(super) fn console(&self, registry: &Registry) -> Option<Console> {
        let config = Config::default().with_memory(self.console_memory).with_registry(registry.clone());
        (!self.no_console).then(|| Console::new(config))
    }
}

/// The flags that have a key in the configuration too.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Flags {
    /// Address to serve on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT", value_parser = value::address)]
    pub(super) addr: Option<SocketAddr>,

    /// Address of /metrics, /healthz and /readyz; port 0 takes a free one [default: 127.0.0.1:9464]
    #[arg(long, value_name = "IP:PORT", value_parser = value::address)]
    pub(super) telemetry_addr: Option<SocketAddr>,

    /// Address at which Prometheus reaches --telemetry-addr, for /sd [default: --telemetry-addr,
    /// unless it is 0.0.0.0 or [::]]
    #[arg(long, value_name = "HOST:PORT", value_parser = value::target)]
    pub(super) telemetry_advertise: Option<Target>,

    /// The time after which the instance of a request is ended and the client gets 504 (`200ms`,
    /// `1m`) [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = value::duration, help_heading = "Limits")]
    pub(super) request_timeout: Option<Duration>,

    /// The linear memory of one request, in bytes or with a unit (`1MiB`), at most 4GiB [default:
    /// 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = value::memory, help_heading = "Limits")]
    pub(super) max_memory: Option<u64>,

    /// The number of requests of a component that have an instance at the same time; others wait
    /// [default: 128]
    ///
    /// Together they can use this number times --max-memory. If the components of one binary may
    /// have more than 4096 together, half of 4096 are divided between them, and they share the
    /// others.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=limits::MAX_CONCURRENT_REQUESTS), help_heading = "Limits")]
    pub(super) max_concurrent_requests: Option<u32>,

    /// The number of requests of a component that wait for an instance [default: 1024]
    ///
    /// One more gets 503 at once, and one that waits for longer than --request-timeout gets 503
    /// then.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(super) max_waiting_requests: Option<usize>,

    /// The time for requests in progress after SIGINT or SIGTERM [default: the longest request
    /// timeout]
    #[arg(long, value_name = "DURATION", value_parser = value::duration, help_heading = "Limits")]
    pub(super) shutdown_timeout: Option<Duration>,

    /// The time for compiling a component while others are served; a reload that takes longer fails
    /// [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = value::duration, help_heading = "Limits")]
    pub(super) compile_timeout: Option<Duration>,

    /// The bytes of the series and help texts of one component in a scrape, as a size (`1MiB`)
    /// [default: 32MiB]
    ///
    /// A series, or a family, that does not fit is not shown: `wasmetry_dropped_total` counts it
    /// with the reason `exposition_limit`, its component and its tenant.
    #[arg(long, value_name = "SIZE", value_parser = value::size, help_heading = "Limits")]
    pub(super) max_component_exposition: Option<u64>,

    /// The bytes of the series of all components of one tenant in a scrape [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = value::size, help_heading = "Limits")]
    pub(super) max_tenant_exposition: Option<u64>,

    /// The bytes of the series of all components in a scrape [default: 1GiB]
    ///
    /// A tenant, or a component without one, gets a fair share of them: alone, half.
    #[arg(long, value_name = "SIZE", value_parser = value::size, help_heading = "Limits")]
    pub(super) max_exposition: Option<u64>,

    /// A limit of clients, of requests to other services, or of the telemetry of guests, such as
    /// `request-body-bytes=1MiB` or `series-per-metric=5000`; may be repeated. docs/limits.md has
    /// their names and defaults
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = Limit::parse, help_heading = "Limits")]
    pub(super) limits: Vec<Limit>,

    /// The requests that have a log record of their own: `failed`, `slow` (longer than --keep-slow,
    /// or than 1s), `failed,slow`, `all`, `off` [default: failed,slow]
    ///
    /// A record has the fields method, route, status, duration, duration_ms, error_type,
    /// request_bytes and response_bytes. A failed request of which its component has logged no
    /// error has a record in any case.
    #[arg(long, value_name = "REQUESTS", value_parser = value::access_log, help_heading = "Logs and traces")]
    pub(super) access_log: Option<AccessLog>,

    /// The label `component` of the metrics [default: the file's name without its extension]
    #[arg(long, value_name = "NAME", value_parser = value::label, help_heading = "Identity", conflicts_with = "config")]
    pub(super) name: Option<String>,

    /// The label `version` of the metrics [default: the first 12 digits of the file's SHA-256]
    #[arg(long, value_name = "VERSION", value_parser = value::label, help_heading = "Identity", conflicts_with = "config")]
    pub(super) component_version: Option<String>,

    /// The label `tenant` of the metrics [default: no such label]
    #[arg(long, value_name = "TENANT", value_parser = value::label, help_heading = "Identity")]
    pub(super) tenant: Option<String>,

    /// An environment variable for the components, which get no others; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = secret(value::variable))]
    pub(super) variables: Vec<(String, String)>,

    #[command(flatten)]
    pub(super) telemetry: TelemetryArgs,

    #[command(flatten)]
    pub(super) outgoing: OutgoingArgs,
}

/// The source of a plan.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// One component, named on the command line.
    App(PathBuf),
    /// A configuration file.
    Config(PathBuf),
}

impl Args {
    /// Returns the source of the plan.
    ///
    /// # Errors
    ///
    /// Fails if no file is named and there is no default configuration.
    pub(super) fn origin(&self) -> Result<Origin> {
        match (&self.path, &self.config) {
            (Some(path), _) => Ok(Origin::App(path.clone())),
            (None, Some(path)) => Ok(Origin::Config(path.clone())),
            (None, None) if PathBuf::from(DEFAULT_CONFIG).is_file() => {
                if self.flags.name.is_some() || self.flags.component_version.is_some() {
                    bail!(
                        "--name and --component-version are for a single component; give its file, or set them in {}",
                        DEFAULT_CONFIG
                    );
                }
                Ok(Origin::Config(DEFAULT_CONFIG.into()))
            }
            (None, None) => bail!(
                "there is nothing to serve: no component is given, and this directory has no {}; give a component (`wasmetry serve \
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

Hosts and path prefixes of a configuration are compared with normalised paths (RFC 3986): `%7E` is `~`, `%2f`
is `%2F`, and `.` and `..` segments are removed. The component gets the path as it was sent.

The host itself answers 400 to a request without a valid Host, 404 where no component is mounted, 500
after a trap or if the component set no response, 503 if too many requests wait, and 504 at the deadline.

Components can send HTTP requests to other services. They have no files and no sockets.
Each line that they print is a log record; see --guest-output.

Logs, spans and metrics are exported as OpenTelemetry's variables (OTEL_EXPORTER_OTLP_ENDPOINT, …) request,
for the last time at the end. WASMETRY_LOKI_ENDPOINT exports logs to Loki; WASMETRY_AUDIT_FILE names a
file for audit records.

On SIGINT or SIGTERM the process takes no more requests, finishes those in progress, collects their metrics
and exits with 0. A second signal ends it at once.";
