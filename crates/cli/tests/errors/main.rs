//! Errors of the command: one line that names the thing, the cause and the remedy, an exit code,
//! and no backtrace.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapt;
mod component;
mod file;
mod flag;
mod inspect;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The time after which a command that serves instead of failing is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary directory with the inputs.
pub(crate) struct Inputs(tempfile::TempDir);

impl Inputs {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn wat(&self, name: &str, text: &str) -> PathBuf {
        self.write(name, wat::parse_str(text).unwrap())
    }
}

pub(crate) fn wasmetry(args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wasmetry"))
        .args(args)
        // Errors have no backtrace even if the environment requests them.
        .env("RUST_BACKTRACE", "full")
        .env("RUST_LIB_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = read(child.stdout.take().unwrap());
    let stderr = read(child.stderr.take().unwrap());
    let first = stderr.recv_timeout(PATIENCE);
    if first.is_err() {
        child.kill().unwrap();
    }
    let stderr = first.unwrap_or_else(|_| stderr.recv().unwrap());
    Output { status: child.wait().unwrap(), stdout: stdout.recv().unwrap(), stderr }
}

/// Reads a pipe to its end on a thread of its own.
fn read(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        sender.send(bytes).unwrap();
    });
    receiver
}

/// Runs the command and checks its error, which is a single line.
#[track_caller]
pub(crate) fn error(args: &[&str], parts: &[&str]) {
    let output = wasmetry(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{args:?}: `{part}` is missing in: {stderr}");
    }
    assert!(output.stdout.is_empty(), "{args:?}");
}

/// Runs the command and checks clap's usage error.
#[track_caller]
pub(crate) fn usage(args: &[&str], parts: &[&str]) {
    let output = wasmetry(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    for part in parts.iter().chain(&["--help"]) {
        assert!(stderr.contains(part), "{args:?}: `{part}` is missing in: {stderr}");
    }
}

const FREE: [&str; 4] = ["--addr", "127.0.0.1:0", "--telemetry-addr", "127.0.0.1:0"];

/// Returns the arguments of `serve` on free ports.
pub(crate) fn serve(path: &str) -> Vec<&str> {
    [&["serve", path], &FREE[..]].concat()
}

/// A component that exports a handler, with an import.
pub(crate) fn handler_with(import: &str) -> String {
    // The handler's type is wrong, but imports are checked first.
    format!(
        "(component
            {import}
            (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (instance $handler (export \"handle\" (func $f)))
            (export \"wasi:http/incoming-handler@0.2.0\" (instance $handler)))"
    )
}
