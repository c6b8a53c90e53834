//! Third-party programs that check wasmetry's output.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A program that `cargo xtask setup` installs.
#[derive(Clone, Copy, Debug)]
pub enum Tool {
    /// The Prometheus server.
    Prometheus,
    /// Prometheus' checker of expositions.
    Promtool,
    /// Python with the package `prometheus-client`.
    Python,
    /// The Prometheus Pushgateway.
    Pushgateway,
    /// VictoriaMetrics, which scrapes as Prometheus does.
    VictoriaMetrics,
    /// Rotel, an OpenTelemetry collector.
    Rotel,
    /// jco, which runs components in Node.
    Jco,
    /// TypeScript's compiler, which is installed with all that judges the console's page.
    TypeScript,
    /// Chromium, which shows the console's page.
    Chromium,
}

impl Tool {
    /// Returns the program's path. Prints a line and returns `None` if the program is not
    /// installed.
    ///
    /// # Panics
    ///
    /// Panics if it is not installed and `CI` is `true`.
    pub fn find(self) -> Option<PathBuf> {
        let tools = crate::target().join("tools");
        let (installed, name) = match self {
            Self::Prometheus => (tools.join("prometheus/usr/bin/prometheus"), "prometheus"),
            Self::Promtool => (tools.join("prometheus/usr/bin/promtool"), "promtool"),
            Self::Python => (tools.join("venv/bin/python"), "python3 with prometheus-client"),
            Self::Pushgateway => (tools.join("pushgateway/usr/bin/prometheus-pushgateway"), "prometheus-pushgateway"),
            Self::VictoriaMetrics => (tools.join("victoriametrics/usr/bin/victoria-metrics"), "victoria-metrics"),
            Self::Rotel => (tools.join("rotel/rotel/rotel-agent"), "rotel-agent"),
            Self::Jco => (crate::root().join("hosts/node/node_modules/.bin/jco"), "jco"),
            Self::TypeScript => {
                (crate::root().join("tests/page/node_modules/typescript/bin/tsc"), "TypeScript of tests/page")
            }
            Self::Chromium => (tools.join("chromium/chromium"), "chromium"),
        };
        let on_path = std::env::var_os("PATH").and_then(|paths| {
            std::env::split_paths(&paths).map(|directory| directory.join(name)).find(|path| path.is_file())
        });
        let found = Some(installed).filter(|path| path.is_file()).or(on_path);
        if found.is_none() {
            let message = format!("{name} is not installed: run `cargo xtask setup`");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
            eprintln!("skipped: {message}");
        }
        found
    }
}

/// Runs a program with `input` as its stdin, and returns its output.
///
/// # Panics
///
/// Panics if it cannot be started.
pub fn run<A: AsRef<OsStr>>(program: &PathBuf, arguments: impl IntoIterator<Item = A>, input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A program may close its stdin before it has read everything.
    let _ = writer.join().unwrap();
    output
}
