//! The instructions of an operation: the workloads of `benches/src/bin/instructions.rs` under
//! valgrind.
//!
//! Instructions are the same on a busy machine and on an idle one, which wall time is not. Each
//! workload runs twice, without and with some rounds; the difference is the cost of the rounds.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{budget, budget::Budgets};
use crate::{process, setup, setup::Valgrind, workspace};

/// The rounds of a workload in the second run; the first run has none.
const ROUNDS: u32 = 10;

/// Fails and names the workloads if an operation takes more instructions than its budget.
///
/// Without valgrind, nothing is checked; see [`setup::ensure_valgrind`].
pub(super) fn check(budgets: &Budgets) -> Result<()> {
    let Some(valgrind) = setup::ensure_valgrind()? else {
        return Ok(());
    };
    build()?;
    let mut over = Vec::new();
    for (workload, most) in &budgets.instructions {
        let found = per_operation(&valgrind, workload)?;
        eprintln!("{found:>9.1} of {most:>9.1}  {workload}");
        if found > *most {
            over.push(format!("{workload} by {:.1} instructions", found - most));
        }
    }
    budget::refuse(&over, "faster")
}

/// Builds the workloads by themselves: the features that tests enable, `wasmetry/testing` among
/// them, are not measured.
fn build() -> Result<()> {
    let mut cargo = workspace::cargo();
    process::run(cargo.args(["build", "--release", "-p", "wasmetry-benches", "--bin", "instructions"]))
}

/// Returns the instructions of one operation of a workload.
fn per_operation(valgrind: &Valgrind, workload: &str) -> Result<f64> {
    instructions_per_operation(valgrind, &workspace::target().join("release/instructions"), workload)
}

/// Returns the instructions of one operation of a program, whose arguments are the workload and the
/// number of rounds, and which prints the number of its operations.
pub(crate) fn instructions_per_operation(valgrind: &Valgrind, program: &Path, workload: &str) -> Result<f64> {
    let (without, none) = measure(valgrind, program, workload, 0)?;
    let (with, operations) = measure(valgrind, program, workload, ROUNDS)?;
    if none != 0 || operations == 0 || with <= without {
        bail!("`instructions {workload}` did {operations} operations in {ROUNDS} rounds and {none} in none");
    }
    Ok((with - without) as f64 / operations as f64)
}

/// Returns the instructions of a whole run, and the number of operations in its rounds.
fn measure(valgrind: &Valgrind, program: &Path, workload: &str, rounds: u32) -> Result<(u64, u64)> {
    let mut command = valgrind.command();
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(program).arg(workload).arg(rounds.to_string());
    let (operations, said) = process::capture_both(&mut command)?;
    let operations = operations.trim().parse().with_context(|| format!("`{operations}` is no number of operations"))?;
    let collected = collected(&said).with_context(|| format!("callgrind did not print its count: {said}"))?;
    Ok((collected, operations))
}

/// The figure in callgrind's report: `==123== Collected : 8013388`.
fn collected(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_callgrinds_report() {
        let report = "==9== Events    : Ir\n==9== Collected : 8013388\n==9== \n==9== I   refs:      8,013,388\n";
        assert_eq!(collected(report), Some(8_013_388));
        assert_eq!(collected("==9== Killed\n"), None);
    }
}
