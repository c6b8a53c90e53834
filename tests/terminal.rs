//! `wasmetry top`, `tail` and `explain` with the real `serve`, in a pseudo-terminal and in pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::guest;
use wasmetry_tests::screen::Screen;
use wasmetry_tests::server::{Server, agent, command, get};

/// The limit of a wait for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command to its end.
fn run(arguments: &[&str]) -> Output {
    Command::new(command()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Returns the only line of stderr of a command that fails.
fn error(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

/// Sends a request.
fn send(server: &Server, path: &str) -> u16 {
    get(&agent(), &format!("{}{path}", server.url)).0
}

#[test]
fn top_follows_components_and_drills() {
    let server = Server::start(&guest("storefront"), &[]);
    let top = command();
    let mut screen = Screen::start(&[top.to_str().unwrap(), "top", &server.telemetry]);
    for _ in 0..20 {
        assert_eq!(send(&server, "/checkout?item=apple"), 200);
    }
    assert_eq!(send(&server, "/checkout?item=unicorn"), 503);
    let row = |rows: &[String], name: &str| rows.iter().find(|row| row.starts_with(name)).cloned().unwrap_or_default();
    // A rate needs two snapshots.
    let rows = screen.wait("the rate of failures", |rows| {
        row(rows, "storefront").contains('%') && !row(rows, "storefront").contains(" 0%")
    });
    assert!(rows[0].starts_with(&format!("wasmetry top {}  5m  sort: problems", server.telemetry)), "{rows:#?}");
    let titles = ["req/s", "errors", "p99", "busy", "memory", "traps"];
    assert!(titles.iter().all(|title| rows[1].contains(title)), "{rows:#?}");
    assert!(rows[23].starts_with("q quit  Enter logs"), "{rows:#?}");
    assert_eq!(send(&server, "/boom"), 500);
    screen.wait("the trap", |rows| row(rows, "storefront").ends_with(" 1"));

    screen.press("s");
    screen.wait("the next order", |rows| rows[0].contains("sort: rate"));
    screen.press("/nowhere\n");
    screen.wait("an empty filter", |rows| rows[2].is_empty() && rows.iter().any(|row| row.starts_with("No row has")));
    screen.press("\u{1b}");
    screen.wait("all rows", |rows| rows[2].starts_with("storefront"));

    screen.press("\n");
    let rows = screen.wait("logs", |rows| rows.iter().any(|row| row.contains("out of stock")));
    assert!(rows[0].contains("logs of storefront"), "{rows:#?}");
    screen.press("/fuse\n");
    screen.wait("the filter", |rows| rows[23].ends_with("[fuse]"));
    screen.press("\u{1b}");
    screen.wait("the overview", |rows| rows[2].starts_with("storefront"));

    screen.press("?");
    screen.wait("help", |rows| rows.iter().any(|row| row.contains("why its requests fail or are slow")));
    screen.press("\u{1b}");
    for (height, width) in [(40, 132), (10, 44), (24, 80)] {
        screen.resize(height, width);
        screen.wait("its last row at the new size", |rows| {
            rows.len() == usize::from(height)
                && rows[usize::from(height) - 1].starts_with("q quit")
                && rows[1].starts_with("component")
                && row(rows, "storefront").len() <= usize::from(width)
        });
    }
    screen.press("q");
    let (status, rows) = screen.end();
    assert!(status.success(), "{status} {rows:#?}");
}

/// A host that goes away is reported in the first line, and shown again when it is back.
#[test]
fn top_survives_the_host() {
    let address = free_address();
    let server = Server::start(&guest("storefront"), &["--telemetry-addr", &address]);
    send(&server, "/cart");
    let top = command();
    let mut screen = Screen::start(&[top.to_str().unwrap(), "top", &address]);
    screen.wait("the component", |rows| rows[2].starts_with("storefront"));
    let (_, stderr) = server.stop();
    screen.wait("the lost connection", |rows| rows[0].contains("cannot connect"));
    let server = Server::start(&guest("storefront"), &["--telemetry-addr", &address]);
    screen.wait("the host again", |rows| !rows[0].contains("cannot connect") && rows[2].starts_with("storefront"));
    screen.press("q");
    assert!(screen.end().0.success(), "{stderr:?}");
    drop(server);
}

/// A command whose lines are read while it runs. Dropping it kills it.
struct Follower {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Follower {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(command())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let collect = |stream: Box<dyn std::io::Read + Send>| {
            let lines = Arc::<Mutex<Vec<String>>>::default();
            let collected = Arc::clone(&lines);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    collected.lock().unwrap().push(line);
                }
            });
            lines
        };
        let lines = collect(Box::new(child.stdout.take().unwrap()));
        let notes = collect(Box::new(child.stderr.take().unwrap()));
        Self { child, lines, notes }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for lines and notes, and returns both.
    fn wait(&self, what: &str, done: impl Fn(&[String], &[String]) -> bool) -> (Vec<String>, Vec<String>) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (lines, notes) = (self.lines(), self.notes.lock().unwrap().clone());
            if done(&lines, &notes) {
                return (lines, notes);
            }
            assert!(Instant::now() < end, "no {what}: {lines:#?} {notes:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns an address that nothing listens on.
fn free_address() -> String {
    let [address] = free_addresses();
    address.to_string()
}

#[test]
fn tail_resumes_after_a_restart() {
    let address = free_address();
    let flags = ["--telemetry-addr", &address, "--log-level", "info"];
    let server = Server::start(&guest("storefront"), &flags);
    send(&server, "/checkout?item=before");
    let tail = Follower::start(&["tail", &address, "--last", "50"]);
    let sold =
        |lines: &[String], item: &str| lines.iter().filter(|line| line.contains(&format!("sold item={item}"))).count();
    tail.wait("earlier log", |lines, _| sold(lines, "before") == 1);
    send(&server, "/checkout?item=during");
    let (lines, _) = tail.wait("live log and trace", |lines, _| {
        sold(lines, "during") == 1 && lines.iter().filter(|line| line.contains(" normal storefront: GET ")).count() == 2
    });
    // Plain: no terminal, no colours.
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:#?}");
    let line = lines.iter().find(|line| line.contains("item=during")).unwrap();
    assert!(line.contains("Z INFO  storefront: sold item=during trace="), "{line}");

    server.stop();
    tail.wait("note of the loss", |_, notes| notes.iter().any(|note| note.contains("connection was lost")));
    let server = Server::start(&guest("storefront"), &flags);
    send(&server, "/checkout?item=after");
    let (lines, notes) = tail.wait("log of the new process", |lines, _| sold(lines, "after") == 1);
    assert!(notes.iter().any(|note| note == "the host has restarted"), "{notes:#?}");
    assert_eq!(["before", "during", "after"].map(|item| sold(&lines, item)), [1; 3], "{lines:#?}");
}

/// In a terminal, levels and outcomes have colours; Ctrl-C ends it.
#[test]
fn tail_colours_lines_in_terminal() {
    let server = Server::start(&guest("storefront"), &["--log-level", "info"]);
    let tail = command();
    let arguments = [tail.to_str().unwrap(), "tail", &server.telemetry, "--last", "50"];
    let mut screen = Screen::start_with(&arguments, &[("NO_COLOR", "")]);
    assert_eq!(send(&server, "/checkout?item=unicorn"), 503);
    let shown = |text: &'static str| move |rows: &[String]| rows.iter().any(|row| row.contains(text));
    screen.wait("the warning", shown("WARN  storefront: out of stock"));
    screen.wait("the trace", shown("failed storefront: GET"));
    // xterm's colours 1 and 3: red and yellow.
    assert_eq!((screen.colour("WARN"), screen.colour("failed")), (Some(3), Some(1)));
    assert_eq!(screen.colour("out of stock"), None);
    screen.press("\u{3}");
    let (status, rows) = screen.end();
    assert!(!status.success() && !rows.join("").contains("panicked"), "{status} {rows:#?}");

    let screen = Screen::start_with(&arguments, &[("NO_COLOR", "1")]);
    screen.wait("the warning", shown("WARN  storefront: out of stock"));
    assert_eq!(screen.colour("WARN"), None);
}

/// A proxy that cuts connections: no line is repeated, and none is missing.
#[test]
fn tail_resumes_without_gaps() {
    let server = Server::start(&guest("storefront"), &["--log-level", "info"]);
    let proxy = Proxy::start(server.telemetry.trim_start_matches("http://"));
    let tail = Follower::start(&["tail", &proxy.address, "--logs", "--json", "--text", "sold", "--last", "100"]);
    for round in 0..5 {
        for number in 0..20 {
            send(&server, &format!("/checkout?item=item-{round}-{number}"));
        }
        proxy.cut();
        let end = format!("end-{round}");
        send(&server, &format!("/checkout?item={end}"));
        tail.wait("last log of the round", |lines, _| lines.iter().any(|line| line.contains(&end)));
    }
    let items: Vec<String> = tail
        .lines()
        .iter()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["event"], "log");
            event["data"]["fields"][0][1].as_str().unwrap().to_owned()
        })
        .collect();
    let round =
        |round: usize| (0..20).map(move |number| format!("item-{round}-{number}")).chain([format!("end-{round}")]);
    assert_eq!(items, (0..5).flat_map(round).collect::<Vec<_>>());
}

