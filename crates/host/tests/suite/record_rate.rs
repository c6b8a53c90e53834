//! The rates of records: a component and its tenant have as many logs and spans as they may, by
//! rings and by the handle API, and cost no neighbour anything.

use std::sync::Arc;

use wasmetry_abi::Level;
use wasmetry_abi::ring::{self, HEADER_SIZE, RecordKind};
use wasmetry_host::handle_api::{Attributes, Log, NewSpan};
use wasmetry_host::record::SpanKind;
use wasmetry_host::{Component, Declarations, GuestLimits, Identity, Registry, RequestTelemetry, Timestamp};

use crate::image::{add_neighbour, assert_neighbour_exact, samples};
use crate::json_line::context;
use crate::memory_sink::MemorySink;
use crate::ring::{LOADED_RECORD, NOW, Ring, add};

const SECOND: u64 = 1_000_000_000;

/// A registry whose components may have 100 records at once and 10 in a second, and half as many
/// audit records, beside a neighbour.
fn registry() -> (Registry, Component) {
    let mut limits = GuestLimits::default();
    (limits.records, limits.records_per_second) = (100, 10);
    (limits.tenant_records, limits.tenant_records_per_second) = (150, 15);
    (limits.audit_records, limits.audit_records_per_second) = (50, 5);
    let registry = Registry::new();
    registry.set_limits(limits);
    let bank = add_neighbour(&registry);
    (registry, bank)
}

fn component(registry: &Registry, name: &str, tenant: &str) -> Component {
    let identity = Identity::new(name).with_tenant(tenant);
    registry.component(identity, Declarations::from_sections([&LOADED_RECORD[..]]))
}

fn request(component: &Component) -> (RequestTelemetry, Arc<MemorySink>) {
    let sink = Arc::new(MemorySink::default());
    (component.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::default()), sink)
}

/// Records logs of the handle API, and returns the number of those that are exported.
fn log(component: &Component, count: usize, is_audit: bool, now: u64) -> usize {
    let (mut request, sink) = request(component);
    for _ in 0..count {
        let (level, attributes) = (Level::Info, Attributes::default());
        request.log(Log { level, target: None, message: "loaded", attributes, trace: None, is_audit }, now);
    }
    sink.logs().len()
}

/// Reads a ring of a new instance, and returns the numbers of exported logs and audit records.
fn read(component: &Component, ring: &Ring, now: u64) -> (usize, usize) {
    let (mut request, sink) = request(component);
    let now = Timestamp { wall: now, ..Timestamp::default() };
    component.instance().read_records(ring.image.view(), now, &mut request);
    let (audit, others): (Vec<_>, Vec<_>) = sink.logs().into_iter().partition(|log| log.is_audit);
    (others.len(), audit.len())
}

/// Returns the drops of each component for the rate. Those of the neighbour are none.
fn dropped<const N: usize>(registry: &Registry, components: [&str; N]) -> [u64; N] {
    assert_neighbour_exact(registry);
    components.map(|component| {
        let lines = samples(registry, 0, &format!("wasmetry_dropped_total{{component=\"{component}\""));
        let end = "signal=\"records\",reason=\"record_limit\"} ";
        lines.iter().filter_map(|line| line.split_once(end)?.1.parse::<u64>().ok()).sum()
    })
}

fn flood(records: u64) -> Ring {
    let mut ring = Ring::new(4, 1024);
    (0..records).for_each(|number| ring.loaded(number));
    ring
}

