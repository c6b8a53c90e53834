//! `wasmetry run`: one program from its start to its end, and what becomes of its metrics, logs and spans then.

mod directory;
mod endpoint;
mod guest;
mod invocation;
mod limits;
mod outcome;
mod program;
mod push;
mod sink;

use std::future::pending;
use std::io::{self, Write};
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
use wasmetry_host::{Identity, Registry, Snapshot, encode};
use wasmetry_wasmtime::{ObservedComponent, Telemetry, Ticker, wall_clock};
use wasmtime_wasi::WasiCtxBuilder;

use crate::address::bind;
use crate::binary::Binary;
use crate::export::{Components, ExportArgs};
use crate::identity::IdentityArgs;
use crate::signal::{Signal, Signals};
use crate::{quantity, text};
use directory::Directory;
use endpoint::Endpoint;
use guest::{Ended, State};
use outcome::Outcome;
use program::Program;
use push::PushArgs;
use sink::Sink;

/// Run a WebAssembly program, and print, serve or push its metrics
///
/// The program is a component that exports wasi:cli/run 0.2, as `cargo build --target wasm32-wasip2` makes
/// it of a `main`; a core module with `_start`, as wasm32-wasip1 has it; or with --invoke one function of a
/// core module. It need not use wasmetry: the runtime's own metrics are there for every program.
///
/// What it had counted is in the metrics, also when it trapped or was ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = NOTES,
    mut_arg("log_format", |arg| arg.help("How log records are written to stderr [default: pretty]")),
    mut_arg("control_token_file", |arg| arg.requires("telemetry_addr")),
)]
pub(crate) struct Args {
    /// The component or core module to run
    #[arg(value_name = "APP.wasm")]
    path: PathBuf,

    /// Arguments of the program, or of the function that --invoke names
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,

    /// Call this function of a core module and print what it returns, one number a line
    ///
    /// The arguments after `--` are numbers of the types that the function takes. If the module exports
    /// `_initialize`, that is called first.
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,

    /// An environment variable for the program, which sees no other; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = quantity::variable)]
    variables: Vec<(String, String)>,

    /// A directory that the program may read and write, by this name or by another; may be repeated
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_parser = Directory::parse)]
    directories: Vec<Directory>,

    /// Print the metrics to stdout when the program has ended, after its own output
    ///
    /// In Prometheus' text format, also after a trap and at --timeout.
    #[arg(long, help_heading = "Metrics")]
    print_metrics: bool,

    /// Serve /metrics on this address while the program runs; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", value_parser = quantity::address, help_heading = "Metrics")]
    telemetry_addr: Option<SocketAddr>,

    /// Keep /metrics after the program's end until it was scraped once more, but no longer than this
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, requires = "telemetry_addr", help_heading = "Metrics")]
    linger: Option<Duration>,

    /// How long the program may run before it is ended (`30s`, `10m`) [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, help_heading = "Limits")]
    timeout: Option<Duration>,

    /// Linear memory that the program may have, in bytes or with a unit (`64MiB`), at most 4GiB
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = quantity::memory, help_heading = "Limits")]
    max_memory: u64,

    #[command(flatten)]
    push: PushArgs,

    #[command(flatten)]
    identity: IdentityArgs,

    #[command(flatten)]
    export: ExportArgs,
}

const NOTES: &str = "\
Examples:
  wasmetry run batch.wasm --print-metrics < orders.csv
  wasmetry run batch.wasm --dir ./data::/data --env RUST_LOG=info -- /data/orders.csv
  wasmetry run batch.wasm --telemetry-addr 127.0.0.1:9464 --linger 30s
  wasmetry run batch.wasm --push http://127.0.0.1:9091 --job nightly
  wasmetry run bare.wasm --invoke look --print-metrics -- 42

The program has this process's stdin, stdout and stderr, the directories and variables that it is given,
and, if it is a component, HTTP requests to other services. Its argv[0] is the file's name without its
extension. Its logs are lines on stderr; OpenTelemetry's variables (OTEL_EXPORTER_OTLP_ENDPOINT, …) send
them, its spans and its metrics elsewhere, the last ones at its end.

The exit code is the program's own, which for a component is 0 or 1, as WASI 0.2 has no other, and
  134   when it trapped; the line on stderr that begins with `trap:` says why
  124   when --timeout ended it
  130, 143   when SIGINT or SIGTERM ended it; a second signal ends this process at once
  1     when it cannot be started, or when it succeeded and its metrics cannot be delivered
  2     when the command line is wrong";

pub(crate) fn run(args: Args) -> Result<ExitCode> {
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
    let code = runtime.block_on(execute(args, binary, identity, listener, gateway));
    // All that matters has ended; a blocking host call of the program is not waited for.
    runtime.shutdown_background();
    code
}

