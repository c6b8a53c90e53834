//! `wasmetry serve`: wasi:http components, with an instance per request, and a telemetry endpoint.
//!
//! `args` and `config` give a plan; `table` compiles its `component`s and mounts them; the
//! `listener` passes requests to the `handler`, which runs guests, whose
//! stdout and stderr are `output`s; `reload` replaces the table.

mod args;
mod component;
mod config;
mod drill;
mod fault;
mod handler;
pub(crate) mod limits;
mod listener;
mod output;
mod reload;
mod table;

use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;
use wasmetry_console::{Console, Recorder};
use wasmetry_export::push::Exporter;
use wasmetry_export::scrape::{self, Control, Server, Source as _};
use wasmetry_host::propagation::Sampler;
use wasmetry_host::{Registry, Sink};
use wasmetry_wasmtime::{Telemetry, Ticker, wall_clock};

use crate::flag::export::{ExportArgs, LogFormat};
use crate::guest::drop_report;
use crate::guest::outgoing::Network;
use crate::guest::outgoing::budget::ProcessConnections;
use crate::guest::outgoing::policy::OwnListeners;
use crate::process::address::bind;
use crate::process::console::ConsoleHandler;
use crate::process::control::Components;
use crate::process::descriptor::{self, AcceptErrors, Connections};
use crate::process::endpoint::{Endpoint, Readiness};
use crate::process::signal::Signals;
use crate::process::watched_file::WatchedFile;
use crate::text;
pub(crate) use args::{Args, DEFAULT_CONFIG, Origin};
use component::{Compiler, GuestOutput};
use config::plan::{self, Loaded, Plan};
pub(crate) use config::plan::{ConfiguredComponent, ConfiguredService, configured_components, configured_service};
use drill::DrillControl;
use handler::Service;
use limits::service::LimitsInForce;
use output::Stdio;
use reload::{HangUp, ReloadMetrics, Reloader, Retry};
use table::{RouteTable, TableBuilder};

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let connections = Connections::of(descriptor::raise_limit());
    let origin = args.origin()?;
    let Loaded { plan, files } = plan::load(&origin, &args.flags);
    let plan = plan?;
    plan.check_readable()?;
    let telemetry_listener = listen(&plan.telemetry_addr, "--telemetry-addr")?;
    let listener = listen(&plan.addr, "--addr")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wasmetry-serve")
        .event_interval(limits::TURNS_BETWEEN_EVENTS)
        .build()
        .context("cannot start threads for the service; raise the limit of threads (`ulimit -u`)")?;
    let code = runtime.block_on(serve(args, Start { origin, plan, files, listener, telemetry_listener, connections }));
    // Everything has been collected; a guest that blocks in a host call is not waited for.
    runtime.shutdown_background();
    code
}

fn listen(setting: &plan::ListenAddress, flag: &str) -> Result<TcpListener> {
    bind(setting.addr, flag).map_err(|error| match &setting.position {
        Some(position) => error.context(position.to_string()),
        None => error,
    })
}

/// The results of the steps before the runtime was started.
struct Start {
    origin: Origin,
    plan: Plan,
    files: Vec<WatchedFile>,
    listener: TcpListener,
    telemetry_listener: TcpListener,
    connections: Connections,
}

