//! `wasmetry run`: one program from its start to its end, and the delivery of its telemetry.
//!
//! `program` compiles and links, `guest` runs, `outcome` gives the exit code; `exporter`,
//! `endpoint` and `push` deliver logs, spans and metrics.

mod directory;
mod endpoint;
mod exporter;
mod guest;
mod invocation;
mod limits;
mod outcome;
mod program;
mod push;

use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wasmetry_export::push::{Exporter, Gateway};
use wasmetry_export::scrape::{Config, Control};
use wasmetry_host::propagation::Sampler;
use wasmetry_host::{Declarations, Identity, Registry, Snapshot, encode};
use wasmetry_wasmtime::{DeadlineExceeded, Killed, ObservedComponent, Telemetry, Ticker, wall_clock};
use wasmtime_wasi::WasiCtxBuilder;

use crate::binary::Binary;
use crate::flag::export::ExportArgs;
use crate::flag::identity::IdentityArgs;
use crate::flag::outgoing::OutgoingArgs;
use crate::flag::secret::secret;
use crate::flag::telemetry::TelemetryArgs;
use crate::flag::value;
use crate::guest::outgoing::Network;
use crate::guest::outgoing::budget::{OutgoingLimits, ProcessConnections};
use crate::guest::outgoing::policy::OwnListeners;
use crate::guest::{drop_report, link, output};
use crate::process::address::bind;
use crate::process::control::Components;
use crate::process::descriptor::{self, Connections};
use crate::process::signal::{Signal, Signals};
use crate::text;
use directory::Directory;
use endpoint::Endpoint;
use exporter::ProgramExporter;
use guest::{Ended, State};
use outcome::Outcome;
use program::Program;
use push::PushArgs;

/// Run a WebAssembly program, and print, serve or push its metrics
///
/// The program is a component that exports wasi:cli/run 0.2, as `cargo build --target
/// wasm32-wasip2` makes it from a `main`; a core module that exports `_start`, as wasm32-wasip1
/// makes it; or with --invoke a function of a core module. A program without wasmetry has the
/// metrics of the runtime.
///
/// The metrics have everything that the program recorded, even if it trapped or was ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = NOTES,
    mut_arg("log_format", |arg| arg.help("The format of log records on stderr [default: pretty]")),
    mut_args(requires_telemetry_addr),
)]
pub(crate) struct Args {
    /// The component or core module to run
    #[arg(value_name = "APP.wasm")]
    path: PathBuf,

    /// The arguments of the program, or of the function that --invoke names
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,

    /// Call this function of a core module and print its results, one number per line
    ///
    /// The arguments after `--` are numbers of the types that the function takes. If the module
    /// exports `_initialize`, that is called first.
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,

    /// An environment variable for the program, which gets no others; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = secret(value::variable))]
    variables: Vec<(String, String)>,

    /// A directory that the program can read and write, under its own name or another; may be
    /// repeated
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_parser = Directory::parse)]
    directories: Vec<Directory>,

    /// Print the metrics to stdout when the program has ended, after its own output
    ///
    /// They are printed in Prometheus' text format, also after a trap and at --timeout.
    #[arg(long, help_heading = "Metrics")]
    print_metrics: bool,

    /// Serve /metrics on this address while the program runs; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", value_parser = value::address, help_heading = "Metrics")]
    telemetry_addr: Option<SocketAddr>,

    #[command(flatten)]
    telemetry: TelemetryArgs,

    /// Keep /metrics up after the program's end until it is scraped once more, but no longer than
    /// this
    #[arg(long, value_name = "DURATION", value_parser = value::duration, requires = "telemetry_addr", help_heading = "Metrics")]
    linger: Option<Duration>,

    /// The time after which the program is ended (`30s`, `10m`) [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = value::duration, help_heading = "Limits")]
    timeout: Option<Duration>,

    /// The linear memory of the program, in bytes or with a unit (`64MiB`), at most 4GiB
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = value::memory, help_heading = "Limits")]
    max_memory: u64,

    #[command(flatten)]
    outgoing: OutgoingArgs,

    #[command(flatten)]
    push: PushArgs,

    #[command(flatten)]
    identity: IdentityArgs,

    #[command(flatten)]
    export: ExportArgs,
}

