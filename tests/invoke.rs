//! `wasmetry run --invoke`: the metrics of a core module's function.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::process::{Command, Output, Stdio};

use wasmetry_tests::exposition::value;
use wasmetry_tests::server;

/// Calls a function of the recorder, and prints its metrics.
fn invoke(function: &str, argument: &str) -> Output {
    let mut command = Command::new(server::command());
    command.arg("run").arg(wasmetry_tests::guest("recorder-module"));
    command.args(["--print-metrics", "--invoke", function, "--", argument]);
    command.stdin(Stdio::null()).output().unwrap()
}

/// The observers of a core module run after its function has returned.
#[test]
fn observed_values_follow_the_call() {
    let output = invoke("move-stock", "5");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value(&text, "stock_items", &[("component", "recorder-module")]), 5.0);
    assert_eq!(value(&text, "stock_moves_total", &[("came", "true")]), 1.0);
}

#[test]
fn trap_in_observer_is_reported() {
    let output = invoke("trap-when-observed", "2");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(134), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value(&text, "counted_total", &[("component", "recorder-module")]), 2.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
}
