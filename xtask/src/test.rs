//! `cargo xtask test` runs the tests; `cargo xtask wit` regenerates the component-type bytes.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    argument::Arguments,
    backends,
    ci::select_facades,
    guests, node, process, setup, step,
    toolchain::{self, Toolchain},
    workspace,
};

/// The suite that waits for most of its time, and runs beside the others. `tests/Cargo.toml` has
/// `test = false` for it.
pub(crate) const BESIDE: &str = "drill";

/// The prefix of the variables that pass the guests' toolchain to `tests/scratch.rs`.
const GUEST_VARIABLE: &str = "WASMETRY_GUEST_";

/// Installs the tests' tools, builds the guests and the command, and runs all tests.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let extra = arguments.passed_on();
    arguments.finish()?;
    let toolchain = toolchain::ensure()?;
    setup::ensure_test_tools()?;
    let backends = backends::Background::start()?;
    guests::build_all(&toolchain)?;
    node::build(&toolchain)?;
    node::test()?;
    step::loud("backends", || backends.wait())?;
    all(&toolchain, &extra)
}

/// Runs the tests of the default members, doc tests included, with `extra` arguments for
/// `cargo test`. Without a selection among these, [`BESIDE`] runs at the same time.
///
/// Nothing is printed after the tests' own reports, so that they come last.
pub(crate) fn all(toolchain: &Toolchain, extra: &[String]) -> Result<()> {
    build_command()?;
    step::loud("test the facades", || process::run(select_facades(workspace::cargo().arg("test"))))?;
    if extra.iter().any(|argument| argument != "--no-fail-fast") {
        eprintln!("==> test");
        return process::run(cargo_test(toolchain)?.args(extra));
    }
    step::loud("build the tests", || {
        process::run(cargo_test(toolchain)?.arg("--no-run"))?;
        process::run(cargo_test(toolchain)?.args(["--no-run", "--test", BESIDE]))
    })?;
    let mut beside = cargo_test(toolchain)?;
    beside.args(["--test", BESIDE]);
    eprintln!("==> test, with the suite {BESIDE} in the background");
    thread::scope(|scope| {
        let beside = scope.spawn(|| beside.stdin(Stdio::null()).output());
        let others = cargo_test(toolchain).and_then(|mut cargo| process::run(cargo.args(extra)));
        let output = beside.join().map_err(|_| anyhow!("the thread of the suite {BESIDE} panicked"))?;
        let output = output.context("cannot start `cargo test`")?;
        std::io::stderr().write_all(&output.stderr)?;
        std::io::stdout().write_all(&output.stdout)?;
        if !output.status.success() {
            bail!("the suite {BESIDE} failed ({}); see its output above", output.status);
        }
        others
    })
}

/// Returns the command that runs tests.
fn cargo_test(toolchain: &Toolchain) -> Result<Command> {
    // The demo and the command use the release profile too: nothing heavy is built twice.
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--release"]);
    // One test builds for Wasm itself, as a user does.
    for (key, value) in toolchain.cargo()?.get_envs() {
        if let (Some(key), Some(value)) = (key.to_str(), value) {
            cargo.env(format!("{GUEST_VARIABLE}{key}"), value);
        }
    }
    Ok(cargo)
}

/// Builds `target/release/wasmetry`, with the features that its dependencies have in the tests: see
/// `ci/feature.rs`.
pub(crate) fn build_command() -> Result<()> {
    step::loud("build wasmetry", || {
        let mut cargo = workspace::cargo();
        process::run(cargo.args(["build", "--release", "-p", "wasmetry-cli"]))
    })
}

/// Rewrites the checked-in component-type bytes from `wit/`.
pub(crate) fn wit(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    step::loud("wit", || {
        let mut cargo = workspace::cargo();
        cargo.env("UPDATE_EXPECT", "1");
        // Without `-p`, for the same features as in `all`.
        process::run(cargo.args(["test", "--release", "--test", "component_type"]))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A suite that the manifest does not list would never run.
    #[test]
    fn every_suite_is_listed() -> Result<()> {
        let folder = workspace::root().join("tests");
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        let mut suites = 0;
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            if name.ends_with(".rs") {
                suites += 1;
                assert!(manifest.contains(&format!("path = \"{name}\"")), "tests/Cargo.toml does not list {name}");
            }
        }
        assert!(suites > 30, "{suites}");
        let beside = format!("path = \"{BESIDE}.rs\"\ntest = false\n");
        assert!(manifest.contains(&beside), "tests/Cargo.toml runs {BESIDE} twice");
        assert_eq!(manifest.matches("test = false").count(), 1, "a suite does not run");
        Ok(())
    }
}
