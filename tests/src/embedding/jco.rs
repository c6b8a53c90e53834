//! jco, which runs components in Node: a WASI host without wasmetry.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::daemon::free_addresses;
use crate::tool::Tool;

/// The limit of every wait for jco.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command component. Returns `None` if jco is not installed.
///
/// # Panics
///
/// Panics if jco cannot be started.
pub fn run(wasm: &Path) -> Option<Output> {
    let jco = Tool::Jco.find()?;
    Some(Command::new(jco).arg("run").arg(wasm).stdin(Stdio::null()).output().unwrap())
}

/// A running `jco serve`. Dropping it kills it.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    written: Vec<String>,
    /// The service's address as a URL, without a slash at its end.
    pub url: String,
}

impl Server {
    /// Serves a component. Returns `None` if jco is not installed.
    ///
    /// # Panics
    ///
    /// Panics with jco's output if it does not start.
    pub fn start(wasm: &Path, arguments: &[&str]) -> Option<Self> {
        let jco = Tool::Jco.find()?;
        // jco does not report a port of its own choice.
        let [addr] = free_addresses();
        let mut child = Command::new(jco)
            .args(["serve", "--host", "127.0.0.1", "--port", &addr.port().to_string()])
            .args(arguments)
            .arg(wasm)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // jco has a child process, which a signal to the group reaches too.
            .process_group(0)
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self { child, lines, written: Vec::new(), url: format!("http://{addr}") };
        server.wait(|written| written.iter().any(|line| line.contains("listening")));
        Some(server)
    }

    /// Waits for `count` JSON lines and returns all lines.
    ///
    /// # Panics
    ///
    /// Panics with all lines if there are fewer JSON lines in time.
    pub fn lines(&mut self, count: usize) -> String {
        self.wait(|written| written.iter().filter(|line| line.starts_with('{')).count() >= count);
        self.written.join("\n")
    }

    /// Waits for a line that contains `text`.
    ///
    /// # Panics
    ///
    /// Panics with all lines if there is none in time.
    pub fn wait_for(&mut self, text: &str) {
        self.wait(|written| written.iter().any(|line| line.contains(text)));
    }

    /// Waits for jco to end and returns its output.
    ///
    /// # Panics
    ///
    /// Panics if it does not end in time.
    pub fn end(mut self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.written.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return self.written.join("\n"),
                Err(error) => panic!("jco has not ended ({error}); its output: {:#?}", self.written),
            }
        }
    }

    fn wait(&mut self, is_enough: impl Fn(&[String]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_enough(&self.written) {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.written.push(line),
                Err(error) => panic!("{error}; jco's output: {:#?}", self.written),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // jco has ended already if a guest trapped.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}
