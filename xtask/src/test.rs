//! `cargo xtask test` and `cargo xtask wit`: the tests, and what one of them regenerates.

use anyhow::Result;

use crate::{argument::Arguments, guests, node, process, setup, step, toolchain, workspace};

/// Installs what the tests need, builds what they run, and runs them all.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let extra = arguments.passed_on();
    arguments.finish()?;
    let toolchain = toolchain::ensure()?;
    setup::ensure_test_tools()?;
    guests::build_all(&toolchain)?;
    node::build(&toolchain)?;
    node::test()?;
    all(&extra)
}

/// Runs the tests of the default members, doc tests included, with `extra` arguments for `cargo test`.
///
/// Nothing is printed after the tests' own report, so that it is what a reader, or a script, sees last.
pub(crate) fn all(extra: &[String]) -> Result<()> {
    build_command()?;
    eprintln!("==> test");
    // The release profile is the demo's and the command's: nothing heavy is built twice.
    process::run(workspace::cargo().args(["test", "--release"]).args(extra))
}

/// Builds `target/release/wasmetry` with the features that its dependencies have in the tests.
///
/// Cargo unites features over all packages that are selected, and takes in what only tests depend on when a test
/// is selected too. A plain `-p wasmetry-cli` would make other features of a few small crates, and with them
/// Wasmtime and its compiler, a second time. The test named here is the cheapest there is.
pub(crate) fn build_command() -> Result<()> {
    step::loud("build wasmetry", || {
        let mut cargo = workspace::cargo();
        process::run(cargo.args(["build", "--release", "--bin", "wasmetry", "--test", "command_line"]))
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
