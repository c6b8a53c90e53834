//! A real Prometheus scrapes the endpoint in each format that it asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[allow(dead_code, unreachable_pub, reason = "it is the end-to-end tests', which need more of it")]
#[path = "../../../tests/src/backend/built.rs"]
mod built;
#[allow(dead_code, unreachable_pub, reason = "it is the end-to-end tests', which need more of it")]
#[path = "../../../tests/src/backend/daemon.rs"]
mod daemon;
#[allow(dead_code, reason = "it is the host crate's, which needs more of it")]
#[path = "../../host/tests/suite/image.rs"]
mod image;
#[allow(dead_code, unreachable_pub, reason = "it is the end-to-end tests', which need more of it")]
#[path = "../../../tests/src/backend/prometheus.rs"]
mod prometheus;
#[allow(dead_code, unreachable_pub, reason = "it is the end-to-end tests', which need more of it")]
#[path = "../../../tests/src/tool.rs"]
mod tool;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::exponential::SUM;
use wasmetry_abi::{Descriptor, Kind};
use wasmetry_export::scrape::{Server, Source};
use wasmetry_host::{Registry, Snapshot};

use image::{Image, declare, shop};
use prometheus::Prometheus;

/// Cargo's target directory, in which this test was built.
fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// The project's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

declare!(QUERIES = Descriptor::new(Kind::CounterU64, "queries_total", "Queries."));
declare!(
    QUERY = Descriptor::new(Kind::ExponentialNanos, "query_duration_seconds", "Time to answer a query.")
        .with_unit("seconds")
        .with_max_buckets(160)
);
declare!(
    PARSE = Descriptor::new(Kind::HistogramNanos, "parse_duration_seconds", "Time to parse a query.")
        .with_unit("seconds")
        .with_bounds(&[0.1, 1.0])
);

struct Process(Registry);

impl Source for Process {
    fn snapshot(&self) -> Snapshot {
        self.0.snapshot(Duration::ZERO)
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Queries after Prometheus has seen the series with nothing in it: half of them take 0.3 s and
/// half 0.9 s, which no two of the bounds with explicit buckets tell apart.
fn scraped(flags: &[&str], empty: &str) -> Option<(Server, Prometheus)> {
    let (registry, component) = shop(&[&QUERIES, &QUERY, &PARSE]);
    let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(Process(registry))).unwrap();
    let prometheus = Prometheus::start(&server.local_addr().to_string(), flags)?;
    prometheus.query_until(empty, "", |answer| answer.get("") == Some(&0.0));

    let (mut image, [queries, query, parse]) = Image::with(4, [&QUERIES, &QUERY, &PARSE]);
    let mut instance = component.instance();
    let mut times = Vec::new();
    for n in 1..=500u64 {
        times.extend([0.3, 0.9]);
        if n % 100 == 0 {
            image.set(queries, 0, 2 * n);
            image.set_exponential(query, 0, &times, n as usize);
            image.set(query, SUM, 1_200_000_000 * n);
            image.set(parse, 2, n);
            image.set(parse, 0, 500_000_000 * n);
            image.read(&mut instance, 0);
        }
    }
    prometheus.query_until("sum(queries_total)", "", |answer| answer.get("") == Some(&1000.0));
    Some((server, prometheus))
}

fn about(expected: f64) -> impl Fn(&f64) -> bool {
    move |value| (value / expected - 1.0).abs() < 0.03
}

#[test]
fn native_histogram_has_exponential_quantiles() {
    let flags = ["--enable-feature=native-histograms"];
    // It is there, and native, before the first event, so that `rate` does not miss that.
    let Some((_server, prometheus)) = scraped(&flags, "sum(histogram_count(query_duration_seconds))") else { return };
    for (query, expected) in [
        ("histogram_count(query_duration_seconds)", 1000.0),
        ("histogram_sum(query_duration_seconds)", 600.0),
        ("sum(parse_duration_seconds_bucket{le=\"1.0\"}) or sum(parse_duration_seconds_bucket{le=\"1\"})", 500.0),
        ("parse_duration_seconds_count", 500.0),
    ] {
        prometheus.query_until(query, "", |answer| answer.get("") == Some(&expected));
    }
    for (quantile, expected) in [("0.25", 0.3), ("0.75", 0.9)] {
        for argument in ["query_duration_seconds", "rate(query_duration_seconds[1m])"] {
            let query = format!("histogram_quantile({quantile}, {argument})");
            prometheus.query_until(&query, "", |answer| answer.get("").is_some_and(about(expected)));
        }
    }
}

#[test]
fn classic_histogram_has_fixed_bounds() {
    let Some((_server, prometheus)) = scraped(&[], "sum(query_duration_seconds_count)") else { return };
    for (query, expected) in [
        ("query_duration_seconds_count", 1000.0),
        ("query_duration_seconds_sum", 600.0),
        ("query_duration_seconds_bucket{le=\"0.25\"}", 0.0),
        ("query_duration_seconds_bucket{le=\"1.0\"}", 1000.0),
    ] {
        prometheus.query_until(query, "", |answer| answer.get("") == Some(&expected));
    }
    let query = "histogram_quantile(0.5, sum by (le) (rate(query_duration_seconds_bucket[1m])))";
    // In the middle between 0.25 and 1, where all of them are.
    prometheus.query_until(query, "", |answer| answer.get("").is_some_and(about(0.625)));
}
