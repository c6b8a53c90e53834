//! Rotel, an OTLP collector, which receives wasmetry's pushes in tests.

use std::{env::consts::ARCH, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{debian::Apt, process, python, step, workspace};

/// The version that the tests use; PyPI has the program.
const VERSION: &str = "0.0.1a15";

/// Installs the program into `target/tools/rotel`, with the library that it is linked to if the
/// system lacks it.
///
/// Without it one line is printed and its tests are skipped; with `CI=true` that is an error.
pub(crate) fn ensure() -> Result<()> {
    step::optional(find()).map(drop)
}

fn find() -> Result<()> {
    let prefix = workspace::tools().join("rotel");
    if runs(&prefix).is_ok() {
        step::note("rotel", &format!("already in {}, version {VERSION}", workspace::shown(&prefix)));
        return Ok(());
    }
    let doing = format!("installing version {VERSION} into {}", workspace::shown(&prefix));
    step::quiet("rotel", &doing, || {
        // The program is the same for every Python, so any Python may install it.
        let platform = format!("manylinux_2_34_{ARCH}");
        let mut pip = python::pip()?;
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--upgrade",
            "--only-binary=:all:",
        ])
        .args(["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--platform", &platform])
        .arg("--target")
        .arg(&prefix)
        .arg(format!("rotel=={VERSION}"));
        process::capture(&mut pip).context("no `rotel` from PyPI for the tests")?;
        if runs(&prefix).is_err() {
            Apt::open()?.unpack(&["libpython3.11".to_owned(), "libexpat1".to_owned()], &prefix.join("lib"))?;
        }
        runs(&prefix)
    })
    .map_err(|error| {
        let remedy = "use Linux with glibc 2.34 or newer and libpython3.11, as Debian 12 has it";
        process::failed("no rotel, the collector of the tests", &error, remedy)
    })
}

/// Returns `true` if the program starts, with the libraries beside it.
fn runs(prefix: &Path) -> Result<()> {
    let mut command = Command::new(prefix.join("rotel/rotel-agent"));
    // As the tests do. Debian's packages use both.
    let libraries = ["lib/usr/lib", "lib/lib"].map(|folder| prefix.join(folder).join(format!("{ARCH}-linux-gnu")));
    let libraries = std::env::join_paths(libraries)?;
    process::capture(command.arg("--version").env("LD_LIBRARY_PATH", libraries)).map(drop)
}