async fn serve(args: Args, start: Start) -> Result<ExitCode> {
    let Start { origin, plan, files, listener, telemetry_listener, connections } = start;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let hang_up = HangUp::new().context("cannot listen for SIGHUP")?;
    let readiness = Arc::new(Readiness::default());
    let registry = Registry::with_clock(wall_clock);
    registry.set_exposition_limits(plan.exposition);
    registry.set_limits(plan.guest_limits.clone());
    let stdio = Stdio::start(&registry).context("cannot start threads for stdout and stderr")?;
    let report = |stderr: &output::Output| {
        let stderr = stderr.clone();
        // If the queue is full, the line is lost rather than waited for.
        move |line: String| _ = stderr.line(text::line(&line))
    };
    let endpoint = Arc::new(Endpoint::new(registry.clone(), Arc::clone(&readiness), report(&stdio.stderr)));
    let components = Components::default();
    let guard = plan.telemetry.guard(plan.advertised())?;
    if args.allow_drills && !guard.has_control_token() {
        bail!(
            "--allow-drills needs --telemetry-token-file, since whoever has the token can make requests fail; write a token \
             to a file, such as the output of `openssl rand -hex 32`"
        );
    }
    let console = args.console.console(&registry);
    let exporting = start_exporter(&args.export, &registry, stdio.stderr.clone(), console.is_some())?;
    let drills = args.allow_drills.then(|| drills(&exporting, console.as_ref(), &registry));
    let mut control = Control::new(Arc::new(components.clone()));
    if let Some(drills) = &drills {
        control = control.with_drills(Arc::new(drills.clone()));
    }
    let mut config = wasmetry_export::scrape::Config::default().with_guard(guard.clone()).with_control(control);
    let tls = plan.telemetry.tls()?;
    config.tls.clone_from(&tls);
    let telemetry_settings = plan.telemetry.clone();
    telemetry_settings.watch(guard, tls.clone(), report(&stdio.stderr));
    let scheme = telemetry_settings.scheme();
    if let Some(console) = &console {
        let handler = Arc::new(ConsoleHandler::new(console.clone()));
        config = config.with_handler("/", scrape::Access::View, handler);
    }
    let telemetry_addr = telemetry_listener.local_addr().context("cannot serve telemetry")?;
    let network = Network {
        own: OwnListeners::default(),
        connections: ProcessConnections::new(connections.guests, plan.service_limits.outgoing()),
    };
    network.own.add(telemetry_addr);
    network.own.add(listener.local_addr().context("cannot serve")?);
    endpoint.set_targets(plan.targets(telemetry_addr));
    let telemetry_server = Server::start_with(telemetry_listener, Arc::<Endpoint>::clone(&endpoint), config)
        .context("cannot start the telemetry endpoint")?;
    let output = guest_output(&args.export, &exporting, &stdio);
    let Exporting { exporter, sampler, .. } = exporting;
    let source = Arc::clone(&endpoint);
    exporter.push_metrics(Arc::new(move || source.snapshot()))?;
    let snapshot_thread = match &console {
        Some(console) => {
            let source = Arc::clone(&endpoint);
            Some(console.start(move || source.snapshot()).context("cannot start the thread of the console")?)
        }
        None => None,
    };
    let shutdown_timeout = plan.shutdown_timeout();
    let limits = LimitsInForce::new(plan.service_limits);
    let service_limits = plan.service_limits;

    let mut telemetry = Telemetry::without_engine(registry.clone());
    if let Some(sampler) = sampler {
        telemetry = telemetry.with_sampler(sampler);
    }
    if let Some(sink) = sink(&exporter, console.as_ref()) {
        telemetry = telemetry.with_sink(sink);
    }
    let builder = Arc::new(TableBuilder {
        telemetry: telemetry.clone(),
        ticker: Ticker::without_engine(limits::EPOCH).context("cannot start the epoch ticker's thread")?,
        export: args.export,
        stderr: stdio.stderr.clone(),
        output,
        network,
        compiler: Compiler::default(),
        allows_drills: drills.is_some(),
    });
    // Compiling takes seconds for large components, and must delay neither signals nor the
    // endpoint.
    let preparing = Arc::clone(&builder);
    let (addresses, guest_limits) = ([plan.addr.addr, plan.telemetry_addr.addr], plan.guest_limits.clone());
    let drilled = drills.clone();
    let drill_origin = origin.clone();
    let preparation = tokio::task::spawn_blocking(move || {
        let table = preparing.build(&plan, &RouteTable::default())?.table;
        if let Some(drills) = drilled {
            drills.set(&drilled_service(&plan, &drill_origin)?, &table);
        }
        anyhow::Ok(table)
    });
    let table = tokio::select! {
        prepared = preparation => prepared.context("compiling the components failed")??,
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    components.set(table.components.iter().map(|component| component.observed.clone()).collect());
    endpoint.set_telemetry(telemetry);

    let killed = CancellationToken::new();
    let unrouted =
        "HTTP requests that the host answered itself, because no component is mounted at their host and path.";
    let parts = handler::Parts {
        sampler,
        unrouted: registry.counter("wasmetry_unrouted_requests_total", unrouted, &[]).with(&[]),
        killed: killed.clone(),
        limits: limits.clone(),
        connections: connections.clients,
    };
    let service = Arc::new(Service::new(parts, table));
    let errors = AcceptErrors::new(&registry, "service", report(&stdio.stderr));
    let listener =
        listener::Listener::new(listener, connections.clients, limits, &registry, errors).context("cannot serve")?;
    let addr = listener.local_addr();
    if let Some(console) = &console {
        console.set_services(vec![format!("http://{addr}")]);
    }
    let flushing =
        tokio::spawn(flush_reports_each_second(Arc::clone(&service), registry.clone(), stdio.stderr.clone()));
    let reloader = Reloader {
        origin,
        flags: args.flags,
        builder,
        service: Arc::clone(&service),
        components,
        endpoint: Arc::clone(&endpoint),
        telemetry_addr,
        telemetry_settings,
        tls,
        metrics: ReloadMetrics::new(&registry),
        registry: registry.clone(),
        guest_limits,
        service_limits,
        console: console.clone(),
        stderr: stdio.stderr.clone(),
        addresses,
        files,
        retry: Retry::default(),
        drills,
    };
    let reloading = tokio::spawn(reloader.run(hang_up));
    let rotation = HangUp::new().context("cannot listen for SIGHUP")?;
    let reopening = tokio::spawn(reopen_files_on(rotation, Arc::clone(&exporter)));
    let stopping = CancellationToken::new();
    let accepting = tokio::spawn(listener.run(Arc::clone(&service), stopping.clone()));
    readiness.ready();
    text::print_stderr(format_args!("serving http://{addr}"));
    let telemetry_addr = telemetry_server.local_addr();
    text::print_stderr(format_args!("telemetry {scheme}://{telemetry_addr}/metrics"));
    if console.is_some() {
        text::print_stderr(format_args!("page {scheme}://{telemetry_addr}/"));
    }

    let signal = signals.next().await;
    readiness.stopping();
    text::print_stderr(format_args!("shutting down on {signal}; send it again to exit at once"));
    stopping.cancel();
    let finished = async {
        // Connections first: as long as one is open, another request can come.
        let _ = accepting.await;
        service.finished().await;
    };
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(shutdown_timeout) => {
            match service.in_progress() {
                0 => {}
                left => text::print_stderr(format_args!("ending requests that are in progress after the shutdown timeout: {left}")),
            }
            killed.cancel();
            // A guest that runs is ended by its next epoch callback.
            let _ = tokio::time::timeout(limits::KILL_TIMEOUT, service.finished()).await;
        }
        signal = signals.next() => return Ok(signal.exit_code()),
    }
    for task in [flushing, reloading, reopening] {
        task.abort();
        // Waits until the task has dropped its clones of the outputs.
        let _ = task.await;
    }
    service.table().flush_reports();
    drop(service);
    // These calls block, which the runtime's threads must not.
    let stopped = tokio::task::spawn_blocking(move || {
        let lost = exporter.stop(limits::EXPORT_TIMEOUT);
        if lost > 0 {
            text::print_stderr(format_args!(
                "lost logs, spans and metric points: {lost}; wasmetry_dropped_total on /metrics has the reasons"
            ));
        }
        drop(exporter);
        report_new_drops(&registry, &stdio.stderr);
        stdio.finish();
        // Event streams would keep the endpoint open.
        drop(snapshot_thread);
        telemetry_server.stop();
    });
    let _ = stopped.await;
    Ok(ExitCode::SUCCESS)
}