/// A flood that the host cannot keep while the connection is cut: each log is written or counted.
#[test]
fn tail_counts_lost_logs() {
    const LOGS: usize = 40_000;
    let server = Server::start(&guest("log-service"), &["--log-level", "info", "--console-memory", "2MiB"]);
    let proxy = Proxy::start(server.telemetry.trim_start_matches("http://"));
    let tail = Follower::start(&["tail", &proxy.address, "--logs", "--text", "line", "--last", "0"]);
    let number = |line: &String| line.rsplit_once("number=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let end = Instant::now() + PATIENCE;
    // The stream is open when its first line is there.
    while tail.lines().is_empty() {
        send(&server, "/logs?from=0&count=1");
        assert!(Instant::now() < end, "no line");
    }
    proxy.refuse(true);
    for from in (1..=LOGS).step_by(200) {
        send(&server, &format!("/logs?from={from}&count=200"));
    }
    tail.wait("note of the loss", |_, notes| notes.iter().any(|note| note.contains("connection was lost")));
    proxy.refuse(false);
    let (lines, notes) =
        tail.wait("last log", |lines, _| lines.iter().filter_map(number).any(|number: usize| number == LOGS));
    let lost: Vec<usize> =
        notes.iter().filter_map(|note| note.strip_prefix("lost ")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(lost.len(), 1, "{notes:#?}");
    let numbers: Vec<usize> = lines.iter().filter_map(number).filter(|number| *number > 0).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a gap or a repetition in {numbers:?}");
    // The number is of all logs and traces, whatever is filtered.
    assert!(lost[0] >= LOGS - numbers.len(), "{notes:#?}: {} lines of {LOGS}", numbers.len());
    assert!(lost[0] <= LOGS - numbers.len() + 2 * LOGS / 200, "{notes:#?}: {} lines of {LOGS}", numbers.len());
}

/// Passes bytes between clients and a server until it is cut.
struct Proxy {
    address: String,
    open: Arc<Mutex<Vec<std::net::TcpStream>>>,
    is_refusing: Arc<AtomicBool>,
}

impl Proxy {
    fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = Arc::<Mutex<Vec<std::net::TcpStream>>>::default();
        let is_refusing = Arc::new(AtomicBool::new(false));
        let (server, accepted, refuses) = (server.to_owned(), Arc::clone(&open), Arc::clone(&is_refusing));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if refuses.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(upstream) = std::net::TcpStream::connect(&server) else { continue };
                accepted.lock().unwrap().extend([client.try_clone().unwrap(), upstream.try_clone().unwrap()]);
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), upstream.try_clone().unwrap()), (upstream, client)]
                {
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.flush();
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { address, open, is_refusing }
    }

    /// Refuses connections, and cuts those that are open, or passes them again.
    fn refuse(&self, is_refusing: bool) {
        self.is_refusing.store(is_refusing, Ordering::Relaxed);
        self.cut();
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
fn tail_filters_logs() {
    let server = Server::start(&guest("storefront"), &["--log-level", "info"]);
    let tail = Follower::start(&["tail", &server.telemetry, "--level", "warn", "--logs", "--last", "0"]);
    // The stream is open when its first line is there.
    let end = Instant::now() + PATIENCE;
    while tail.lines().is_empty() {
        send(&server, "/checkout?item=apple");
        send(&server, "/checkout?item=unicorn");
        assert!(Instant::now() < end, "no line");
    }
    let (lines, _) = tail.wait("warning", |lines, _| lines.len() > 2);
    assert!(lines.iter().all(|line| line.contains(" WARN  storefront: ")), "{lines:#?}");
}

/// `--component` and `--trace` are filters of logs and traces.
#[test]
fn tail_filters_components_and_traces() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("wasmetry.toml");
    let wasm = guest("storefront");
    let component =
        |name: &str| format!("[[component]]\npath = '{}'\nname = '{name}'\nhost = ['{name}.test']\n", wasm.display());
    std::fs::write(&config, component("shop") + &component("warehouse")).unwrap();
    let server = Server::configured_with(&config, &["--log-level", "info"], &[]);
    let request = |component: &str, trace: u64| {
        let header = format!("00-{trace:032x}-b7ad6b7169203331-01");
        let url = format!("{}/checkout?item={component}-{trace}", server.url);
        let request = agent().get(url).header("host", format!("{component}.test")).header("traceparent", header);
        assert_eq!(request.call().unwrap().status(), 200);
    };
    let trace = format!("{:032x}", 3);
    let filters = [["--component", "warehouse"], ["--trace", trace.as_str()]];
    let tails = filters
        .map(|[flag, value]| Follower::start(&["tail", &server.telemetry, "--json", "--last", "500", flag, value]));
    for (component, trace) in [("shop", 1), ("warehouse", 2), ("shop", 3), ("warehouse", 4)] {
        request(component, trace);
    }
    // Events are in order: those before the last ones were left out.
    let seen = |tail: &Follower, last: u64| -> Vec<(String, String)> {
        let event = |line: &String| -> Value { serde_json::from_str(line).unwrap() };
        let is_last = |line: &String| {
            let event = event(line);
            event["event"] == "trace" && event["data"]["trace_id"] == format!("{last:032x}")
        };
        let (lines, _) = tail.wait("last trace", |lines, _| lines.iter().any(is_last));
        let mut all: Vec<(String, String)> = lines
            .iter()
            .map(event)
            .filter(|event| event["data"]["target"] != "access")
            .map(|event| (event["event"].as_str().unwrap().to_owned(), event["data"]["trace_id"].to_string()))
            .collect();
        all.dedup();
        all
    };
    let both = |trace: u64| ["log", "trace"].map(|event| (event.to_owned(), format!("\"{trace:032x}\"")));
    assert_eq!(seen(&tails[0], 4), [both(2), both(4)].concat());
    assert_eq!(seen(&tails[1], 3), both(3));
    // Traces have no level and no text.
    let output = run(&["tail", &server.telemetry, "--traces", "--text", "sold"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("--text"), "{text}");
}

#[test]
fn errors_are_one_line() {
    let closed = free_address();
    for command in ["tail", "explain"] {
        let text = error(&[command, &closed]);
        assert!(text.contains("Connection refused") && text.contains("wasmetry serve"), "{text}");
        assert!(error(&[command, "ftp://a"]).contains("telemetry address"));
        assert!(error(&[command, &closed, "--token-file", "/nowhere"]).starts_with("error: --token-file: cannot read"));
    }
    let server = Server::start(&guest("storefront"), &[]);
    // The service's own address, and a host without a console.
    let without = Server::start(&guest("storefront"), &["--no-console"]);
    for url in [&server.url, &without.telemetry] {
        for command in ["tail", "explain"] {
            let text = error(&[command, url]);
            assert!(text.contains("no console of wasmetry"), "{text}");
        }
    }
    assert!(error(&["top", &server.telemetry]).contains("needs a terminal"));
    // In a terminal, an error leaves the screen as it was.
    let top = command();
    let (status, rows) = Screen::start(&[top.to_str().unwrap(), "top", &closed]).end();
    assert_eq!(status.code(), Some(1), "{rows:#?}");
    assert!(rows.join("").contains("Connection refused"), "{rows:#?}");
}

/// Failing requests have an item in common; the answer names its log and metric.
#[test]
fn explain_finds_the_planted_cause() {
    let server = Server::start(&guest("storefront"), &["--log-level", "info"]);
    let items = ["apple", "pear", "plum", "fig"];
    for number in 0..60 {
        assert_eq!(send(&server, &format!("/checkout?item={}", items[number % items.len()])), 200);
        if number % 2 == 0 {
            send(&server, "/cart");
        }
        if number % 3 == 0 {
            assert_eq!(send(&server, "/checkout?item=unicorn"), 503);
        }
    }
    let end = Instant::now() + PATIENCE;
    let found = loop {
        let arguments = ["--component", "storefront", "--since", "5m", "--outcome", "failed", "--json"];
        let output = run(&[&["explain", &server.telemetry], &arguments[..]].concat());
        assert!(output.status.success(), "{output:?}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        if found["selected"]["requests"] == 20 {
            break found;
        }
        assert!(Instant::now() < end, "{found}");
    };
    assert_eq!(found["verdict"], "causes", "{found}");
    let attributes = found["causes"][0]["attributes"].as_array().unwrap();
    let texts: Vec<&str> = attributes.iter().map(|attribute| attribute["text"].as_str().unwrap()).collect();
    assert!(texts.iter().any(|text| text.contains("out of stock")), "{texts:?}");
    let output = run(&["explain", &server.telemetry, "--component", "storefront", "--outcome", "failed"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("20 of 20 failed requests (100%) have "), "{text}");
    for part in [
        "1. ",
        "percentage points",
        "examples:",
        "logs:",
        "WARN  out of stock item=unicorn",
        "signs of the failure:",
        "status=\"503\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // An alert names its component, and the requests that it is about.
    let of_alert = |more: &[&str]| {
        let output = run(&[&["explain", &server.telemetry, "--alert", "StorefrontHighErrorRate"], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = of_alert(&[]);
    assert!(text.starts_with("20 of 20 failed requests (100%) have "), "{text}");
    let slow =
        run(&["explain", &server.telemetry, "--alert", "StorefrontHighLatency", "--slower-than", "1h", "--json"]);
    let slow: Value = serde_json::from_slice(&slow.stdout).unwrap();
    assert_eq!(slow["selection"]["min"].as_f64(), Some(3600.0), "{slow}");
    assert_eq!(slow["selected"]["requests"], 0, "{slow}");
    let text = of_alert(&["--route", "/cart"]);
    assert!(!text.contains("20 of 20"), "no failed request has the route: {text}");
    let wrong = error(&["explain", &server.telemetry, "--alert", "StorfrontHighErrorRate"]);
    assert!(wrong.contains("`StorfrontHighErrorRate`") && wrong.contains("`storefront`"), "{wrong}");
}
