//! The `wasmetry` command: serves and runs WebAssembly with telemetry, lists the metrics, logs and
//! spans of a binary, adapts a binary for hosts without wasmetry, generates its operations, and
//! drills its alerts.
//!
//! Only this crate knows the command line, the process and its signals. It deliberately does not
//! merge or encode metrics (`wasmetry-host`), read guests (`wasmetry-wasmtime`), answer scrapes and
//! push (`wasmetry-export`), or write rules (`wasmetry-ops`).

#![forbid(unsafe_code)]

mod adapt;
mod binary;
mod client;
mod drill;
mod flag;
mod guest;
mod inspect;
mod ops;
mod process;
mod run;
mod serve;
mod terminal;
mod text;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

/// Metrics, logs and traces of WebAssembly services: recorded in linear memory, read by the host
///
/// A service built with the `wasmetry` crate records in its own memory. This command runs it, reads
/// its telemetry, even after a trap or a kill, serves it to Prometheus, and exports it.
#[derive(Debug, Parser)]
#[command(name = "wasmetry", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  wasmetry serve storefront.wasm          serve it on http://127.0.0.1:8080,
                                          its metrics on http://127.0.0.1:9464/metrics
  wasmetry run batch.wasm --print-metrics run a program to its end, then print its metrics
  wasmetry inspect storefront.wasm        list its metrics, logs and spans without running it
  wasmetry adapt storefront.wasm -o out.wasm
                                          make it report its metrics on any WASI 0.2 host
  wasmetry ops all storefront.wasm -o ops generate Prometheus' configuration, rules and alerts
  wasmetry drill StorefrontHighErrorRate --telemetry URL --alertmanager URL --token-file FILE
                                          make an alert fire, and measure how long it takes
  wasmetry top http://127.0.0.1:9464      watch what is served there

`wasmetry help COMMAND` describes a command.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Run(Box<run::Args>),
    Inspect(inspect::Args),
    Adapt(Box<adapt::Args>),
    Ops(ops::Args),
    Drill(Box<drill::Args>),
    Top(terminal::TopArgs),
    Tail(terminal::TailArgs),
    Explain(terminal::ExplainArgs),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| without_wrong_tip(error).exit());
    let result = match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Run(args) => run::run(*args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Adapt(args) => adapt::run(&args),
        Command::Ops(args) => ops::run(&args),
        Command::Drill(args) => drill::run(&args),
        Command::Top(args) => terminal::top(&args),
        Command::Tail(args) => terminal::tail(args),
        Command::Explain(args) => terminal::explain(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // One line, without the backtrace that `Debug` of an `anyhow::Error` prints.
            text::print_stderr(format_args!("error: {}", text::line(&format!("{error:#}"))));
            ExitCode::FAILURE
        }
    }
}

/// Removes clap's tip to write an unknown flag behind `--`: only the program of `wasmetry run` has
/// arguments.
fn without_wrong_tip(mut error: clap::Error) -> clap::Error {
    let is_run = std::env::args_os().nth(1).is_some_and(|command| command == "run");
    if error.kind() == ErrorKind::UnknownArgument
        && !is_run
        && let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested)
    {
        tips.retain(|tip| !tip.to_string().starts_with("to pass "));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
