//! The bounds of expositions: whole series and families are shown or not, and what is not shown is
//! counted with its owner.

use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::encode::{Exposition, openmetrics, prometheus};
use wasmetry_host::{Component, Declarations, ExpositionLimit, ExpositionLimits, Identity, Registry, limits};

use crate::image::{Declared, Image, declarations, declare};

const TEXT: &str = {
    const BYTES: [u8; 1024] = [b'"'; 1024];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!(),
    }
};
const KEYS: [&str; 30] = [
    "ca", "cb", "cc", "cd", "ce", "cf", "cg", "ch", "ci", "cj", "ck", "cl", "cm", "cn", "co", "cp", "cq", "cr", "cs",
    "ct", "cu", "cv", "cw", "cx", "cy", "cz", "da", "db", "dc", "dd",
];
const CONSTANT: [(&str, &str); 30] = {
    let mut labels = [("", TEXT); 30];
    let mut at = 0;
    while at < 30 {
        labels[at].0 = KEYS[at];
        at += 1;
    }
    labels
};
const BOUNDS: [f64; 200] = {
    let mut bounds = [0.0; 200];
    let mut at = 0;
    while at < 200 {
        bounds[at] = at as f64 / 8.0;
        at += 1;
    }
    bounds
};
const ROWS: u32 = 2000;
const ROW: [LabelSpec<'static>; 1] = [LabelSpec { key: "row", shape: LabelShape::Text { capacity: ROWS, max_len: 8 } }];
// A bucket's line has 60 KiB.
declare!(
    BOMB = Descriptor::new(Kind::HistogramF64, "bomb", "Bomb.")
        .with_labels(&ROW)
        .with_const_labels(&CONSTANT)
        .with_bounds(&BOUNDS)
);
declare!(PAYMENTS = Descriptor::new(Kind::CounterU64, "payments_total", "Payments.").with_labels(&ROW));
declare!(WAIT = Descriptor::new(Kind::HistogramF64, "wait", "Wait.").with_labels(&ROW).with_bounds(&BOUNDS));

/// Registers a component of the tenant `name` whose guest has recorded in so many series.
fn component(registry: &Registry, name: &str, metric: &Declared, rows: u32) -> Component {
    let identity = Identity::new(name).with_tenant(name.trim_end_matches(char::is_numeric));
    let component = registry.component(identity, declarations(&[metric]));
    let (mut image, [entry]) = Image::with(4, [metric]);
    let words = if entry.is_histogram() { BOUNDS.len() + 2 } else { 1 };
    for row in 0..rows {
        image.text(entry, 0, row, format!("{row:08}").as_bytes());
        // The first bucket's word, or the count.
        image.set(entry, row as usize * words + words / 2, 1);
    }
    image.read_last(component.instance(), 0);
    component
}

fn text(registry: &Registry) -> String {
    prometheus::encode(&registry.snapshot(Duration::from_secs(1)))
}

/// Returns the number of lines that start with a text.
fn lines(text: &str, start: &str) -> usize {
    text.lines().filter(|line| line.starts_with(start)).count()
}

/// Returns the number of series of a component that are counted as not shown.
fn hidden(text: &str, component: &str) -> usize {
    let start = format!("wasmetry_dropped_total{{component=\"{component}\"");
    let lines = text.lines().filter(|line| line.starts_with(&start) && line.contains("reason=\"exposition_limit\""));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}

#[test]
fn bomb_leaves_neighbours_complete() {
    let registry = Registry::with_clock(|| 1_700_000_000_500_000_000);
    let _evil = component(&registry, "evil", &BOMB, ROWS);
    let _bank = component(&registry, "bank", &PAYMENTS, ROWS);
    let _mint = component(&registry, "mint", &WAIT, 100);
    let first = text(&registry);
    // Without the bound, there were 24 GB.
    assert!(first.len() as u64 <= limits::EXPOSITION_BYTES_PER_COMPONENT + (8 << 20), "{}", first.len());
    let shown = lines(&first, "bomb_count{component=\"evil\"");
    assert_eq!(shown, 2);
    assert_eq!(lines(&first, "bomb_bucket{component=\"evil\""), shown * (BOUNDS.len() + 1), "each series is whole");
    assert_eq!(hidden(&first, "evil"), ROWS as usize - shown);
    // The neighbours.
    assert_eq!(lines(&first, "payments_total{component=\"bank\""), ROWS as usize);
    assert_eq!(lines(&first, "wait_bucket{component=\"mint\""), 100 * (BOUNDS.len() + 1));
    assert_eq!((hidden(&first, "bank"), hidden(&first, "mint")), (0, 0));

    let [reported] = &registry.take_hidden_series()[..] else { panic!("one component is reported") };
    assert_eq!((reported.identity.component(), reported.identity.tenant()), ("evil", "evil"));
    assert_eq!((reported.limit, reported.bytes), (ExpositionLimit::Component, limits::EXPOSITION_BYTES_PER_COMPONENT));
    // The same series are shown again, and the others are neither counted nor reported again.
    assert_eq!(text(&registry), first);
    assert_eq!(registry.take_hidden_series(), []);
    // The bound holds with start times too.
    let openmetrics = openmetrics::encode_with_created(&registry.snapshot(Duration::from_secs(1)));
    assert!(openmetrics.len() as u64 <= limits::EXPOSITION_BYTES_PER_COMPONENT + (8 << 20), "{}", openmetrics.len());
}

#[test]
fn tenant_bound_hides_own_series() {
    let registry = Registry::new();
    registry.set_exposition_limits(ExpositionLimits::default().with_component(1 << 20).with_tenant(1_000_000));
    let _evil = [1, 2, 3].map(|number| component(&registry, &format!("evil{number}"), &PAYMENTS, ROWS));
    let _bank = component(&registry, "bank", &PAYMENTS, ROWS);
    let text = text(&registry);
    let shown = |name: &str| lines(&text, &format!("payments_total{{component=\"{name}\""));
    let counts = ["evil1", "evil2", "evil3"].map(|name| (shown(name), hidden(&text, name)));
    assert!(counts.iter().all(|(shown, hidden)| shown + hidden == ROWS as usize), "{counts:?}");
    assert!(counts[0].1 == 0 && counts[2].1 > 0, "components are in order: {counts:?}");
    assert_eq!((shown("bank"), hidden(&text, "bank")), (ROWS as usize, 0));
    let reported = registry.take_hidden_series();
    assert!(!reported.is_empty() && reported.iter().all(|hidden| hidden.identity.tenant() == "evil"), "{reported:?}");
    assert!(reported.iter().all(|hidden| hidden.limit == ExpositionLimit::Tenant));
}

/// Five tenants have more series than fit, one after the other; the last one's are all shown.
#[test]
fn last_tenant_has_share() {
    let registry = Registry::new();
    registry.set_exposition_limits(ExpositionLimits::default().with_total(400_000));
    let shown = |text: &str, name: &str| lines(text, &format!("payments_total{{component=\"{name}\""));
    let mut components = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        components.push(component(&registry, name, &PAYMENTS, ROWS));
        text(&registry);
    }
    components.push(component(&registry, "bank", &PAYMENTS, 20));
    let text = text(&registry);
    let counts = ["a", "b", "c", "d", "e"].map(|name| shown(&text, name));
    assert!(counts.is_sorted_by(|earlier, later| earlier > later) && counts[4] > 20, "{counts:?}");
    assert_eq!((shown(&text, "bank"), hidden(&text, "bank")), (20, 0));
    let reported = registry.take_hidden_series();
    assert!(reported.iter().all(|hidden| hidden.limit == ExpositionLimit::Total && hidden.bytes == 400_000));
    let owners: Vec<&str> = reported.iter().map(|hidden| hidden.identity.tenant()).collect();
    assert_eq!(owners, ["a", "b", "c", "d", "e"]);
}

