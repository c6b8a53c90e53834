//! `cargo xtask bench`: the benchmarks, each beside its rivals.

use anyhow::Result;

use crate::{argument::Arguments, ci, guests, process, test, toolchain, workspace};

/// The benchmarks of the package `wasmetry-benches`.
const BENCHES: [&str; 6] = ["guest", "log", "merge", "exposition", "request", "adapted"];

/// Builds the guests and runs the benchmarks, or those named by their files.
///
/// Arguments after `--` go to `cargo bench`; those after a second `--` go to the benchmarks.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let extra = arguments.passed_on();
    arguments.finish()?;
    guests::build_all(&toolchain::ensure()?)?;
    // One of them adapts a service.
    test::build_command()?;
    let mut cargo = workspace::cargo();
    // All packages are selected, for the features that everything else is built with; see
    // `test::build_command`.
    ci::select_packages(cargo.arg("bench"));
    if !extra.iter().take_while(|argument| *argument != "--").any(|argument| argument.starts_with("--bench")) {
        for bench in BENCHES {
            cargo.args(["--bench", bench]);
        }
    }
    process::run(cargo.args(extra))
}
