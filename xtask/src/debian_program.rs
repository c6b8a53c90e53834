//! Programs of Debian that tests run beside wasmetry: Prometheus' Pushgateway and VictoriaMetrics.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{debian::Apt, process, step, workspace};

/// A program of a Debian package of the same name.
#[derive(Debug)]
pub(crate) struct DebianProgram {
    /// The name of the package and of its program.
    name: &'static str,
    /// The name in messages, and of the folder in `target/tools`.
    folder: &'static str,
    /// The argument with which it prints its version and ends.
    version: &'static str,
    /// The way to have it where there is no such package.
    remedy: &'static str,
}

/// Prometheus' Pushgateway, which receives the pushes of `wasmetry run --push`.
pub(crate) const PUSHGATEWAY: DebianProgram = DebianProgram {
    name: "prometheus-pushgateway",
    folder: "pushgateway",
    version: "--version",
    remedy: "put a Pushgateway (https://prometheus.io/download) as `prometheus-pushgateway` on PATH",
};

/// VictoriaMetrics, which scrapes as Prometheus does.
pub(crate) const VICTORIA_METRICS: DebianProgram = DebianProgram {
    name: "victoria-metrics",
    folder: "victoriametrics",
    version: "-version",
    remedy: "put VictoriaMetrics (https://docs.victoriametrics.com) as `victoria-metrics` on PATH",
};

impl DebianProgram {
    /// Finds it under `target/tools` or on PATH, as the tests do, or unpacks Debian's package.
    ///
    /// Without it one line is printed and its tests are skipped; with `CI=true` that is an error.
    pub(crate) fn ensure(&self) -> Result<()> {
        step::optional(self.find()).map(drop)
    }

    fn find(&self) -> Result<()> {
        let prefix = workspace::tools().join(self.folder);
        let program = prefix.join("usr/bin").join(self.name);
        if let Ok(version) = self.version(&program) {
            step::note(self.folder, &format!("already in {}{version}", workspace::shown(&prefix)));
            return Ok(());
        }
        if let Ok(version) = self.version(Path::new(self.name)) {
            step::note(self.folder, &format!("already on PATH{version}"));
            return Ok(());
        }
        let doing = format!("unpacking Debian's package into {}", workspace::shown(&prefix));
        step::quiet(self.folder, &doing, || {
            Apt::open()?.unpack(&[self.name.to_owned()], &prefix)?;
            self.version(&program)
                .with_context(|| format!("Debian's {} does not start from {}", self.name, prefix.display()))
        })
        .map(drop)
        .map_err(|error| process::failed(&format!("no {} for the tests", self.name), &error, self.remedy))
    }

    /// Returns a program's version, after a comma; nothing if it prints none.
    fn version(&self, program: &Path) -> Result<String> {
        let printed = process::capture(Command::new(program).arg(self.version))?;
        // `pushgateway, version 1.5.1 (branch: ...)`
        let words: Vec<&str> = printed.split_whitespace().skip(1).take(2).collect();
        Ok(if words.is_empty() { String::new() } else { format!(", {}", words.join(" ")) })
    }
}
