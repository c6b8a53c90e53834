//! Log shippers: their configuration, and real lines that the Collector reads.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wasmetry_host::encode::json::RESERVED;
use wasmetry_ops::logql::{Expr, Selection, Stage};
use wasmetry_ops::{Kind, LogQuery, Service};

use super::app::{Random, every_alert, random_service};
use super::line::{TIME, TRACE, failed_request};
use super::program::{Daemon, built, found, passes, text};
use super::write;

/// Returns services with every choice, and with texts that need quoting.
fn services() -> Vec<Service> {
    let mut unusual = every_alert();
    let logs = &mut unusual.settings.logs;
    logs.files = vec!["/var/log/a b/\"quoted\" \\ $HOME/*.jsonl".into(), "/srv/${env:X}/日本/*.log".into()];
    logs.loki_url = "https://loki.example.com/prefix".into();
    logs.loki_tenant = Some("team \"a\" $x".into());
    logs.loki_user = Some("user: $y".into());
    logs.pod_selector = "app=shop,runtime notin (jvm)".into();
    logs.container = "shop".into();
    vec![every_alert(), unusual]
}

/// Alloy's own parser accepts the files, and its formatter changes nothing.
#[test]
fn alloy_parses_files() {
    let Some(checker) = built("alloy", "alloy-syntax") else { return };
    for service in services() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &service, Kind::Logs);
        passes(&checker, directory.path(), &["logs/files.alloy", "logs/pods.alloy"]);
    }
    // The checker can fail.
    let directory = tempfile::tempdir().unwrap();
    for broken in ["a \"b\" {\n", "a \"b\" {\n\tx = \n}\n", "a   \"b\" { }\n"] {
        fs::write(directory.path().join("broken.alloy"), broken).unwrap();
        let output = Command::new(&checker).arg("broken.alloy").current_dir(directory.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{broken}: {}", text(&output));
    }
}

/// The Collector accepts the files.
#[test]
fn collector_validates_files() {
    let Some(collector) = built("collector", "collector") else { return };
    for service in services() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &service, Kind::Logs);
        for place in ["files", "pods"] {
            let config = format!("--config=logs/collector-{place}.yml");
            passes(&collector, directory.path(), &["validate", &config]);
        }
    }
}

/// Starts a Collector with a generated configuration, whose records go to the file `received`
/// instead of Loki.
fn start(directory: &Path, place: &str, include: &str) -> Option<Daemon> {
    let collector = built("collector", "collector")?;
    let receiver = if place == "pods" { "file_log/pods" } else { "file_log/lines" };
    let addition = json!({
        "extensions": {"file_storage": {"directory": directory.join("storage")}},
        "receivers": {receiver: {"include": [directory.join(include)], "poll_interval": "20ms"}},
        "exporters": {"jsonlines": {"path": directory.join("received")}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"logs": {"exporters": ["jsonlines"]}},
        },
    });
    // JSON is YAML.
    fs::write(directory.join("addition.yml"), addition.to_string()).unwrap();
    let config = format!("--config=logs/collector-{place}.yml");
    Some(Daemon::start(&collector, directory, &[&config, "--config=addition.yml"]))
}

/// Waits for records, and returns them with the attributes of their resource.
fn received(daemon: &mut Daemon, directory: &Path, count: usize) -> Vec<(Value, Value)> {
    let path = directory.join("received");
    daemon.wait("records", |_| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut all = Vec::new();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let request: Value = serde_json::from_str(line).unwrap();
            for of_resource in request["resourceLogs"].as_array().unwrap() {
                let resource = attributes(&of_resource["resource"]);
                let scopes = of_resource["scopeLogs"].as_array().unwrap().iter();
                let records = scopes.flat_map(|scope| scope["logRecords"].as_array().unwrap());
                all.extend(records.map(|record| (resource.clone(), record.clone())));
            }
        }
        all.sort_by_key(|(_, record)| record["body"]["stringValue"].to_string());
        (all.len() == count).then_some(all)
    })
}

/// Returns attributes as an object, each with its value alone.
fn attributes(of: &Value) -> Value {
    let value = |pair: &Value| pair["value"].as_object().unwrap().values().next().unwrap().clone();
    let pairs = of["attributes"].as_array().into_iter().flatten();
    pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), value(pair))).collect()
}

