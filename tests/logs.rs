//! Logs of `wasmetry serve`: JSON lines, Loki streams, and levels.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wasmetry_sink::{LokiStream, Reply, Sink};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{self, Collector, attributes};
use wasmetry_tests::server::{Server, agent, get};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The flags of the component's identity, without records of slow requests in the access log.
const SHOP: [&str; 8] = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme", "--access-log", "failed"];

/// Requests a log of each level from the log service, in a trace.
fn request_levels(server: &Server) {
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let response = agent().get(format!("{}/levels", server.url)).header("traceparent", traceparent).call().unwrap();
    assert_eq!(response.status(), 200);
}

/// The messages of that request, each with its level and target.
const MESSAGES: [(&str, &str, &str); 8] = [
    ("it failed", "error", "log_service"),
    ("low", "warn", "log_service"),
    ("hello world", "info", "log_service"),
    ("details", "debug", "log_service"),
    ("too fine", "trace", "log_service"),
    ("cart loaded", "info", "shop::cart"),
    ("details of the cart", "debug", "shop::cart"),
    ("signed in", "info", "audit"),
];

/// Returns `true` if a text is a time of RFC 3339 in UTC with nanoseconds.
fn is_rfc_3339(text: &str) -> bool {
    let shape: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    shape == "0000-00-00T00:00:00.000000000Z"
}

