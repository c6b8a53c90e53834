//! Limits that an embedder sets: each holds for the component or tenant that it is about, and costs
//! no other one anything.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::handle_api::{Attributes, Descriptor as Resolved, NewSpan, ResolveError};
use wasmetry_host::record::SpanKind;
use wasmetry_host::{Component, GuestLimits, Identity, Outcome, Registry, limits};

use crate::image::{Image, declarations, declare, samples};
use crate::json_line::context;
use crate::memory_sink::MemorySink;

const TEXT: [LabelSpec<'static>; 1] = [LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 20, max_len: 8 } }];
const DENSE: [LabelSpec<'static>; 1] = [LabelSpec { key: "n", shape: LabelShape::Below(9) }];
const MANY: [LabelSpec<'static>; 1] = [LabelSpec { key: "item", shape: LabelShape::Below(60_000) }];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&TEXT));
declare!(VISITS = Descriptor::new(Kind::CounterU64, "visits_total", "Visits.").with_labels(&DENSE));
declare!(STOCK = Descriptor::new(Kind::UpDownI64, "stock", "Stock.").with_labels(&MANY));
declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));

fn registry(set: impl FnOnce(&mut GuestLimits)) -> Registry {
    let registry = Registry::new();
    let mut limits = GuestLimits::default();
    set(&mut limits);
    registry.set_limits(limits);
    registry
}

fn component(registry: &Registry, name: &str, tenant: &str) -> Component {
    registry.component(Identity::new(name).with_tenant(tenant), declarations(&[&SALES, &VISITS, &HITS]))
}

/// Returns the drops of a component for a reason.
fn dropped(registry: &Registry, component: &str, reason: &str) -> u64 {
    let lines = samples(registry, 1, &format!("wasmetry_dropped_total{{component=\"{component}\""));
    let end = format!("reason=\"{reason}\"}} ");
    lines.iter().filter_map(|line| line.split_once(&end)?.1.parse::<u64>().ok()).sum()
}

/// Returns the number of series of a component with texts of their own, and the sum of all.
fn sales(registry: &Registry, component: &str) -> (usize, u64) {
    let lines = samples(registry, 1, &format!("sales_total{{component=\"{component}\""));
    let own = lines.iter().filter(|line| !line.contains("overflow")).count();
    (own, lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum())
}

#[test]
fn series_are_bounded_by_tenant() {
    let registry = registry(|limits| (limits.series, limits.tenant_series) = (5, 8));
    let components = [("evil", "mallory"), ("twin", "mallory"), ("bank", "acme")];
    let components = components.map(|(name, tenant)| component(&registry, name, tenant));
    for component in &components {
        let (mut image, [sales]) = Image::with(4, [&SALES]);
        for row in 0..7 {
            image.text(sales, 0, row, format!("sku-{row}").as_bytes());
            image.set(sales, row as usize, 1);
        }
        image.read_last(component.instance(), 1);
    }
    let found = ["evil", "twin", "bank"].map(|name| (sales(&registry, name), dropped(&registry, name, "series_limit")));
    assert_eq!(found, [((5, 7), 2), ((3, 7), 4), ((5, 7), 2)]);
}

#[test]
fn metrics_are_bounded_by_tenant() {
    let registry = registry(|limits| (limits.metrics, limits.tenant_metrics) = (2, 3));
    let evil = component(&registry, "evil", "mallory");
    let twin = component(&registry, "twin", "mallory");
    let bank = component(&registry, "bank", "acme");
    let refused = [&evil, &twin, &bank].map(|component| component.conflicts().len());
    assert_eq!(refused, [1, 2, 1]);
    assert!(evil.conflicts()[0].reason.contains("as many metrics"), "{:?}", evil.conflicts());
    let counted = ["evil", "twin", "bank"].map(|name| dropped(&registry, name, "metric_limit"));
    assert_eq!(counted, [1, 2, 1]);
    // The handle API shares the room.
    let late = registry.component(Identity::new("late").with_tenant("mallory"), declarations(&[]));
    let resolved = late.recorder().counter(&Resolved { name: "late_total", help: "Late.", unit: "" }, &[]);
    assert!(matches!(resolved, Err(ResolveError::Metrics { .. })), "{resolved:?}");
    assert_eq!(dropped(&registry, "late", "metric_limit"), 1);
    // A removed component gives its room back.
    evil.retire();
    drop(evil);
    registry.snapshot(Duration::from_secs(2));
    registry.snapshot(limits::RETENTION * 2);
    let next = component(&registry, "next", "mallory");
    assert_eq!(next.conflicts().len(), 1);
}

/// A limit of the series in families of the host applies to new series at once. Each component and
/// tenant has its own, and its drops have the owner.
#[test]
fn host_series_have_set_limit() {
    let registry = registry(|limits| (limits.host_series, limits.tenant_host_series) = (4, 6));
    let requests = registry.counter("requests_total", "Requests.", &["component", "version", "tenant", "route"]);
    let record = |component: &str, tenant: &str, routes: usize| {
        (0..routes).for_each(|route| requests.with(&[component, "", tenant, &format!("/{route}")]).inc());
    };
    let shown = |component: &str| {
        let lines = samples(&registry, 1, &format!("requests_total{{component=\"{component}\""));
        let own = lines.iter().filter(|line| !line.contains("overflow")).count();
        (own, lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum::<usize>())
    };
    for (component, tenant) in [("evil", "mallory"), ("twin", "mallory"), ("bank", "acme"), ("plain", "")] {
        record(component, tenant, 7);
    }
    // The overflow series of the first one is one of its tenant's six.
    let found = ["evil", "twin", "bank", "plain"].map(|name| (shown(name), dropped(&registry, name, "series_limit")));
    assert_eq!(found, [((4, 7), 3), ((1, 7), 6), ((4, 7), 3), ((4, 7), 3)]);
    let mut limits = GuestLimits::default();
    limits.host_series = 5;
    registry.set_limits(limits);
    record("bank", "acme", 9);
    // The overflow series is one of its five.
    assert_eq!((shown("bank"), dropped(&registry, "bank", "series_limit")), ((4, 16), 8));
}

#[test]
fn reads_have_limits_of_registry() {
    let registry = registry(|limits| limits.read_series = 80);
    let shop = component(&registry, "shop", "");
    let (mut image, [visits]) = Image::with(4, [&VISITS]);
    (0..10).for_each(|row| image.set(visits, row, 1));
    // The list takes eight cells, and the entry ten.
    (0..3).for_each(|_| image.read_last(shop.instance(), 1));
    assert_eq!(dropped(&registry, "shop", "read_budget"), 0);
    registry.set_limits({
        let mut limits = GuestLimits::default();
        limits.read_series = 17;
        limits
    });
    let late = component(&registry, "late", "");
    image.read_last(late.instance(), 1);
    image.read_last(shop.instance(), 1);
    let counted = ["shop", "late"].map(|name| dropped(&registry, name, "read_budget"));
    assert_eq!(counted, [0, 1], "a component keeps the limits that it was registered with");
}

#[test]
fn open_spans_have_set_limit() {
    let registry = registry(|limits| limits.open_spans = 3);
    let shop = component(&registry, "shop", "");
    let sink = Arc::new(MemorySink::default());
    let mut request = shop.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::default());
    let span = |id| NewSpan {
        name: "load",
        kind: SpanKind::Internal,
        context: context(1, id, 1),
        parent: None,
        is_parent_remote: false,
        attributes: Attributes::default(),
    };
    assert_eq!((1..=10).filter(|id| request.start(span(*id), 1)).count(), 3);
    request.finish(Outcome::Ok, Duration::from_millis(1), 2);
    assert_eq!((sink.spans().len(), dropped(&registry, "shop", "span_limit")), (3, 7));
}

