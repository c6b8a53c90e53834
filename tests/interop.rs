//! Unusual but valid behaviour of the peers of `wasmetry serve`: its clients, the backends that it
//! exports to, and the reader of its stdout.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "interop/backend.rs"]
mod backend;
#[path = "interop/client.rs"]
mod client;
#[path = "interop/connection.rs"]
mod connection;

use wasmetry_tests::exposition::sum;
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

/// Requests are served, scraped and finished while no process reads the command's stdout.
#[test]
fn unread_stdout_blocks_no_request() {
    const REQUESTS: u64 = 30;
    const EACH: u64 = 1000;
    let variables = [("OTEL_BLRP_MAX_QUEUE_SIZE", "1000".to_owned())];
    let arguments = ["--log-format", "json", "--shutdown-timeout", "1s"];
    let server = Server::start_with_unread_stdout(&guest("log-service"), &arguments, &variables);
    for request in 0..REQUESTS {
        let path = format!("/logs?from={}&count={EACH}", request * EACH);
        assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
    }
    let dropped = [("signal", "logs"), ("reason", "queue_full")];
    let text = server.scrape_until(|text| sum(text, "wasmetry_dropped_total", &dropped) > 0.0);
    assert_eq!(sum(&text, "lines_total", &[]), (REQUESTS * EACH) as f64);
    assert_eq!(get(&agent(), &format!("{}/readyz", server.telemetry)).0, 200);
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    assert!(stderr.iter().any(|line| line.contains("lost")), "{stderr:?}");
}
