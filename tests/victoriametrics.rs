//! VictoriaMetrics as a second scraper beside Prometheus.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;

use wasmetry_tests::backend::victoriametrics::VictoriaMetrics;
use wasmetry_tests::exposition::{Series, samples};
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

/// Returns `true` for a series that does not change while no request is served.
fn is_still(series: &Series) -> bool {
    ["http_", "wasm_", "items_"].iter().any(|begin| series.0.starts_with(begin)) && series.0 != "wasm_instances"
}

/// All series arrive with the values of the exposition.
#[test]
fn scraped_series_equal_exposition() {
    let server = Server::start(&guest("storefront"), &["--name", "shop", "--tenant", "acme"]);
    let target = server.telemetry.strip_prefix("http://").unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs:\n- {{job_name: wasmetry, static_configs: [{{targets: ['{target}']}}]}}\n"
    );
    let Some(store) = VictoriaMetrics::start(&config) else { return };
    // A rate needs a sample from before the traffic.
    store.query_until("sum(http_requests_total)", |result| !result.is_empty());
    let agent = agent();
    for (path, count) in [("/", 30), ("/cart", 20), ("/checkout?item=pear", 10), ("/boom", 4)] {
        (0..count).for_each(|_| drop(get(&agent, &format!("{}{path}", server.url))));
    }
    let is_whole = |result: &BTreeMap<Series, f64>| result.values().eq([&64.0]);
    store.query_until("sum(wasm_http_requests_total)", is_whole);
    store.query_until("sum(http_requests_total)", is_whole);
    store.query_until("sum(wasm_instance_memory_peak_bytes_count)", is_whole);

    let expected: BTreeMap<Series, f64> =
        samples(&server.scrape()).into_iter().filter(|(series, _)| is_still(series)).collect();
    assert!(expected.len() > 100, "{expected:#?}");
    let names = "{__name__=~\"(http|wasm|items)_.+\", __name__!=\"wasm_instances\"}";
    assert_eq!(store.query_until(names, |found| *found == expected), expected);
    // The rate of a counter, as VictoriaMetrics computes it.
    let rate =
        store.query_until("sum(rate(http_requests_total[1m]))", |result| result.values().any(|rate| *rate > 0.0));
    assert_eq!(rate.len(), 1);
}