/// Makes the drills of a process.
fn drills(exporting: &Exporting, console: Option<&Console>, registry: &Registry) -> DrillControl {
    let exporter = &exporting.exporter;
    DrillControl::new(drill::Parts {
        registry: registry.clone(),
        exports: exporter.faults().clone(),
        sink: sink(exporter, console),
        runtime: tokio::runtime::Handle::current(),
    })
}

/// Returns the service of a plan, whose alerts are drilled.
fn drilled_service(plan: &Plan, origin: &Origin) -> Result<wasmetry_ops::Service> {
    crate::ops::service_of(ConfiguredService::new(plan), origin)
}

/// Opens the audit file again at each SIGHUP, which `logrotate` sends after it has renamed the
/// file.
async fn reopen_files_on(mut hang_up: HangUp, exporter: Arc<Exporter>) {
    loop {
        hang_up.next().await;
        exporter.reopen_files();
    }
}

/// Writes the summary of a flood of failed requests, and a line about each new kind of drop, at
/// most a second after it began.
async fn flush_reports_each_second(service: Arc<Service>, registry: Registry, stderr: output::Output) {
    let mut interval = tokio::time::interval(limits::REPORT_WINDOW);
    loop {
        interval.tick().await;
        service.table().flush_reports();
        report_new_drops(&registry, &stderr);
    }
}

