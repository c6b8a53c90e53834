//! A demo that keeps serving: its first line, its page, its end.
//!
//! It needs `target/release/wasmetry` and the guest `storefront`, which `cargo xtask test` builds.

#![cfg(unix)]

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The timeout until the page shows a failure: the server compiles the component first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills the demo when a test fails.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the failed traces of the console at an address, if it answers.
fn failed_traces(address: SocketAddr) -> Option<Vec<Value>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let target = "/api/v1/traces?outcome=failed";
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let answer: Value = serde_json::from_str(body).ok()?;
    answer["traces"].as_array().cloned()
}

/// The first line has the address of the page, which soon shows a failure; SIGTERM ends the server
/// and the traffic.
#[test]
fn serving_demo_shows_failures() -> Result<(), Box<dyn Error>> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [service, telemetry] = [listeners[0].local_addr()?, listeners[1].local_addr()?];
    drop(listeners);
    let mut demo = Command::new(env!("CARGO_BIN_EXE_xtask"));
    demo.args(["demo-serve", "--addr", &service.to_string(), "--telemetry-addr", &telemetry.to_string()]);
    let mut demo = Demo(demo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(demo.0.stderr.take().ok_or("stderr is piped")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    assert!(first.starts_with(&format!("page: http://{telemetry}/ ")), "{first}");
    // It ends when the server and the process that sends the traffic have ended.
    let rest = thread::spawn(move || {
        let mut rest = String::new();
        lines.read_to_string(&mut rest).map(|_| rest)
    });
    let start = Instant::now();
    let traces = loop {
        let traces = failed_traces(telemetry).unwrap_or_default();
        if !traces.is_empty() {
            break traces;
        }
        if let Some(status) = demo.0.try_wait()? {
            return Err(format!("the demo ended with {status}; build the command and the guests first").into());
        }
        assert!(start.elapsed() < PATIENCE, "no failed trace");
        thread::sleep(Duration::from_millis(50));
    };
    assert!(traces.iter().all(|trace| trace["outcome"] == "failed"), "{traces:?}");
    Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(demo.0.id().to_string()).status()?;
    let status = demo.0.wait()?;
    let rest = rest.join().map_err(|_| "the reader panicked")??;
    assert!(status.success(), "{status}: {rest}");
    Ok(())
}
