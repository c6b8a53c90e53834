//! The ledger beside an allocator that counts: what it shows is what is allocated.

#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge};
use wasmetry_host::handle_api::Descriptor as Resolved;
use wasmetry_host::{Component, Declarations, Identity, Registry, encode, limits};

#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "suite/image.rs"]
mod image;

use image::{Image, declarations, declare};

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// One test counts at a time.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: every call is passed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(taken_by(layout), Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(taken_by(layout), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes of an allocation by glibc: a word beside its contents, in steps of 16.
fn taken_by(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16)
}

const NOW: Duration = Duration::from_secs(1);
const TEXT: [LabelSpec<'static>; 2] = [
    LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 500, max_len: 24 } },
    LabelSpec { key: "ok", shape: LabelShape::Below(1) },
];
const DENSE: [LabelSpec<'static>; 1] = [LabelSpec { key: "n", shape: LabelShape::Below(499) }];
const BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&TEXT));
declare!(AMOUNT = Descriptor::new(Kind::CounterF64, "amount_total", "Amount.").with_labels(&DENSE));
declare!(WAIT = Descriptor::new(Kind::HistogramF64, "wait", "Wait.").with_labels(&TEXT).with_bounds(&BOUNDS));
declare!(OPEN = Descriptor::new(Kind::GaugeI64, "open", "Open.").with_merge(Merge::Last).with_labels(&TEXT));
declare!(PEAK = Descriptor::new(Kind::GaugeI64, "peak", "Peak.").with_merge(Merge::Max).with_labels(&DENSE));

/// The part of an allocation that grows with the tests' own output, and what a snapshot leaves.
const SLACK: usize = 64 << 10;

/// Asserts that the ledger shows what is allocated since `before`, and not much more.
fn assert_shown(registry: &Registry, before: usize, most: f64) {
    let allocated = ALLOCATED.load(Relaxed) - before;
    let shown = registry.memory_bytes() as usize;
    assert!(shown + SLACK >= allocated, "{shown} of {allocated} bytes are shown");
    assert!(shown as f64 <= allocated as f64 * most + SLACK as f64, "{shown} are shown of {allocated} bytes");
}

fn scrape(registry: &Registry) {
    let text = encode::prometheus::encode(&registry.snapshot(NOW));
    assert!(!text.is_empty());
}

#[test]
fn ledger_shows_series_as_allocated() {
    let _turn = TURN.lock();
    let before = ALLOCATED.load(Relaxed);
    let registry = Registry::with_clock(|| 1_700_000_000_000_000_000);
    let metrics = [&SALES, &AMOUNT, &WAIT, &OPEN, &PEAK];
    let mut components: Vec<Component> = Vec::new();
    for number in 0..10 {
        let identity = Identity::new(format!("shop-{number}")).with_tenant("acme").with_version("1");
        let component = registry.component(identity, declarations(&metrics));
        let (mut image, entries) = Image::with(4, metrics);
        for row in 0..500 {
            for entry in [entries[0], entries[2], entries[3]] {
                image.text(entry, 0, row, format!("{number}-article-{row:05}").as_bytes());
            }
            image.set(entries[0], 2 * row as usize, 1);
            image.set_f64(entries[1], row as usize % 500, 0.5);
            image.set(entries[2], 2 * row as usize * (BOUNDS.len() + 2) + 1, 1);
            image.set(entries[3], 2 * (2 * row as usize) + 1, 1);
            image.set(entries[4], 2 * (row as usize % 500) + 1, 1);
        }
        image.read_last(component.instance(), 1);
        components.push(component);
    }
    scrape(&registry);
    scrape(&registry);
    let text = encode::prometheus::encode(&registry.snapshot(NOW));
    assert!(text.lines().filter(|line| line.starts_with("wait_count{")).count() == 5000, "the guest's values are read");
    drop(text);
    assert_shown(&registry, before, 1.35);
}

