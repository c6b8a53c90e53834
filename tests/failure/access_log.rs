//! The access log: which requests have a record, and its fields.

use std::fs;

use serde_json::{Value, json};
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent};

use super::SOURCE;

/// Starts a server whose log lines go to a file, sends the requests, and returns its records of the
/// access log and its other records.
fn access_log(flags: &[&str], paths: &[(&str, u16)]) -> (Vec<Value>, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    let limits = ["--request-timeout", "500ms", "--max-memory", "16MiB"];
    let identity = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme"];
    let flags = [&limits[..], &identity, flags].concat();
    let server = Server::start_with_stdout(&guest("failing-service"), &flags, &[], &stdout);
    for (number, (path, expected)) in paths.iter().enumerate() {
        let traceparent = format!("00-{number:032x}-b7ad6b7169203331-01", number = number + 1);
        let request = agent().post(format!("{}/{path}", server.url)).header("traceparent", traceparent);
        assert_eq!(request.send("four").unwrap().status(), *expected, "{path}");
    }
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let text = fs::read_to_string(stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line.get("stream").is_none());
    lines.partition(|line| line["target"] == "access")
}

/// The requests of the tests of the access log.
const REQUESTS: [(&str, u16); 6] =
    [("fine", 200), ("panic", 500), ("typed", 500), ("silent", 503), ("logged", 503), ("spin", 504)];

/// By default, failed requests have a record, with the fields that queries of logs use.
#[test]
fn failed_requests_have_access_records() {
    let (access, others) = access_log(&[], &REQUESTS);
    let found: Vec<_> = access
        .iter()
        .map(|line| {
            (line["status"].as_u64().unwrap(), line["error_type"].as_str().unwrap(), line["level"].as_str().unwrap())
        })
        .collect();
    let expected = [
        (500, "panic", "error"),
        (500, "failing_service::CartError", "warn"),
        (503, "503", "warn"),
        (503, "503", "warn"),
        (504, "deadline", "error"),
    ];
    assert_eq!(found, expected, "{access:#?}");
    for (line, number) in access.iter().zip(2..) {
        assert_eq!(
            (&line["service"], &line["version"], &line["tenant"]),
            (&json!("shop"), &json!("1.2"), &json!("acme"))
        );
        assert_eq!((&line["method"], &line["route"]), (&json!("POST"), &json!("/")), "{line}");
        assert_eq!(line["trace_id"], format!("{number:032x}"));
        assert_eq!(line["request_bytes"], 0, "the guest has not read the body: {line}");
        let millis = line["duration_ms"].as_f64().unwrap();
        let duration = line["duration"].as_str().unwrap();
        let parsed = match duration.strip_suffix("ms") {
            Some(number) => number.parse::<f64>().unwrap(),
            None => duration.strip_suffix("µs").unwrap_or_else(|| panic!("{line}")).parse::<f64>().unwrap() / 1000.0,
        };
        assert!((parsed - millis).abs() < 0.001, "{line}");
    }
    assert!(access[0]["message"].as_str().unwrap().starts_with("POST / 500: panicked at tests/guests/"), "{access:#?}");
    assert_eq!(access[1]["message"], format!("POST / 500: cannot load cart 7: {SOURCE}"));
    assert_eq!(access[2]["message"], "POST / 503: the guest has logged no error");
    assert_eq!(access[0]["response_bytes"], "the service failed\n".len());
    assert_eq!(access[4]["response_bytes"], "the service did not respond in time\n".len());
    // The logs of the guest: one panic, one error of a handler, and its own.
    let errors = others.iter().filter(|line| line["level"] == "error").count();
    assert_eq!((errors, others.len()), (3, 3), "{others:#?}");
}

/// Each request has a record with `all`; `off` leaves failures of which the guest has logged
/// nothing.
#[test]
fn access_log_has_selected_requests() {
    for (selected, expected) in [
        ("all", &[200, 500, 500, 503, 503, 504][..]),
        ("failed", &[500, 500, 503, 503, 504]),
        ("slow", &[503, 504]),
        ("off", &[503, 504]),
    ] {
        let (access, _) = access_log(&["--access-log", selected], &REQUESTS);
        let statuses: Vec<_> = access.iter().map(|line| line["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, expected, "{selected}");
        if selected == "all" {
            assert_eq!((&access[0]["level"], &access[0]["message"]), (&json!("info"), &json!("POST / 200")));
            assert!(access[0].get("error_type").is_none(), "{}", access[0]);
        }
    }
    let (access, _) = access_log(&["--access-log", "slow", "--keep-slow", "1us"], &REQUESTS[..1]);
    assert_eq!(access.len(), 1, "{access:#?}");
    let (access, _) = access_log(&["--access-log", "all", "--log-level", "info,access=off"], &REQUESTS);
    assert_eq!(access, [Value::Null; 0]);
}

/// Without an exporter, a console and a client's trace, the record has the trace that the guest
/// has begun, by which its error log is found.
#[test]
fn untraced_failure_has_guests_trace() {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    let server = Server::start_with_stdout(&guest("failing-service"), &["--no-console"], &[], &stdout);
    for path in ["carts/panic", "carts/error", "logged", "silent"] {
        assert!(agent().get(format!("{}/{path}", server.url)).call().unwrap().status().as_u16() >= 500, "{path}");
    }
    server.stop();
    let text = fs::read_to_string(stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let traces = |is_access: bool| -> Vec<&Value> {
        let failures = lines.iter().filter(|line| (line["target"] == "access") == is_access);
        failures.filter(|line| line.get("stream").is_none()).map(|line| &line["trace_id"]).collect()
    };
    let (access, logs) = (traces(true), traces(false));
    assert_eq!((access.len(), logs.len()), (4, 3), "{lines:#?}");
    assert_eq!(access[..2], logs[..2]);
    assert!(access[0].is_string() && access[1].is_string() && access[0] != access[1], "{lines:#?}");
    // The guest has no handler there, and so no trace.
    assert_eq!([access[2], access[3]], [&Value::Null; 2]);
}
