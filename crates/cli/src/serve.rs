//! `wasmetry serve`: one wasi:http component, one instance for each request, and a telemetry endpoint.

mod admission;
mod body;
mod engine;
mod handler;
mod limits;
mod listener;
mod outgoing;
mod report;
mod stdio;

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use wasmetry_export::push::{self, Exporter};
use wasmetry_export::{Control, Server};
use wasmetry_host::Registry;
use wasmetry_host::propagation::Sampler;
use wasmetry_wasmtime::{Telemetry, Ticker};

use crate::address::bind;
use crate::binary::Binary;
use crate::export::{Components, ExportArgs, LogFormat};
use crate::identity::IdentityArgs;
use crate::signal::Signals;
use crate::telemetry::{Endpoint, Readiness};
use crate::{quantity, text};
use handler::Service;
use report::Reporter;
use stdio::Stdio;

/// Serve a WebAssembly component over HTTP, with its metrics on a second address
///
/// Every request gets an instance of its own, with its own memory, deadline and memory limit. Whatever
/// becomes of the request (an answer, a trap, a kill at the deadline), what it had counted is in the metrics.
///
/// The component must export wasi:http/incoming-handler 0.2, as `cargo build --target wasm32-wasip2`
/// makes it. It need not use wasmetry: the runtime's own metrics (requests, durations, traps, memory) are
/// there for every component.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The component to serve
    #[arg(value_name = "APP.wasm")]
    path: PathBuf,

    /// Address to serve the component on; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080", value_parser = quantity::address)]
    addr: SocketAddr,

    /// Address of /metrics, /healthz and /readyz; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9464", value_parser = quantity::address)]
    telemetry_addr: SocketAddr,

    /// How long a request may take before its instance is ended and the client gets 504 (`30s`, `200ms`, `1m`)
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = quantity::duration, help_heading = "Limits")]
    request_timeout: Duration,

    /// Linear memory that one request may have, in bytes or with a unit (`64MiB`), at most 4GiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = quantity::memory, help_heading = "Limits")]
    max_memory: u64,

    /// Requests that have an instance at the same time; the others wait
    ///
    /// All of them together can take so many times --max-memory.
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=limits::MAX_CONCURRENT_REQUESTS), help_heading = "Limits")]
    max_concurrent_requests: u32,

    /// Requests that may wait for an instance; one more gets 503 at once, and one that waits longer than
    /// --request-timeout gets 503 then
    #[arg(long, value_name = "COUNT", default_value_t = 1024, help_heading = "Limits")]
    max_waiting_requests: usize,

    /// How long requests in progress may take after SIGINT or SIGTERM [default: --request-timeout]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, help_heading = "Limits")]
    shutdown_timeout: Option<Duration>,

    #[command(flatten)]
    identity: IdentityArgs,

    #[command(flatten)]
    export: ExportArgs,

    /// An environment variable for the component, which sees no other; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = quantity::variable)]
    variables: Vec<(String, String)>,
}

const NOTES: &str = "\
Examples:
  wasmetry serve storefront.wasm
  wasmetry serve storefront.wasm --addr 0.0.0.0:80 --request-timeout 5s --max-memory 32MiB
  wasmetry serve storefront.wasm --name shop --tenant acme --env RUST_LOG=info
  curl http://127.0.0.1:9464/metrics

Answers that the host gives itself: 400 for a request without a valid Host, 500 after a trap or when
the component set no response, 503 when too many requests wait, 504 at the deadline.

The component may send HTTP requests to other services. It has no files and no sockets.
What it writes to stdout and stderr goes to those of this process.

On SIGINT or SIGTERM, no more requests are taken, those in progress are finished, their metrics are
collected, and the exit code is 0; a second signal ends the process at once.";

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let binary = Binary::read(&args.path)?;
    engine::check_kind(&binary)?;
    let telemetry_listener = bind(args.telemetry_addr, "--telemetry-addr")?;
    let listener = bind(args.addr, "--addr")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wasmetry-serve")
        .event_interval(limits::TURNS_BETWEEN_EVENTS)
        .build()
        .context("cannot start threads for the service; raise the limit of threads (`ulimit -u`)")?;
    let code = runtime.block_on(serve(args, binary, listener, telemetry_listener));
    // All that matters has ended; a blocking host call of a guest is not waited for.
    runtime.shutdown_background();
    code
}

