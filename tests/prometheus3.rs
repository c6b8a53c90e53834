//! Prometheus 3: its formats, native histograms, start times and OTLP receiver. A warning in its
//! log is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmetry_export::scrape;
use wasmetry_host::Snapshot;
use wasmetry_host::encode::otlp::{self, Encoding, Period, Process};
use wasmetry_tests::backend::built;
use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::embedding::observed::{Allocation, Host};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::Collector;
use wasmetry_tests::server::{Server, agent, get};
use wasmetry_wasmtime::{Telemetry, wall_clock};

/// The limit of every wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The beginning of a configuration.
const GLOBAL: &str = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n";

/// The scrape protocols of Prometheus 3, each with `true` if it has exemplars.
const PROTOCOLS: [(&str, bool); 5] = [
    ("PrometheusText0.0.4", false),
    ("PrometheusText1.0.0", false),
    ("OpenMetricsText0.0.1", true),
    ("OpenMetricsText1.0.0", true),
    ("PrometheusProto", true),
];

/// The schemes by which a scrape can escape names.
const SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

/// Returns the configuration of a scrape job.
fn job(name: &str, target: &str, options: &str) -> String {
    format!("- {{job_name: '{name}', {options}static_configs: [{{targets: ['{target}']}}]}}\n")
}

fn target(server: &Server) -> &str {
    server.telemetry.strip_prefix("http://").unwrap()
}

/// The labels of a series without those of the scrape.
type Labels = BTreeMap<String, String>;

/// Returns the values of all series that a query selects, without the labels `job` and `instance`.
fn values(prometheus: &Prometheus, query: &str) -> BTreeMap<Labels, String> {
    let series = prometheus.series(query).unwrap_or_default();
    let of = |series: &Value| {
        let metric = series["metric"].as_object().unwrap().iter();
        let metric = metric.filter(|(key, _)| !["job", "instance"].contains(&key.as_str()));
        let labels = metric.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
        (labels, series["value"][1].as_str().unwrap().to_owned())
    };
    series.iter().map(of).collect()
}

/// Repeats a query until `is_done` returns `true` for its values, and returns them.
fn values_until(
    prometheus: &Prometheus,
    query: &str,
    is_done: impl Fn(&BTreeMap<Labels, String>) -> bool,
) -> BTreeMap<Labels, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let values = values(prometheus, query);
        if is_done(&values) {
            return values;
        }
        assert!(Instant::now() < end, "{query} returns {values:#?}; warnings: {:#?}", prometheus.warnings());
        thread::yield_now();
    }
}

