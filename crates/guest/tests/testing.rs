//! `wasmetry::testing`: captures of a test's own metrics, logs and spans.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use wasmetry::{
    Below, Counter, ExponentialHistogram, Gauge, Histogram, Instrument as _, Label, Level, Span, Text, TraceContext,
    UpDownCounter, audit, counter, debug, error, event, exponential_histogram, gauge, handler, histogram, info,
    instrument, log, span, testing, trace, up_down_counter, warn,
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
fn all_series_are_listed() {
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
    assert_eq!((metrics.dropped("label_out_of_range"), metrics.dropped("label_table_full")), (1, 1));
}

#[test]
fn captures_keep_metrics_apart() {
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
    // Outside of a capture, metrics record as usual, and do not have what was captured.
    let before = QUEUED.with(Route::Cart).get();
    QUEUED.with(Route::Cart).inc();
    assert_eq!((before, QUEUED.with(Route::Cart).get()), (0, 1));
}

#[test]
fn failed_assertion_shows_both_sides() {
    let metrics = testing::capture();
    HEAT.set(2.0);
    SPENT.inc();
    let failure = catch_unwind(AssertUnwindSafe(|| metrics.assert(&["energy_joules_total 1", "heat 3"]))).unwrap_err();
    let text = failure.downcast_ref::<String>().unwrap();
    let expected = "the metrics differ:\n    expected                 actual\n    \
                    energy_joules_total 1    energy_joules_total 1\n  \
                    - heat 3\n  \
                    +                          heat 2\n";
    assert_eq!(text, expected);
}

#[test]
fn some_series_can_be_asserted() {
    let metrics = testing::capture();
    HEAT.set(2.0);
    SPENT.inc();
    QUEUED.with(Route::Cart).inc();
    metrics.assert_includes(&[]);
    metrics.assert_includes(&[r#"jobs_queued{route="cart"} 1"#, "heat 2"]);
    let failure = catch_unwind(AssertUnwindSafe(|| metrics.assert_includes(&["heat 3"]))).unwrap_err();
    let expected = "the metrics lack some that are expected:\n    expected    actual\n  \
                    - heat 3\n                \
                    energy_joules_total 1\n                \
                    heat 2\n                \
                    jobs_queued{route=\"cart\"} 1\n";
    assert_eq!(failure.downcast_ref::<String>().unwrap(), expected);
}

#[test]
fn impossible_series_panics() {
    let metrics = testing::capture();
    SPENT.inc();
    QUEUED.with(Route::Cart).inc();
    REQUESTS.with((Route::Cart, 1, "ann")).inc();
    let all = [("route", "cart"), ("shard", "9"), ("user", "bob"), ("zone", "b")];
    assert_eq!(metrics.value("http_requests_total", &all), 0.0);
    assert_eq!(metrics.value("not_recorded", &[("key", "value")]), 0.0);
    let mistake = |name: &str, labels: &[(&str, &str)]| {
        let failure = catch_unwind(AssertUnwindSafe(|| metrics.value(name, labels))).unwrap_err();
        *failure.downcast::<String>().unwrap()
    };
    assert_eq!(mistake("jobs_queued", &[]), "`jobs_queued` has the labels `route`: give exactly these");
    let no_labels = "`energy_joules_total` has no labels: give exactly these";
    assert_eq!(mistake("energy_joules_total", &[("route", "cart")]), no_labels);
    let labels = "`http_requests_total` has the labels `route`, `shard`, `user`, `zone`: give exactly these";
    assert_eq!(mistake("http_requests_total", &all[..3]), labels);
    let value = "the label `route` of `jobs_queued` is never `card`, but `home`, `cart`";
    assert_eq!(mistake("jobs_queued", &[("route", "card")]), value);
    assert!(catch_unwind(AssertUnwindSafe(|| metrics.sum("jobs_queued", &[]))).is_err());
}

#[test]
fn logs_are_listed_in_their_order() {
    let recorded = testing::capture();
    let (user, items) = ("ann \"a\"", vec![1, 2]);
    info!(user, ok = true, latency_ms = 1.5, "cart of {} loaded in {user}, {{left}} {:>4}", 3, -7);
    debug!(?items, size = items.len());
    error!("{0} and {0}", "twice");
    audit!(user = 7, "signed in");
    log!(Level::Warn, why = %Level::Warn.name());
    trace!(half = 3.0 / 2.0, sum = %1 + 1, "{} and {}", 1 + 1, 2 | 4);
    recorded.assert_logs(&[
        r#"INFO cart of 3 loaded in ann "a", {left}   -7 user="ann \"a\"" ok=true latency_ms=1.5"#,
        r#"DEBUG items="[1, 2]" size=2"#,
        "ERROR twice and twice",
        "AUDIT signed in user=7",
        r#"WARN why="warn""#,
        "TRACE 2 and 6 half=1.5 sum=\"2\"",
    ]);
    assert_eq!(recorded.lines(), [""; 0]);
}

#[test]
fn level_leaves_out_finer_records() {
    let recorded = testing::capture().up_to(Level::Warn);
    warn!("low");
    info!("not shown");
    audit!("always");
    let _span = span!("query").entered();
    let _failed = span!("refused", level: Level::Error).entered();
    recorded.assert_logs(&["WARN low", "AUDIT always"]);
    recorded.assert_spans(&["refused open"]);
    drop(recorded);
    testing::capture().assert_logs(&[]);
}

#[derive(Debug)]
struct OutOfStock;

impl fmt::Display for OutOfStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of \"stock\"")
    }
}