#[test]
fn returned_room_shows_hidden_series() {
    let registry = Registry::new();
    registry.set_exposition_limits(ExpositionLimits::default().with_total(920_000));
    let first = component(&registry, "first", &PAYMENTS, ROWS);
    let _second = component(&registry, "second", &PAYMENTS, ROWS);
    let shown = |text: &str| lines(text, "payments_total{component=\"second\"");
    let before = text(&registry);
    assert!(shown(&before) < ROWS as usize && hidden(&before, "second") == ROWS as usize - shown(&before));
    first.retire();
    drop(first);
    registry.snapshot(Duration::from_secs(2));
    registry.snapshot(limits::RETENTION * 2);
    let after = prometheus::encode(&registry.snapshot(limits::RETENTION * 2));
    assert_eq!((lines(&after, "payments_total{component=\"first\""), shown(&after)), (0, ROWS as usize));
    assert_eq!(hidden(&after, "second"), hidden(&before, "second"), "each is counted once");
}

#[test]
fn lowered_bound_keeps_shown_series() {
    let registry = Registry::new();
    let _bank = component(&registry, "bank", &PAYMENTS, 100);
    let before = text(&registry);
    registry.set_exposition_limits(ExpositionLimits::default().with_component(0));
    assert_eq!(text(&registry), before);
    let _late = component(&registry, "late", &PAYMENTS, 100);
    let after = text(&registry);
    // The family counts as one.
    assert_eq!((lines(&after, "payments_total{component=\"late\""), hidden(&after, "late")), (0, 101));
}