/// Makes the flags of the telemetry address depend on its own.
fn requires_telemetry_addr(arg: clap::Arg) -> clap::Arg {
    let is_of_address = TelemetryArgs::NAMES.contains(&arg.get_id().as_str());
    if is_of_address { arg.requires("telemetry_addr") } else { arg }
}

const NOTES: &str = "\
Examples:
  wasmetry run batch.wasm --print-metrics < orders.csv
  wasmetry run batch.wasm --dir ./data::/data --env RUST_LOG=info -- /data/orders.csv
  wasmetry run batch.wasm --telemetry-addr 127.0.0.1:9464 --linger 30s
  wasmetry run batch.wasm --push http://127.0.0.1:9091 --job nightly
  wasmetry run bare.wasm --invoke look --print-metrics -- 42

The program has the stdin and stdout of this process and the given directories and variables; a component
can also send HTTP requests. Its argv[0] is the file's name without its extension. Log records are lines on
stderr, and so is each line that it prints there; see --guest-output. Logs, spans and metrics are exported as OpenTelemetry's variables
(OTEL_EXPORTER_OTLP_ENDPOINT, …) request, for the last time at the program's end.

The exit code is that of the program (for a component 0 or 1, since WASI 0.2 has no other), or
  134   if it trapped; the line on stderr that begins with `trap:` has the reason
  124   if --timeout ended it
  129, 130, 143   if SIGHUP, SIGINT or SIGTERM ended it; a second signal ends this process at once
  1     if it cannot be started, or if it succeeded and its metrics cannot be delivered
  2     if the command line is wrong";

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let connections = Connections::of(descriptor::raise_limit());
    let network = Network {
        own: OwnListeners::default(),
        connections: ProcessConnections::new(connections.guests, OutgoingLimits::default()),
    };
    let binary = Binary::read(&args.path)?;
    let identity = args.identity.identify(&binary);
    let gateway = args.push.gateway(identity.component())?;
    let listener = args.telemetry_addr.map(|addr| bind(addr, "--telemetry-addr")).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(limits::WORKERS)
        .enable_all()
        .thread_name("wasmetry-run")
        .build()
        .context("cannot start threads for the program; raise the limit of threads (`ulimit -u`)")?;
    let code = runtime.block_on(execute(args, binary, identity, listener, gateway, network));
    // Everything has been collected; a program that blocks in a host call is not waited for.
    runtime.shutdown_background();
    code
}

