//! `wasmetry::testing`: what a handler recorded, in a test, seen by nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use wasmetry::{
    Below, Counter, ExponentialHistogram, Gauge, Histogram, Label, Text, UpDownCounter, counter, exponential_histogram,
    gauge, histogram, testing, up_down_counter,
};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
    Cart,
}

static REQUESTS: Counter<(Route, Below<2>, Text<2, 8>)> = counter!(
    "http_requests_total",
    "HTTP requests.",
    labels: [route: Route, shard: Below<2>, user: Text<2, 8>],
    const_labels: [zone: "b"],
);
static SPENT: Counter<(), f64> = counter!("energy_joules_total", "Energy.", unit: joules, value: f64);
static QUEUED: UpDownCounter<Route> = up_down_counter!("jobs_queued", "Jobs.", labels: [route: Route]);
static HEAT: Gauge = gauge!("heat", "Heat.");
static LATENCY: Histogram<Route> =
    histogram!("latency_seconds", "Latency.", labels: [route: Route], unit: seconds, buckets: [0.5]);
static SIZE: ExponentialHistogram<Route> =
    exponential_histogram!("reply_size_bytes", "Size.", labels: [route: Route], unit: bytes, max_buckets: 10);

#[test]
fn everything_that_was_recorded_is_listed_by_series() {
    let metrics = testing::capture();
    REQUESTS.with((Route::Cart, 1, "ann")).add(2);
    REQUESTS.with((Route::Cart, 7, "bob \"b\"")).inc();
    REQUESTS.with((Route::Home, 0, "third")).inc();
    SPENT.add(0.5);
    QUEUED.with(Route::Home).add(-3);
    HEAT.set(1.25);
    LATENCY.with(Route::Cart).observe(0.25);
    LATENCY.with(Route::Cart).observe(2.0);
    for size in [0.0, 1.0, 1e9, 3.5] {
        SIZE.with(Route::Cart).observe(size);
    }
    metrics.assert(&[
        r#"http_requests_total{route="cart",shard="1",user="ann",zone="b"} 2"#,
        r#"http_requests_total{route="cart",shard="overflow",user="bob \"b\"",zone="b"} 1"#,
        r#"http_requests_total{route="home",shard="0",user="overflow",zone="b"} 1"#,
        r#"energy_joules_total 0.5"#,
        r#"jobs_queued{route="home"} -3"#,
        r#"heat 1.25"#,
        r#"latency_seconds{route="cart"} 2"#,
        r#"reply_size_bytes{route="cart"} 4"#,
    ]);
    assert_eq!(metrics.sum("reply_size_bytes", &[("route", "cart")]), 1_000_000_004.5);
    assert_eq!(metrics.value("jobs_queued", &[("route", "home")]), -3.0);
    assert_eq!(metrics.value("jobs_queued", &[("route", "cart")]), 0.0);
    assert_eq!(metrics.sum("latency_seconds", &[("route", "cart")]), 2.25);
    assert_eq!((metrics.lost("label_out_of_range"), metrics.lost("label_table_full")), (1, 1));
}

#[test]
fn threads_and_nested_captures_do_not_see_each_other() {
    thread::scope(|scope| {
        for n in 1..=4 {
            scope.spawn(move || {
                let outer = testing::capture();
                for _ in 0..1000 * n {
                    QUEUED.with(Route::Cart).inc();
                }
                {
                    let inner = testing::capture();
                    QUEUED.with(Route::Cart).dec();
                    inner.assert(&[r#"jobs_queued{route="cart"} -1"#]);
                }
                outer.assert(&[&format!("jobs_queued{{route=\"cart\"}} {}", 1000 * n)]);
            });
        }
    });
    // Outside a capture, recording is as always; what was captured is not there.
    let before = QUEUED.with(Route::Cart).get();
    QUEUED.with(Route::Cart).inc();
    assert_eq!((before, QUEUED.with(Route::Cart).get()), (0, 1));
}

#[test]
fn a_failed_assertion_shows_both_sides() {
    let metrics = testing::capture();
    HEAT.set(2.0);
    SPENT.inc();
    let failure = catch_unwind(AssertUnwindSafe(|| metrics.assert(&["energy_joules_total 1", "heat 3"]))).unwrap_err();
    let text = failure.downcast_ref::<String>().unwrap();
    let expected = "the metrics differ:\n    expected                 actual\n    \
                    energy_joules_total 1    energy_joules_total 1\n  \
                    +                          heat 2\n  \
                    - heat 3                   \n";
    assert_eq!(text, expected);
}