/// A tenant whose memory is full gets no more metrics with many series, which it has from the
/// start. Small ones are bounded by their number.
#[test]
fn large_metrics_need_memory() {
    let registry = registry(|limits| limits.tenant_memory = 900_000);
    let declare = |name: &str, tenant: &str| {
        registry.component(Identity::new(name).with_tenant(tenant), declarations(&[&STOCK, &HITS]))
    };
    let first = declare("evil-0", "mallory");
    assert_eq!(first.conflicts(), []);
    let components: Vec<_> = (1..20).map(|number| declare(&format!("evil-{number}"), "mallory")).collect();
    let refused: Vec<_> = components.iter().filter(|component| !component.conflicts().is_empty()).collect();
    assert_eq!(refused.len(), 19, "there is room for one");
    for component in &refused {
        let [conflict] = &component.conflicts()[..] else { panic!("{:?}", component.conflicts()) };
        assert!(conflict.name == "stock" && conflict.reason.contains("`tenant-memory`"), "{conflict:?}");
        assert_eq!(dropped(&registry, component.identity().component(), "memory_limit"), 1);
        let (mut image, [hits]) = Image::with(4, [&HITS]);
        image.set(hits, 0, 7);
        image.read_last(component.instance(), 1);
    }
    assert_eq!(samples(&registry, 1, "hits_total").iter().filter(|line| line.ends_with("} 7")).count(), 19);
    let kept: u64 = components.iter().map(Component::memory_bytes).sum();
    assert!(kept < 900_000, "{kept} bytes");
    assert_eq!(declare("bank", "acme").conflicts(), [], "another tenant has memory of its own");
    // A removed component gives its room back.
    first.retire();
    drop(first);
    registry.snapshot(Duration::from_secs(2));
    registry.snapshot(limits::RETENTION * 2);
    assert_eq!(declare("next", "mallory").conflicts(), []);
}

/// The room of labels goes back with the metric that has them.
#[test]
fn removed_labels_give_room_back() {
    let registry = registry(|limits| limits.label_text = 400);
    let other = registry.component(Identity::new("shop"), declarations(&[&HITS]));
    for round in 0..10 {
        let shop = registry.component(Identity::new("shop"), declarations(&[&SALES]));
        let (mut image, [sales]) = Image::with(4, [&SALES]);
        for row in 0..5 {
            image.text(sales, 0, row, format!("{round}-{row}").as_bytes());
            image.set(sales, row as usize, 1);
        }
        image.read_last(shop.instance(), 1);
        shop.retire();
        drop(shop);
        let ended = (3 * round + 1) * limits::RETENTION.as_secs();
        assert_eq!(samples(&registry, ended, "sales_total").len(), 5, "round {round}");
        assert_eq!(samples(&registry, ended + 2 * limits::RETENTION.as_secs(), "sales_total"), [""; 0]);
    }
    assert_eq!(dropped(&registry, "shop", "series_limit"), 0);
    drop(other);
}

/// Memory that was granted before stays.
#[test]
fn lowered_memory_limits_apply_at_once() {
    let registry = registry(|_| {});
    let shop = component(&registry, "shop", "acme");
    let (image, _) = Image::with(4, [&SALES]);
    let mut first = shop.instance();
    image.read(&mut first, 1);
    assert_eq!(dropped(&registry, "shop", "memory_limit"), 0);
    registry.set_memory_limits(u64::MAX, 1);
    let mut second = shop.instance();
    image.read(&mut second, 1);
    assert_eq!(dropped(&registry, "shop", "memory_limit"), 1);
}