async fn execute(
    args: Args,
    binary: Binary,
    identity: Identity,
    listener: Option<TcpListener>,
    gateway: Option<Gateway>,
    network: Network,
) -> Result<ExitCode> {
    let mut signals = Signals::with_hang_up().context("cannot listen for signals")?;
    let registry = Registry::with_clock(wall_clock);
    let components = Components::default();
    let endpoint = match listener {
        None => None,
        Some(listener) => {
            let guard = args.telemetry.guard(None)?;
            let mut config =
                Config::default().with_guard(guard.clone()).with_control(Control::new(Arc::new(components.clone())));
            config.tls = args.telemetry.tls()?;
            let report = |line: String| text::print_stderr(format_args!("{}", text::line(&line)));
            args.telemetry.watch(guard, config.tls.clone(), report);
            network.own.add(listener.local_addr().context("cannot serve telemetry")?);
            Some(Endpoint::start(listener, registry.clone(), config)?)
        }
    };
    let scheme = args.telemetry.scheme();
    let exporter = ProgramExporter::start(&args.export, &registry)?;
    let records = exporter.records();
    let sampler = exporter.sampler();
    let (print_metrics, linger, timeout) = (args.print_metrics, args.linger, args.timeout);

    // Compiling takes seconds for large programs, and must delay neither signals nor the endpoint.
    let preparation =
        tokio::task::spawn_blocking(move || prepare(&args, &binary, identity, registry, records, sampler, &network));
    let prepared = tokio::select! {
        prepared = preparation => prepared.context("compiling the program failed")??,
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    let Prepared { program, state, component, telemetry, _ticker } = prepared;
    components.set(vec![component.clone()]);
    exporter.push_metrics(telemetry.clone())?;
    if let Some(endpoint) = &endpoint {
        endpoint.started(telemetry.clone());
        text::print_stderr(format_args!("telemetry {scheme}://{}/metrics", endpoint.local_addr()));
    }

    let (kill, killed) = oneshot::channel();
    let guest = tokio::spawn(guest::run(program, state, timeout, killed));
    let ended = watch(guest, kill, timeout, &mut signals, &component).await?;
    record(telemetry.registry(), component.identity(), &ended);
    // Before the metrics are shown, which count the logs and spans that were lost.
    let sent = tokio::task::spawn_blocking(move || exporter.stop());
    tokio::select! {
        _ = sent => {}
        // A second signal skips the export.
        _ = signals.next() => {}
    }
    if let Some(endpoint) = &endpoint {
        endpoint.ended();
    }
    ended.outcome.report(component.identity().component());
    drop_report::report_new_drops(telemetry.registry(), usize::MAX, print_line);

    let snapshot = telemetry.snapshot();
    let mut shown = ended.returned;
    if print_metrics {
        encode::prometheus::encode_into(&snapshot, &mut shown);
    }
    let printing = tokio::task::spawn_blocking(move || text::print_foreign(&shown));
    let printed = tokio::select! {
        printed = printing => printed.context("printing failed")?,
        // Stdout is not read.
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    let mut is_delivered = print_error(printed);
    if let Some(gateway) = gateway {
        is_delivered &= print_error(push(&gateway, &snapshot, &mut signals).await);
    }
    if let Some(endpoint) = endpoint {
        let wait = linger.unwrap_or(Duration::ZERO);
        tokio::select! {
            () = endpoint.scraped(), if !wait.is_zero() => {}
            () = tokio::time::sleep(wait) => {}
            _ = signals.next() => {}
        }
        // It blocks, which the runtime's threads must not.
        let _ = tokio::task::spawn_blocking(|| endpoint.stop()).await;
    }
    Ok(match ended.outcome.code() {
        0 if !is_delivered => ExitCode::FAILURE,
        code => code.into(),
    })
}

/// A program that is ready to run, with its store's state and its telemetry.
struct Prepared {
    program: Program,
    state: State,
    component: ObservedComponent,
    telemetry: Telemetry,
    _ticker: Ticker,
}

fn prepare(
    args: &Args,
    binary: &Binary,
    identity: Identity,
    registry: Registry,
    records: Option<Arc<Exporter>>,
    sampler: Sampler,
    network: &Network,
) -> Result<Prepared> {
    let invoke = args.invoke.as_deref().map(|function| (function, args.arguments.as_slice()));
    let program = Program::new(binary, invoke)?;
    let ticker = Ticker::start(program.engine(), limits::EPOCH).context("cannot start the epoch ticker's thread")?;
    let has_records = records.as_ref().is_some_and(|exporter| exporter.wants_logs());
    let mut telemetry = Telemetry::new(registry, program.engine()).with_sampler(sampler);
    if let Some(records) = records {
        telemetry = telemetry.with_sink(records);
    }
    let declarations = Declarations::from_wasm(&binary.bytes);
    let declarations = declarations.map_err(|error| anyhow!("{}: {error}", binary.path.display()))?;
    if let Some(line) = drop_report::rejected_declarations(&identity, &declarations) {
        print_line(line);
    }
    let component = telemetry.declared_component(identity, declarations);
    component.set_recording(args.export.recording(wasmetry_host::Recording::default()));
    let mut wasi = WasiCtxBuilder::new();
    wasi.inherit_stdio().envs(&args.variables).arg(binary.stem());
    if invoke.is_none() {
        wasi.args(&args.arguments);
    }
    for directory in &args.directories {
        directory.open(&mut wasi)?;
    }
    let memory = usize::try_from(args.max_memory).unwrap_or(usize::MAX);
    let telemetry_state = component.state_with_memory_limit(memory);
    let lines = telemetry_state.printed_lines();
    if let Some(lines) = lines.filter(|_| has_records && !args.export.is_guest_output_raw()) {
        // Its stdout is its result, in which there are no log records.
        let [_, stderr] = output::streams(lines);
        wasi.stderr(stderr);
    }
    link::restrict(&mut wasi);
    let access = Arc::new(network.access(&args.outgoing, component.clone()));
    let state = State::new(wasi.build_p1(), telemetry_state, access);
    Ok(Prepared { program, state, component, telemetry, _ticker: ticker })
}

/// Waits for the program's end, which comes at the latest shortly after its timeout or a signal.
///
/// A program that blocks its thread in a host call, such as a write to a pipe that is not read,
/// cannot be ended. Its metrics are those that were collected last.
async fn watch(
    mut guest: JoinHandle<Result<Ended>>,
    kill: oneshot::Sender<Signal>,
    timeout: Option<Duration>,
    signals: &mut Signals,
    component: &ObservedComponent,
) -> Result<Ended> {
    let begin = Instant::now();
    let late = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout + limits::DEADLINE_GRACE + limits::KILL_TIMEOUT).await,
            None => pending().await,
        }
    };
    let stuck = |outcome, error| {
        component.count_unreachable(&error);
        Ended { outcome, returned: String::new(), duration: begin.elapsed(), memory: 0 }
    };
    tokio::select! {
        ended = &mut guest => ended.context("running the program failed")?,
        () = late => Ok(stuck(Outcome::TimedOut, wasmtime::Error::new(DeadlineExceeded))),
        signal = signals.next() => {
            // There is no receiver if the program has just ended.
            let _ = kill.send(signal);
            match tokio::time::timeout(limits::KILL_TIMEOUT, guest).await {
                Ok(ended) => ended.context("running the program failed")?,
                Err(_) => Ok(stuck(Outcome::Killed(signal), wasmtime::Error::new(Killed))),
            }
        }
    }
}

