//! `wasmetry run`: programs as components and as core modules, their exit codes and their metrics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "run/linger.rs"]
mod linger;
#[path = "run/push.rs"]
mod push;
#[path = "run/sampling.rs"]
mod sampling;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use wasmetry_tests::exposition::value;
use wasmetry_tests::{guest, server, target, tool};

/// The input of `batch`; the third order has an invalid id.
const ORDERS: &str = "1,FR,19.90\n2,DE,7.50\nthree,DE,1\n";

/// The exit code and the output of a command.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Splits stdout into the program's own output and the printed metrics.
    fn metrics(&self) -> (&str, &str) {
        let at = self.stdout.find("# HELP").unwrap_or_else(|| panic!("stdout has no metrics: {self:#?}"));
        self.stdout.split_at(at)
    }
}

/// Returns the names of a program's component and core module.
fn forms(program: &str) -> [String; 2] {
    [program.to_owned(), format!("{program}-wasip1")]
}

/// Returns the arguments of `wasmetry` that run a program.
fn command_line(program: &str, flags: &[&str], arguments: &[&str]) -> Vec<String> {
    let wasm = guest(program).into_os_string().into_string().unwrap();
    let words = ["run", &wasm].into_iter().chain(flags.iter().copied()).chain(["--"]).chain(arguments.iter().copied());
    words.map(str::to_owned).collect()
}

