//! `cargo xtask bench`: the benchmarks, each beside its peers.

use anyhow::Result;

use crate::{argument::Arguments, guests, process, toolchain, workspace};

/// Builds the guests and runs the benchmarks.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let extra = arguments.passed_on();
    arguments.finish()?;
    guests::build_all(&toolchain::ensure()?)?;
    process::run(workspace::cargo().args(["bench", "-p", "wasmetry-benches"]).args(extra))
}