/// Every scrape protocol and every escaping scheme brings the same series, and those that have
/// exemplars bring the same exemplars.
#[test]
fn every_format_brings_same_series() {
    let collector = Collector::start("http/protobuf");
    let server = Server::start_with(&guest("storefront"), &["--request-timeout", "200ms"], &collector.variables());
    let mut config = format!("{GLOBAL}scrape_configs:\n");
    let mut jobs = vec![("negotiated".to_owned(), true)];
    config += &job("negotiated", target(&server), "");
    for (protocol, has_exemplars) in PROTOCOLS {
        for scheme in SCHEMES {
            let name = format!("{protocol}-{scheme}");
            let options = format!("scrape_protocols: [{protocol}], metric_name_escaping_scheme: {scheme}, ");
            config += &job(&name, target(&server), &options);
            jobs.push((name, has_exemplars));
        }
    }
    config += &job("custom-buckets", target(&server), "convert_classic_histograms_to_nhcb: true, ");
    let Some(prometheus) = Prometheus::start_3(&config, &["--enable-feature=exemplar-storage"]) else { return };
    let counts = "sum by (job) (http_requests_total)";
    prometheus.query_until(counts, "job", |result| result.len() == jobs.len() + 1);

    const TRAFFIC: [(&str, u32); 5] =
        [("/", 30), ("/cart", 20), ("/checkout?item=pear", 10), ("/boom", 4), ("/spin", 1)];
    let agent = agent();
    for (path, count) in TRAFFIC {
        (0..count).for_each(|_| drop(get(&agent, &format!("{}{path}", server.url))));
    }
    let sent = f64::from(TRAFFIC.iter().map(|(_, count)| count).sum::<u32>());
    let is_whole = |result: &BTreeMap<String, f64>| result.values().all(|count| *count == sent);
    for query in [counts, "sum by (job) (wasm_http_requests_total)"] {
        prometheus.query_until(query, "job", |result| result.len() == jobs.len() + 1 && is_whole(result));
    }
    let ended = "sum by (job) (wasm_traps_total)";
    prometheus.query_until(ended, "job", |result| result.len() > jobs.len() && result.values().all(|n| *n == 5.0));

    let selected = "__name__=~\"http_.+|wasm_http_.+|wasm_traps_total|items_.+\"";
    let of = |job: &str| values(&prometheus, &format!("{{{selected}, job=\"{job}\"}}"));
    let expected = of("negotiated");
    assert!(expected.len() > 50, "{expected:#?}");
    for (job, has_exemplars) in &jobs {
        assert_eq!(of(job), expected, "{job}");
        let exemplars = prometheus.exemplars(&format!("{{{selected}, job=\"{job}\"}}")).unwrap();
        assert_eq!(!exemplars.is_empty(), *has_exemplars, "{job}");
        for (series, exemplar) in exemplars {
            assert_eq!(exemplar["labels"]["trace_id"].as_str().map(str::len), Some(32), "{series} {exemplar}");
        }
    }
    // A classic histogram that Prometheus converts has the same quantiles.
    for quantile in [0.5, 0.9, 0.99] {
        let of = |query: &str| prometheus.query_until(query, "", |result| result.len() == 1)[""];
        let name = "wasm_http_request_duration_seconds";
        let classic = of(&format!("histogram_quantile({quantile}, sum by (le) ({name}_bucket{{job=\"negotiated\"}}))"));
        let converted = of(&format!("histogram_quantile({quantile}, sum({name}{{job=\"custom-buckets\"}}))"));
        assert!((classic - converted).abs() < 1e-9, "{quantile}: {classic} {converted}");
    }
    assert_eq!(prometheus.warnings(), [""; 0]);
}

/// Returns the parts of an exposition that do not change while the guest is idle: lines, or
/// messages of Protocol Buffers.
fn guest_metrics(body: &[u8], is_protobuf: bool) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    if is_protobuf {
        let mut rest = body;
        while !rest.is_empty() {
            // A varint of seven bits in each byte, the lowest first.
            let length = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let size = rest[..length].iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
            parts.push(rest[length..length + size].to_vec());
            rest = &rest[length + size..];
        }
    } else {
        parts.extend(body.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }
    // In a message the name follows the field's number and its length.
    let begins =
        |part: &Vec<u8>| part.get(if is_protobuf { 2 } else { 0 }..).is_some_and(|of| of.starts_with(b"http_"));
    parts.retain(begins);
    parts
}

/// A scrape's `Content-Type` repeats the escaping scheme, and its body is the same under each.
#[test]
fn escaping_scheme_keeps_the_bytes() {
    let server = Server::start(&guest("storefront"), &[]);
    let accept = [
        "text/plain;version=1.0.0",
        "application/openmetrics-text;version=1.0.0",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    ];
    for accept in accept {
        let scrape = |escaping: &str| {
            let request = agent().get(format!("{}/metrics", server.telemetry));
            let mut response = request.header("accept", format!("{accept}{escaping}")).call().unwrap();
            let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
            let body = response.body_mut().read_to_vec().unwrap();
            (content_type, guest_metrics(&body, accept.contains("protobuf")))
        };
        let (content_type, metrics) = scrape("");
        assert!(!content_type.contains("escaping") && metrics.len() >= 2, "{content_type} {}", metrics.len());
        for scheme in SCHEMES {
            let (with, escaped) = scrape(&format!(";escaping={scheme}"));
            assert_eq!(with, format!("{content_type}; escaping={scheme}"));
            assert!(escaped == metrics, "{accept} {scheme}");
        }
    }
}