async fn execute(
    args: Args,
    binary: Binary,
    identity: Identity,
    listener: Option<TcpListener>,
    gateway: Option<Gateway>,
) -> Result<ExitCode> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let registry = Registry::with_clock(wall_clock);
    let components = Components::default();
    let mut config = Config::default();
    if let Some(token) = args.export.control_token()? {
        config = config.with_control(Control::new(&token, Arc::new(components.clone())));
    }
    let endpoint = listener.map(|listener| Endpoint::start(listener, registry.clone(), config)).transpose()?;
    let sink = Sink::start(&args.export, &registry)?;
    let records = sink.records();
    let (print_metrics, linger, timeout) = (args.print_metrics, args.linger, args.timeout);

    // Compiling takes seconds for large programs, so it must neither hold up signals nor the endpoint.
    let preparation = tokio::task::spawn_blocking(move || prepare(&args, &binary, identity, registry, records));
    let prepared = tokio::select! {
        prepared = preparation => prepared.context("compiling the program failed")??,
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    let Prepared { program, state, component, telemetry, _ticker } = prepared;
    components.set(vec![component.clone()]);
    sink.push_metrics(telemetry.clone())?;
    if let Some(endpoint) = &endpoint {
        endpoint.started(telemetry.clone());
        text::complain(format_args!("telemetry http://{}/metrics", endpoint.local_addr()));
    }

    let (kill, killed) = oneshot::channel();
    let guest = tokio::spawn(guest::run(program, state, timeout, killed));
    let ended = watch(guest, kill, timeout, &mut signals).await?;
    record(telemetry.registry(), component.identity(), &ended);
    // Before the metrics are shown, which tell what of the logs and spans was lost.
    let sent = tokio::task::spawn_blocking(move || sink.stop());
    tokio::select! {
        _ = sent => {}
        // Whoever is in a hurry does without them.
        _ = signals.next() => {}
    }
    if let Some(endpoint) = &endpoint {
        endpoint.ended();
    }
    ended.outcome.report(component.identity().component());

    let snapshot = telemetry.snapshot();
    let metrics = print_metrics.then(|| encode::prometheus::encode(&snapshot));
    let printing = tokio::task::spawn_blocking(move || print(&ended.returned, metrics.as_deref()));
    let printed = tokio::select! {
        printed = printing => printed.context("printing failed")?,
        // Nobody reads what is printed.
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    let mut is_delivered = complain_of(printed);
    if let Some(gateway) = gateway {
        is_delivered &= complain_of(push(&gateway, &snapshot, &mut signals).await);
    }
    if let Some(endpoint) = endpoint {
        let wait = linger.unwrap_or(Duration::ZERO);
        tokio::select! {
            () = endpoint.scraped(), if !wait.is_zero() => {}
            () = tokio::time::sleep(wait) => {}
            _ = signals.next() => {}
        }
        // It may not block this runtime's threads.
        let _ = tokio::task::spawn_blocking(|| endpoint.stop()).await;
    }
    Ok(match ended.outcome.code() {
        0 if !is_delivered => ExitCode::FAILURE,
        code => code.into(),
    })
}

/// A program that is ready to be run, and what belongs to it.
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
) -> Result<Prepared> {
    let invoke = args.invoke.as_deref().map(|function| (function, args.arguments.as_slice()));
    let program = Program::new(binary, invoke)?;
    let ticker = Ticker::start(program.engine(), limits::EPOCH).context("cannot start the epoch ticker's thread")?;
    let mut telemetry = Telemetry::new(registry, program.engine());
    if let Some(records) = records {
        telemetry = telemetry.with_sink(records);
    }
    let component =
        telemetry.component(identity, &binary.bytes).map_err(|error| anyhow!("{}: {error}", binary.path.display()))?;
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
    let state = State::new(wasi.build_p1(), component.state_with_memory_limit(memory));
    Ok(Prepared { program, state, component, telemetry, _ticker: ticker })
}

/// Waits for the program's end, which comes at the latest a moment after its timeout or a signal.
///
/// A program that blocks its thread in a host call, as one does whose output nobody reads, cannot be ended; of it, the
/// metrics are those that were collected last.
async fn watch(
    mut guest: JoinHandle<Result<Ended>>,
    kill: oneshot::Sender<Signal>,
    timeout: Option<Duration>,
    signals: &mut Signals,
) -> Result<Ended> {
    let begin = Instant::now();
    let late = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout + limits::DEADLINE_GRACE + limits::KILL_TIMEOUT).await,
            None => pending().await,
        }
    };
    let stuck = |outcome| Ended { outcome, returned: String::new(), duration: begin.elapsed(), memory: 0 };
    tokio::select! {
        ended = &mut guest => ended.context("running the program failed")?,
        () = late => Ok(stuck(Outcome::Late)),
        signal = signals.next() => {
            // If nobody receives it, the program has just ended.
            let _ = kill.send(signal);
            match tokio::time::timeout(limits::KILL_TIMEOUT, guest).await {
                Ok(ended) => ended.context("running the program failed")?,
                Err(_) => Ok(stuck(Outcome::Killed(signal))),
            }
        }
    }
}

/// Puts into the metrics how the program ended.
fn record(registry: &Registry, identity: &Identity, ended: &Ended) {
    let gauge = |name, help, value| registry.gauge(name, help, &Identity::KEYS).with(&identity.values()).set(value);
    gauge("wasm_run_exit_code", "Exit code of the program that has ended.", ended.outcome.code().into());
    gauge("wasm_run_duration_seconds", "Time from the program's start to its end.", ended.duration.as_secs_f64());
    gauge("wasm_run_linear_memory_bytes", "The most linear memory that the program had.", ended.memory as f64);
}

/// Prints what a function returned, and the metrics.
fn print(returned: &str, metrics: Option<&str>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = [returned, metrics.unwrap_or_default()]
        .into_iter()
        .try_for_each(|text| stdout.write_all(text.as_bytes()))
        .and_then(|()| stdout.flush());
    match written {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// Pushes the metrics, unless a signal comes first.
async fn push(gateway: &Gateway, snapshot: &Snapshot, signals: &mut Signals) -> Result<()> {
    tokio::select! {
        pushed = gateway.push(snapshot) => Ok(pushed?),
        signal = signals.next() => bail!("the metrics were not pushed to {}: {signal} came first", gateway.endpoint),
    }
}

/// Says what has failed; returns whether nothing has.
fn complain_of(result: Result<()>) -> bool {
    if let Err(error) = &result {
        text::complain(format_args!("error: {}", text::line(&format!("{error:#}"))));
    }
    result.is_ok()
}
