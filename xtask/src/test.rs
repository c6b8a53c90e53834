//! `cargo xtask test` and `cargo xtask wit`: the tests, and what one of them regenerates.

use anyhow::Result;

use crate::{
    argument::Arguments,
    guests, node, process, setup, step,
    toolchain::{self, Toolchain},
    workspace,
};

/// What the tests find the variables of the guests' toolchain by: `tests/scratch.rs`.
const GUEST_VARIABLE: &str = "WASMETRY_GUEST_";

/// Installs what the tests need, builds what they run, and runs them all.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let extra = arguments.passed_on();
    arguments.finish()?;
    let toolchain = toolchain::ensure()?;
    setup::ensure_test_tools()?;
    guests::build_all(&toolchain)?;
    node::build(&toolchain)?;
    node::test()?;
    all(&toolchain, &extra)
}

/// Runs the tests of the default members, doc tests included, with `extra` arguments for `cargo test`.
///
/// Nothing is printed after the tests' own report, so that it is what a reader, or a script, sees last.
pub(crate) fn all(toolchain: &Toolchain, extra: &[String]) -> Result<()> {
    build_command()?;
    eprintln!("==> test");
    // The release profile is the demo's and the command's: nothing heavy is built twice.
    let mut cargo = workspace::cargo();
    // One test builds for Wasm itself, as a user does.
    for (key, value) in toolchain.cargo()?.get_envs() {
        if let (Some(key), Some(value)) = (key.to_str(), value) {
            cargo.env(format!("{GUEST_VARIABLE}{key}"), value);
        }
    }
    process::run(cargo.args(["test", "--release"]).args(extra))
}

/// Builds `target/release/wasmetry`, with the features that its dependencies have in the tests: see `ci/feature.rs`.
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