/// A component has a number of records, however many instances and reads they come from. It grows
/// back with time.
#[test]
fn ring_records_are_bounded_by_component() {
    let (registry, bank) = registry();
    let shop = component(&registry, "shop", "");
    let ring = flood(40);
    assert_eq!(log(&bank, 10, false, NOW), 10);
    let exported: Vec<usize> = (0..5).map(|_| read(&shop, &ring, NOW).0).collect();
    assert_eq!(exported, [40, 40, 20, 0, 0]);
    assert_eq!(dropped(&registry, ["shop"]), [100]);
    assert_eq!(read(&shop, &ring, NOW + 2 * SECOND).0, 20);
    assert_eq!(dropped(&registry, ["shop"]), [120]);
    // An instance whose records were dropped goes on with the next ones.
    let (mut request, sink) = request(&shop);
    let (mut ring, mut instance) = (flood(30), shop.instance());
    for (second, number) in [(2, 30), (4, 31)] {
        let now = Timestamp { wall: NOW + second * SECOND, ..Timestamp::default() };
        instance.read_records(ring.image.view(), now, &mut request);
        ring.loaded(number);
    }
    let messages: Vec<_> = sink.logs().iter().map(|log| log.message.to_string()).collect();
    assert_eq!(messages, ["loaded 30"]);
    assert_eq!((instance.consumed(), dropped(&registry, ["shop"])), (31, [150]));
    assert_eq!(log(&bank, 90, false, NOW), 90);
    assert_neighbour_exact(&registry);
}

/// Components of one tenant share its rate, by rings and by the handle API. Other tenants lose
/// nothing by it.
#[test]
fn records_are_bounded_by_tenant() {
    let (registry, bank) = registry();
    let [evil, twin] = ["evil", "twin"].map(|name| component(&registry, name, "mallory"));
    assert_eq!(log(&evil, 80, false, NOW), 80);
    assert_eq!(read(&evil, &flood(40), NOW).0, 20);
    assert_eq!(read(&twin, &flood(40), NOW).0, 40);
    assert_eq!(log(&twin, 20, false, NOW), 10);
    assert_eq!(log(&bank, 100, false, NOW), 100);
    assert_eq!(dropped(&registry, ["evil", "twin"]), [20, 10]);
    // A span takes a record when it starts.
    let (mut request, _) = request(&twin);
    let span = |id| NewSpan {
        name: "load",
        kind: SpanKind::Internal,
        context: context(1, id, 1),
        parent: None,
        is_parent_remote: false,
        attributes: Attributes::default(),
    };
    assert_eq!((1..=30).filter(|id| request.start(span(*id), NOW + SECOND)).count(), 15);
    assert_eq!(dropped(&registry, ["evil", "twin"]), [20, 25]);
}

/// Audit records have a rate of their own: a flood of logs takes none of it, and they do not pass
/// the bound of logs.
#[test]
fn audit_records_have_own_rate() {
    let (registry, bank) = registry();
    let shop = component(&registry, "shop", "");
    let mut ring = flood(60);
    let place = ring.image.header + ring.image.offsets.header_audit as u64;
    let audit = add(&mut ring.image, place, 256);
    let site = wasmetry_abi::hash(&LOADED_RECORD);
    for number in 0..30 {
        let words = [ring::head(7, RecordKind::Log, 0, number), 0, 0, 0, 0, site, 0];
        for (at, word) in words.into_iter().enumerate() {
            let at = HEADER_SIZE + 8 * (7 * number as usize + at);
            ring.image.put(audit + at as u64, &word.to_le_bytes());
        }
    }
    ring.image.put(audit + ring::HEAD as u64, &(7 * 30_u64).to_le_bytes());
    assert_eq!(read(&shop, &ring, NOW), (60, 30));
    assert_eq!(read(&shop, &ring, NOW), (40, 20));
    assert_eq!(read(&shop, &ring, NOW), (0, 0));
    assert_eq!((log(&shop, 5, false, NOW), log(&shop, 5, true, NOW)), (0, 0));
    assert_eq!(dropped(&registry, ["shop"]), [20 + 10 + 90 + 10]);
    assert_eq!((log(&bank, 20, false, NOW), log(&bank, 20, true, NOW)), (20, 20));
    assert_eq!(read(&shop, &ring, NOW + SECOND), (10, 5));
    assert_neighbour_exact(&registry);
}
