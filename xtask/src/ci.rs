//! `cargo xtask ci`: every check that CI runs, in one order, stopping at the first that fails.

mod budget;
mod edge;
mod instructions;

use std::{process::Command, time::Instant};

use anyhow::Result;

use budget::Budgets;

use crate::{
    argument::Arguments,
    guests, node, process, setup, sizes,
    step::{self, Seconds},
    test,
    toolchain::{self, Toolchain},
    wording, workspace,
};

/// Runs the checks, the tests last.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let no_test = arguments.flag("--no-test");
    arguments.finish()?;
    let start = Instant::now();
    let toolchain = step::loud("setup", || {
        setup::ensure_components()?;
        let toolchain = toolchain::ensure()?;
        if !no_test {
            setup::ensure_test_tools()?;
        }
        Ok(toolchain)
    })?;
    step::loud("format", || process::run(workspace::cargo().args(["fmt", "--all", "--check"])))?;
    step::loud("crate edges", edge::check)?;
    step::loud("wording", wording::check)?;
    step::loud("dependencies", dependencies)?;
    step::loud("clippy", clippy)?;
    step::loud("clippy for the guests", || clippy_guests(&toolchain))?;
    step::loud("docs", docs)?;
    guests::build_all(&toolchain)?;
    node::build(&toolchain)?;
    check_gates(&toolchain)?;
    if !no_test {
        node::test()?;
        step::loud("tests", || test::all(&toolchain, &[]))?;
    }
    let tests = if no_test { "all but the tests" } else { "tests included" };
    eprintln!("==> ci: every check passed, {tests}, in {}", Seconds(start.elapsed()));
    Ok(())
}

/// Checks sizes and instructions against their budgets, and nothing else.
pub(crate) fn gates(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let toolchain = toolchain::ensure()?;
    guests::build_all(&toolchain)?;
    node::build(&toolchain)?;
    check_gates(&toolchain)
}

/// The gates on what a user would notice as slow or large.
fn check_gates(toolchain: &Toolchain) -> Result<()> {
    let budgets = Budgets::read()?;
    step::loud("guest sizes", || budget::check_sizes(&budgets))?;
    budget::check_further(&budgets, &sizes::measure(toolchain)?)?;
    step::loud("instructions", || instructions::check(&budgets))
}

/// Checks what the lock file brings in against deny.toml, where cargo-deny is installed: to build it takes minutes.
///
/// Advisories are left out, for they depend on the day, and a commit that passed today has to pass tomorrow.
fn dependencies() -> Result<()> {
    if process::capture(workspace::cargo().args(["deny", "--version"])).is_err() {
        eprintln!("skipped: cargo-deny is not installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    let mut cargo = workspace::cargo();
    process::run(cargo.args(["deny", "--locked", "--log-level", "warn", "check", "bans", "licenses", "sources"]))
}

/// Lints everything that runs natively, tests and benches too.
fn clippy() -> Result<()> {
    let mut cargo = workspace::cargo();
    select_native(cargo.args(["clippy", "--all-targets"]));
    deny_warnings(&mut cargo)
}

/// Lints what runs in Wasm: the guests, and the guest crate as they see it.
fn clippy_guests(toolchain: &Toolchain) -> Result<()> {
    if let Toolchain::Debian(_) = toolchain {
        eprintln!("skipped: clippy is the default toolchain's, and that one lacks the wasm targets");
        return Ok(());
    }
    for target in guests::TARGETS {
        let mut cargo = toolchain.cargo()?;
        cargo.args(["clippy", "--profile", "guest", "--target", target, "-p", "wasmetry"]);
        for guest in wasm_packages().filter(|guest| guests::targets_of(guest).contains(target)) {
            cargo.args(["-p", guest]);
        }
        deny_warnings(&mut cargo)?;
    }
    Ok(())
}

/// Runs a clippy for which each warning is an error.
fn deny_warnings(cargo: &mut Command) -> Result<()> {
    process::run(cargo.args(["--", "-D", "warnings"]))
}

/// Builds the documentation of every library; a broken link is an error.
fn docs() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    // With `--examples` Cargo unites the same features as for clippy, so what clippy checked is not checked again.
    process::run(select_native(cargo.args(["doc", "--no-deps", "--lib", "--examples"])))
}

/// Selects every package that runs natively, in the profile that everything is built with.
fn select_native(cargo: &mut Command) -> &mut Command {
    select_packages(cargo.arg("--release"))
}

/// Selects every package that runs natively.
pub(crate) fn select_packages(cargo: &mut Command) -> &mut Command {
    cargo.arg("--workspace");
    for package in wasm_packages() {
        cargo.args(["--exclude", package]);
    }
    cargo
}

/// The packages that run in Wasm only.
fn wasm_packages() -> impl Iterator<Item = &'static str> {
    guests::PACKAGES.iter().copied().chain([node::CORE, sizes::PACKAGE])
}
