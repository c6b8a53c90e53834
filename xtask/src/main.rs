//! The one entry to everything a developer or CI runs: `cargo xtask <command>`.
//!
//! Each command lives in a module of its own name. Progress goes to standard error, one line a
//! step; results (the demo's scrape, the tests' report) go to standard output.
//!
//! It deliberately has few dependencies: a clean clone compiles it before anything else.

mod adapter;
mod argument;
mod backends;
mod bench;
mod ci;
mod debian;
mod debian_program;
mod demo;
mod facade;
mod guests;
mod language;
mod node;
mod page;
mod process;
mod python;
mod rotel;
mod setup;
mod sizes;
mod step;
mod test;
mod toolchain;
mod wording;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use argument::{Arguments, Usage};

/// The output of `cargo xtask help`.
const HELP: &str = "\
Everything a developer or CI runs in this workspace.

Usage: cargo xtask <command> [options]

Commands:
  setup     Install what is missing: the wasm targets, the backends, Debian's Prometheus, Pushgateway, a Python venv with componentize-py,
            rotel, npm packages (jco and componentize-js among them), Chromium, valgrind
              --from-debian   build the wasm targets from Debian's packages, without asking rustup
  guests    Build every example and test guest to target/guests/NAME.wasm, and the adapter to target/adapter
              --from-debian   with Debian's compiler, even where rustup has the targets
  backends  Build the servers of tests/backends (Prometheus, the OpenTelemetry Collector, Jaeger, ...) to target/tools
              NAME...     only these
  node      Build the npm package in hosts/node: its WebAssembly core, and its types where Node is installed
  demo      Serve the storefront example, send it traffic, print the scrape, keep serving
              --once                  check the counts against the traffic sent, stop, and exit 0 if they agree
              --stack                 also run Prometheus, Alertmanager, Jaeger and the OpenTelemetry Collector
              --addr ADDR             the service's address (127.0.0.1:8080; with --once a free port)
              --telemetry-addr ADDR   the address of /metrics (127.0.0.1:9464; with --once a free port)
  test      Run all tests, after setup and guests; arguments after `--` go to `cargo test`
  ci        Run every check CI runs: format, crate edges, wording, lints, docs, gates, tests
              --no-test   all but the tests
  gates     Compare the guests' sizes and the hot paths' instructions with xtask/budgets.txt, after guests
  sizes     Print what each kind of metric, log and span adds to a guest
              --from-debian   with Debian's compiler, even where rustup has the target
  facades   Print what the facades for `log` and `tracing` add to a guest and cost, beside the usual back ends
              --from-debian   with Debian's compiler, even where rustup has the target
  adapter   Rebuild the checked-in components of `wasmetry adapt` in crates/adapter-provider
  wit       Regenerate the checked-in component-type bytes from wit/
  page      Install what the tests of the console's page need: npm packages and Chromium
              --vendor  also copy the page's libraries from npm into crates/console/page/vendor, with versions and hashes
  wording   List comments, docs, test names and paths that break a rule of language, with what to write instead
              PATH...     only files at or below these paths
              --count     only the number of findings of each check
  bench     Run the benchmarks, after guests; arguments after `--` go to `cargo bench`
  help      Print this

Start with `cargo xtask demo --once`. Each command installs what it needs into target/, except for rustup's targets and
npm packages (node_modules of hosts/node and examples/js-guest). Nothing needs root. `setup` and `test` need Python 3.9.
Tests without their Node 20, Go 1.26, Chromium, Pushgateway, rotel or componentize-py are skipped with a line; with CI=true that is an error.
";

/// Runs the command. A failure becomes one line and an exit code: 2 for a wrong command line, else
/// 1.
fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Runs the command that the first argument names, with the other arguments.
fn dispatch() -> Result<()> {
    let mut arguments = Arguments::from_env()?;
    let command = arguments.command();
    if arguments.flag("--help") || arguments.flag("-h") {
        print!("{HELP}");
        return Ok(());
    }
    match command.as_deref() {
        Some("setup") => setup::run(arguments),
        Some("guests") => guests::run(arguments),
        Some("backends") => backends::run(arguments),
        Some("node") => node::run(arguments),
        Some("demo") => demo::run(arguments),
        Some(demo::DRIVE) => demo::drive(arguments),
        Some(demo::SERVE) => demo::serve(arguments),
        Some("test") => test::run(arguments),
        Some("ci") => ci::run(arguments),
        Some("gates") => ci::gates(arguments),
        Some("sizes") => sizes::run(arguments),
        Some("facades") => facade::run(arguments),
        Some("adapter") => adapter::run(arguments),
        Some("wit") => test::wit(arguments),
        Some("bench") => bench::run(arguments),
        Some("page") => page::run(arguments),
        Some("wording") => wording::run(arguments),
        Some("help") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(Usage::error(format!("no command `{other}`; `cargo xtask help` lists them"))),
        None => Err(Usage::error("no command given; `cargo xtask help` lists them")),
    }
}
