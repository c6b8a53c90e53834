//! Expositions, checked by the official Python parsers and by promtool.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wasmetry_host::propagation::Sampler;
use wasmetry_host::{Registry, encode};
use wasmetry_tests::embedding::observed::{Allocation, Host};
use wasmetry_tests::guest;
use wasmetry_tests::memory_sink::MemorySink;
use wasmetry_tests::server::{Server, agent, get};
use wasmetry_tests::tool::{self, Tool};
use wasmetry_wasmtime::{ServerSpan, wall_clock};

/// A script that parses its stdin with the module of its first argument, and prints all samples as
/// JSON.
const PARSE: &str = r#"
import importlib, json, sys
parser = importlib.import_module(sys.argv[1])
families = list(parser.text_string_to_metric_families(sys.stdin.read()))
print(json.dumps([
    {"name": f.name, "type": f.type, "help": f.documentation, "unit": f.unit,
     "samples": [{"name": s.name, "labels": s.labels, "value": str(s.value), "exemplar": s.exemplar and
                  {"labels": s.exemplar.labels, "value": s.exemplar.value, "time": str(s.exemplar.timestamp)}}
                 for s in f.samples]}
    for f in families]))
"#;

const TEXTS: [&str; 4] = ["quote \" and \\ backslash", "two\nlines\n", "čšž 漢字 🦀", "{a=\"b\",} # x \\n"];

/// Makes a host whose guests have recorded metrics of every kind, with texts that need escapes.
fn host() -> Host {
    let host = Host::new(Allocation::OnDemand);
    for text in TEXTS {
        let mut recorder = host.instance();
        recorder.run("label", (text, 3u64));
        recorder.run("count", (1u64,));
        recorder.run("observe-seconds", (0.25,));
        recorder.run("observe-size", (-3.5,));
        recorder.run("set-gauges", (0.1,));
        recorder.run("shard", (9u32,));
    }
    let mut trapped = host.instance();
    trapped.call::<_, ()>("trap", (1u64,)).unwrap_err();
    host
}

