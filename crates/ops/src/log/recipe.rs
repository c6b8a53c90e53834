//! Queries of a service's logs, on the fields of records and of the access log.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::format::Head;
use crate::logql::{Expr, Literal, Selection, Stage};
use crate::promql::escaped_regex;
use crate::{File, Service};

/// A query of logs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogQuery {
    /// The answer that it gives.
    pub title: &'static str,
    /// The meaning of its result, in a sentence or two.
    pub meaning: &'static str,
    /// The query of JSON lines, which Alloy and Promtail ship.
    pub lines: Expr,
    /// The query of records with structured metadata: those that `wasmetry serve` pushes to Loki.
    pub pushed: Expr,
}

/// The form in which Loki has records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// JSON lines.
    Lines,
    /// Messages with structured metadata.
    Pushed,
}

const MINUTES: u64 = 300;

/// A trace id of the W3C's examples, to be replaced.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Returns the queries of a service.
pub(crate) fn queries(service: &Service) -> Vec<LogQuery> {
    let query = |title, meaning, expr: &dyn Fn(Form) -> Expr| LogQuery {
        title,
        meaning,
        lines: expr(Form::Lines),
        pushed: expr(Form::Pushed),
    };
    let slow = Literal::Milliseconds(slow_milliseconds(service));
    let all = |form| records(service, form);
    let access = |form| all(form).is("target", "access");
    let requests_over_time = |form, function, parameter, unwrap| Expr::Range {
        function,
        parameter,
        selection: access(form),
        unwrap: Some(unwrap),
        seconds: MINUTES,
        by: vec!["route"],
    };
    vec![
        query(
            "Errors by type",
            "The number of failed requests in 5 minutes by `error_type`: `panic`, a trap's reason, the path of an error's \
             type, or a status.",
            &|form| {
                access(form).compare("error_type", "!=", Literal::Text(String::new())).count(&["error_type"], MINUTES)
            },
        ),
        query(
            "Failed requests",
            "One line for each request that was answered with 5xx, with the cause in its message.",
            &|form| Expr::Lines(access(form).compare("status", ">=", Literal::Number(500.0))),
        ),
        query(
            "Slow requests",
            "Requests that took longer than the threshold of the latency alert. The access log has those that are slower \
             than `--keep-slow`, and all with `--access-log all`.",
            &|form| Expr::Lines(access(form).compare("duration", ">", slow.clone())),
        ),
        query(
            "95th percentile of durations by route, in milliseconds",
            "It needs `--access-log all`; without it, only failed and slow requests are in the log. The histogram \
             `wasm_http_request_duration_seconds` has all requests and costs less.",
            &|form| requests_over_time(form, "quantile_over_time", Some(0.95), "duration_ms"),
        ),
        query(
            "Bytes of responses by route",
            "The bytes that were sent in 5 minutes, of the requests that are in the access log.",
            &|form| {
                let sum = Expr::Range {
                    function: "sum_over_time",
                    parameter: None,
                    selection: access(form),
                    unwrap: Some("response_bytes"),
                    seconds: MINUTES,
                    by: Vec::new(),
                };
                Expr::Aggregate { operator: "sum", parameter: None, by: vec!["route"], of: Box::new(sum) }
            },
        ),
        query(
            "Requests whose client left",
            "The client closed the connection before the response was complete: often its own timeout.",
            &|form| access(form).compare("status", "=", Literal::Number(499.0)).count(&["route"], MINUTES),
        ),
        query(
            "Errors by pod",
            "A single pod with errors points at its node or its version, all pods at the code or a dependency. Only logs \
             that are shipped from Kubernetes have `pod`.",
            &|form| all(form).is("level", "error").count(&["pod"], MINUTES),
        ),
        query(
            "Everything of one trace",
            "All records of one request, in order; the trace's id is in the access log, in exemplars and in Jaeger.",
            &|_| Expr::Lines(selection(service).is("trace_id", TRACE)),
        ),
        query(
            "Panics",
            "Messages with the place in the source; the request's trace leads to its other records.",
            &|form| Expr::Lines(all(form).is("target", "panic")),
        ),
        query("Lines that a guest printed to stderr", "They have no level and no fields.", &|form| {
            let key = if form == Form::Lines { "stream" } else { "log_iostream" };
            Expr::Lines(all(form).is(key, "stderr"))
        }),
        query("Audit records", "They are never sampled, and dropped last.", &|form| {
            let (key, value) = if form == Form::Lines { ("audit", "true") } else { ("stream", "audit") };
            Expr::Lines(all(form).is(key, value))
        }),
        query(
            "The loudest targets",
            "Where to raise a level: `PUT /recording` changes levels while guests run.",
            &|form| {
                let of = Box::new(all(form).count(&["target"], 3600));
                Expr::Aggregate { operator: "topk", parameter: Some(10), by: Vec::new(), of }
            },
        ),
    ]
}