/// The telemetry of a host in this process, for the endpoint.
struct InProcess(Telemetry);

impl scrape::Source for InProcess {
    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Pushes a snapshot to Prometheus' receiver of OTLP, as a service of this name.
fn push(prometheus: &Prometheus, snapshot: &Snapshot, service: &str) {
    let time = wall_clock();
    let period = Period::Cumulative { start: time - 1_000_000_000, time };
    let process = Process::default().with_service_name(service);
    let request = otlp::metrics(snapshot, period, &process, Encoding::Protobuf);
    let url = format!("{}/api/v1/otlp/v1/metrics", prometheus.url);
    let request = agent().post(url).content_type("application/x-protobuf").send(Encoding::Protobuf.encode(&request));
    assert_eq!(request.unwrap().status(), 200);
}

/// The quantiles of a native histogram are at most one bucket's width from the observed values,
/// whether it was scraped or pushed by OTLP.
#[test]
fn native_quantiles_are_within_bounds() {
    let host = Host::new(Allocation::OnDemand);
    let mut recorder = host.instance();
    // A spread of four orders of magnitude, in no order, with the values' own sum.
    let mut sizes: Vec<f64> = (0..1000u32).map(|n| 1.5 * 1.0095_f64.powi(((n * 617) % 1000) as i32)).collect();
    for size in &sizes {
        recorder.run("observe-answer", (*size,));
    }
    drop(recorder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = scrape::Server::start(listener, Arc::new(InProcess(host.telemetry.clone()))).unwrap();
    let addr = endpoint.local_addr().to_string();
    let config = format!(
        "{GLOBAL}scrape_configs:\n{}{}",
        job("native", &addr, "scrape_native_histograms: true, "),
        job("classic", &addr, "")
    );
    let Some(mut prometheus) = Prometheus::start_3(&config, &["--web.enable-otlp-receiver"]) else { return };
    prometheus.wait_until_ready();
    push(&prometheus, &host.telemetry.snapshot(), "pushed");
    let of = |query: &str| prometheus.query_until(query, "", |result| result.len() == 1)[""];
    sizes.sort_unstable_by(f64::total_cmp);
    for job in ["native", "pushed"] {
        let native = format!("answer_size_bytes{{job=\"{job}\"}}");
        assert_eq!(of(&format!("histogram_count({native})")), 1000.0, "{job}");
        let sum: f64 = sizes.iter().sum();
        assert!((of(&format!("histogram_sum({native})")) / sum - 1.0).abs() < 1e-12, "{job}");
        // Each bucket is wider than the one before by the same factor.
        let series = prometheus.series(&native).unwrap();
        let buckets = series[0]["histogram"][1]["buckets"].as_array().unwrap();
        let bound = |bucket: &Value, at: usize| bucket[at].as_str().unwrap().parse::<f64>().unwrap();
        let factor = bound(&buckets[0], 2) / bound(&buckets[0], 1);
        assert!(buckets.len() <= 16 && factor > 1.0 && factor <= 2.0, "{job}: {factor} {buckets:#?}");
        for quantile in [0.01, 0.1, 0.5, 0.9, 0.99] {
            let exact = sizes[(quantile * 1000.0) as usize];
            let estimated = of(&format!("histogram_quantile({quantile}, {native})"));
            let ratio = estimated / exact;
            assert!((1.0 / factor..=factor).contains(&ratio), "{job}, {quantile}: {estimated}, exactly {exact}");
        }
    }
    // Without native histograms the same metric has buckets that are powers of this factor.
    assert_eq!(of("answer_size_bytes_count{job=\"classic\"}"), 1000.0);
    assert_eq!(of("answer_size_bytes_bucket{job=\"classic\", le=\"+Inf\"}"), 1000.0);
    assert_eq!(prometheus.query("answer_size_bytes_count{job=\"native\"}", "").unwrap().len(), 0);
    assert_eq!(prometheus.warnings(), [""; 0]);
}

/// A series that starts with its first event has a sample of 0 at its start time, so that the event
/// counts in `increase`.
#[test]
fn first_event_of_series_counts() {
    let server = Server::start(&guest("storefront"), &[]);
    let config = format!(
        "{GLOBAL}scrape_configs:\n{}{}",
        job("protobuf", target(&server), ""),
        job("openmetrics", target(&server), "scrape_protocols: [OpenMetricsText1.0.0], params: {created: ['true']}, ")
    );
    let Some(prometheus) = Prometheus::start_3(&config, &["--enable-feature=created-timestamp-zero-ingestion"]) else {
        return;
    };
    prometheus.query_until("sum by (job) (http_requests_total)", "job", |result| result.len() == 2);
    let before = wall_clock() as f64 / 1e9;
    assert_eq!(get(&agent(), &format!("{}/checkout?item=pear", server.url)).0, 200);
    let after = wall_clock() as f64 / 1e9;
    let sold = "items_sold_total{item=\"pear\"}";
    prometheus.query_until(sold, "job", |result| result.len() == 2 && result.values().all(|count| *count == 1.0));
    for series in prometheus.series(&format!("{sold}[5m]")).unwrap() {
        let samples = series["values"].as_array().unwrap();
        let sample = |at: usize| (samples[at][0].as_f64().unwrap(), samples[at][1].as_str().unwrap());
        let (time, value) = sample(0);
        assert_eq!((value, sample(1).1), ("0", "1"), "{series}");
        // Prometheus stores milliseconds.
        assert!((before - 1e-3..=after + 1e-3).contains(&time), "{before} {after} {series}");
    }
    let increase = prometheus.query_until(&format!("increase({sold}[5m])"), "job", |result| result.len() == 2);
    assert!(increase.values().all(|increase| *increase > 0.0), "{increase:?}");
    // Start times are no series of their own.
    assert_eq!(prometheus.query("{__name__=~\".+_created\"}", "").unwrap().len(), 0);
    assert_eq!(prometheus.warnings(), [""; 0]);
}

/// Metrics that Prometheus receives by OTLP have the names and values of scraped ones.
#[test]
fn otlp_values_equal_scraped_values() {
    for temporality in ["cumulative", "delta"] {
        let directory = tempfile::tempdir().unwrap();
        let targets = directory.path().join("targets.json");
        std::fs::write(&targets, "[]").unwrap();
        let config = format!(
            "{GLOBAL}otlp: {{promote_resource_attributes: [component, tenant, service.version]}}\n\
             scrape_configs:\n- {{job_name: scraped, file_sd_configs: [{{files: ['{}'], refresh_interval: 1s}}]}}\n",
            targets.display()
        );
        let flags = ["--web.enable-otlp-receiver", "--enable-feature=otlp-deltatocumulative"];
        let Some(mut prometheus) = Prometheus::start_3(&config, &flags) else { return };
        prometheus.wait_until_ready();
        let variables = [
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", format!("{}/api/v1/otlp/v1/metrics", prometheus.url)),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf".to_owned()),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality.to_owned()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300".to_owned()),
        ];
        let arguments = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme"];
        let server = Server::start_with(&guest("storefront"), &arguments, &variables);
        // Prometheus may read the file at any time.
        let written = directory.path().join("written");
        std::fs::write(&written, serde_json::json!([{"targets": [target(&server)]}]).to_string()).unwrap();
        std::fs::rename(written, &targets).unwrap();
        let agent = agent();
        for (path, count) in [("/", 30), ("/cart", 20), ("/checkout?item=pear", 10), ("/boom", 4)] {
            (0..count).for_each(|_| drop(get(&agent, &format!("{}{path}", server.url))));
        }
        let selected = "__name__=~\"http_.+|wasm_http_.+|wasm_traps_total|items_.+\"";
        let is_whole = |values: &BTreeMap<Labels, String>| {
            let sum = |name: &str| -> f64 {
                let of = values.iter().filter(|(labels, _)| labels["__name__"] == name);
                of.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
            };
            sum("http_requests_total") == 64.0
                && sum("wasm_http_requests_total") == 64.0
                && sum("wasm_traps_total") == 4.0
                && sum("wasm_http_request_duration_seconds_count") == 64.0
        };
        let scraped = values_until(&prometheus, &format!("{{{selected}, job=\"scraped\"}}"), is_whole);
        let mut pushed = values_until(&prometheus, &format!("{{{selected}, job=\"shop\"}}"), is_whole);
        // The resource's attribute has the name of the semantic conventions, and Prometheus writes
        // `1` for a bound of OTLP where it writes `1.0` for a scraped one.
        pushed = pushed
            .into_iter()
            .map(|(mut labels, value)| {
                let version = labels.remove("service_version").unwrap_or_default();
                labels.insert("version".to_owned(), version);
                if let Some(le) = labels.get_mut("le").filter(|le| le.parse::<u64>().is_ok()) {
                    le.push_str(".0");
                }
                (labels, value)
            })
            .collect();
        // Series that are still 0 have no deltas.
        let is_zero = |value: &str| value == "0";
        let all: BTreeSet<&Labels> = scraped.keys().chain(pushed.keys()).collect();
        for labels in all {
            let [scraped, pushed] = [&scraped, &pushed].map(|values| values.get(labels).map(String::as_str));
            let is_unchanged = temporality == "delta" && scraped.is_none_or(is_zero) && pushed.is_none_or(is_zero);
            assert!(scraped == pushed || is_unchanged, "{temporality}: {labels:?}: {scraped:?}, pushed {pushed:?}");
        }
        let (status, stderr) = server.stop();
        assert!(status.success(), "{stderr:?}");
        assert_eq!(prometheus.warnings(), [""; 0], "{temporality}");
    }
}

/// Rules that Sloth makes for a service-level objective on the storefront's metrics are valid, and
/// Prometheus evaluates them.
#[test]
fn sloth_rules_are_evaluated() {
    const OBJECTIVE: &str = "
version: prometheus/v1
service: storefront
slos:
  - name: requests
    objective: 99
    sli:
      events:
        error_query: sum(rate(wasm_http_requests_total{status=~\"5..\"}[{{.window}}]))
        total_query: sum(rate(wasm_http_requests_total[{{.window}}]))
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
";
    let [Some(sloth), Some(promtool)] =
        [("sloth", "sloth"), ("prometheus", "promtool")].map(|(backend, program)| built::program(backend, program))
    else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let [objective, rules] = ["objective.yml", "rules.yml"].map(|name| directory.path().join(name));
    std::fs::write(&objective, OBJECTIVE).unwrap();
    let made = Command::new(sloth).arg("generate").arg("-i").arg(&objective).arg("-o").arg(&rules).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let checked = Command::new(promtool).args(["check", "rules", "--lint-fatal"]).arg(&rules).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let server = Server::start(&guest("storefront"), &[]);
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}']\nscrape_configs:\n{}",
        rules.display(),
        job("storefront", target(&server), "")
    );
    // The rules have an interval of their own.
    let text = std::fs::read_to_string(&rules).unwrap();
    assert!(text.contains("slo:sli_error:ratio_rate5m"), "{text}");
    let Some(prometheus) = Prometheus::start_3(&config, &[]) else { return };
    prometheus.query_until("sum(wasm_http_requests_total)", "", |result| result.get("") == Some(&0.0));
    let agent = agent();
    for (path, count) in [("/", 15), ("/boom", 5)] {
        (0..count).for_each(|_| drop(get(&agent, &format!("{}{path}", server.url))));
    }
    let is_quarter = |result: &BTreeMap<String, f64>| result.get("").is_some_and(|ratio| (ratio - 0.25).abs() < 1e-6);
    prometheus.query_until("sum(slo:sli_error:ratio_rate5m)", "", is_quarter);
    assert_eq!(prometheus.warnings(), [""; 0]);
}