/// Asserts that an object has these members.
fn assert_has(object: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(object[key], *value, "{key} of {object:#}");
    }
}

/// Asserts that the records are those of the failed request and of a line that is not JSON.
fn assert_records(records: &[(Value, Value)]) {
    let [access, printed, plain] = records else { panic!("{records:#?}") };
    for (resource, record) in [access, printed] {
        assert_has(resource, &json!({"service.name": "shop", "service.version": "1.2", "tenant": "acme"}));
        assert_has(record, &json!({"timeUnixNano": TIME.to_string(), "traceId": TRACE, "spanId": "b7ad6b7169203331"}));
    }
    let (_, record) = access;
    assert_eq!(record["severityNumber"], 17, "{record:#}");
    assert_eq!(record["body"]["stringValue"], "POST /cart/{id} 500: the guest ended: deadline");
    let expected = json!({
        "level": "error",
        "target": "access",
        "method": "POST",
        "route": "/cart/{id}",
        "status": "500",
        "duration": "1.25s",
        "error_type": "deadline",
        "request_bytes": "4",
        "response_bytes": "19",
    });
    assert_has(&attributes(record), &expected);
    assert_eq!(attributes(record)["duration_ms"].as_f64(), Some(1250.0));
    for removed in ["timestamp", "message", "service", "trace_id", "span_id"] {
        assert_eq!(attributes(record)[removed], Value::Null, "{removed}");
    }
    let (_, record) = printed;
    assert_eq!(record["body"]["stringValue"], "cannot reach the database");
    let (_, record) = plain;
    assert_eq!(record["body"]["stringValue"], "{ no JSON");
}

/// The Collector makes records of the lines that `wasmetry serve` writes to a file.
#[test]
fn collector_reads_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, &every_alert(), Kind::Logs);
    let [printed, access] = failed_request();
    fs::write(path.join("shop.jsonl"), format!("{printed}\n{access}\n{{ no JSON\n")).unwrap();
    let Some(mut collector) = start(path, "files", "*.jsonl") else { return };
    assert_records(&received(&mut collector, path, 3));
}

/// So it does with the files in which Kubernetes' runtime keeps the lines of a pod, and it names
/// the pod. It does not read other containers, and a restart reads nothing twice.
#[test]
fn collector_reads_pods() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, &every_alert(), Kind::Logs);
    let uid = "7a2c8f2e-6a54-4d3c-9f0b-0a3f8a1d5c11";
    let folder = path.join(format!("pods/shops_shop-5d8f-x2x_{uid}/wasmetry"));
    let other = path.join(format!("pods/shops_shop-5d8f-x2x_{uid}/sidecar"));
    let [printed, access] = failed_request();
    let cri = |stream: &str, line: &str| format!("2023-11-14T22:13:21.5Z {stream} F {line}\n");
    for folder in [&folder, &other] {
        fs::create_dir_all(folder).unwrap();
        let lines = cri("stdout", &printed) + &cri("stdout", &access) + &cri("stderr", "{ no JSON");
        fs::write(folder.join("0.log"), lines).unwrap();
    }
    let Some(mut collector) = start(path, "pods", "pods/*/wasmetry/*.log") else { return };
    let records = received(&mut collector, path, 3);
    assert_records(&records);
    for (resource, _) in &records {
        let expected = json!({
            "k8s.namespace.name": "shops",
            "k8s.pod.name": "shop-5d8f-x2x",
            "k8s.pod.uid": uid,
            "k8s.container.name": "wasmetry",
        });
        assert_has(resource, &expected);
    }
    drop(collector);
    let file = fs::File::options().append(true).open(folder.join("0.log"));
    file.unwrap().write_all(cri("stderr", "~ after the restart").as_bytes()).unwrap();
    let Some(mut collector) = start(path, "pods", "pods/*/wasmetry/*.log") else { return };
    let records = received(&mut collector, path, 4);
    assert_eq!(records[3].1["body"]["stringValue"], "~ after the restart");
}

