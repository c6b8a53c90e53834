//! Queries of a real Prometheus that scrapes `wasmetry serve`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;

use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

/// Prometheus returns exact counts, and the rates that every service's dashboards need.
#[test]
fn prometheus_queries_are_exact() {
    let server = Server::start(&guest("storefront"), &["--request-timeout", "200ms"]);
    let Some(prometheus) = Prometheus::start(server.telemetry.strip_prefix("http://").unwrap(), &[]) else { return };
    // The series are 0 before the first request, so that `rate` does not lose the first one.
    prometheus.query_until("sum(http_requests_total)", "", |result| result.get("") == Some(&0.0));

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
    assert_eq!(prometheus.query_until(by_route, "route", |result| *result == expected), expected);
    let by_reason =
        prometheus.query_until("sum by (reason) (wasm_traps_total) > 0", "reason", |result| result.len() == 2);
    assert_eq!(by_reason, BTreeMap::from([("unreachable".to_owned(), 40.0), ("deadline".to_owned(), 5.0)]));

    let all_finite =
        |result: &BTreeMap<String, f64>| !result.is_empty() && result.values().all(|value| value.is_finite());
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
    // The host counts them by the routes that the guest sets.
    let host_errors = "sum by (route) (rate(wasm_http_requests_total{status=~\"5..\"}[1m])) > 0";
    let failed = ["/boom", "/checkout", "/spin"].map(str::to_owned);
    prometheus.query_until(host_errors, "route", |result| result.keys().eq(&failed) && all_finite(result));
    let mut last = 0.0;
    for quantile in ["0.5", "0.95", "0.99"] {
        let query =
            format!("histogram_quantile({quantile}, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))");
        let result = prometheus.query_until(&query, "", all_finite);
        assert!(result[""] >= last && result[""] <= 5.0, "P{quantile} = {result:?}");
        last = result[""];
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
