//! `wasmetry run --telemetry-addr --linger`: scrapes before and after a program's end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use wasmetry_tests::exposition::value;
use wasmetry_tests::server::{self, agent, get};

use super::{command_line, forms, run};

/// The limit of every wait, which is shorter than the processes linger.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `wasmetry run` with an endpoint. Dropping it kills it.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    url: String,
}

impl Running {
    fn start(program: &str, flags: &[&str], arguments: &[&str]) -> Self {
        let flags = [&["--telemetry-addr", "127.0.0.1:0"], flags].concat();
        let mut child = Command::new(server::command())
            .args(command_line(program, &flags, arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, stdout) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        let mut running = Self { child, stdin, stdout, url: String::new() };
        let mut line = String::new();
        err.read_line(&mut line).unwrap();
        let url = line.strip_prefix("telemetry ").and_then(|url| url.trim_end().strip_suffix("/metrics"));
        running.url = url.unwrap_or_else(|| panic!("the first line of stderr has no URL: {line}")).to_owned();
        thread::spawn(move || err.read_to_string(&mut String::new()));
        running
    }

    /// Reads stdout up to and including a line that begins with `begin`.
    fn read_to(&self, begin: &str) -> String {
        let mut text = String::new();
        loop {
            let line = self.stdout.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no `{begin}` in: {text}"));
            text += &format!("{line}\n");
            if line.starts_with(begin) {
                return text;
            }
        }
    }

    fn scrape(&self) -> String {
        let (status, text) = get(&agent(), &format!("{}/metrics", self.url));
        assert_eq!(status, 200, "{text}");
        text
    }

    fn wait(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "the process has not ended");
            thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that lingers ends after a scrape of the ended program.
#[test]
fn scrape_ends_lingering_process() {
    for (program, code) in forms("job").iter().zip([1, 4]) {
        let arguments = ["count", "3", "print", "begun", "echo", "count", "4", "exit", "4"];
        let mut running = Running::start(program, &["--linger", "60s", "--print-metrics"], &arguments);
        running.read_to("begun");
        // The program waits for its stdin. These scrapes show what it has recorded, and do not end
        // the process.
        for _ in 0..2 {
            let text = running.scrape();
            assert_eq!(value(&text, "counted_total", &[("component", program)]), 3.0);
            assert_eq!(value(&text, "wasm_instances", &[]), 1.0);
            assert!(!text.contains("wasm_run_exit_code"), "{text}");
        }
        assert_eq!(get(&agent(), &format!("{}/readyz", running.url)).0, 200);
        running.stdin.take().unwrap().write_all(b"the input\n").unwrap();
        // The metrics are printed after the program's end.
        let printed = running.read_to("wasm_run_exit_code{");
        assert!(printed.starts_with("the input\n# HELP"), "{printed}");
        let (status, reason) = get(&agent(), &format!("{}/readyz", running.url));
        assert_eq!((status, reason.as_str()), (503, "not ready: the program has ended\n"));
        assert_eq!(running.child.try_wait().unwrap(), None, "the process has ended before the scrape");

        let last = running.scrape();
        assert_eq!(value(&last, "counted_total", &[("component", program)]), 7.0);
        assert_eq!(value(&last, "steps_total", &[]), 5.0);
        assert_eq!(value(&last, "wasm_instances", &[]), 0.0);
        assert_eq!(value(&last, "wasm_run_exit_code", &[]), f64::from(code));
        assert_eq!(running.wait(), Some(code), "{program}");
    }
}

/// A program is scraped while it computes and after its timeout.
#[test]
fn timed_out_program_is_scraped() {
    for program in forms("job") {
        let flags = ["--linger", "60s", "--print-metrics", "--timeout", "1s"];
        let mut running = Running::start(&program, &flags, &["count", "3", "print", "begun", "spin"]);
        running.read_to("begun");
        let text = running.scrape();
        assert_eq!(value(&text, "counted_total", &[("component", &program)]), 3.0);
        assert_eq!(value(&text, "wasm_instances", &[]), 1.0);
        running.read_to("wasm_run_exit_code{");
        let last = running.scrape();
        assert_eq!(value(&last, "counted_total", &[]), 3.0);
        assert_eq!(value(&last, "wasm_traps_total", &[("reason", "deadline")]), 1.0);
        assert_eq!(running.wait(), Some(124), "{program}");
    }
}

/// Also while it waits in a host call.
#[test]
fn program_killed_by_signal_is_counted() {
    for program in forms("job") {
        for steps in [&["count", "3", "print", "begun", "echo"][..], &["count", "3", "print", "begun", "spin"]] {
            let mut running = Running::start(&program, &["--print-metrics"], steps);
            running.read_to("begun");
            assert!(Command::new("kill").arg(running.child.id().to_string()).status().unwrap().success());
            let printed = running.read_to("wasmetry_");
            let printed = printed + &running.stdout.iter().collect::<Vec<_>>().join("\n");
            assert_eq!(value(&printed, "wasm_traps_total", &[("reason", "killed")]), 1.0, "{printed}");
            assert_eq!(value(&printed, "counted_total", &[]), 3.0);
            assert_eq!(running.wait(), Some(143), "{program}");
        }
    }
}

#[test]
fn trapped_program_is_scraped() {
    for program in forms("job") {
        let mut running = Running::start(&program, &["--linger", "60s", "--print-metrics"], &["count", "3", "trap"]);
        running.read_to("wasm_run_exit_code{");
        let last = running.scrape();
        assert_eq!(value(&last, "counted_total", &[]), 3.0);
        assert_eq!(value(&last, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
        assert_eq!(running.wait(), Some(134), "{program}");
    }
}

#[test]
fn linger_time_ends_process() {
    for (program, code) in forms("job").iter().zip([1, 4]) {
        for flags in [&["--linger", "100ms"][..], &[]] {
            let begin = Instant::now();
            let flags = [&["--telemetry-addr", "127.0.0.1:0"], flags].concat();
            let ended = run(program, &flags, &["print", "done", "exit", "4"], "");
            assert_eq!((ended.code, ended.stdout.as_str()), (code, "done\n"), "{program}: {}", ended.stderr);
            assert!(flags.len() == 2 || begin.elapsed() >= Duration::from_millis(100));
        }
    }
}

// A health check, and a client that resets its connection, do not take the metrics away.
#[test]
fn only_delivered_scrape_ends_process() {
    for program in forms("job") {
        let mut running = Running::start(&program, &["--linger", "60s", "--print-metrics"], &["count", "3"]);
        running.read_to("wasm_run_exit_code{");
        let addr = running.url.trim_start_matches("http://").to_owned();
        for request in ["HEAD /metrics", "GET /healthz", "GET /nope", "POST /metrics"] {
            let mut stream = TcpStream::connect(&addr).unwrap();
            write!(stream, "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        let mut stream = TcpStream::connect(&addr).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        // Closing with an answer that was not read resets the connection.
        stream.peek(&mut [0]).unwrap();
        drop(stream);
        let last = running.scrape();
        assert_eq!(value(&last, "counted_total", &[]), 3.0);
        assert_eq!(running.wait(), Some(0), "{program}");
    }
}