/// Promtail is not run, since it reached its end of life. Prometheus, whose discovery and
/// relabelling it shares, accepts its discovery and relabelling.
#[test]
fn prometheus_accepts_promtail_discovery() {
    let Some(promtool) = built("prometheus", "promtool") else { return };
    for service in services() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &service, Kind::Logs);
        for place in ["files", "pods"] {
            let path = directory.path().join(format!("logs/promtail-{place}.yml"));
            let text = fs::read_to_string(&path).unwrap();
            let (head, rest) = text.split_once("server:\n").unwrap();
            let scrape = &rest[rest.find("scrape_configs:\n").unwrap()..];
            let (scrape, stages) = scrape.split_once("  pipeline_stages:\n").unwrap();
            assert!(head.contains("end of life on 2026-03-02"), "{head}");
            assert_eq!(stages.starts_with("  - cri: {}\n"), place == "pods", "{stages}");
            let path = directory.path().join("prometheus.yml");
            fs::write(&path, scrape).unwrap();
            passes(&promtool, directory.path(), &["check", "config", "prometheus.yml"]);
        }
    }
}

/// Grafana's parser of LogQL accepts every query, also with names of any text.
#[test]
fn queries_parse() {
    let mut random = Random::new(0x10c1);
    let services = (0..100).map(|number| random_service(&mut random, number)).chain([every_alert()]);
    let queries: Vec<LogQuery> = services.flat_map(|service| service.log_queries()).collect();
    let queries: Vec<String> =
        queries.iter().flat_map(|query| [query.lines.to_string(), query.pushed.to_string()]).collect();
    assert!(queries.len() > 2000);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/grafana");
    let modules = folder.join("node_modules/@grafana/lezer-logql");
    let message = "Grafana's parser of LogQL is not installed: run `npm ci` in tests/grafana, with Node 20";
    if found(modules.is_dir().then_some(()), message).is_none() {
        return;
    }
    let check = |queries: &[String]| {
        let mut command = Command::new("node");
        command.arg(folder.join("logql.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(json!(queries).to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = check(&queries);
    assert!(output.status.success(), "{}", text(&output));
    let output = check(&["{component=\"a\"} | json | duration >".to_owned()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

fn selection(expr: &Expr) -> &Selection {
    match expr {
        Expr::Lines(selection) | Expr::Range { selection, .. } => selection,
        Expr::Aggregate { of, .. } => selection(of),
        other => panic!("{other:?}"),
    }
}

fn labels(expr: &Expr) -> Vec<&'static str> {
    let mut labels: Vec<_> = selection(expr).matchers.iter().map(|(label, ..)| *label).collect();
    labels.extend(selection(expr).stages.iter().filter_map(|stage| match stage {
        Stage::Filter(label, ..) => Some(*label),
        _ => None,
    }));
    let mut expr = expr;
    loop {
        match expr {
            Expr::Range { unwrap, by, .. } => labels.extend(unwrap.iter().chain(by)),
            Expr::Aggregate { by, of, .. } => {
                labels.extend(by);
                expr = of;
                continue;
            }
            _ => {}
        }
        return labels;
    }
}

/// Every field that a query of JSON lines names is one of the access log, of every record, or of a
/// pod.
#[test]
fn queries_name_known_fields() {
    let [printed, access] = failed_request();
    let keys = |line: &str| -> Vec<String> {
        let line: Value = serde_json::from_str(line).unwrap();
        line.as_object().unwrap().keys().cloned().collect()
    };
    let mut known = [keys(&printed), keys(&access)].concat();
    known.extend(RESERVED.map(str::to_owned));
    known.extend(["component", "pod"].map(str::to_owned));
    let queries = every_alert().log_queries();
    for query in &queries {
        for label in labels(&query.lines) {
            assert!(known.iter().any(|key| key == label), "`{label}` of `{}` is not in {known:?}", query.lines);
        }
    }
    for label in ["error_type", "status", "duration", "duration_ms", "response_bytes", "trace_id", "pod", "route"] {
        assert!(queries.iter().any(|query| labels(&query.lines).contains(&label)), "no query has {label}");
    }
    let recipes = wasmetry_ops::generate(&every_alert(), Kind::Logs, false).pop().unwrap();
    for query in queries {
        for expr in [query.lines, query.pushed] {
            assert!(recipes.contents.contains(&format!("```logql\n{expr}\n```")), "{expr}");
        }
    }
}
