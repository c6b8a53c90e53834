//! Chromium and the npm packages that judge the console's page.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{argument::Arguments, debian::Apt, node, process, step, workspace};

/// Debian's packages: the browser, and fonts, so that screenshots look alike on every machine.
const PACKAGES: [&str; 3] = ["chromium", "fonts-inter", "fonts-dejavu-core"];

/// The way to have it where there is no such package.
const REMEDY: &str = "install it (`apt-get install chromium`, or your system's package) as `chromium` on PATH";

/// Installs the tools; with `--vendor`, copies the libraries of the page from npm, and records
/// their versions, licences and hashes.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let vendor = arguments.flag("--vendor");
    arguments.finish()?;
    ensure()?;
    if vendor {
        process::run(Command::new("node").arg(folder().join("vendor.mjs")))?;
    }
    Ok(())
}

/// Installs the npm packages of `tests/page`, and finds or unpacks Chromium.
///
/// Without it one line is printed and its tests are skipped; with `CI=true` that is an error.
pub(crate) fn ensure() -> Result<()> {
    if node::install(&folder())? {
        step::optional(find())?;
    }
    Ok(())
}

/// Returns the folder of the npm package that tests the page.
fn folder() -> std::path::PathBuf {
    workspace::root().join("tests/page")
}

/// Finds Chromium under `target/tools` or on PATH, as the test does, or unpacks Debian's package.
fn find() -> Result<()> {
    let prefix = workspace::tools().join("chromium");
    let program = prefix.join("chromium");
    if let Ok(version) = version(&program) {
        step::note("chromium", &format!("already in {}, {version}", workspace::shown(&prefix)));
        return Ok(());
    }
    if let Ok(version) = version(Path::new("chromium")) {
        step::note("chromium", &format!("already on PATH, {version}"));
        return Ok(());
    }
    let doing = format!("unpacking Debian's package into {}", workspace::shown(&prefix));
    step::quiet("chromium", &doing, || unpack(&prefix))
        .map_err(|error| process::failed("no Chromium for the tests of the page", &error, REMEDY))
}

/// Unpacks the browser with what the system lacks of its libraries, and writes a script that starts
/// it.
fn unpack(prefix: &Path) -> Result<()> {
    let apt = Apt::open()?;
    let mut packages = apt.missing(&PACKAGES)?;
    // One that the system has is not missing, and its files are not below the prefix.
    for package in PACKAGES {
        if !packages.iter().any(|missing| missing == package) {
            packages.push(package.to_owned());
        }
    }
    apt.unpack(&packages, prefix)?;
    let write = |name: &str, text: String| {
        let path = prefix.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    write("fonts.conf", FONTS.to_owned())?;
    let program = write("chromium", script())?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", program.display()))?;
    version(&program).with_context(|| format!("Debian's chromium does not start from {}", prefix.display())).map(drop)
}

/// Returns a script that starts the browser with the libraries and fonts beside it.
fn script() -> String {
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    format!(
        r#"#!/bin/sh
# Written by `cargo xtask page`.
prefix=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$prefix/{libraries}:$prefix/{libraries}/pulseaudio${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export FONTCONFIG_FILE="$prefix/fonts.conf" XDG_CACHE_HOME="$prefix/cache"
exec "$prefix/usr/lib/chromium/chromium" "$@"
"#
    )
}

/// The configuration of fonts: those of the system, and those beside it.
const FONTS: &str = r#"<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir prefix="relative">usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"#;

/// Returns a browser's version, such as `Chromium 150.0.7871.100`.
fn version(program: &Path) -> Result<String> {
    let printed = process::capture(Command::new(program).arg("--version"))?;
    Ok(printed.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}