/// Runs a program to its end.
fn run(program: &str, flags: &[&str], arguments: &[&str], input: &str) -> Ended {
    let output = tool::run(&server::command(), command_line(program, flags, arguments), input);
    Ended {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Observable metrics are observed at the end of `main` and at an exit, but not at a trap.
#[test]
fn exiting_program_is_observed() {
    for (arguments, observed) in [(&["watch"][..], 1.0), (&["watch", "exit", "4"], 2.0), (&["watch", "trap"], 0.0)] {
        for program in &forms("job") {
            let ended = run(program, &["--print-metrics"], arguments, "");
            let (_, metrics) = ended.metrics();
            let labels = [("component", program.as_str())];
            assert_eq!(value(metrics, "steps_observed_total", &labels), observed, "{program} {arguments:?}");
        }
    }
}

#[test]
fn exit_code_is_the_programs() {
    for (arguments, component, module) in [
        (&[][..], 0, 0),
        (&["exit", "0"], 0, 0),
        (&["fail"], 1, 1),
        // WASI 0.2 has only the failure 1; the exit code of a process is one byte.
        (&["exit", "4"], 1, 4),
        (&["exit", "126"], 1, 126),
        (&["exit", "255"], 1, 255),
        (&["exit", "256"], 1, 255),
        (&["exit", "-1"], 1, 255),
    ] {
        for (program, code) in forms("job").iter().zip([component, module]) {
            let ended = run(program, &["--print-metrics"], arguments, "");
            assert_eq!(ended.code, code, "{program} {arguments:?}: {}", ended.stderr);
            assert_eq!(ended.stderr, "", "{program} {arguments:?}");
            let (printed, metrics) = ended.metrics();
            assert_eq!(printed, "");
            let labels = [("component", program.as_str())];
            assert_eq!(value(metrics, "wasm_run_exit_code", &labels), f64::from(code));
            assert_eq!(value(metrics, "steps_total", &labels), if arguments.is_empty() { 0.0 } else { 1.0 });
            assert_eq!(value(metrics, "wasm_traps_total", &[("reason", "host_error")]), 0.0);
        }
    }
}

/// A program has the variables, directories and arguments of the command line, and nothing else.
#[test]
fn program_has_only_its_capabilities() {
    let directory = tempfile::tempdir_in(target()).unwrap();
    let host = directory.path().to_str().unwrap();
    fs::write(directory.path().join("in.txt"), "from a file\n").unwrap();
    let own = format!("{host}/in.txt");
    for program in forms("job") {
        let flags = ["--env", "A=1", "--env", "B=x=y z", "--dir", host, "--dir", &format!("{host}::/data")];
        let arguments = ["print", "a  b", "print", "--print-metrics", "print", "ü", "echo", "env"];
        let files = ["read", "/data/in.txt", "read", &own, "complain", "not good"];
        let ended = run(&program, &flags, &[&arguments[..], &files].concat(), "from\nstdin\n");
        // The program has none of this process's variables.
        let expected = "a  b\n--print-metrics\nü\nfrom\nstdin\nA=1\nB=x=y z\nfrom a file\nfrom a file\n";
        assert_eq!((ended.code, ended.stdout.as_str()), (0, expected), "{program}");
        // A line on stderr is a log record.
        let record = format!(" stderr {program}: not good\n");
        assert!(ended.stderr.ends_with(&record) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
        let flags = ["--guest-output", "raw"];
        assert_eq!(run(&program, &flags, &["complain", "not good"], "").stderr, "not good\n", "{program}");

        let ended = run(&program, &["--dir", &format!("{host}::/data")], &["read", &own], "");
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (134, ""),
            "{program} has read a file outside of its directory: {}",
            ended.stderr
        );
    }
}

/// `--print-metrics` writes the metrics after the program's own output.
#[test]
fn metrics_follow_the_output() {
    for program in forms("job") {
        let arguments = ["count", "3", "observe", "0.5", "print", "done", "observe", "0.005", "count", "4"];
        let ended = run(&program, &["--print-metrics"], &arguments, "");
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{program}");
        let (printed, metrics) = ended.metrics();
        assert_eq!(printed, "done\n");
        let of = |name, labels: &[(&'static str, &'static str)]| {
            value(metrics, name, &[labels, &[("component", program.as_str())]].concat())
        };
        assert_eq!(of("counted_total", &[]), 7.0);
        assert_eq!(of("steps_total", &[]), 5.0);
        for (le, count) in [("0.01", 1.0), ("1.0", 2.0), ("+Inf", 2.0)] {
            assert_eq!(of("step_duration_seconds_bucket", &[("le", le)]), count, "{program} {le}");
        }
        assert_eq!(of("step_duration_seconds_sum", &[]), 0.505);
        assert_eq!(of("step_duration_seconds_count", &[]), 2.0);
        assert_eq!(of("wasm_instance_starts_total", &[]), 1.0);
        assert_eq!(of("wasm_instances", &[]), 0.0);
    }
}

#[test]
fn batch_example_counts_its_orders() {
    for program in forms("batch") {
        let ended = run(&program, &["--print-metrics"], &[], ORDERS);
        let (printed, metrics) = ended.metrics();
        assert_eq!((ended.code, printed), (0, "DE 7.50\nFR 19.90\n"), "{program}: {}", ended.stderr);
        let of = |name, labels: &[(&'static str, &'static str)]| {
            value(metrics, name, &[labels, &[("component", program.as_str())]].concat())
        };
        assert_eq!(of("records_total", &[("outcome", "accepted")]), 2.0);
        assert_eq!(of("records_total", &[("outcome", "rejected")]), 1.0);
        for (reason, count) in [("fields", 0.0), ("id", 1.0), ("country", 0.0), ("amount", 0.0)] {
            assert_eq!(of("records_rejected_total", &[("reason", reason)]), count, "{program} {reason}");
        }
        assert_eq!(of("revenue_euros_total", &[("country", "DE")]), 7.5);
        assert_eq!(of("revenue_euros_total", &[("country", "FR")]), 19.9);
        assert_eq!(metrics.lines().filter(|line| line.starts_with("revenue_euros_total{")).count(), 2);
        assert_eq!(of("order_euros_sum", &[]), 27.4);
        assert_eq!(of("order_euros_bucket", &[("le", "10.0")]), 1.0);
        assert_eq!(of("last_order_id", &[]), 2.0);
        assert_eq!(of("file_duration_seconds_count", &[]), 1.0);
        let rejected = format!(" WARN {program}: record rejected: its id is no whole number line=3 ");
        assert!(ended.stderr.contains(&rejected), "{}", ended.stderr);
    }
}

/// The example `batch` reads every readable file and reports the others.
#[test]
fn batch_example_reads_files() {
    let directory = tempfile::tempdir_in(target()).unwrap();
    fs::write(directory.path().join("a.csv"), "7,FR,1.25\n").unwrap();
    fs::write(directory.path().join("b.csv"), "5,FR,2.5\n6,fr,1\n").unwrap();
    let given = format!("{}::data", directory.path().display());
    for (program, code) in forms("batch").iter().zip([1, 2]) {
        let paths = ["data/a.csv", "data/none.csv", "data/b.csv"];
        let ended = run(program, &["--dir", &given, "--print-metrics"], &paths, "");
        let (printed, metrics) = ended.metrics();
        assert_eq!((ended.code, printed), (code, "FR 3.75\n"), "{program}: {}", ended.stderr);
        assert_eq!(value(metrics, "revenue_euros_total", &[("country", "FR")]), 3.75);
        assert_eq!(value(metrics, "records_rejected_total", &[("reason", "country")]), 1.0);
        assert_eq!(value(metrics, "last_order_id", &[]), 7.0);
        assert_eq!(value(metrics, "file_duration_seconds_count", &[]), 2.0);
        assert!(ended.stderr.contains("cannot open the file path=data/none.csv"), "{}", ended.stderr);
    }
}

#[test]
fn trap_prints_metrics() {
    for program in forms("job") {
        for (last, reason) in [("trap", "unreachable"), ("exhaust", "out_of_memory")] {
            let flags = ["--print-metrics", "--max-memory", "16MiB"];
            let ended = run(&program, &flags, &["print", "so far", "count", "5", last], "");
            let (printed, metrics) = ended.metrics();
            assert_eq!((ended.code, printed), (134, "so far\n"), "{program} {last}: {}", ended.stderr);
            assert!(ended.stderr.contains(&format!("\ntrap: {program}: {reason}: ")), "{}", ended.stderr);
            assert_eq!(value(metrics, "counted_total", &[]), 5.0);
            assert_eq!(value(metrics, "steps_total", &[]), 3.0);
            assert_eq!(value(metrics, "wasm_traps_total", &[("reason", reason)]), 1.0);
            assert_eq!(value(metrics, "wasm_run_exit_code", &[]), 134.0);
        }
    }
}

/// A timeout ends a program that computes and one that waits for input.
#[test]
fn timeout_ends_program() {
    for program in forms("job") {
        for last in ["spin", "echo"] {
            let flags = ["--print-metrics", "--timeout", "200ms"];
            let mut child = Command::new(server::command())
                .args(command_line(&program, &flags, &["count", "5", last]))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // Waiting for the child would close its stdin.
            let stdin = child.stdin.take();
            let (mut metrics, mut stderr) = (String::new(), String::new());
            child.stdout.take().unwrap().read_to_string(&mut metrics).unwrap();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(124), "{program} {last}: {stderr}");
            drop(stdin);
            assert_eq!(stderr, format!("timeout: {program}: it ran longer than --timeout allows\n"));
            assert_eq!(value(&metrics, "counted_total", &[("component", &program)]), 5.0);
            assert_eq!(value(&metrics, "steps_total", &[]), 2.0);
            assert_eq!(value(&metrics, "wasm_traps_total", &[("reason", "deadline")]), 1.0);
            assert_eq!(value(&metrics, "wasm_run_exit_code", &[]), 124.0);
        }
    }
}

#[test]
fn hang_up_ends_like_terminate() {
    for program in forms("job") {
        for (signal, name, code) in [("HUP", "SIGHUP", 129), ("TERM", "SIGTERM", 143)] {
            let mut child = Command::new(server::command())
                .args(command_line(&program, &["--print-metrics"], &["count", "5", "print", "counted", "echo"]))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // Waiting for the child would close this end.
            let stdin = child.stdin.take();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            let mut printed = String::new();
            stdout.read_line(&mut printed).unwrap();
            assert_eq!(printed, "counted\n");
            let pid = child.id().to_string();
            assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
            let (mut metrics, mut stderr) = (String::new(), String::new());
            stdout.read_to_string(&mut metrics).unwrap();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(code), "{program} {signal}: {stderr}");
            drop(stdin);
            assert_eq!(stderr, format!("killed: {program}: {name}\n"));
            assert_eq!(value(&metrics, "counted_total", &[("component", &program)]), 5.0);
            assert_eq!(value(&metrics, "wasm_run_exit_code", &[]), f64::from(code));
        }
    }
}

#[test]
fn nohup_keeps_a_program_running() {
    let mut child = Command::new("nohup")
        .arg(server::command())
        .args(command_line("job", &[], &["print", "begun", "echo"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut printed = String::new();
    stdout.read_line(&mut printed).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    child.stdin.take().unwrap().write_all(b"still here\n").unwrap();
    stdout.read_to_string(&mut printed).unwrap();
    assert_eq!((child.wait().unwrap().code(), printed.as_str()), (Some(0), "begun\nstill here\n"));
}
