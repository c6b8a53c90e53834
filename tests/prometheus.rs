//! A real Prometheus scrapes a real `wasmetry serve`; its query API has the exact numbers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use wasmetry_tests::server::{Server, agent, get};
use wasmetry_tests::tool::Tool;
use wasmetry_tests::{guest, target};

/// A running Prometheus. Dropping it kills it.
struct Prometheus {
    child: Child,
    url: String,
    agent: Agent,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes `server` every second; nothing where Prometheus is not installed.
    fn start(server: &Server) -> Option<Self> {
        let program = Tool::Prometheus.find()?;
        let directory = tempfile::tempdir_in(target()).unwrap();
        let config = directory.path().join("prometheus.yml");
        let target = server.telemetry.strip_prefix("http://").unwrap();
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: wasmetry\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, text).unwrap();
        // Prometheus cannot choose a free port itself.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, url: format!("http://127.0.0.1:{port}"), agent: agent(), _directory: directory })
    }

    /// The result of an instant query, by the values of one label; nothing while Prometheus does not answer.
    fn query(&self, query: &str, label: &str) -> Option<BTreeMap<String, f64>> {
        let url = format!("{}/api/v1/query", self.url);
        let mut response = self.agent.get(&url).query("query", query).call().ok()?;
        let answer: Value = serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array().unwrap();
        let entry = |series: &Value| {
            let value = series["value"][1].as_str().unwrap().parse().unwrap();
            (series["metric"][label].as_str().unwrap_or_default().to_owned(), value)
        };
        Some(result.iter().map(entry).collect())
    }

    /// Queries until `done`, or fails with the last answer after a minute.
    fn query_until(
        &self,
        query: &str,
        label: &str,
        done: impl Fn(&BTreeMap<String, f64>) -> bool,
    ) -> BTreeMap<String, f64> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.query(query, label);
            if let Some(answer) = answer.as_ref().filter(|answer| done(answer)) {
                return answer.clone();
            }
            assert!(Instant::now() < end, "{query} gives {answer:?}");
            thread::yield_now();
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_has_the_exact_numbers_and_the_queries_every_service_needs() {
    let server = Server::start(&guest("storefront"), &["--request-timeout", "200ms"]);
    let Some(prometheus) = Prometheus::start(&server) else { return };
    // The series are there, at 0, before the first request, so that not even the first one is lost to `rate`.
    prometheus.query_until("sum(http_requests_total)", "", |answer| answer.get("") == Some(&0.0));

    const TRAFFIC: [(&str, u64); 6] =
        [("/", 300), ("/cart", 200), ("/checkout", 100), ("/slow?ms=20", 30), ("/boom", 40), ("/spin", 5)];
    let agent = agent();
    for (path, count) in TRAFFIC {
        for _ in 0..count {
            get(&agent, &format!("{}{path}", server.url));
        }
    }
    for _ in 0..10 {
        assert_eq!(get(&agent, &format!("{}/checkout?item=unicorn", server.url)).0, 503);
    }

    let expected: BTreeMap<String, f64> = [
        ("/", 300.0),
        ("/cart", 200.0),
        ("/checkout", 110.0),
        ("/slow", 30.0),
        ("/boom", 40.0),
        ("/spin", 5.0),
        ("other", 0.0),
    ]
    .map(|(route, count)| (route.to_owned(), count))
    .into();
    let by_route = "sum by (route) (http_requests_total)";
    assert_eq!(prometheus.query_until(by_route, "route", |answer| *answer == expected), expected);
    let by_reason =
        prometheus.query_until("sum by (reason) (wasm_traps_total) > 0", "reason", |answer| answer.len() == 2);
    assert_eq!(by_reason, BTreeMap::from([("unreachable".to_owned(), 40.0), ("deadline".to_owned(), 5.0)]));

    let all_finite =
        |answer: &BTreeMap<String, f64>| !answer.is_empty() && answer.values().all(|value| value.is_finite());
    let rate = prometheus.query_until("sum by (route) (rate(http_requests_total[1m]))", "route", all_finite);
    assert!(rate["/"] > 0.0, "{rate:?}");
    let failures = prometheus.query_until(
        "sum by (route) (rate(http_requests_failed_total[1m])) \
         / sum by (route) (rate(http_requests_total{route=\"/checkout\"}[1m]))",
        "route",
        all_finite,
    );
    assert!((failures["/checkout"] - 10.0 / 110.0).abs() < 1e-6, "{failures:?}");
    let traps = prometheus.query_until(
        "sum(rate(wasm_traps_total[1m])) / sum(rate(wasm_http_requests_total[1m]))",
        "",
        all_finite,
    );
    assert!((traps[""] - 45.0 / 685.0).abs() < 1e-6, "{traps:?}");
    let host_errors = prometheus.query_until(
        "sum by (route) (rate(wasm_http_requests_total{status=~\"5..\"}[1m]))",
        "route",
        all_finite,
    );
    assert!(host_errors["/"] > 0.0, "{host_errors:?}");
    let mut last = 0.0;
    for quantile in ["0.5", "0.95", "0.99"] {
        let query =
            format!("histogram_quantile({quantile}, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))");
        let answer = prometheus.query_until(&query, "", all_finite);
        assert!(answer[""] >= last && answer[""] <= 5.0, "P{quantile} = {answer:?}");
        last = answer[""];
    }
    // The wait of 20 ms lies between the bounds 10 and 50 ms.
    let slow = prometheus.query_until(
        "histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket{route=\"/slow\"}[1m])))",
        "",
        all_finite,
    );
    assert!(slow[""] > 0.01 && slow[""] <= 0.05, "{slow:?}");
    let apdex = prometheus.query_until(
        "(sum(rate(http_request_duration_seconds_bucket{le=\"0.1\"}[1m])) \
         + sum(rate(http_request_duration_seconds_bucket{le=\"0.5\"}[1m]))) / 2 \
         / sum(rate(http_request_duration_seconds_count[1m]))",
        "",
        all_finite,
    );
    assert!(apdex[""] > 0.9 && apdex[""] <= 1.0, "{apdex:?}");
}
