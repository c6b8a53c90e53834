//! `cargo xtask facades`: the bytes that the facades for `log` and `tracing` add to a guest and the
//! instructions of a record, beside the usual back ends.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    argument::Arguments,
    ci::instructions::instructions_per_operation,
    guests, process, setup, step,
    toolchain::{self, Toolchain},
    workspace,
};

/// The program that is measured.
pub(crate) const PACKAGE: &str = "facade-cost";

/// A back end: the program's feature, its name, and the kinds of records that it receives.
const BACK_ENDS: &[(&str, &str, &[&str])] = &[
    ("wasmetry-log", "`log`: wasmetry-log", &["log", "off"]),
    ("env-logger", "`log`: env_logger, to stderr", &["log", "off"]),
    ("wasmetry-tracing", "`tracing`: wasmetry-tracing", &["event", "span", "off"]),
    ("tracing-fmt", "`tracing`: tracing-subscriber's fmt, to stderr", &["event", "span", "off"]),
];

/// Prints the table, in Markdown.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let from_debian = arguments.flag("--from-debian");
    arguments.finish()?;
    let toolchain = if from_debian { toolchain::ensure_from_debian()? } else { toolchain::ensure()? };
    let valgrind = setup::ensure_valgrind()?;
    let none = size(&toolchain, None)?;
    println!("| back end | bytes added to a component | instructions |\n|---|---|---|");
    for (feature, name, kinds) in BACK_ENDS {
        let added = size(&toolchain, Some(feature))?.saturating_sub(none);
        let mut costs = Vec::new();
        if let Some(valgrind) = &valgrind {
            let program = native(feature)?;
            for kind in *kinds {
                let cost = instructions_per_operation(valgrind, &program, kind)?;
                costs.push(format!("{kind} {cost:.0}"));
            }
        }
        println!("| {name} | {added} | {} |", costs.join(", "));
    }
    Ok(())
}

/// Builds the program as a component with a back end; returns its size.
fn size(toolchain: &Toolchain, feature: Option<&str>) -> Result<u64> {
    step::loud("build the component", || {
        let mut cargo = toolchain.cargo()?;
        cargo.args(["build", "--quiet", "--profile", "guest", "--target", guests::COMPONENT_TARGET, "-p", PACKAGE]);
        cargo.args(feature.into_iter().flat_map(|feature| ["--features", feature]));
        process::run(&mut cargo)?;
        let program = workspace::target().join(guests::COMPONENT_TARGET).join("guest").join(format!("{PACKAGE}.wasm"));
        Ok(fs::metadata(&program).with_context(|| format!("Cargo made no {}", program.display()))?.len())
    })
}

/// Builds the program for this machine with a back end; returns its path.
fn native(feature: &str) -> Result<PathBuf> {
    step::loud("build the program", || {
        let mut cargo = workspace::cargo();
        process::run(cargo.args(["build", "--quiet", "--release", "-p", PACKAGE, "--features", feature]))?;
        Ok(workspace::target().join("release").join(PACKAGE))
    })
}