#[test]
fn ledger_shows_resolved_series() {
    let _turn = TURN.lock();
    let before = ALLOCATED.load(Relaxed);
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop").with_tenant("acme"), Declarations::default());
    let memory = component.store_memory();
    let mut recorder = component.recorder_in(&memory);
    for metric in 0..20 {
        let name = format!("metric_{metric}");
        let descriptor = Resolved { name: &name, help: "Help.", unit: "" };
        for row in 0..200 {
            let row = format!("row-{row}");
            match metric % 2 {
                0 => recorder.histogram(&descriptor, &[], &[("row", &row)]).unwrap().observe(1.0),
                _ => recorder.gauge(&descriptor, Merge::Last, &[("row", &row)]).unwrap().set(1.0),
            }
        }
    }
    scrape(&registry);
    scrape(&registry);
    assert!(memory.bytes() > 2000 * 64, "the gauges are the store's");
    assert_shown(&registry, before, 1.35);
    drop(recorder);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn ledger_shows_host_series() {
    let _turn = TURN.lock();
    let before = ALLOCATED.load(Relaxed);
    let registry = Registry::new();
    let keys = [Identity::KEYS[0], Identity::KEYS[1], Identity::KEYS[2], "route", "status"];
    let requests = registry.counter("requests_total", "Requests.", &keys);
    let took = registry.histogram("request_seconds", "Time.", &keys, &BOUNDS);
    for route in 0..2000 {
        let (component, route) = (format!("shop-{}", route % 4), format!("/cart/{route}"));
        let values = [component.as_str(), "1", "acme", route.as_str(), "200"];
        requests.with(&values).inc();
        took.with(&values).observe(0.1);
    }
    scrape(&registry);
    scrape(&registry);
    // Each bucket may have an exemplar, for which the ledger has room.
    assert_shown(&registry, before, 3.0);
    // They are the tenant's, so that they do not take the room of others.
    let full = registry.memory_bytes();
    registry.set_memory_limits(u64::MAX, full / 2);
    let instance = |tenant: &str| {
        let component = registry.component(Identity::new("late").with_tenant(tenant), declarations(&[&SALES]));
        let (image, _) = Image::with(4, [&SALES]);
        let mut instance = component.instance();
        image.read(&mut instance, 1);
        instance
    };
    let _instances = [instance("acme"), instance("bank")];
    let text = encode::prometheus::encode(&registry.snapshot(NOW));
    let refused: Vec<&str> = text.lines().filter(|line| line.contains("reason=\"memory_limit\"")).collect();
    assert_eq!(
        refused,
        [r#"wasmetry_dropped_total{component="late",tenant="acme",signal="metrics",reason="memory_limit"} 1"#]
    );
}

/// Returns the record of a counter, by FORMAT.md.
fn record(name: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    // A unit, a merge rule, labels, constant labels and bounds, all of which are empty.
    let payload = [&text(name)[..], &text("Help."), &text(""), &[0, 0, 0, 0, 0]].concat();
    [&[1, 1, 0, 0][..], &(payload.len() as u32).to_le_bytes(), &payload].concat()
}

/// The greatest number of bytes for each metric of many components with one binary.
const BYTES_PER_METRIC: usize = 230;

/// Components with as many metrics as there may be, of one binary.
#[test]
fn declared_metrics_are_small() {
    let _turn = TURN.lock();
    const COMPONENTS: usize = 20;
    let records: Vec<_> =
        (0..limits::METRICS).map(|metric| record(&format!("http_requests_{metric:05}_total"))).collect();
    let declared = Declarations::from_sections(records.iter().map(|record| &record[..]));
    assert_eq!(declared.metrics().len(), limits::METRICS);
    let before = ALLOCATED.load(Relaxed);
    let registry = Registry::new();
    let identity =
        |number: usize| Identity::new(format!("storefront-{number:04}")).with_tenant("acme").with_version("1");
    let components: Vec<Component> =
        (0..COMPONENTS).map(|number| registry.component(identity(number), declared.clone())).collect();
    let metrics = COMPONENTS * limits::METRICS;
    let shown = registry.memory_bytes() as usize;
    assert!(shown >= metrics * 100, "declarations are charged before the first snapshot: {shown}");
    let each = (ALLOCATED.load(Relaxed) - before) / metrics;
    println!("{each} bytes for each metric, {} of them shown", shown / metrics);
    registry.snapshot(NOW);
    assert!(each <= BYTES_PER_METRIC, "{each} bytes for each metric");
    assert_shown(&registry, before, 1.35);

    components.iter().for_each(Component::retire);
    drop(components);
    registry.snapshot(NOW);
    registry.snapshot(NOW + limits::RETENTION * 2);
    let left = ALLOCATED.load(Relaxed) - before;
    assert!(left < 4 << 20, "{left} bytes are left");
    assert!(registry.memory_bytes() < 1 << 20, "{}", registry.memory_bytes());
}