async fn serve(args: Args, binary: Binary, listener: TcpListener, telemetry_listener: TcpListener) -> Result<ExitCode> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let readiness = Arc::new(Readiness::default());
    let registry = Registry::new();
    let endpoint = Arc::new(Endpoint::new(registry.clone(), Arc::clone(&readiness)));
    let components = Components::default();
    let mut config = wasmetry_export::Config::default();
    if let Some(token) = args.export.control_token()? {
        config = config.with_control(Control::new(&token, Arc::new(components.clone())));
    }
    let telemetry_server = Server::start_with(telemetry_listener, Arc::<Endpoint>::clone(&endpoint), config)
        .context("cannot start the telemetry endpoint")?;
    let stdio = Stdio::start().context("cannot start threads for stdout and stderr")?;
    let (exporter, sampler) = start_exporter(&args.export, &registry, stdio.stderr.clone())?;
    let exporter = Arc::new(exporter);
    let shutdown_timeout = args.shutdown_timeout.unwrap_or(args.request_timeout);
    let request_timeout = args.request_timeout;
    let waiting = args.max_waiting_requests;

    // Compiling takes seconds for large components, so it must neither hold up signals nor the endpoint.
    let sink = (exporter.wants_logs() || exporter.wants_spans()).then(|| Arc::<Exporter>::clone(&exporter));
    let preparation = tokio::task::spawn_blocking(move || prepare(args, &binary, registry, sink));
    let prepared = tokio::select! {
        prepared = preparation => prepared.context("compiling the component failed")??,
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    let Prepared { pre, component, telemetry, settings, _ticker } = prepared;
    components.set(vec![component.clone()]);
    endpoint.set_telemetry(telemetry);

    let reporter = Arc::new(Reporter::new(component.identity().component(), stdio.stderr.clone()));
    let killed = CancellationToken::new();
    let service = Arc::new(Service::new(handler::Parts {
        pre,
        component,
        settings,
        waiting,
        request_timeout,
        sampler,
        reporter: Arc::clone(&reporter),
        killed: killed.clone(),
        stdout: stdio.stdout.clone(),
        stderr: stdio.stderr.clone(),
    }));
    let listener = listener::Listener::new(listener).context("cannot serve")?;
    let addr = listener.local_addr();
    let flushing = tokio::spawn(report::flush_each_second(Arc::clone(&reporter)));
    let stopping = CancellationToken::new();
    let accepting = tokio::spawn(listener.run(Arc::clone(&service), stopping.clone()));
    readiness.ready();
    text::complain(format_args!("serving http://{addr}"));
    text::complain(format_args!("telemetry http://{}/metrics", telemetry_server.local_addr()));

    let signal = signals.next().await;
    readiness.stopping();
    text::complain(format_args!("shutting down on {signal}; once more to exit at once"));
    stopping.cancel();
    let finished = async {
        // The connections first: as long as there is one, there can be another request.
        let _ = accepting.await;
        service.finished().await;
    };
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(shutdown_timeout) => {
            match service.in_progress() {
                0 => {}
                left => text::complain(format_args!("ending requests that are in progress after the shutdown timeout: {left}")),
            }
            killed.cancel();
            // A guest that runs notices at its next look at the epoch.
            let _ = tokio::time::timeout(limits::KILL_TIMEOUT, service.finished()).await;
        }
        signal = signals.next() => return Ok(signal.exit_code()),
    }
    flushing.abort();
    // Waits until it is gone, with its share of the reporter.
    let _ = flushing.await;
    reporter.flush();
    drop((reporter, service));
    // None of it may block this runtime's threads.
    let stopped = tokio::task::spawn_blocking(move || {
        let lost = exporter.stop(limits::EXPORT_TIMEOUT);
        if lost > 0 {
            text::complain(format_args!(
                "logs and spans that were lost: {lost}; wasmetry_dropped_total on /metrics has said why"
            ));
        }
        drop(exporter);
        stdio.finish();
        telemetry_server.stop();
    });
    let _ = stopped.await;
    Ok(ExitCode::SUCCESS)
}

/// Starts what sends logs and spans on.
///
/// Returns too which traces are sampled, if spans go anywhere: else nobody would find those that a trace's headers name.
fn start_exporter(
    args: &ExportArgs,
    registry: &Registry,
    stderr: stdio::Output,
) -> Result<(Exporter, Option<Sampler>)> {
    let mut config = push::Config::from_env(|name| std::env::var(name).ok())?;
    let default = if io::stdout().is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
    config.stdout = args.lines(&io::stdout(), default);
    // A line that finds no room is not worth waiting for.
    let report = move |line: &str| {
        stderr.line(text::line(line));
    };
    let sampler = config.sampler;
    let exporter = Exporter::start(config, registry, Arc::new(report))?;
    let sampler = exporter.wants_spans().then_some(sampler);
    Ok((exporter, sampler))
}

/// A component that is ready to be instantiated, and what belongs to it.
struct Prepared {
    pre: handler::Pre,
    component: wasmetry_wasmtime::ObservedComponent,
    telemetry: Telemetry,
    settings: handler::Settings,
    _ticker: Ticker,
}

fn prepare(args: Args, binary: &Binary, registry: Registry, sink: Option<Arc<Exporter>>) -> Result<Prepared> {
    let limits = engine::Limits { instances: args.max_concurrent_requests, memory: args.max_memory };
    let (engine, component) = engine::compile(binary, limits)?;
    let ticker = Ticker::start(&engine, limits::EPOCH).context("cannot start the epoch ticker's thread")?;
    let pre = engine::link(binary, &engine, &component)?;
    let mut telemetry = Telemetry::new(registry, &engine);
    if let Some(sink) = sink {
        telemetry = telemetry.with_sink(sink);
    }
    let observed = telemetry
        .component(args.identity.identify(binary), &binary.bytes)
        .map_err(|error| anyhow::anyhow!("{}: {error}", binary.path.display()))?;
    observed.set_recording(args.export.recording());
    let settings = handler::Settings {
        memory: usize::try_from(args.max_memory).unwrap_or(usize::MAX),
        variables: args.variables,
        instances: args.max_concurrent_requests as usize,
    };
    Ok(Prepared { pre, component: observed, telemetry, settings, _ticker: ticker })
}
