//! `cargo xtask demo`: the storefront example under `wasmetry serve`, with traffic whose counts are
//! known, and then traffic that goes on.

mod exposition;
mod flow;
mod http;
mod server;
mod stack;
mod traffic;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::{CommandExt as _, parent_id},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    argument::{Arguments, Usage},
    guests, step, test, toolchain, workspace,
};
use server::{Address, Server};

/// The hidden command by which a serving demo starts the process that sends the traffic.
pub(crate) const DRIVE: &str = "demo-drive";

/// The hidden command of a serving demo that builds nothing, which a test runs.
pub(crate) const SERVE: &str = "demo-serve";

/// The package that is served.
const GUEST: &str = "storefront";

/// Builds everything, serves, sends the traffic and prints the scrape; then stops, or keeps
/// serving.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let (once, with_stack) = (arguments.flag("--once"), arguments.flag("--stack"));
    let service = address(&mut arguments, "--addr")?;
    let telemetry = address(&mut arguments, "--telemetry-addr")?;
    arguments.finish()?;

    let address = if once {
        let [free_service, free_telemetry] = free_addresses()?;
        Address { service: service.unwrap_or(free_service), telemetry: telemetry.unwrap_or(free_telemetry) }
    } else {
        Address {
            service: service.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            telemetry: telemetry.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9464))),
        }
    };
    require_both_free(address)?;
    // First of all: a build has many lines.
    print_page(address);

    let toolchain = toolchain::ensure()?;
    guests::build(&toolchain, &[GUEST])?;
    test::build_command()?;

    require_both_free(address)?;
    if with_stack {
        return stack::run(address, once);
    }
    if once { serve_once(address) } else { serve_on(address) }
}

/// Serves, verifies the counts, and stops.
fn serve_once(address: Address) -> Result<()> {
    let mut server = Server::start(address)?;
    server::wait_until_ready(address, || server.still_runs())?;
    step::loud("demo traffic", || traffic::print(&traffic::drive(address)?))?;
    traffic::require_failures(address)?;
    server.stop()?;
    step::note("demo", "every count and failed trace agrees with the traffic sent, and the server stopped cleanly");
    Ok(())
}

/// Serves as a demo does that builds everything.
pub(crate) fn serve(mut arguments: Arguments) -> Result<()> {
    let address = required_addresses(&mut arguments, SERVE)?;
    arguments.finish()?;
    require_both_free(address)?;
    print_page(address);
    serve_on(address)
}

/// Replaces this process by the server, which then receives Ctrl-C and sets the exit code. A child
/// process sends the traffic.
fn serve_on(address: Address) -> Result<()> {
    let this = std::env::current_exe().context("cannot find xtask's own program")?;
    let mut driver = Command::new(this);
    driver.arg(DRIVE).arg("--addr").arg(address.service.to_string());
    driver.arg("--telemetry-addr").arg(address.telemetry.to_string()).stdin(Stdio::null());
    driver.spawn().context("cannot start the demo's traffic")?;
    let error = server::command(address).exec();
    Err(anyhow!("{} could not be started: {error}", workspace::wasmetry().display()))
}

/// Sends the traffic to the server, which is this process's parent, prints what to try next, and
/// keeps sending as long as the server runs.
pub(crate) fn drive(mut arguments: Arguments) -> Result<()> {
    let address = required_addresses(&mut arguments, DRIVE)?;
    arguments.finish()?;
    let server = parent_id();
    server::wait_until_ready(address, || {
        // An orphan has a new parent.
        if parent_id() == server { Ok(()) } else { bail!("the server ended before it was ready") }
    })?;
    eprintln!("\nopen http://{}/ in a browser: the service, live\n", address.telemetry);
    let result = traffic::drive(address).and_then(|scrape| traffic::print(&scrape));
    eprint!("{}", where_to_look(address));
    result?;
    // The page stays alive until Ctrl-C ends the server.
    flow::send(address, || parent_id() != server);
    Ok(())
}

/// The commands to try while the demo serves.
fn where_to_look(Address { service, telemetry }: Address) -> String {
    format!(
        "
The storefront keeps serving, and traffic with some failures goes on. Ctrl-C stops both.

  page      http://{telemetry}/         rates, latency, logs, traces and traps, live
  service   http://{service}/         routes: /  /cart  /checkout  /slow?ms=20  /boom  /spin
  metrics   http://{telemetry}/metrics

  curl http://{service}/cart
  curl -i http://{service}/boom       # traps: 500, and still counted
  curl -i http://{service}/spin       # never ends: killed after two seconds, and still counted
  curl -s http://{telemetry}/metrics | grep http_requests_total
  target/release/wasmetry top http://{telemetry}
  target/release/wasmetry explain http://{telemetry}
  target/release/wasmetry inspect target/guests/{GUEST}.wasm

For Prometheus, in prometheus.yml:

  scrape_configs:
    - job_name: {GUEST}
      scrape_interval: 5s
      static_configs:
        - targets: [\"{telemetry}\"]
"
    )
}

/// Prints the address of the page.
fn print_page(Address { telemetry, .. }: Address) {
    eprintln!("page: http://{telemetry}/ (it answers once the storefront serves)");
}

/// Removes the options with both addresses, which a hidden command needs.
fn required_addresses(arguments: &mut Arguments, command: &str) -> Result<Address> {
    let mut required =
        |name: &str| address(arguments, name)?.ok_or_else(|| Usage::error(format!("`{command}` needs `{name}`")));
    Ok(Address { service: required("--addr")?, telemetry: required("--telemetry-addr")? })
}

/// Removes the option `name` and returns its address.
fn address(arguments: &mut Arguments, name: &str) -> Result<Option<SocketAddr>> {
    let Some(text) = arguments.option(name)? else {
        return Ok(None);
    };
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(Usage::error(format!("`{name}` is `{text}`; write an IP address and a port: 127.0.0.1:8080"))),
    }
}

/// Finds free loopback addresses.
///
/// Linux takes the ports of outgoing connections from 32768 on. Lower ones stay free until the
/// server listens.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let random = RandomState::new();
    let mut listeners = Vec::with_capacity(N);
    // All are bound at once, so that they differ.
    for attempt in 0..1000 {
        if listeners.len() == N {
            break;
        }
        let port = 10_000 + (random.hash_one(attempt) % 20_000) as u16;
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    addresses.try_into().map_err(|_| anyhow!("no free loopback port"))
}

/// Fails if no server can listen on an address. The traffic could reach another one there.
fn require_both_free(address: Address) -> Result<()> {
    require_free(address.service, "--addr")?;
    require_free(address.telemetry, "--telemetry-addr")
}

/// Fails if no server can listen on `address`.
fn require_free(address: SocketAddr, option: &str) -> Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        format!("cannot listen on {address}; stop what listens there, or choose another with `{option}`")
    })
}