#[instrument(err, fields(source = "web"))]
fn take(item: &str, count: u32) -> Result<u32, OutOfStock> {
    event!("asked", count);
    if count > 3 { Err(OutOfStock) } else { Ok(count) }
}

#[handler(name = "checkout", route = "/checkout")]
fn checkout(count: u32) -> bool {
    let query = span!("query", kind: client, db.system = "sqlite");
    let _query = query.enter();
    query.set("rows", 1).set("rows", 2).set_ok();
    info!("asked the store");
    take("apple", 1).is_ok() && take("unicorn", count).is_ok()
}

#[test]
fn spans_form_a_tree() {
    let recorded = testing::capture();
    assert!(!checkout(9));
    let parent = TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let open = span!("received {}", parent: parent);
    open.link(parent.unwrap());
    recorded.assert_logs(&["INFO asked the store"]);
    recorded.assert_spans(&[
        r#"checkout http.route="/checkout""#,
        r#"  query (client) db.system="sqlite" rows=2 ok"#,
        r#"    take item="apple" count=1 source="web""#,
        "      event asked count=1",
        r#"    take item="unicorn" count=9 source="web" error "out of \"stock\"""#,
        "      event asked count=9",
        "received {} link=0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331 open",
    ]);
}

#[test]
fn spans_of_futures_stay_apart() {
    /// Is ready when it is polled for the second time.
    struct Once(bool);
    impl Future for Once {
        type Output = ();

        fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
        }
    }
    async fn load(cart: u32) {
        info!(cart, "begins");
        Once(false).await;
        let _inner = span!("inner", cart).entered();
    }
    let recorded = testing::capture();
    {
        let (one, other) = (load(1).instrument(span!("one")), load(2).instrument(span!("other")));
        let (mut one, mut other) = (pin!(one), pin!(other));
        let mut task = Context::from_waker(Waker::noop());
        for expected in [Poll::Pending, Poll::Ready(())] {
            assert_eq!(one.as_mut().poll(&mut task), expected);
            assert_eq!(other.as_mut().poll(&mut task), expected);
        }
    }
    recorded.assert_spans(&["one", "  inner cart=1", "other", "  inner cart=2"]);
    recorded.assert_logs(&["INFO begins cart=1", "INFO begins cart=2"]);
}

#[test]
fn long_texts_and_nested_records() {
    struct Talkative;
    impl fmt::Display for Talkative {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info!("while shown");
            f.write_str("shown")
        }
    }
    let recorded = testing::capture();
    info!(who = %Talkative, text = "é".repeat(600));
    let logs = recorded.logs();
    assert_eq!((logs.len(), recorded.dropped("record_nested")), (1, 1));
    assert_eq!(logs[0], format!("INFO who=\"shown\" text=\"{}…\"", "é".repeat(512)));
}

#[test]
fn captures_keep_records_apart() {
    thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                let outer = testing::capture();
                let _span = span!("outer", n).entered();
                for i in 0..1000 {
                    info!(i, n);
                }
                {
                    let inner = testing::capture();
                    let _span = span!("inner", n).entered();
                    info!("inner");
                    inner.assert_logs(&["INFO inner"]);
                    inner.assert_spans(&[&format!("inner n={n} open")]);
                }
                let expected: Vec<String> = (0..1000).map(|i| format!("INFO i={i} n={n}")).collect();
                assert_eq!(outer.logs(), expected);
                outer.assert_spans(&[&format!("outer n={n} open")]);
            });
        }
    });
    // A span that began outside of a capture is not in it.
    let span: Span = span!("outside");
    let recorded = testing::capture();
    span.set("key", 1);
    drop(span);
    recorded.assert_spans(&[]);
}

#[test]
fn failed_assertion_shows_order() {
    let recorded = testing::capture();
    for message in ["a", "b", "d"] {
        info!("{message}");
    }
    let expected = ["INFO b", "INFO c", "INFO d", "INFO a"];
    let failure = catch_unwind(AssertUnwindSafe(|| recorded.assert_logs(&expected))).unwrap_err();
    let expected = "the logs differ:\n    expected    actual\n  \
                    +             INFO a\n    \
                    INFO b      INFO b\n  \
                    - INFO c\n    \
                    INFO d      INFO d\n  \
                    - INFO a\n";
    assert_eq!(failure.downcast_ref::<String>().unwrap(), expected);
    let failure = catch_unwind(AssertUnwindSafe(|| recorded.assert_spans(&["query"]))).unwrap_err();
    assert_eq!(failure.downcast_ref::<String>().unwrap(), "the spans differ:\n    expected    actual\n  - query\n");
}
