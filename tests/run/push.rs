//! `wasmetry run --push`: to a real Pushgateway, and to one with scripted responses.

use std::collections::BTreeMap;

use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::backend::pushgateway::{Pushgateway, ScriptedGateway};
use wasmetry_tests::exposition::{Series, samples, value};
use wasmetry_tests::server::agent;

use super::{Ended, ORDERS, forms, run};

/// Returns the samples in the group of a job, without those of the Pushgateway itself.
fn group(gateway: &Pushgateway, job: &str) -> BTreeMap<Series, f64> {
    let mut group = samples(&gateway.scrape());
    group.retain(|(_, labels), _| labels.get("job").is_some_and(|found| found == job));
    let mut own = |name: &str| {
        let (series, _) = group.iter().find(|((found, _), _)| found == name).unwrap();
        let series = series.clone();
        group.remove(&series).unwrap()
    };
    assert!(own("push_time_seconds") > 0.0);
    assert_eq!(own("push_failure_time_seconds"), 0.0);
    group
}

/// Returns printed metrics with the labels of a group.
fn labelled(metrics: &str, labels: &[(&str, &str)]) -> BTreeMap<Series, f64> {
    let of_group = |((name, mut own), value): (Series, f64)| {
        own.extend(labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        ((name, own), value)
    };
    samples(metrics).into_iter().map(of_group).collect()
}

/// Checks that a program has succeeded and its metrics were pushed, and returns the printed
/// metrics.
fn pushed(ended: &Ended) -> &str {
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.metrics().1
}

#[test]
fn last_push_replaces_its_group() {
    let Some(gateway) = Pushgateway::start() else { return };
    for program in forms("batch") {
        let flags = ["--print-metrics", "--push", &gateway.url];
        let labels = [("job", program.as_str()), ("instance", "")];
        let first = run(&program, &flags, &[], ORDERS);
        let found = group(&gateway, &program);
        assert_eq!(found, labelled(pushed(&first), &labels));
        assert!(found.len() > 50, "{found:#?}");
        assert_eq!(value(&gateway.scrape(), "revenue_euros_total", &[("job", &program), ("country", "DE")]), 7.5);
        // A gauge outlives the instance that has set it.
        assert_eq!(value(&gateway.scrape(), "last_order_id", &[("job", &program)]), 2.0);

        // The second push removes series that it lacks.
        let second = run(&program, &flags, &[], "9,FR,2.5\n");
        let found = group(&gateway, &program);
        assert_eq!(found, labelled(pushed(&second), &labels));
        let revenue: Vec<_> = found.iter().filter(|((name, _), _)| name == "revenue_euros_total").collect();
        assert_eq!(revenue.len(), 1, "{revenue:?}");
        assert_eq!((revenue[0].0.1["country"].as_str(), *revenue[0].1), ("FR", 2.5));
    }
}

#[test]
fn grouping_labels_make_groups() {
    let Some(gateway) = Pushgateway::start() else { return };
    let url = gateway.url.as_str();
    let flags = ["--print-metrics", "--push", url, "--job", "a/b c", "--push-label", "instance=eu-1"];
    let labels = [("job", "a/b c"), ("instance", "eu-1")];
    let batch = run("batch", &flags, &[], ORDERS);
    assert_eq!(group(&gateway, "a/b c"), labelled(pushed(&batch), &labels));

    // Another program's push with `--push-add` keeps the first program's metrics.
    let job = run("job", &[&flags[..], &["--push-add"]].concat(), &["count", "3"], "");
    let job = labelled(pushed(&job), &labels);
    let mut both = labelled(pushed(&batch), &labels);
    both.retain(|(name, _), _| !job.keys().any(|(other, _)| name == other));
    assert!(both.keys().any(|(name, _)| name == "records_total"));
    both.extend(job);
    assert_eq!(group(&gateway, "a/b c"), both);

    let of_group = format!("{url}/metrics/job/whole/shard/7");
    let whole = run("job-wasip1", &["--print-metrics", "--push", &of_group], &["count", "4"], "");
    let labels = [("job", "whole"), ("shard", "7"), ("instance", "")];
    assert_eq!(group(&gateway, "whole"), labelled(pushed(&whole), &labels));
}

#[test]
fn pushgateway_refusal_is_explained() {
    let Some(gateway) = Pushgateway::start() else { return };
    let other = "# TYPE counted_total gauge\ncounted_total 3\n";
    let response = agent().put(format!("{}/metrics/job/other", gateway.url)).send(other).unwrap();
    assert_eq!(response.status(), 200);
    let ended = run("job", &["--push", &gateway.url], &["count", "3", "print", "done"], "");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "done\n"), "{}", ended.stderr);
    let begin = format!("error: the metrics could not be pushed to {}/metrics/job/job: status 400 ", gateway.url);
    assert!(ended.stderr.starts_with(&begin), "{}", ended.stderr);
    assert!(ended.stderr.contains("another group has a metric of this name with another type"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn failed_push_is_retried() {
    for program in forms("job") {
        let gateway = ScriptedGateway::start(&["503 Service Unavailable", "200 OK"]);
        let ended = run(&program, &["--print-metrics", "--push", &gateway.url], &["count", "3", "print", "done"], "");
        let (printed, metrics) = ended.metrics();
        assert_eq!((ended.code, printed, ended.stderr.as_str()), (0, "done\n", ""), "{program}");
        assert_eq!(value(metrics, "counted_total", &[("component", &program)]), 3.0);
        let requests = gateway.take_requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(request.line, format!("PUT /metrics/job/{program} HTTP/1.1"));
            assert_eq!(request.headers.one("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
            assert_eq!(request.headers.one("content-encoding"), None);
            assert_eq!(request.headers.one("host"), gateway.url.strip_prefix("http://"));
            assert_eq!(request.body, metrics);
        }
    }
}

/// `--push-add` sends a POST with the configured headers.
#[test]
fn adding_push_is_a_post() {
    let gateway = ScriptedGateway::start(&["202 Accepted"]);
    let flags = ["--push", &gateway.url, "--push-add", "--push-header", "Authorization: Bearer let-me-in"];
    assert_eq!(run("job", &flags, &[], "").code, 0);
    let requests = gateway.take_requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "POST /metrics/job/job HTTP/1.1");
    assert_eq!(requests[0].headers.one("authorization"), Some("Bearer let-me-in"));
}

#[test]
fn refused_push_is_not_retried() {
    let gateway = ScriptedGateway::start(&["400 Bad Request"]);
    // The program's own failure decides the exit code.
    for (arguments, code) in [(&["print", "done"][..], 1), (&["print", "done", "exit", "4"], 4)] {
        let ended = run("job-wasip1", &["--push", &gateway.url], arguments, "");
        assert_eq!((ended.code, ended.stdout.as_str()), (code, "done\n"), "{}", ended.stderr);
        let begin = format!(
            "error: the metrics could not be pushed to {}/metrics/job/job-wasip1: status 400 Bad Request: sorry; ",
            gateway.url
        );
        assert!(ended.stderr.starts_with(&begin), "{}", ended.stderr);
        assert_eq!(gateway.take_requests().len(), 1);
    }
}

#[test]
fn push_timeout_ends_retries() {
    let busy = ScriptedGateway::start(&["503 Service Unavailable"]);
    let ended = run("job", &["--push", &busy.url, "--push-timeout", "1500ms"], &[], "");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let reason = "status 503 Service Unavailable: sorry; it was retried for 1.5 s: is the gateway running";
    assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    // The first wait is at least 250 ms, and the next ones are twice as long.
    let requests = busy.take_requests().len();
    assert!((2..=3).contains(&requests), "{requests} requests");

    let silent = ScriptedGateway::start(&[""]);
    let ended = run("job", &["--push", &silent.url, "--push-timeout", "300ms"], &[], "");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(": no answer"), "{}", ended.stderr);
    assert!(ended.stderr.contains("; it was retried for 0.3 s: is the gateway running"), "{}", ended.stderr);
    assert_eq!(silent.take_requests().len(), 1);

    let [closed] = free_addresses();
    let ended = run("job", &["--push", &format!("http://{closed}"), "--push-timeout", "300ms"], &[], "");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("onnection refused"), "{}", ended.stderr);
}

/// A program that traps, fails or times out pushes its metrics.
#[test]
fn failed_programs_push_metrics() {
    for program in forms("job") {
        for (last, code, reason) in [("trap", 134, "unreachable"), ("spin", 124, "deadline")] {
            let gateway = ScriptedGateway::start(&["200 OK"]);
            let flags = ["--push", &gateway.url, "--timeout", "500ms"];
            let ended = run(&program, &flags, &["count", "5", last], "");
            assert_eq!(ended.code, code, "{program} {last}: {}", ended.stderr);
            let requests = gateway.take_requests();
            assert_eq!(requests.len(), 1, "{program} {last}");
            assert_eq!(value(&requests[0].body, "counted_total", &[("component", &program)]), 5.0);
            assert_eq!(value(&requests[0].body, "wasm_traps_total", &[("reason", reason)]), 1.0);
            assert_eq!(value(&requests[0].body, "wasm_run_exit_code", &[]), f64::from(code));
        }
    }
}
