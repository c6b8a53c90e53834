//! Programs below `target/tools`, and how tests run them.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The limit of every wait for a program.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two looks at a condition, which other tests use.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns a program that `cargo xtask backends` builds. Prints a line if it was not built.
///
/// # Panics
///
/// Panics if it was not built and `CI` is `true`.
pub(crate) fn built(backend: &str, program: &str) -> Option<PathBuf> {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let path = target.join("tools/backends").join(backend).join(program);
    found(path.is_file().then_some(path), &format!("{program} is not built: run `cargo xtask backends {backend}`"))
}

/// Returns what was found. Prints a line if it is nothing.
///
/// # Panics
///
/// Panics if it is nothing and `CI` is `true`.
pub(crate) fn found<T>(what: Option<T>, message: &str) -> Option<T> {
    if what.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        eprintln!("skipped: {message}");
    }
    what
}

/// Returns everything that a program has printed.
pub(crate) fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Runs a program in a directory, and returns what it prints.
///
/// # Panics
///
/// Panics with that if it fails.
pub(crate) fn passes(program: &Path, directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{} {arguments:?}: {}", program.display(), text(&output));
    text(&output)
}

/// A running program, whose log is a file. Dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program in a directory, in which its log is.
    pub(crate) fn start(program: &Path, directory: &Path, arguments: &[&str]) -> Self {
        let log = directory.join(format!("{}.log", program.file_name().unwrap().to_string_lossy()));
        let stderr = File::create(&log).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        Self { child: command.spawn().unwrap(), log }
    }

    /// Returns its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `get` returns a value.
    ///
    /// # Panics
    ///
    /// Panics with the log after a minute, or if the program has ended.
    pub(crate) fn wait<T>(&mut self, what: &str, mut get: impl FnMut(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = get(&self.log()) {
                return value;
            }
            let has_ended = self.child.try_wait().unwrap();
            assert!(has_ended.is_none() && Instant::now() < end, "no {what}; {has_ended:?}; its log: {}", self.log());
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns free loopback addresses, for programs that cannot choose them.
///
/// Linux takes the ports of outgoing connections from 32768 on. Lower ones stay free until the
/// program listens.
pub(crate) fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let random = RandomState::new();
    let mut ports = (0..1000_u32).map(|attempt| 10_000 + (random.hash_one(attempt) % 20_000) as u16);
    // All are bound at once, so that they differ.
    let listeners = [(); N].map(|()| {
        ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).expect("a port of 1000 is free")
    });
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// Sends an HTTP request, and returns the status and body of the response if there is one.
pub(crate) fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let status = response.split(' ').nth(1)?.parse().ok()?;
    Some((status, response.split_once("\r\n\r\n")?.1.to_owned()))
}
