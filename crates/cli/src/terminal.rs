//! `wasmetry top`, `tail` and `explain`: the flags, and the client of the host's console.
//!
//! In comes the address of a host. Out comes what `wasmetry-terminal` makes of its answers. It does
//! not know guests.

mod host;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
#[cfg(unix)]
use wasmetry_terminal::top;
use wasmetry_terminal::{explain, tail};

use host::Host;

/// The host whose console is read.
#[derive(Debug, Args)]
struct HostArgs {
    /// The telemetry address of the host, such as http://127.0.0.1:9464
    #[arg(value_name = "URL")]
    url: String,
    /// A file with the token of the host, if it requires one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The requests and logs that are meant.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only this component
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    /// Only this tenant; an empty one stands for none
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only this route
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
}

/// Watch components and routes: rate, errors, latency, busy time, memory, traps
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Only this component
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
}

/// Follow logs and finished traces
///
/// After a lost connection it goes on behind the last line, and reports how many the host does not
/// keep any more. Notes about the connection go to stderr.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only logs of this level and more severe ones: error, warn, info, debug or trace. No traces
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    level: Option<String>,
    /// Only logs with this text in their message or a field. No traces
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only this trace, by its id of 32 digits
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Begin with this number of earlier ones, at most 500
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=500))]
    last: u32,
    /// Leave out traces
    #[arg(long, conflicts_with = "traces")]
    logs: bool,
    /// Leave out logs
    #[arg(long, conflicts_with_all = ["level", "text"])]
    traces: bool,
    /// Write a JSON object for each, as the host sends it
    #[arg(long)]
    json: bool,
}

/// Find what failed or slow requests have in common and normal ones have not
///
/// Exits with the status 0 if there is an answer, also if nothing was found.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The time back from now, at most 1h; 15m if it is not given
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// The requests that an alert of the generated rules is about; one on latency is about those of
    /// 500ms and more, or of --slower-than
    #[arg(long, value_name = "NAME")]
    alert: Option<String>,
    /// The requests to explain: failed, slow, or both; both if it is not given
    #[arg(long, value_name = "OUTCOME", value_parser = ["failed", "slow", "failed,slow"])]
    outcome: Option<String>,
    /// Explain the requests that took longer than this
    #[arg(long, value_name = "DURATION", conflicts_with = "outcome", value_parser = humantime::parse_duration)]
    slower_than: Option<Duration>,
    /// Write the host's answer in JSON
    #[arg(long)]
    json: bool,
}

/// Runs `wasmetry top`.
#[cfg(unix)]
pub(crate) fn top(args: &TopArgs) -> Result<ExitCode> {
    let host = Host::new(&args.host.url, args.host.token_file.as_deref())?;
    let options = top::Options { address: host.url().to_owned(), component: args.component.clone() };
    top::run(Box::new(host), &options)?;
    Ok(ExitCode::SUCCESS)
}

/// Reports that there is no `wasmetry top`.
#[cfg(not(unix))]
pub(crate) fn top(args: &TopArgs) -> Result<ExitCode> {
    let host = Host::new(&args.host.url, args.host.token_file.as_deref())?;
    bail!("`wasmetry top` needs a terminal of Unix; open {} in a browser, or use `wasmetry tail`", host.url())
}

/// Runs `wasmetry tail`.
pub(crate) fn tail(args: TailArgs) -> Result<ExitCode> {
    let host = Host::new(&args.host.url, args.host.token_file.as_deref())?;
    let options = tail::Options {
        level: args.level,
        text: args.text,
        component: args.filter.component,
        tenant: args.filter.tenant,
        route: args.filter.route,
        trace: args.trace,
        only_logs: args.logs,
        only_traces: args.traces,
        last: args.last,
        json: args.json,
        colours: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    tail::run(&host, &options, &mut io::stdout(), &mut io::stderr())?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `wasmetry explain`.
pub(crate) fn explain(args: ExplainArgs) -> Result<ExitCode> {
    if args.since.is_some_and(|since| since > Duration::from_secs(3600) || since < Duration::from_secs(1)) {
        bail!("--since: the host keeps one hour; give a time from 1s to 1h");
    }
    let host = Host::new(&args.host.url, args.host.token_file.as_deref())?;
    let options = explain::Options {
        component: args.filter.component,
        tenant: args.filter.tenant,
        route: args.filter.route,
        since: args.since.map(|since| since.as_secs()),
        alert: args.alert,
        outcome: args.outcome,
        min: args.slower_than.map(|least| least.as_secs_f64().to_string()),
        json: args.json,
    };
    explain::run(&host, &options, &mut io::stdout())?;
    Ok(ExitCode::SUCCESS)
}
