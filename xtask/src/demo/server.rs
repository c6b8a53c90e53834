//! `wasmetry serve` as a child process: its start, its readiness, its end.

use std::{
    net::SocketAddr,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::http;
use crate::{demo::GUEST, process, workspace};

/// The timeout until the server is ready: it compiles the component first.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// The timeout of a shutdown: the server finishes its requests and collects for the last time.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// The interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The addresses that a server listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The component's requests.
    pub(crate) service: SocketAddr,
    /// `/metrics`, `/healthz` and `/readyz`.
    pub(crate) telemetry: SocketAddr,
}

/// A server that is killed when this value is dropped, so that a failed demo leaves nothing
/// running.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts the server.
    pub(crate) fn start(address: Address) -> Result<Self> {
        Self::start_with(address, &[])
    }

    /// Starts the server with environment variables.
    pub(crate) fn start_with(address: Address, variables: &[(&str, String)]) -> Result<Self> {
        let child = command(address)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .spawn()
            .with_context(|| format!("{} could not be started", workspace::wasmetry().display()))?;
        Ok(Self { child })
    }

    /// Fails if the server has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait().context("cannot look after the server")? {
            None => Ok(()),
            Some(status) => bail!("the server ended by itself ({status}); what it printed above says why"),
        }
    }

    /// Sends SIGTERM to the server and waits until it has ended.
    ///
    /// # Errors
    ///
    /// Fails if it has ended already, does not end in time, or ends with a failure.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.still_runs()?;
        // The shell's own `kill`: a slim system has no program of that name.
        process::run(Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(self.child.id().to_string()))?;
        let start = Instant::now();
        while start.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.child.try_wait().context("cannot wait for the server")? {
                if !status.success() {
                    bail!("the server ended with {status} when asked to stop, instead of exit code 0");
                }
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        bail!("the server still runs {} s after SIGTERM", STOP_DEADLINE.as_secs());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the command that serves the demo's guest.
pub(crate) fn command(address: Address) -> Command {
    let mut command = Command::new(workspace::wasmetry());
    command.current_dir(workspace::root()).arg("serve").arg(workspace::guests().join(format!("{GUEST}.wasm")));
    command.arg("--addr").arg(address.service.to_string());
    command.arg("--telemetry-addr").arg(address.telemetry.to_string());
    command.args(["--request-timeout", "2s"]);
    // Standard output is for the scrape; the service's logs go to standard error.
    command.stdout(std::io::stderr());
    command
}

/// Waits until `/readyz` answers 200, or until `still_runs` fails.
pub(crate) fn wait_until_ready(address: Address, mut still_runs: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    loop {
        let answer = http::get(address.telemetry, "/readyz");
        // After the request, so that the response came from this server.
        still_runs()?;
        let cause = match answer {
            Ok(response) if response.status == 200 => return Ok(()),
            Ok(response) => format!("it answers {}", response.status),
            Err(error) => format!("{error:#}"),
        };
        if start.elapsed() > READY_DEADLINE {
            bail!("the server is not ready after {} s: {cause}", READY_DEADLINE.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
}
