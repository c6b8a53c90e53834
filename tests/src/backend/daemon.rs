//! A backend's process, with its log in a file.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

/// The limit of every wait for a backend.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two looks at a condition: backends share the cores with the tests.
const PAUSE: Duration = Duration::from_millis(20);

/// A running program. Dropping it kills it.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program that writes its log to stderr.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let stderr = File::options().create(true).append(true).open(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    /// Returns what it has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `get` returns a value.
    ///
    /// # Panics
    ///
    /// Panics with the log after [`PATIENCE`], or if the program has ended.
    pub fn wait<T>(&mut self, what: &str, get: impl FnMut() -> Option<T>) -> T {
        let value = until(get, || self.child.try_wait().unwrap().is_some());
        value.unwrap_or_else(|| panic!("{what} takes too long, or the program has ended; its log: {}", self.log()))
    }

    /// Waits until a GET request to a URL is answered with 200.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_for(&mut self, url: &str) {
        let agent = agent();
        self.wait(url, || agent.get(url).call().ok().filter(|response| response.status() == 200));
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// Panics if the program has ended.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    ///
    /// Panics with the log after [`PATIENCE`].
    pub fn stop(mut self) {
        self.signal("TERM");
        let child = &mut self.child;
        let ended = until(|| child.try_wait().unwrap(), || false);
        assert!(ended.is_some(), "it does not stop; its log: {}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls `get` until it returns a value. Returns `None` after [`PATIENCE`], or if `has_ended`
/// returns `true`.
pub fn until<T>(mut get: impl FnMut() -> Option<T>, mut has_ended: impl FnMut() -> bool) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let value = get();
        if value.is_some() || has_ended() || Instant::now() > end {
            return value;
        }
        thread::sleep(PAUSE);
    }
}

/// Returns free loopback addresses, for programs that cannot choose them.
///
/// Linux takes the ports of outgoing connections from 32768 on. Lower ones stay free until the
/// program listens.
pub fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let random = RandomState::new();
    let mut ports = (0..1000_u32).map(|attempt| 10_000 + (random.hash_one(attempt) % 20_000) as u16);
    // All are bound at once, so that they differ.
    let listeners = [(); N].map(|()| {
        ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).expect("a port of 1000 is free")
    });
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// Makes a client of the backends' APIs, which returns a response of any status.
pub fn agent() -> Agent {
    let timeout = Some(Duration::from_secs(60));
    Agent::config_builder().http_status_as_error(false).timeout_global(timeout).build().into()
}
