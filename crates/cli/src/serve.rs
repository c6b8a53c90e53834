//! `wasmetry serve`: wasi:http components, one instance for each request, and a telemetry endpoint.

mod admission;
mod args;
mod body;
mod config;
mod engine;
mod handler;
mod limits;
mod listener;
mod outgoing;
mod plan;
mod reload;
mod report;
mod route;
mod stamp;
mod stdio;
mod table;

use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use wasmetry_export::push::{self, Exporter};
use wasmetry_export::scrape::{Control, Server, Source as _};
use wasmetry_host::Registry;
use wasmetry_host::propagation::Sampler;
use wasmetry_wasmtime::{Telemetry, Ticker, wall_clock};

use crate::address::bind;
use crate::export::{self, Components, ExportArgs, LogFormat};
use crate::signal::Signals;
use crate::telemetry::{Endpoint, Readiness};
use crate::text;
pub(crate) use args::Args;
use handler::Service;
use plan::{Loaded, Origin, Plan};
use reload::{HangUp, ReloadMetrics, Reloader};
use stdio::Stdio;
use table::{Builder, Table};

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let origin = args.origin()?;
    let Loaded { plan, files } = plan::load(&origin, &args.flags);
    let plan = plan?;
    let telemetry_listener = listen(&plan.telemetry_addr, "--telemetry-addr")?;
    let listener = listen(&plan.addr, "--addr")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wasmetry-serve")
        .event_interval(limits::TURNS_BETWEEN_EVENTS)
        .build()
        .context("cannot start threads for the service; raise the limit of threads (`ulimit -u`)")?;
    let code = runtime.block_on(serve(args, Start { origin, plan, files, listener, telemetry_listener }));
    // All that matters has ended; a blocking host call of a guest is not waited for.
    runtime.shutdown_background();
    code
}

fn listen(setting: &plan::Setting, flag: &str) -> Result<TcpListener> {
    bind(setting.addr, flag).map_err(|error| match &setting.place {
        Some(place) => error.context(place.to_string()),
        None => error,
    })
}

/// What was found at the start.
struct Start {
    origin: Origin,
    plan: Plan,
    files: Vec<stamp::File>,
    listener: TcpListener,
    telemetry_listener: TcpListener,
}

async fn serve(args: Args, start: Start) -> Result<ExitCode> {
    let Start { origin, plan, files, listener, telemetry_listener } = start;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let hang_up = HangUp::new().context("cannot listen for SIGHUP")?;
    let readiness = Arc::new(Readiness::default());
    let registry = Registry::with_clock(wall_clock);
    let endpoint = Arc::new(Endpoint::new(registry.clone(), Arc::clone(&readiness)));
    let components = Components::default();
    let mut config = wasmetry_export::scrape::Config::default();
    if let Some(token) = args.export.control_token()? {
        config = config.with_control(Control::new(&token, Arc::new(components.clone())));
    }
    let telemetry_server = Server::start_with(telemetry_listener, Arc::<Endpoint>::clone(&endpoint), config)
        .context("cannot start the telemetry endpoint")?;
    let stdio = Stdio::start().context("cannot start threads for stdout and stderr")?;
    let (exporter, sampler) = start_exporter(&args.export, &registry, stdio.stderr.clone())?;
    let exporter = Arc::new(exporter);
    let source = Arc::clone(&endpoint);
    exporter.push_metrics(Arc::new(move || source.snapshot()))?;
    let longest = plan.components.iter().map(|planned| planned.spec.request_timeout).max();
    let shutdown_timeout = plan.shutdown_timeout.or(longest).unwrap_or(limits::REQUEST_TIMEOUT);

    let mut telemetry = Telemetry::without_engine(registry.clone());
    if exporter.wants_logs() || exporter.wants_spans() {
        telemetry = telemetry.with_sink(Arc::<Exporter>::clone(&exporter));
    }
    let builder = Arc::new(Builder {
        telemetry: telemetry.clone(),
        ticker: Ticker::without_engine(limits::EPOCH).context("cannot start the epoch ticker's thread")?,
        export: args.export,
        stderr: stdio.stderr.clone(),
    });
    // Compiling takes seconds for large components, so it must neither hold up signals nor the endpoint.
    let preparing = Arc::clone(&builder);
    let addresses = [plan.addr.addr, plan.telemetry_addr.addr];
    let preparation = tokio::task::spawn_blocking(move || preparing.build(&plan, &Table::default()));
    let table = tokio::select! {
        prepared = preparation => prepared.context("compiling the components failed")??,
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    components.set(table.units.iter().map(|unit| unit.component.clone()).collect());
    endpoint.set_telemetry(telemetry);

    let killed = CancellationToken::new();
    let unrouted = "HTTP requests that the host answered itself, as no component is mounted where they went.";
    let parts = handler::Parts {
        sampler,
        unrouted: registry.counter("wasmetry_unrouted_requests_total", unrouted, &[]).with(&[]),
        killed: killed.clone(),
        stdout: stdio.stdout.clone(),
        stderr: stdio.stderr.clone(),
    };
    let service = Arc::new(Service::new(parts, table));
    let listener = listener::Listener::new(listener).context("cannot serve")?;
    let addr = listener.local_addr();
    let flushing = tokio::spawn(report::flush_each_second(Arc::clone(&service)));
    let reloader = Reloader {
        origin,
        flags: args.flags,
        builder,
        service: Arc::clone(&service),
        components,
        metrics: ReloadMetrics::new(&registry),
        stderr: stdio.stderr.clone(),
        addresses,
        files,
    };
    let reloading = tokio::spawn(reloader.run(hang_up));
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
    for task in [flushing, reloading] {
        task.abort();
        // Waits until it is gone, with its share of the outputs.
        let _ = task.await;
    }
    report::flush_all(&service);
    drop(service);
    // None of it may block this runtime's threads.
    let stopped = tokio::task::spawn_blocking(move || {
        let lost = exporter.stop(limits::EXPORT_TIMEOUT);
        if lost > 0 {
            text::complain(format_args!(
                "logs, spans and points of metrics that were lost: {lost}; wasmetry_dropped_total on /metrics has said why"
            ));
        }
        drop(exporter);
        stdio.finish();
        telemetry_server.stop();
    });
    let _ = stopped.await;
    Ok(ExitCode::SUCCESS)
}

/// Starts what sends logs, spans and metrics on.
///
/// Returns too which traces are sampled, if spans go anywhere: else nobody would find those that a trace's headers name.
fn start_exporter(
    args: &ExportArgs,
    registry: &Registry,
    stderr: stdio::Output,
) -> Result<(Exporter, Option<Sampler>)> {
    let mut config = push::Config::from_env(|name| std::env::var(name).ok())?;
    export::warn(&config);
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
