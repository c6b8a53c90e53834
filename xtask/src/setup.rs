//! `cargo xtask setup`: installs the tools that the other commands need.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    argument::Arguments,
    backends,
    debian::Apt,
    debian_program::{PUSHGATEWAY, VICTORIA_METRICS},
    language, node, page, process, python, rotel, step, toolchain, workspace,
};

/// Installs everything.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let from_debian = arguments.flag("--from-debian");
    arguments.finish()?;
    if from_debian {
        toolchain::ensure_from_debian()?;
    } else {
        toolchain::ensure()?;
    }
    ensure_test_tools()?;
    backends::ensure()?;
    ensure_valgrind().map(drop)
}

/// Installs the tools that only the tests need: `prometheus`, `promtool`, a Python with
/// `prometheus-client` and `kubernetes-validate`, a Pushgateway, VictoriaMetrics, rotel, jco,
/// Grafana's parser and types, models of Kubernetes' objects, and the builders of guests in
/// JavaScript and Python, and Chromium. The backends are built apart, by [`backends`].
pub(crate) fn ensure_test_tools() -> Result<()> {
    ensure_prometheus()?;
    python::ensure()?;
    PUSHGATEWAY.ensure()?;
    VICTORIA_METRICS.ensure()?;
    rotel::ensure()?;
    language::ensure()?;
    node::install(&workspace::root().join("tests/grafana"))?;
    node::ensure_kubernetes_models()?;
    page::ensure()?;
    node::ensure_packages().map(drop)
}

/// Installs the parts of the Rust toolchain that only CI needs.
pub(crate) fn ensure_components() -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if process::capture(workspace::cargo().args([subcommand, "--version"])).is_ok() {
            continue;
        }
        step::quiet(component, "installing with rustup", || {
            process::capture(Command::new("rustup").args(["component", "add", component]))
        })
        .map_err(|error| {
            let missing = format!("`cargo {subcommand}` is missing");
            process::failed(&missing, &error, "install it with your Rust toolchain")
        })?;
    }
    Ok(())
}

/// The place of callgrind's program, which counts instructions.
#[derive(Debug)]
pub(crate) enum Valgrind {
    /// On PATH.
    Installed,
    /// Debian's package, unpacked into this prefix.
    Unpacked(PathBuf),
}

impl Valgrind {
    /// Returns a command for `valgrind`.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Installed => Command::new("valgrind"),
            Self::Unpacked(prefix) => {
                // `valgrind` itself is a script that adds the system's folders.
                let mut command = Command::new(prefix.join("usr/bin/valgrind.bin"));
                command.env("VALGRIND_LIB", prefix.join("usr/libexec/valgrind"));
                command
            }
        }
    }

    /// Returns its version, if it can count instructions.
    fn version(&self) -> Option<String> {
        let callgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "true"];
        process::capture(self.command().args(callgrind)).ok()?;
        Some(process::capture(self.command().arg("--version")).ok()?.trim().to_owned())
    }
}

/// Finds or installs valgrind, which only the gates need.
///
/// Without it one line is printed and the result is `None`; with `CI=true` that is an error.
pub(crate) fn ensure_valgrind() -> Result<Option<Valgrind>> {
    match find_valgrind() {
        Ok(valgrind) => Ok(Some(valgrind)),
        Err(error) if std::env::var_os("CI").is_some_and(|value| value == "true") => Err(error),
        Err(error) => {
            let lines = format!("{error:#}");
            let line: Vec<&str> = lines.lines().map(str::trim).collect();
            step::note("skipped", &line.join(" "));
            Ok(None)
        }
    }
}

/// Finds valgrind on PATH or under `target/tools`, or unpacks Debian's package.
fn find_valgrind() -> Result<Valgrind> {
    if let Some(version) = Valgrind::Installed.version() {
        step::note("valgrind", &format!("already on PATH, {version}"));
        return Ok(Valgrind::Installed);
    }
    let prefix = workspace::tools().join("valgrind");
    let valgrind = Valgrind::Unpacked(prefix.clone());
    if let Some(version) = valgrind.version() {
        step::note("valgrind", &format!("already in {}, {version}", workspace::shown(&prefix)));
        return Ok(valgrind);
    }
    let unpacked =
        step::quiet("valgrind", &format!("unpacking Debian's package into {}", workspace::shown(&prefix)), || {
            Apt::open()?.unpack(&["valgrind".to_owned()], &prefix)?;
            valgrind.version().with_context(|| format!("Debian's valgrind does not run from {}", prefix.display()))
        });
    match unpacked {
        Ok(_) => Ok(valgrind),
        Err(error) => {
            Err(process::failed("no valgrind to count instructions", &error, "install it: `apt-get install valgrind`"))
        }
    }
}

/// Finds Prometheus under `target/tools` or on PATH, as the tests do, or unpacks Debian's package.
fn ensure_prometheus() -> Result<()> {
    let prefix = workspace::tools().join("prometheus");
    if let Some(version) = prometheus_version(Some(prefix.join("usr/bin"))) {
        step::note("prometheus", &format!("already in {}, {version}", workspace::shown(&prefix)));
        return Ok(());
    }
    if let Some(version) = prometheus_version(None) {
        step::note("prometheus", &format!("already on PATH, {version}"));
        return Ok(());
    }
    step::quiet("prometheus", &format!("unpacking Debian's package into {}", workspace::shown(&prefix)), || {
        Apt::open()?.unpack(&["prometheus".to_owned()], &prefix)
    })
    .map_err(|error| {
        let remedy = "put `prometheus` and `promtool` 2.42 or newer (https://prometheus.io/download) on PATH";
        process::failed("no Prometheus for the tests", &error, remedy)
    })?;
    prometheus_version(Some(prefix.join("usr/bin")))
        .with_context(|| format!("Debian's prometheus does not start from {}", prefix.display()))?;
    Ok(())
}

/// Returns the version of both programs, in `directory` or, without one, on PATH.
fn prometheus_version(directory: Option<PathBuf>) -> Option<String> {
    let program = |name: &str| match &directory {
        Some(directory) => Command::new(directory.join(name)),
        None => Command::new(name),
    };
    process::capture(program("promtool").arg("--version")).ok()?;
    let printed = process::capture(program("prometheus").arg("--version")).ok()?;
    // `prometheus, version 2.42.0 (branch: ...)`
    let words: Vec<&str> = printed.split_whitespace().take(3).collect();
    Some(words.get(1..)?.join(" "))
}