/// Each line that a guest prints is a record of its own, which cannot be mistaken for another one.
#[test]
fn printed_lines_are_records() {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    let arguments = [&SHOP[..], &["--log-level", "error"]].concat();
    let server = Server::start_with_stdout(&guest("faulty-responder"), &arguments, &[], &stdout);
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let response = agent().get(format!("{}/print", server.url)).header("traceparent", traceparent).call().unwrap();
    assert_eq!(response.status(), 200);
    let (status, stderr) = server.stop();
    assert!(status.success());
    assert!(stderr.iter().all(|line| !line.contains("error")), "{stderr:?}");
    let text = fs::read_to_string(stdout).unwrap();
    assert!(!text.contains('\x1b'), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let printed: BTreeSet<(&str, &str)> =
        lines.iter().map(|line| (line["stream"].as_str().unwrap(), line["log"].as_str().unwrap())).collect();
    let forged = r#"{"message":"forged","tenant":"other","audit":true}"#;
    let expected = [("stdout", forged), ("stdout", "\x1b[31mred"), ("stdout", "out"), ("stderr", "error")];
    assert_eq!(printed, expected.into());
    for line in &lines {
        assert_eq!(line["service"], "shop", "{line}");
        assert_eq!(line["tenant"], "acme", "{line}");
        assert_eq!(line["trace_id"], TRACE, "{line}");
        assert!(line.get("message").is_none() && line.get("audit").is_none(), "{line}");
    }
}

/// Raw output is written as it is, but not to the output that has log records.
#[test]
fn raw_output_avoids_records() {
    let directory = tempfile::tempdir().unwrap();
    for (format, is_on_stdout) in [("json", false), ("off", true)] {
        let stdout = directory.path().join(format);
        let arguments = ["--guest-output", "raw", "--log-format", format];
        let server = Server::start_with_stdout(&guest("faulty-responder"), &arguments, &[], &stdout);
        assert_eq!(get(&agent(), &format!("{}/print", server.url)).0, 200);
        let (_, stderr) = server.stop();
        let raw = "\x1b[31mred";
        assert_eq!(fs::read_to_string(stdout).unwrap().contains(raw), is_on_stdout, "{format}");
        assert_eq!(stderr.iter().any(|line| line == raw), !is_on_stdout, "{format}: {stderr:?}");
    }
}

/// A line has the fields that log shippers expect, and the record's own.
#[test]
fn json_lines_have_all_fields() {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    let arguments = [&SHOP[..], &["--log-level", "trace"]].concat();
    let server = Server::start_with_stdout(&guest("log-service"), &arguments, &[], &stdout);
    request_levels(&server);
    assert!(server.stop().0.success());
    let text = fs::read_to_string(stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: BTreeSet<[&str; 3]> = lines
        .iter()
        .map(|line| [&line["message"], &line["level"], &line["target"]].map(|value| value.as_str().unwrap()))
        .collect();
    assert_eq!(messages, MESSAGES.map(|(message, level, target)| [message, level, target]).into());
    assert_eq!(lines.len(), MESSAGES.len());
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
    // The record's own fields keep their types; one with a name of the host's fields is renamed.
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

/// Loki's labels and the OTLP resource have the same component, version and tenant.
#[test]
fn loki_labels_match_otlp_resource() {
    for format in ["protobuf", "json", "json+gzip"] {
        // One sink receives both, and refuses what either forbids.
        let sink = Sink::start(|_| Reply::Accept);
        let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
        variables.extend([("WASMETRY_LOKI_ENDPOINT", sink.url("/")), ("WASMETRY_LOKI_FORMAT", format.to_owned())]);
        let arguments = [&SHOP[..], &["--log-level", "trace"]].concat();
        let server = Server::start_with(&guest("log-service"), &arguments, &variables);
        request_levels(&server);
        let (status, stderr) = server.stop();
        assert!(status.success() && stderr.iter().all(|line| !line.contains("lost")), "{stderr:?}");
        let (logs, spans, metrics) = (sink.logs(), sink.spans(), sink.metrics());
        let (streams, seen) = sink.with(|state| (state.streams(), state.seen.clone()));

        // There is a stream for each level and one for audit records, and no label is set by the
        // guest.
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
        let messages: BTreeSet<&str> = entries.iter().map(|entry| entry.line.as_str()).collect();
        assert_eq!(messages, MESSAGES.map(|(message, ..)| message).into());
        for log in &logs {
            let message = otlp::text(log.record.body.as_ref());
            let entry = entries.iter().find(|entry| entry.line == message).unwrap();
            assert_eq!(entry.metadata("trace_id"), Some(TRACE));
            assert_eq!(entry.metadata("target"), Some(log.scope.name.as_str()));
            // Entries of a stream with equal times are a nanosecond apart.
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
        assert!(count > MESSAGES.len() + spans.len() && !spans.is_empty(), "{count}");
    }
}

/// Writes a configuration with two log services and their levels, and returns its path.
fn two_components(directory: &Path, levels: [&str; 2]) -> std::path::PathBuf {
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

/// Waits for `count` logs after the first `before`, and returns their components and messages
/// without audit records.
fn messages_after(collector: &Collector, before: usize, count: usize) -> Vec<(String, String)> {
    let arrived = collector.wait(|arrived| arrived.logs.len() >= before + count);
    let logs = &arrived.logs[before..];
    let mut all: Vec<_> =
        logs.iter().map(|(of, log)| (of["component"].clone(), otlp::text(log.body.as_ref()))).collect();
    all.retain(|(_, message)| message != "signed in");
    all.sort_unstable();
    all
}

/// Levels are changed by component and target while guests serve requests.
#[test]
fn levels_change_while_serving() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    let collector = Collector::start("http/protobuf");
    let config = two_components(directory.path(), ["error", "off"]);
    let arguments = ["--telemetry-token-file", token.to_str().unwrap()];
    let server = Server::configured_with(&config, &arguments, &collector.variables());
    let mut before = 0;
    // Requests all levels from both components. Audit records are exported at any level.
    let mut expect_messages = |expected: &[(&str, &str)]| {
        for path in ["/one/levels", "/two/levels"] {
            assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
        }
        let expected: Vec<_> = expected.iter().map(|(of, text)| ((*of).to_owned(), (*text).to_owned())).collect();
        let count = expected.len() + 2;
        assert_eq!(messages_after(&collector, before, count), expected);
        before += count;
    };
    let change = |token: &str, change: &Value| {
        let request = agent().put(format!("{}/recording", server.telemetry));
        request.header("authorization", format!("Bearer {token}")).send(change.to_string()).unwrap().status().as_u16()
    };
    expect_messages(&[("one", "it failed")]);

    assert_eq!(change("guess", &json!({"export": "trace"})), 401);
    assert_eq!(change("0123456789abcdef", &json!({"component": "two", "export": "off,shop::cart=debug"})), 200);
    expect_messages(&[("one", "it failed"), ("two", "cart loaded"), ("two", "details of the cart")]);

    // The level is finer than the default record level.
    assert_eq!(change("0123456789abcdef", &json!({"component": "one", "export": "off,log_service=trace"})), 200);
    let one = ["details", "hello world", "it failed", "low", "too fine"].map(|text| ("one", text));
    expect_messages(&[&one[..], &[("two", "cart loaded"), ("two", "details of the cart")]].concat());

    assert_eq!(change("0123456789abcdef", &json!({"export": "off"})), 200);
    expect_messages(&[]);

    // A reload restores the configuration's levels.
    two_components(directory.path(), ["error,shop=info", "warn,log_service=off"]);
    server.signal("HUP");
    server.wait_for("reloaded on");
    expect_messages(&[("one", "cart loaded"), ("one", "it failed")]);
    assert!(server.stop().0.success());
}

/// A request that is slower than `--keep-slow` exports its debug logs; others do not.
#[test]
fn slow_request_exports_debug_logs() {
    for (limit, is_kept) in [("1ms", true), ("10s", false)] {
        let collector = Collector::start("http/protobuf");
        let server = Server::start_with(&guest("storefront"), &["--keep-slow", limit], &collector.variables());
        // The second request's log is exported in any case, after every log of the first one.
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

/// The fields by which README's queries find slow requests: structured metadata in Loki, and keys
/// of a JSON line.
#[test]
fn access_records_match_documented_logql() {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    let sink = Sink::start(|_| Reply::Accept);
    let variables = [("WASMETRY_LOKI_ENDPOINT", sink.url("/"))];
    let flags = ["--name", "shop", "--access-log", "all"];
    let server = Server::start_with_stdout(&guest("log-service"), &flags, &variables, &stdout);
    request_levels(&server);
    server.stop();
    let streams = sink.with(|state| state.streams());
    let is_access = |entry: &&wasmetry_sink::LokiEntry| entry.metadata("target") == Some("access");
    let access: Vec<_> = streams
        .iter()
        .filter(|stream| stream.label("component") == Some("shop"))
        .flat_map(|stream| stream.entries.iter().filter(is_access))
        .collect();
    let [entry] = access[..] else { panic!("{streams:#?}") };
    let text = fs::read_to_string(stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["target"] == "access").unwrap();
    assert_eq!((&line["service"], &line["trace_id"]), (&json!("shop"), &json!(TRACE)));
    assert_eq!(entry.metadata("duration"), line["duration"].as_str());
    assert_eq!((entry.metadata("route"), entry.metadata("status")), (Some("/"), Some("200")));
}

/// Returns the LogQL queries of a Markdown text: code that begins with a selector, or aggregates
/// one, and has a pipeline.
fn logql(markdown: &str) -> Vec<String> {
    let spans = markdown.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_query = |code: &&str| (code.starts_with('{') || code.contains("({")) && code.contains("\"} |");
    spans.chain(markdown.lines().filter(|line| !line.contains('`'))).filter(is_query).map(str::to_owned).collect()
}

/// Returns the Markdown files below a folder.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { markdown(&path) } else { vec![path] };
    entries.flat_map(of).filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Grafana's parser accepts each LogQL query in README and in `docs`.
#[test]
fn documented_logql_parses() {
    let root = wasmetry_tests::root();
    let checker = root.join("tests/grafana");
    let files = [vec![root.join("README.md")], markdown(&root.join("docs"))].concat();
    let queries: Vec<String> = files.iter().flat_map(|path| logql(&fs::read_to_string(path).unwrap())).collect();
    assert!(queries.iter().filter(|query| query.contains("duration > 1s")).count() >= 2, "{queries:#?}");
    let node = Command::new("node").arg("--version").output();
    if !checker.join("node_modules").is_dir() || node.is_err() {
        let message = "Grafana's parser is not installed: run `cargo xtask setup`, which needs Node 20";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        return eprintln!("skipped: {message}");
    }
    let check = |queries: &[String]| {
        let mut command = Command::new("node");
        let mut child =
            command.arg(checker.join("logql.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&serde_json::to_vec(queries).unwrap()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (is_valid, errors) = check(&queries);
    assert!(is_valid, "{errors}");
    assert!(!check(&["{component=\"shop\" | json".to_owned()]).0, "the parser refuses nothing");
}