/// Selects the records of a service.
fn records(service: &Service, form: Form) -> Selection {
    let selection = selection(service);
    if form == Form::Lines { selection.stage(Stage::Json) } else { selection }
}

fn selection(service: &Service) -> Selection {
    let names: BTreeSet<&str> = service.components.iter().map(|component| component.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let matcher = match names.as_slice() {
        [only] => ("component", "=", (*only).to_owned()),
        // Loki needs a matcher that an empty text does not meet.
        [] => ("component", "=~", ".+".to_owned()),
        names => ("component", "=~", names.iter().map(|name| escaped_regex(name)).collect::<Vec<_>>().join("|")),
    };
    Selection { matchers: vec![matcher], stages: Vec::new() }
}

/// Returns the threshold of slow requests in milliseconds, without the rounding errors of a
/// product.
fn slow_milliseconds(service: &Service) -> f64 {
    (service.settings.latency * 1e6).round() / 1e3
}

const BEGIN: &str = "\
Each query is written twice: for JSON lines that Grafana Alloy or Promtail has shipped (`files.alloy`, `pods.alloy`,
`promtail-*.yml`), and for records that `wasmetry serve` has pushed to Loki itself (`WASMETRY_LOKI_ENDPOINT`), whose
fields are structured metadata. What the OpenTelemetry Collector has shipped (`collector-*.yml`) is queried as pushed
records are, with `service_name` in place of `component`.

| field | value |
|---|---|
| `component`, `version`, `tenant`, `level` | labels of the stream; lines that a guest printed have no level |
| `target` | the module that logs, `access` for the access log, `panic` for panics |
| `trace_id`, `span_id` | the request's trace, if traces are exported |
| `method`, `route`, `status` | of the access log; 499 is a client that left |
| `duration`, `duration_ms` | of the access log: a text such as `350ms`, which LogQL compares, and a number |
| `error_type` | of a failed request and of a panic |
| `request_bytes`, `response_bytes` | of the access log |
| `app`, `namespace`, `pod`, `container`, `node`, `runtime` | labels of the stream, of logs that Alloy and Promtail ship from Kubernetes |
";

const ELK: &str = "\
## With Elasticsearch

Filebeat reads the same files with the input `filestream` and the parser `ndjson` (`target: \"\"`, `overwrite_keys: true`,
`add_error_key: true`), and the processor `timestamp` makes `@timestamp` of the field `timestamp` (layout
`2006-01-02T15:04:05.999999999Z`); in Kubernetes its autodiscovery selects the pods by `kubernetes.labels.runtime`. The
fields keep the names above, so errors by type are the terms of `error_type` where `target: \"access\"`, slow requests
are `target: \"access\" and duration_ms > {SLOW}`, a pod is `kubernetes.pod.name`, and a trace is `trace_id: \"…\"` in
Kibana's query language. Map `duration_ms`, `status` and the bytes as numbers in an index template, and `duration` as
`keyword`. An OpenTelemetry Collector with `collector-files.yml` needs only another exporter, `elasticsearch`, in place
of `otlp_http/loki`.
";

/// Returns `logs/recipes.md`.
pub(super) fn file(service: &Service, head: &Head) -> File {
    let [first, second] = head.lines();
    let mut text = format!("# Queries of the logs\n\n{first}\n\n    {second}\n\n{BEGIN}\n");
    for LogQuery { title, meaning, lines, pushed } in queries(service) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "## {title}\n\n{meaning}\n\n```logql\n{lines}\n```");
        if lines != pushed {
            let _ = writeln!(text, "\nPushed:\n\n```logql\n{pushed}\n```");
        }
        text.push('\n');
    }
    text.push_str(&ELK.replace("{SLOW}", &slow_milliseconds(service).to_string()));
    File { path: "logs/recipes.md".to_owned(), contents: text }
}