/// Writes a line about each kind of drop that is new, as far as the queue has room.
fn report_new_drops(registry: &Registry, stderr: &output::Output) {
    drop_report::report_new_drops(registry, limits::NEW_DROPS, |line| stderr.line(line));
}

/// The exporter and its settings.
struct Exporting {
    exporter: Arc<Exporter>,
    /// The sampler, if spans are exported or kept for the console. Otherwise trace headers would
    /// name spans that no one can find.
    sampler: Option<Sampler>,
    /// `true` if log records are lines on stdout.
    has_lines: bool,
}

/// Starts the exporter of logs, spans and metrics.
fn start_exporter(
    args: &ExportArgs,
    registry: &Registry,
    stderr: output::Output,
    has_console: bool,
) -> Result<Exporting> {
    let mut config = args.config()?;
    let default = if io::stdout().is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
    config.stdout = args.lines(&io::stdout(), default);
    // If the queue is full, the line is lost rather than waited for.
    let report = move |line: &str| {
        stderr.line(text::line(line));
    };
    let (sampler, has_lines) = (config.sampler, config.stdout.is_some());
    let exporter = Exporter::start(config, registry, Arc::new(report))?;
    let sampler = (exporter.wants_spans() || has_console).then_some(sampler);
    Ok(Exporting { exporter: Arc::new(exporter), sampler, has_lines })
}

/// Returns the sink of logs and spans: the console, the exporter, or the first in front of the
/// other.
fn sink(exporter: &Arc<Exporter>, console: Option<&Console>) -> Option<Arc<dyn Sink>> {
    let is_wanted = exporter.wants_logs() || exporter.wants_spans();
    let sink = is_wanted.then(|| Arc::<Exporter>::clone(exporter) as Arc<dyn Sink>);
    match console {
        Some(console) => Some(Arc::new(Recorder::new(console.clone(), sink, exporter.wants_spans()))),
        None => sink,
    }
}

/// Returns the destination of guests' stdout and stderr.
///
/// Raw output never goes to stdout if that has log records. Without any destination of log records,
/// output is raw.
fn guest_output(args: &ExportArgs, exporting: &Exporting, stdio: &Stdio) -> GuestOutput {
    if !args.is_guest_output_raw() && exporting.exporter.wants_logs() {
        return GuestOutput::Records;
    }
    let stdout = if exporting.has_lines { &stdio.stderr } else { &stdio.stdout };
    GuestOutput::Raw { stdout: stdout.clone(), stderr: stdio.stderr.clone() }
}