fn parse(module: &str, text: &str) -> Option<Vec<Value>> {
    let python = Tool::Python.find()?;
    let output = tool::run(&python, ["-c", PARSE, module], text);
    assert!(
        output.status.success(),
        "{module} refuses the exposition: {}\n{text}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Checks that no family and no sample is duplicated, which the parsers accept.
fn check_unique(families: &[Value]) {
    let mut seen = std::collections::HashSet::new();
    for family in families {
        assert!(seen.insert(family["name"].to_string()), "family {} stands twice", family["name"]);
        for sample in family["samples"].as_array().unwrap() {
            let key = format!("{}{}", sample["name"], sample["labels"]);
            assert!(seen.insert(key.clone()), "sample {key} stands twice");
        }
    }
}

/// Checks the labels and values that both formats have in common.
fn check(families: &[Value], counter: &str) {
    check_unique(families);
    let family = families.iter().find(|family| family["name"] == counter).unwrap();
    assert_eq!(family["type"], "counter");
    assert_eq!(family["help"], "A counter with \"any\" text\\label.\nTwo lines of help.");
    for text in TEXTS {
        let sample = family["samples"].as_array().unwrap().iter().find(|sample| sample["labels"]["value"] == text);
        let sample = sample.unwrap_or_else(|| panic!("{text:?} did not come back: {family:#}"));
        assert_eq!(sample["value"].as_str().and_then(|value| value.parse().ok()), Some(3.0));
    }
}

/// The official Python parser reads every label and value of the Prometheus text format.
#[test]
fn python_parses_prometheus_text() {
    let text = host().scrape();
    if let Some(families) = parse("prometheus_client.parser", &text) {
        check(&families, "labelled");
    }
}

/// The official Python parser reads every label and value of the OpenMetrics text format.
#[test]
fn python_parses_openmetrics_text() {
    let text = host().scrape_openmetrics();
    assert!(text.ends_with("# EOF\n"));
    if let Some(families) = parse("prometheus_client.openmetrics.parser", &text) {
        check(&families, "labelled");
        let seconds = families.iter().find(|family| family["name"] == "work_duration_seconds").unwrap();
        assert_eq!((&seconds["type"], &seconds["unit"]), (&"histogram".into(), &"seconds".into()));
    }
}

/// The official Python parser reads exemplars and `_created` samples.
#[test]
fn python_parses_exemplars_and_created() {
    let before = wall_clock();
    let host = Host::with_sink("recorder", Arc::new(MemorySink::default()));
    let mut recorder = host.instance();
    let span = ServerSpan::begin("GET", "/", None, &Sampler { ratio: 1.0, is_parent_based: true });
    let context = span.context();
    recorder.telemetry().set_server_span(span);
    recorder.run("observe-seconds", (0.25,));
    recorder.run("observe-size", (-3.5,));
    recorder.run("count", (1u64,));
    recorder.run("label", (TEXTS[0], 3u64));
    drop(recorder);
    let text = encode::openmetrics::encode_with_created(&host.telemetry.snapshot());
    let Some(families) = parse("prometheus_client.openmetrics.parser", &text) else { return };
    check_unique(&families);
    let samples = |name: &str| {
        let family = families.iter().find(|family| family["name"] == name).unwrap();
        family["samples"].as_array().unwrap().clone()
    };
    for (name, le, value) in [("work_duration_seconds", "1.0", 0.25), ("work_size", "-1.0", -3.5)] {
        let samples = samples(name);
        let with: Vec<_> = samples.iter().filter(|sample| !sample["exemplar"].is_null()).collect();
        let [sample] = with[..] else { panic!("{samples:#?}") };
        assert_eq!((&sample["labels"]["le"], &sample["exemplar"]["value"]), (&le.into(), &value.into()));
        let labels = &sample["exemplar"]["labels"];
        assert_eq!(labels["trace_id"], context.trace_id.to_string());
        assert_eq!(labels["span_id"], context.span_id.to_string());
        assert_eq!(labels.as_object().unwrap().len(), 2);
        assert!(is_between(&sample["exemplar"]["time"], before), "{sample}");
    }
    for name in ["work_duration_seconds", "work_size", "counted", "labelled"] {
        let samples = samples(name);
        let created = samples.iter().find(|sample| sample["name"] == format!("{name}_created"));
        assert!(is_between(&created.unwrap()["value"], before), "{name}: {samples:#?}");
    }
}

/// A counter may have another suffix before `_total`. Of two that need one name, the second is
/// refused: the parsers refuse both together.
#[test]
fn suffixes_before_total_are_parsed() {
    let registry = Registry::with_clock(wall_clock);
    for name in ["tickets_created_total", "replies_count_total", "sizes_sum_total"] {
        registry.counter(name, "A counter.", &[]).with(&[]).add(3);
    }
    let clash = registry.counter("tickets_total", "Tickets.", &[]);
    let reason = &clash.rejected().unwrap().reason;
    assert!(reason.contains("need the name `tickets_created` for it and for `tickets_total`"), "{reason}");
    let snapshot = registry.snapshot(Duration::ZERO);
    let texts = [
        ("prometheus_client.parser", encode::prometheus::encode(&snapshot)),
        ("prometheus_client.openmetrics.parser", encode::openmetrics::encode_with_created(&snapshot)),
    ];
    for (module, text) in texts {
        let Some(families) = parse(module, &text) else { return };
        check_unique(&families);
        for name in ["tickets_created", "replies_count", "sizes_sum"] {
            let family = families.iter().find(|family| family["name"] == name).unwrap();
            assert_eq!((&family["type"], &family["samples"][0]["value"]), (&"counter".into(), &"3".into()));
        }
    }
}

/// Returns `true` if a time in seconds lies between `before`, in nanoseconds, and now.
fn is_between(time: &Value, before: u64) -> bool {
    let time: f64 = time.as_str().unwrap().parse().unwrap();
    (before as f64 / 1e9 - 1e-3..=wall_clock() as f64 / 1e9 + 1e-3).contains(&time)
}

/// The parsers reject broken text, so that their acceptance means something.
#[test]
fn parsers_reject_broken_text() {
    if let Some(python) = Tool::Python.find() {
        for (module, text) in [
            ("prometheus_client.parser", "a{b=\"c} 1\n"),
            ("prometheus_client.openmetrics.parser", "# TYPE a counter\na_total 1\n"),
            ("prometheus_client.openmetrics.parser", "# TYPE a gauge\na 1 # {trace_id=\"1\"} 1 1\n# EOF\n"),
            ("prometheus_client.openmetrics.parser", "# TYPE a counter\na_created x\n# EOF\n"),
            ("prometheus_client.openmetrics.parser", "# TYPE a counter\n# TYPE a_created counter\n# EOF\n"),
        ] {
            assert!(!tool::run(&python, ["-c", PARSE, module], text).status.success(), "{module}");
        }
    }
}

#[test]
fn promtool_reports_nothing() {
    let text = host().scrape();
    if let Some(promtool) = Tool::Promtool.find() {
        let output = tool::run(&promtool, ["check", "metrics"], &text);
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.is_empty(), "{printed}\n{text}");
    }
}

/// The parsers and promtool accept all metrics of `wasmetry serve`.
#[test]
fn served_metrics_are_valid() {
    let server =
        Server::start(&guest("storefront"), &["--tenant", "a \"quoted\" tenant", "--request-timeout", "200ms"]);
    let agent = agent();
    for path in ["/", "/cart", "/checkout?item=pear", "/nowhere", "/boom", "/spin"] {
        get(&agent, &format!("{}{path}", server.url));
    }
    let text = server.scrape();
    if let Some(families) = parse("prometheus_client.parser", &text) {
        check_unique(&families);
    }
    if let Some(promtool) = Tool::Promtool.find() {
        let output = tool::run(&promtool, ["check", "metrics"], &text);
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.is_empty(), "{printed}\n{text}");
    }
    let url = format!("{}/metrics", server.telemetry);
    let mut response = agent.get(&url).header("accept", "application/openmetrics-text").call().unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    if let Some(families) = parse("prometheus_client.openmetrics.parser", &text) {
        check_unique(&families);
        let tenants = families.iter().flat_map(|family| family["samples"].as_array().unwrap());
        assert!(tenants.into_iter().any(|sample| sample["labels"]["tenant"] == "a \"quoted\" tenant"));
    }
}
