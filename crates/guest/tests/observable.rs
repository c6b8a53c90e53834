//! Observable metrics: the moments at which their functions run, and the series that they set.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use wasmetry::{
    Counter, Label, ObservableCounter, ObservableGauge, Text, Totals, counter, handler, info, observable_counter,
    observable_gauge, testing,
};

#[derive(Clone, Copy, Label)]
enum Queue {
    Mail,
    Orders,
}

static POOL: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static CONNECTIONS: ObservableGauge<(), i64> = observable_gauge!(
    "db_pool_connections",
    "Connections in the pool.",
    value: i64,
    observe: || POOL.lock().unwrap().len() as i64,
);

thread_local! {
    /// The state of this thread's test, in the place of an application's.
    static WAITING: Cell<[i64; 2]> = const { Cell::new([0; 2]) };
    static TOTAL: Cell<f64> = const { Cell::new(0.0) };
    static RUNS: Cell<u32> = const { Cell::new(0) };
}

static DEPTH: ObservableGauge<Queue, i64> = observable_gauge!(
    "queue_depth",
    "Jobs that wait.",
    labels: [queue: Queue],
    const_labels: [zone: "b"],
    value: i64,
    observe: |gauge| {
        RUNS.set(RUNS.get() + 1);
        let [mail, orders] = WAITING.get();
        gauge.with(Queue::Mail).set(mail);
        gauge.with(Queue::Orders).set(orders);
    },
);
static SPENT: ObservableCounter<(), f64> =
    observable_counter!("energy_joules_total", "Energy.", unit: joules, value: f64, observe: total);

fn total() -> f64 {
    TOTAL.get()
}

static BYTES: ObservableCounter<(Queue, Text<2>)> = observable_counter!(
    "moved_bytes_total",
    "Bytes.",
    labels: [queue: Queue, peer: Text<2>],
    unit: bytes,
    observe: move_bytes,
);

fn move_bytes(totals: &Totals<(Queue, Text<2>), u64>) {
    totals.with((Queue::Mail, "ann")).set(7);
    totals.with((Queue::Orders, "bob")).set(0);
}

#[handler]
fn handle(mail: i64) -> Result<(), ()> {
    DEPTH.register();
    WAITING.set([mail, 1]);
    Err(())?;
    Ok(())
}

/// Held by tests outside of a capture, since they share what they register.
static SHARED: Mutex<()> = Mutex::new(());

#[test]
fn gauge_observed_at_request_end() {
    #[handler]
    fn connect() {
        CONNECTIONS.register();
        CONNECTIONS.register();
        POOL.lock().unwrap().push(1);
        assert_eq!(CONNECTIONS.get(), 0, "the request has not ended");
    }
    let _shared = SHARED.lock().unwrap();
    POOL.lock().unwrap().push(0);
    wasmetry::publish();
    assert_eq!(CONNECTIONS.get(), 0, "it is not registered");
    connect();
    assert_eq!(CONNECTIONS.get(), 2);
    POOL.lock().unwrap().clear();
    assert_eq!(CONNECTIONS.get(), 2);
    wasmetry::without_host_calls(wasmetry::publish);
    assert_eq!(CONNECTIONS.get(), 2, "an observer may call the host");
    wasmetry::publish();
    assert_eq!(CONNECTIONS.get(), 0);
}