/// The text of a bomb is never whole in memory. What is not shown is counted with its owner, and
/// the neighbours' series are in the chunks.
#[test]
fn chunks_of_bomb_are_small() {
    let registry = Registry::new();
    let _evil = component(&registry, "evil", &BOMB, 10);
    let _bank = component(&registry, "bank", &PAYMENTS, ROWS);
    let snapshot = registry.snapshot(Duration::from_secs(1));
    let whole = prometheus::encode(&snapshot);
    let mut exposition = Exposition::prometheus(snapshot);
    let mut rest = whole.as_bytes();
    while let Some(chunk) = exposition.next_chunk(1 << 16) {
        assert!(chunk.len() < 1 << 18, "{}", chunk.len());
        rest = rest.strip_prefix(&chunk[..]).expect("the same text");
    }
    assert!(rest.is_empty() && whole.len() > 1 << 20);
    // Two of its series fit.
    let shown = lines(&whole, "bomb_count{component=\"evil\"");
    assert_eq!((shown, hidden(&text(&registry), "evil")), (2, 8));
    let payments = |line: &&str| line.starts_with("payments_total{component=\"bank\"") && line.ends_with(" 1");
    assert_eq!((whole.lines().filter(payments).count(), hidden(&whole, "bank")), (ROWS as usize, 0));
}

/// The metrics of a binary that has no values, and help texts full of characters that are escaped.
const EMPTY: usize = 1000;
const HELP: &str = match std::str::from_utf8(&[b'\\'; 4000]) {
    Ok(text) => text,
    Err(_) => "",
};

const fn empty(name: &str) -> Descriptor<'_> {
    Descriptor::new(Kind::CounterU64, name, HELP).with_labels(&ROW)
}

/// Returns the metrics without values, whose names have one length.
fn empty_metrics() -> Declarations {
    const BYTES: usize = empty("empty_000_total").record_len();
    let names: Vec<String> = (0..EMPTY).map(|number| format!("empty_{number:03}_total")).collect();
    let records: Vec<[u8; BYTES]> = names.iter().map(|name| empty(name).encode()).collect();
    let declarations = Declarations::from_sections(records.iter().map(|record| &record[..]));
    assert_eq!((declarations.metrics().len(), declarations.rejected()), (EMPTY, &[][..]));
    declarations
}