/// Records the program's exit code, duration and memory as metrics.
fn record(registry: &Registry, identity: &Identity, ended: &Ended) {
    let gauge = |name, help, value| registry.gauge(name, help, &Identity::KEYS).with(&identity.values()).set(value);
    gauge("wasm_run_exit_code", "Exit code of the program that has ended.", ended.outcome.code().into());
    gauge("wasm_run_duration_seconds", "Time from the program's start to its end.", ended.duration.as_secs_f64());
    gauge("wasm_run_linear_memory_bytes", "Largest size of the program's linear memory.", ended.memory as f64);
}

/// Pushes the metrics. A signal cancels the push.
async fn push(gateway: &Gateway, snapshot: &Snapshot, signals: &mut Signals) -> Result<()> {
    tokio::select! {
        pushed = gateway.push(snapshot) => Ok(pushed?),
        signal = signals.next() => bail!("the metrics were not pushed to {}: {signal} cancelled it", gateway.endpoint),
    }
}

/// Prints a line about the program. Returns `true`, since this process waits for its stderr.
fn print_line(line: String) -> bool {
    text::print_stderr(format_args!("{line}"));
    true
}

/// Prints an error. Returns `true` if there is none.
fn print_error(result: Result<()>) -> bool {
    if let Err(error) = &result {
        text::print_stderr(format_args!("error: {}", text::line(&format!("{error:#}"))));
    }
    result.is_ok()
}
