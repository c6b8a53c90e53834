//! `cargo xtask ci`: every check that CI runs, in a fixed order. The first failure ends it.

mod budget;
mod edge;
mod feature;
pub(crate) mod instructions;

use std::{process::Command, time::Instant};

use anyhow::Result;

use budget::Budgets;

use crate::{
    argument::Arguments,
    backends, facade, guests, node, process, setup, sizes,
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
    // Go and cargo share the cores: neither uses all of them all the time.
    let backends = backends::Background::start()?;
    step::loud("format", || process::run(workspace::cargo().args(["fmt", "--all", "--check"])))?;
    step::loud("crate edges", edge::check)?;
    step::loud("features", feature::check)?;
    step::loud("wording", wording::check)?;
    step::loud("backend versions and format", backends::check)?;
    step::loud("dependencies", dependencies)?;
    step::loud("clippy", clippy)?;
    step::loud("clippy for the guests", || clippy_guests(&toolchain))?;
    step::loud("docs", docs)?;
    guests::build_all(&toolchain)?;
    node::build(&toolchain)?;
    check_gates(&toolchain)?;
    step::loud("backends", || backends.wait())?;
    if !no_test {
        node::test()?;
        step::loud("tests", || test::all(&toolchain, &[]))?;
    }
    let tests = if no_test { "all but the tests" } else { "tests included" };
    eprintln!("==> ci: every check passed, {tests}, in {}", Seconds(start.elapsed()));
    Ok(())
}

/// Compares sizes and instructions with their budgets, and checks nothing else.
pub(crate) fn gates(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let toolchain = toolchain::ensure()?;
    guests::build_all(&toolchain)?;
    node::build(&toolchain)?;
    check_gates(&toolchain)
}

/// Runs the gates on sizes and instructions.
fn check_gates(toolchain: &Toolchain) -> Result<()> {
    let budgets = Budgets::read()?;
    step::loud("guest sizes", || budget::check_sizes(&budgets))?;
    budget::check_further(&budgets, &sizes::measure(toolchain)?)?;
    step::loud("instructions", || instructions::check(&budgets))
}

/// Checks the packages of the lock file by deny.toml, if cargo-deny is installed: building it takes
/// minutes.
///
/// Advisories are not checked here. They change daily, and a commit that passes today must pass
/// tomorrow.
fn dependencies() -> Result<()> {
    if process::capture(workspace::cargo().args(["deny", "--version"])).is_err() {
        eprintln!("skipped: cargo-deny is not installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    let mut cargo = workspace::cargo();
    process::run(cargo.args(["deny", "--locked", "--log-level", "warn", "check", "bans", "licenses", "sources"]))
}

/// Lints everything that runs natively, including tests and benches.
fn clippy() -> Result<()> {
    let mut cargo = workspace::cargo();
    select_native(cargo.args(["clippy", "--all-targets"]));
    deny_warnings(&mut cargo)?;
    // `--all-targets` leaves out tests with `test = false`.
    let mut cargo = workspace::cargo();
    select_native(cargo.args(["clippy", "--test", test::BESIDE]));
    deny_warnings(&mut cargo)?;
    let mut cargo = workspace::cargo();
    select_facades(cargo.args(["clippy", "--all-targets"]));
    deny_warnings(&mut cargo)
}

/// Lints the guests and, for their targets, the guest crate.
fn clippy_guests(toolchain: &Toolchain) -> Result<()> {
    if let Toolchain::Debian(_) = toolchain {
        eprintln!("skipped: the default toolchain, which has clippy, lacks the wasm targets");
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

/// Runs clippy with each warning as an error.
fn deny_warnings(cargo: &mut Command) -> Result<()> {
    process::run(cargo.args(["--", "-D", "warnings"]))
}

/// Builds the documentation of every library; a broken link is an error.
fn docs() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    // With `--examples` Cargo unites the same features as for clippy, so nothing is checked twice.
    process::run(select_native(cargo.args(["doc", "--no-deps", "--lib", "--examples"])))?;
    let mut cargo = workspace::cargo();
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    process::run(select_facades(cargo.args(["doc", "--no-deps", "--lib"])))
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

/// Selects the facades, whose features differ from those of the other packages.
pub(crate) fn select_facades(cargo: &mut Command) -> &mut Command {
    cargo.arg("--release");
    for package in guests::FACADES {
        cargo.args(["-p", package]);
    }
    cargo
}

/// The packages that run in Wasm only, and the facades.
fn wasm_packages() -> impl Iterator<Item = &'static str> {
    let others = [node::CORE, sizes::PACKAGE, guests::opt_level::PACKAGE, facade::PACKAGE];
    guests::PACKAGES.iter().chain(guests::FACADES).copied().chain(others)
}