/// A family without series has its help text in an exposition. Those that have no room are left out
/// and counted once, and the neighbours' are all there.
#[test]
fn metadata_is_bounded_by_component() {
    const BOUND: u64 = 1 << 20;
    let registry = Registry::new();
    registry.set_exposition_limits(ExpositionLimits::default().with_component(BOUND));
    let _bank = component(&registry, "bank", &PAYMENTS, 100);
    let evil = registry.component(Identity::new("evil").with_tenant("evil"), empty_metrics());
    // The neighbours come before it and behind it.
    let _shop = component(&registry, "shop", &WAIT, 2);
    let first = text(&registry);
    let own = |text: &str| -> usize {
        let lines = text.lines().filter(|line| line.starts_with("# ") && line.contains(" empty_"));
        lines.map(|line| line.len() + 1).sum()
    };
    let bytes = own(&first) as u64;
    assert!((BOUND * 9 / 10..=BOUND).contains(&bytes), "{bytes} bytes");
    let shown = lines(&first, "# TYPE empty_");
    assert_eq!((lines(&first, "# HELP empty_"), hidden(&first, "evil")), (shown, EMPTY - shown));
    assert_eq!(lines(&first, "# TYPE payments_total") + lines(&first, "payments_total{component=\"bank\""), 1 + 100);
    assert_eq!(lines(&first, "# TYPE wait ") + lines(&first, "wait_count{component=\"shop\""), 1 + 2);
    assert_eq!((hidden(&first, "bank"), hidden(&first, "shop")), (0, 0));
    let [reported] = &registry.take_hidden_series()[..] else { panic!("one component is reported") };
    assert_eq!((reported.identity.component(), reported.limit), ("evil", ExpositionLimit::Component));
    // The same families are shown again, and none is counted again. The bound holds in OpenMetrics.
    assert_eq!(text(&registry), first);
    let openmetrics = openmetrics::encode(&registry.snapshot(Duration::from_secs(1)));
    assert!(own(&openmetrics) as u64 <= BOUND, "{} bytes", own(&openmetrics));

    // A value in a family that is not shown is not shown either, and counts too.
    let last = evil
        .recorder()
        .counter(&wasmetry_host::handle_api::Descriptor { name: "last_total", help: HELP, unit: "" }, &[("row", "1")]);
    last.unwrap().inc();
    let next = text(&registry);
    assert_eq!((lines(&next, "last_total"), hidden(&next, "evil")), (0, EMPTY - shown + 2));
    // With room, all are shown, and the value is there.
    registry.set_exposition_limits(ExpositionLimits::default());
    let all = text(&registry);
    assert_eq!((lines(&all, "# TYPE empty_"), lines(&all, "last_total{component=\"evil\"")), (EMPTY, 1));
    assert_eq!(hidden(&all, "evil"), EMPTY - shown + 2);
}

/// The room of a family without series goes back when its component is removed.
#[test]
fn removed_metadata_returns_room() {
    let registry = Registry::new();
    registry.set_exposition_limits(ExpositionLimits::default().with_tenant(10 << 20));
    let tenant = |name: &str| Identity::new(name).with_tenant("evil");
    let first = registry.component(tenant("evil1"), empty_metrics());
    let shown = |text: &str| lines(text, "# TYPE payments_total");
    assert_eq!(lines(&text(&registry), "# TYPE empty_"), EMPTY);
    registry.set_exposition_limits(ExpositionLimits::default().with_tenant(8_000_000));
    let _second = component(&registry, "evil2", &PAYMENTS, 0);
    let before = text(&registry);
    assert_eq!((shown(&before), hidden(&before, "evil2")), (0, 1));
    first.retire();
    drop(first);
    registry.snapshot(Duration::from_secs(2));
    registry.snapshot(limits::RETENTION * 2);
    let after = prometheus::encode(&registry.snapshot(limits::RETENTION * 2));
    assert_eq!((lines(&after, "# TYPE empty_"), shown(&after), hidden(&after, "evil2")), (0, 1, 1));
}
