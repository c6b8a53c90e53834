//! jco, which runs components in Node: a host of WASI that knows nothing of wasmetry.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::tool::Tool;

/// How long jco may take for something.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command component; nothing where jco is not installed.
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
    said: Vec<String>,
    /// The service's address as a URL, without a slash at its end.
    pub url: String,
}

impl Server {
    /// Serves a component; nothing where jco is not installed.
    ///
    /// # Panics
    ///
    /// Panics, with what jco said, if it does not start.
    pub fn start(wasm: &Path, arguments: &[&str]) -> Option<Self> {
        let jco = Tool::Jco.find()?;
        // jco does not say which port it took of its own choice.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(jco)
            .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(arguments)
            .arg(wasm)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // It has a child of its own, which a signal to the group reaches too.
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
        let mut server = Self { child, lines, said: Vec::new(), url: format!("http://127.0.0.1:{port}") };
        server.wait(|said| said.iter().any(|line| line.contains("listening")));
        Some(server)
    }

    /// Waits until as many JSON lines have been written, and returns what was.
    ///
    /// # Panics
    ///
    /// Panics, with what was written, if they are not.
    pub fn lines(&mut self, count: usize) -> String {
        self.wait(|said| said.iter().filter(|line| line.starts_with('{')).count() >= count);
        self.said.join("\n")
    }

    /// Waits until it has said this.
    ///
    /// # Panics
    ///
    /// Panics, with what was written, if it does not.
    pub fn wait_for(&mut self, text: &str) {
        self.wait(|said| said.iter().any(|line| line.contains(text)));
    }

    /// Waits until it has ended by itself, and returns what it wrote.
    ///
    /// # Panics
    ///
    /// Panics if it does not end.
    pub fn end(mut self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return self.said.join("\n"),
                Err(error) => panic!("jco goes on ({error}); it said: {:#?}", self.said),
            }
        }
    }

    fn wait(&mut self, is_enough: impl Fn(&[String]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_enough(&self.said) {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(error) => panic!("{error}; jco said: {:#?}", self.said),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where a guest trapped.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}
