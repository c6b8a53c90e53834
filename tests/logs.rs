//! Logs of a real guest, served by the real command: lines for a log shipper, Loki's streams, and whose levels are whose.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wasmetry_sink::{LokiStream, Reply, Sink};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{self, Collector, attributes};
use wasmetry_tests::server::{Server, agent, get};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Who the component is, as flags say it.
const SHOP: [&str; 6] = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme"];

/// Has the log service say everything that it can say, in a trace.
fn say(server: &Server) {
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let response = agent().get(format!("{}/say", server.url)).header("traceparent", traceparent).call().unwrap();
    assert_eq!(response.status(), 200);
}

/// What it says, each with its level and target.
const SAID: [(&str, &str, &str); 8] = [
    ("it failed", "error", "log_service"),
    ("low", "warn", "log_service"),
    ("hello world", "info", "log_service"),
    ("details", "debug", "log_service"),
    ("too fine", "trace", "log_service"),
    ("cart loaded", "info", "shop::cart"),
    ("details of the cart", "debug", "shop::cart"),
    ("signed in", "info", "audit"),
];

/// Whether a text is a time of day of RFC 3339, in UTC.
fn is_rfc_3339(text: &str) -> bool {
    let shape: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    shape == "0000-00-00T00:00:00.000000000Z"
}

#[test]
fn lines_have_the_fields_that_a_shipper_looks_for_and_the_records_own() {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    let arguments = [&SHOP[..], &["--log-level", "trace"]].concat();
    let server = Server::start_with_stdout(&guest("log-service"), &arguments, &[], &stdout);
    say(&server);
    assert!(server.stop().0.success());
    let text = fs::read_to_string(stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: BTreeSet<[&str; 3]> = lines
        .iter()
        .map(|line| [&line["message"], &line["level"], &line["target"]].map(|value| value.as_str().unwrap()))
        .collect();
    assert_eq!(said, SAID.map(|(message, level, target)| [message, level, target]).into());
    assert_eq!(lines.len(), SAID.len());
    let span = &lines[0]["span_id"];
    for line in &lines {
        assert!(is_rfc_3339(line["timestamp"].as_str().unwrap()), "{line}");
        assert_eq!(
            (&line["service"], &line["version"], &line["tenant"]),
            (&json!("shop"), &json!("1.2"), &json!("acme"))
        );
        assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(TRACE), span));
    }
    assert_eq!(span.as_str().unwrap().len(), 16);
    // The record's own, with their types; one of a name of the host's is renamed.
    let line = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap();
    assert_eq!(line("it failed")["err"], "no cart");
    assert_eq!((&line("low")["left"], &line("low")["ok"]), (&json!(-3), &json!(false)));
    assert_eq!((&line("hello world")["user"], &line("hello world")["ratio"]), (&json!(7), &json!(0.5)));
    assert_eq!(line("cart loaded")["items"], 3);
    let audit = line("signed in");
    assert_eq!(
        (&audit["audit"], &audit["level"], &audit["exported_level"]),
        (&json!(true), &json!("info"), &json!("forged"))
    );
}

#[test]
fn loki_and_the_otlp_resource_have_the_same_component_version_and_tenant() {
    for format in ["protobuf", "json", "json+gzip"] {
        // One server for both: it answers 204 to a push to Loki, and 400 to whatever either forbids.
        let sink = Sink::start(|_| Reply::Accept);
        let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
        variables.extend([("WASMETRY_LOKI_ENDPOINT", sink.url("/")), ("WASMETRY_LOKI_FORMAT", format.to_owned())]);
        let arguments = [&SHOP[..], &["--log-level", "trace"]].concat();
        let server = Server::start_with(&guest("log-service"), &arguments, &variables);
        say(&server);
        let (status, said) = server.stop();
        assert!(status.success() && said.iter().all(|line| !line.contains("lost")), "{said:?}");
        let (logs, spans, metrics) = (sink.logs(), sink.spans(), sink.metrics());
        let (streams, seen) = sink.with(|state| (state.streams(), state.seen.clone()));

        // One stream for each level, and one for audit records; no label is a guest's.
        let keys = |stream: &LokiStream| stream.labels.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        let mut levels = Vec::new();
        for stream in &streams {
            let expected = ["service_name", "component", "version", "tenant", "level", "stream"];
            let is_audit = stream.label("stream").is_some();
            let mut sorted = keys(stream);
            sorted.sort_unstable();
            let mut expected = expected[..if is_audit { 6 } else { 5 }].to_vec();
            expected.sort_unstable();
            assert_eq!(sorted, expected);
            levels.push((stream.label("level").unwrap(), is_audit));
        }
        levels.sort_unstable();
        let expected =
            [("debug", false), ("error", false), ("info", false), ("info", true), ("trace", false), ("warn", false)];
        assert_eq!(levels, expected, "{format}");
        assert!(seen.iter().any(|seen| seen.headers.get("x-scope-orgid").is_some_and(|tenant| tenant == "acme")));

        let entries: Vec<_> = streams.iter().flat_map(|stream| &stream.entries).collect();
        let said: BTreeSet<&str> = entries.iter().map(|entry| entry.line.as_str()).collect();
        assert_eq!(said, SAID.map(|(message, ..)| message).into());
        for log in &logs {
            let message = otlp::text(log.record.body.as_ref());
            let entry = entries.iter().find(|entry| entry.line == message).unwrap();
            assert_eq!(entry.metadata("trace_id"), Some(TRACE));
            assert_eq!(entry.metadata("target"), Some(log.scope.name.as_str()));
            // Entries of a stream that have one time are told apart by a nanosecond.
            assert!(entry.time - log.record.time_unix_nano < 1000, "{message}: {}", entry.time);
        }
        let hello = entries.iter().find(|entry| entry.line == "hello world").unwrap();
        assert_eq!((hello.metadata("user"), hello.metadata("ratio")), (Some("7"), Some("0.5")));

        let resources = logs.iter().map(|log| &log.resource).chain(spans.iter().map(|span| &span.resource));
        let of_shop =
            metrics.iter().filter(|metric| metric.record.name.starts_with("wasm_http_")).map(|of| &of.resource);
        let (mut of_audit, mut count) = (0, 0);
        for resource in resources.chain(of_shop) {
            let own = attributes(&resource.attributes);
            for stream in &streams {
                for (label, attribute) in [
                    ("service_name", "service.name"),
                    ("component", "component"),
                    ("version", "service.version"),
                    ("tenant", "tenant"),
                ] {
                    assert_eq!(stream.label(label), Some(own[attribute].as_str()), "{format}: {label}");
                }
            }
            count += 1;
            of_audit += usize::from(own.get("stream").is_some_and(|stream| stream == "audit"));
        }
        assert_eq!(of_audit, 1, "the audit record's");
        assert!(count > SAID.len() + spans.len() && !spans.is_empty(), "{count}");
    }
}