#[test]
fn every_function_form_sets_series() {
    let recorded = testing::capture();
    assert!(recorded.lines().is_empty(), "nothing is registered");
    SPENT.register();
    BYTES.register();
    TOTAL.set(0.5);
    let _ = handle(3);
    let expected = |mail, joules| {
        [
            format!(r#"queue_depth{{queue="mail",zone="b"}} {mail}"#),
            r#"queue_depth{queue="orders",zone="b"} 1"#.to_owned(),
            format!("energy_joules_total {joules}"),
            r#"moved_bytes_total{queue="mail",peer="ann"} 7"#.to_owned(),
        ]
    };
    let assert = |mail, joules| recorded.assert(&expected(mail, joules).each_ref().map(String::as_str));
    assert(3, 0.5);
    // A capture observes when it is read.
    WAITING.set([0, 1]);
    TOTAL.set(2.0);
    assert(0, 2.0);
    assert_eq!(recorded.value("queue_depth", &[("queue", "orders"), ("zone", "b")]), 1.0);
    assert_eq!(SPENT.get(), 2.0);
    for refused in [f64::NAN, f64::INFINITY, -1.0] {
        TOTAL.set(refused);
        assert_eq!(recorded.value("energy_joules_total", &[]), 2.0);
    }
    assert_eq!(recorded.dropped("invalid_value"), 3);
}

#[test]
fn function_runs_once_where_registered() {
    let outer = testing::capture();
    let _ = handle(1);
    assert_eq!(RUNS.get(), 1);
    wasmetry::publish();
    assert_eq!(RUNS.get(), 2);
    {
        let inner = testing::capture();
        wasmetry::publish();
        assert!(inner.lines().is_empty());
        WAITING.set([9, 9]);
        // Observations would go to the inner capture, so none is made.
        assert_eq!(outer.value("queue_depth", &[("queue", "mail"), ("zone", "b")]), 1.0);
        assert_eq!(RUNS.get(), 2);
    }
    assert_eq!(outer.value("queue_depth", &[("queue", "mail"), ("zone", "b")]), 9.0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let other = testing::capture();
            wasmetry::publish();
            assert!(other.lines().is_empty());
        });
    });
}

#[test]
fn function_records_but_never_nests() {
    static LOOKS: Counter = counter!("looks_total", "Looks.");
    static NESTED: ObservableGauge = observable_gauge!("nested_looks", "Looks.", observe: || {
        RUNS.set(RUNS.get() + 1);
        LOOKS.inc();
        info!(runs = RUNS.get(), "looking");
        wasmetry::publish();
        let _ = handle(5);
        RUNS.get().into()
    });
    let recorded = testing::capture();
    NESTED.register();
    wasmetry::publish();
    assert_eq!(RUNS.get(), 1);
    let failed = r#"ERROR the handler returned an error exception.type="_OTHER" exception.message="the handler returned an error""#;
    recorded.assert_logs(&["INFO looking runs=1", failed]);
    // The one that was registered within it runs from now on, and each runs once.
    assert_eq!(recorded.value("nested_looks", &[]), 2.0);
    assert_eq!(RUNS.get(), 3);
    assert_eq!(LOOKS.get(), 2);
}

#[test]
fn panicking_function_fails_one_observation() {
    static BALANCE: AtomicI64 = AtomicI64::new(-1);
    static FAILS: ObservableGauge<(), i64> = observable_gauge!("balance_euros", "Balance.", value: i64, observe: || {
        let balance = BALANCE.load(Ordering::Relaxed);
        assert!(balance >= 0, "it is negative");
        balance
    });
    let recorded = testing::capture();
    FAILS.register();
    assert!(catch_unwind(wasmetry::publish).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| recorded.value("balance_euros", &[]))).is_err());
    BALANCE.store(4, Ordering::Relaxed);
    assert_eq!(recorded.value("balance_euros", &[]), 4.0);

    /// Observers do not run after a request that panics: one of them might panic too.
    #[handler]
    fn panics() {
        BALANCE.store(-1, Ordering::Relaxed);
        panic!("as it was asked to");
    }
    let panic = catch_unwind(panics).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"as it was asked to"));
}

#[test]
fn threads_observe_in_turn() {
    static INSIDE: AtomicU64 = AtomicU64::new(0);
    static MOST: AtomicU64 = AtomicU64::new(0);
    static ALONE: ObservableCounter = observable_counter!("alone_total", "Looks.", observe: || {
        MOST.fetch_max(INSIDE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::yield_now();
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        MOST.load(Ordering::SeqCst)
    });
    let _shared = SHARED.lock().unwrap();
    ALONE.register();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| wasmetry::publish()));
        }
    });
    assert_eq!(ALONE.get(), 1);
}

#[test]
fn function_does_not_see_macro_names() {
    // Names that the macro uses.
    const RECORD: i64 = 3;
    const HASH: i64 = 4;
    fn metric() -> i64 {
        RECORD * HASH
    }
    static PRODUCT: ObservableGauge<(), i64> = observable_gauge!("product", "A product.", value: i64, observe: || {
        if RECORD > HASH {
            return -1;
        }
        metric() + RECORD
    });
    let recorded = testing::capture();
    PRODUCT.register();
    observable_gauge!("halved", "Half of it.", observe: |gauge| gauge.set(metric() as f64 / 2.0)).register();
    recorded.assert(&["product 15", "halved 6"]);
}
