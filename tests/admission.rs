//! Requests that wait for an instance, and those that are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmetry_tests::exposition::value;
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

/// A header `traceparent`.
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The time that a request waits at least.
const WAIT: Duration = Duration::from_millis(300);

/// Returns the number of requests that wait.
fn waiting(text: &str) -> f64 {
    value(text, "wasm_requests_waiting", &[])
}

/// Waiting and refused requests are counted, and the duration of a request contains its wait.
#[test]
fn waiting_and_refused_requests_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    // Without a console and an exporter, a request has no trace of its own.
    let flags =
        ["--max-concurrent-requests", "1", "--max-waiting-requests", "1", "--access-log", "all", "--no-console"];
    let server = Server::start_with_stdout(&guest("storefront"), &flags, &[], &stdout);
    let text = server.scrape();
    assert_eq!(value(&text, "wasm_instances_limit", &[("component", "storefront")]), 1.0);
    assert_eq!(waiting(&text), 0.0);
    assert_eq!(value(&text, "wasm_log_records_total", &[("level", "error")]), 0.0);

    let send = |path: &str| {
        let url = format!("{}{path}", server.url);
        thread::spawn(move || get(&agent(), &url))
    };
    let slow = send("/slow?ms=4000");
    server.scrape_until(|text| value(text, "wasm_instances", &[]) == 1.0);
    let waits = send("/cart");
    server.scrape_until(|text| waiting(text) == 1.0);
    let since = Instant::now();
    while since.elapsed() < WAIT {
        assert_eq!(waiting(&server.scrape()), 1.0);
    }
    let refused = get(&agent(), &format!("{}/checkout", server.url));
    assert_eq!(refused, (503, "too many requests are waiting; try again later\n".into()));
    let head = agent().head(format!("{}/checkout", server.url)).header("traceparent", CALLER).call().unwrap();
    assert_eq!(head.status(), 503);
    assert_eq!([slow, waits].map(|request| request.join().unwrap().0), [200, 200]);

    let text = server.scrape_until(|text| value(text, "wasm_instances", &[]) == 0.0);
    let refused = |reason| value(&text, "wasm_requests_refused_total", &[("reason", reason)]);
    assert_eq!((refused("queue_full"), refused("wait_timeout"), waiting(&text)), (2.0, 0.0, 0.0));
    // Each guest logs its request.
    let logs = |level| value(&text, "wasm_log_records_total", &[("component", "storefront"), ("level", level)]);
    assert_eq!(["error", "warn", "info", "debug", "trace"].map(logs), [0.0, 0.0, 0.0, 2.0, 0.0]);
    assert_eq!(value(&text, "wasm_instance_start_duration_seconds_count", &[]), 2.0);
    assert_eq!(value(&text, "wasm_instance_memory_peak_ratio_bucket", &[("le", "0.5")]), 2.0);

    server.stop();
    let lines = fs::read_to_string(stdout).unwrap();
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let access: Vec<Value> = records.filter(|line| line["target"] == "access").collect();
    let duration = |status: u16, is_longest: bool| {
        let of_status = access.iter().filter(|record| record["status"] == status);
        let durations = of_status.map(|record| record["duration_ms"].as_f64().unwrap());
        durations.reduce(if is_longest { f64::max } else { f64::min }).unwrap()
    };
    assert_eq!(access.len(), 4, "{access:#?}");
    let refused: Vec<&Value> = access.iter().filter(|record| record["status"] == 503).collect();
    // The client has named a trace for the second, which has no body.
    assert_eq!((&refused[0]["method"], refused[0].get("trace_id")), (&json!("GET"), None));
    assert_eq!((&refused[1]["method"], &refused[1]["trace_id"]), (&json!("HEAD"), &json!(CALLER[3..35])));
    let bytes = refused.iter().map(|record| record["response_bytes"].as_u64().unwrap());
    assert_eq!(bytes.collect::<Vec<_>>(), ["too many requests are waiting; try again later\n".len() as u64, 0]);
    assert!(duration(200, true) >= 4000.0, "{access:#?}");
    assert!(duration(200, false) >= WAIT.as_secs_f64() * 1000.0, "{access:#?}");
    assert!(duration(503, true) < 4000.0, "{access:#?}");
}