/// A configuration with two components, and their levels.
fn two(directory: &Path, levels: [&str; 2]) -> std::path::PathBuf {
    let path = directory.join("wasmetry.toml");
    let component = |name: &str, level: &str| {
        let wasm = guest("log-service");
        format!(
            "[[component]]\npath = '{}'\nname = '{name}'\nprefix = '/{name}'\nlog-level = '{level}'\n",
            wasm.display()
        )
    };
    fs::write(&path, component("one", levels[0]) + &component("two", levels[1])).unwrap();
    path
}

/// The messages of each component that arrived since `before` of them had, without those of audit records.
fn heard(collector: &Collector, before: usize, count: usize) -> Vec<(String, String)> {
    let arrived = collector.wait(|arrived| arrived.logs.len() >= before + count);
    let logs = &arrived.logs[before..];
    let mut all: Vec<_> =
        logs.iter().map(|(of, log)| (of["component"].clone(), otlp::text(log.body.as_ref()))).collect();
    all.retain(|(_, message)| message != "signed in");
    all.sort_unstable();
    all
}

#[test]
fn levels_are_changed_by_component_and_target_while_guests_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "secret\n").unwrap();
    let collector = Collector::start("http/protobuf");
    let config = two(directory.path(), ["error", "off"]);
    let arguments = ["--control-token-file", token.to_str().unwrap()];
    let server = Server::configured_with(&config, &arguments, &collector.variables());
    let mut before = 0;
    // What both say then, of which the audit records come at any level.
    let mut both_say = |expected: &[(&str, &str)]| {
        for path in ["/one/say", "/two/say"] {
            assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
        }
        let expected: Vec<_> = expected.iter().map(|(of, text)| ((*of).to_owned(), (*text).to_owned())).collect();
        let count = expected.len() + 2;
        assert_eq!(heard(&collector, before, count), expected);
        before += count;
    };
    let change = |token: &str, change: &Value| {
        let request = agent().put(format!("{}/recording", server.telemetry));
        request.header("authorization", format!("Bearer {token}")).send(change.to_string()).unwrap().status().as_u16()
    };
    both_say(&[("one", "it failed")]);

    assert_eq!(change("guess", &json!({"export": "trace"})), 401);
    assert_eq!(change("secret", &json!({"component": "two", "export": "off,shop::cart=debug"})), 200);
    both_say(&[("one", "it failed"), ("two", "cart loaded"), ("two", "details of the cart")]);

    // Finer than what is recorded by default.
    assert_eq!(change("secret", &json!({"component": "one", "export": "off,log_service=trace"})), 200);
    let one = ["details", "hello world", "it failed", "low", "too fine"].map(|text| ("one", text));
    both_say(&[&one[..], &[("two", "cart loaded"), ("two", "details of the cart")]].concat());

    assert_eq!(change("secret", &json!({"export": "off"})), 200);
    both_say(&[]);

    // The configuration's word counts again when it is read again.
    two(directory.path(), ["error,shop=info", "warn,log_service=off"]);
    server.signal("HUP");
    server.wait_for("reloaded on");
    both_say(&[("one", "cart loaded"), ("one", "it failed")]);
    assert!(server.stop().0.success());
}

#[test]
fn the_debug_logs_of_a_slow_request_are_exported_and_those_of_one_within_the_limit_are_not() {
    for (limit, is_kept) in [("1ms", true), ("10s", false)] {
        let collector = Collector::start("http/protobuf");
        let server = Server::start_with(&guest("storefront"), &["--keep-slow", limit], &collector.variables());
        // The second one's log is exported at any limit: with it, whatever is exported of the first has come.
        for path in ["/slow?ms=20", "/checkout?item=pear"] {
            assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
        }
        assert!(server.stop().0.success());
        let arrived = collector.wait(|_| true);
        let logs = arrived.logs.iter().map(|(_, log)| (log.severity_text.as_str(), otlp::text(log.body.as_ref())));
        let (slow, others): (Vec<_>, Vec<_>) = logs.partition(|(_, message)| message == "a request for /slow");
        assert!(others.contains(&("INFO", "sold".to_owned())), "{limit}: {others:?}");
        let expected = vec![("DEBUG", "a request for /slow".to_owned()); usize::from(is_kept)];
        assert_eq!(slow, expected, "{limit}");
    }
}
