//! Prometheus' Pushgateway, which receives the pushes of `wasmetry run --push`.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{debian::Apt, process, step, workspace};

/// The program's name in Debian.
const PROGRAM: &str = "prometheus-pushgateway";

/// Finds it under `target/tools` or on PATH, as the tests do, or unpacks Debian's package.
///
/// Without it one line is printed and its tests are skipped; with `CI=true` that is an error.
pub(crate) fn ensure() -> Result<()> {
    step::optional(find()).map(drop)
}

fn find() -> Result<()> {
    let prefix = workspace::tools().join("pushgateway");
    let program = prefix.join("usr/bin").join(PROGRAM);
    if let Ok(version) = version(&program) {
        step::note("pushgateway", &format!("already in {}, {version}", workspace::shown(&prefix)));
        return Ok(());
    }
    if let Ok(version) = version(Path::new(PROGRAM)) {
        step::note("pushgateway", &format!("already on PATH, {version}"));
        return Ok(());
    }
    let doing = format!("unpacking Debian's package into {}", workspace::shown(&prefix));
    step::quiet("pushgateway", &doing, || {
        Apt::open()?.unpack(&[PROGRAM.to_owned()], &prefix)?;
        version(&program).with_context(|| format!("Debian's {PROGRAM} does not start from {}", prefix.display()))
    })
    .map(drop)
    .map_err(|error| {
        let remedy = "put a Pushgateway (https://prometheus.io/download) as `prometheus-pushgateway` on PATH";
        process::failed("no Pushgateway for the tests", &error, remedy)
    })
}

/// Returns a program's version.
fn version(program: &Path) -> Result<String> {
    let printed = process::capture(Command::new(program).arg("--version"))?;
    // `pushgateway, version 1.5.1 (branch: ...)`
    let words: Vec<&str> = printed.split_whitespace().skip(1).take(2).collect();
    Ok(words.join(" "))
}
