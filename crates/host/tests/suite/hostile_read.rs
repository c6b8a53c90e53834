//! Reads that cost their host more than their guest: each ends within its budget, and what is left
//! out is counted with its owner.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge};
use wasmetry_host::{
    BatchReceiver, Component, Identity, Instance, ReadBudget, ReadLimits, RegionView, Registry, encode, limits,
};

use crate::batch::push;
use crate::image::{
    Declared, Image, declarations, declare, dropped_beside_neighbour as dropped, samples, shop_beside_neighbour as shop,
};

const DENSE: [LabelSpec<'static>; 1] = [LabelSpec { key: "n", shape: LabelShape::Below(65_535) }];
declare!(FIRST = Descriptor::new(Kind::CounterU64, "first_total", "First.").with_labels(&DENSE));
declare!(SECOND = Descriptor::new(Kind::CounterU64, "second_total", "Second.").with_labels(&DENSE));
declare!(THIRD = Descriptor::new(Kind::CounterU64, "third_total", "Third.").with_labels(&DENSE));
declare!(OPEN = Descriptor::new(Kind::GaugeI64, "open", "Open.").with_merge(Merge::Last));
declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));

const TEXTS: u32 = 20;
const TEXT: [LabelSpec<'static>; 1] =
    [LabelSpec { key: "sku", shape: LabelShape::Text { capacity: TEXTS, max_len: 8 } }];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&TEXT));

const LONG: LabelShape<'static> = LabelShape::Text { capacity: 1, max_len: 1024 };
const KEYS: [&str; 16] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
const BOMB_LABELS: [LabelSpec<'static>; 16] = {
    let mut labels = [LabelSpec { key: "a", shape: LONG }; 16];
    let mut at = 0;
    while at < labels.len() {
        labels[at].key = KEYS[at];
        at += 1;
    }
    labels
};
declare!(BOMB = Descriptor::new(Kind::CounterU64, "bomb_total", "Bomb.").with_labels(&BOMB_LABELS));

const NOW: Duration = Duration::from_secs(1);

fn read(image: &Image, instance: &mut Instance, budget: &mut ReadBudget) {
    instance.read_within(image.view(), NOW.into(), budget, None);
}

/// The sum of all series of a metric.
fn total(registry: &Registry, name: &str) -> u64 {
    let all = samples(registry, 1, &format!("{name}{{"));
    all.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// 65,536 series of 16 KiB of labels, as a guest of some kilobytes declares them.
fn bomb() -> Image {
    let (mut image, [bomb]) = Image::with(4, [&BOMB]);
    for label in 0..16 {
        image.text(bomb, label, 0, &[b'"'; 1024]);
    }
    (0..1 << 16).for_each(|series| image.set(bomb, series, 1));
    image
}

#[test]
fn long_labels_end_in_overflow() {
    let (registry, component) = shop(&[&BOMB]);
    let image = bomb();
    for reads in 1..3 {
        image.read_last(component.instance(), 1);
        // Every increment is in a series of its own or in the overflow series.
        assert_eq!(total(&registry, "bomb_total"), reads << 16);
    }
    let counted = dropped(&registry);
    let [over_budget] = &counted[..] else { panic!("{counted:?}") };
    let count: u64 = over_budget.strip_prefix("read_budget ").unwrap().parse().unwrap();
    // At most 4 MiB of texts were looked up in each read, of 8 KiB on average.
    assert!((120_000..2 << 16).contains(&count), "{count}");
    let text = encode::prometheus::encode(&registry.snapshot(NOW));
    assert!(text.len() < 16 << 20, "{}", text.len());
}

#[test]
fn labels_wait_for_next_read() {
    let (registry, component) = shop(&[&SALES]);
    let (mut image, [sales]) = Image::with(4, [&SALES]);
    for slot in 0..TEXTS {
        image.text(sales, 0, slot, format!("{slot:08}").as_bytes());
        image.set(sales, slot as usize, 1);
    }
    let mut instance = component.instance();
    // A series takes a byte and those of its text.
    let budget = || ReadBudget::new(ReadLimits::default().with_label_bytes(9 * 6));
    for (reads, shown) in [(1, 6), (2, 12), (3, 18), (4, 20), (5, 20)] {
        read(&image, &mut instance, &mut budget());
        assert_eq!(samples(&registry, 1, "sales_total").len(), shown, "{reads}");
    }
    assert_eq!(total(&registry, "sales_total"), 20);
    assert_eq!(dropped(&registry), [""; 0], "nothing was lost");

    // There is no read after the last one.
    let mut instance = component.instance();
    read(&image, &mut instance, &mut budget());
    instance.read_last_within(
        image.view(),
        NOW.into(),
        &mut ReadBudget::new(ReadLimits::default().with_label_bytes(9)),
        None,
    );
    assert_eq!(total(&registry, "sales_total"), 40);
    assert_eq!(dropped(&registry), ["read_budget 13"]);
    assert!(
        samples(&registry, 1, "sales_total").contains(&"sales_total{component=\"shop\",sku=\"overflow\"} 13".into())
    );
}

#[test]
fn cells_beyond_budget_are_counted() {
    let (registry, component) = shop(&[&FIRST, &SECOND, &THIRD, &HITS]);
    let (mut image, [first, second, third, hits]) = Image::with(4, [&FIRST, &SECOND, &THIRD, &HITS]);
    for entry in [first, second, third, hits] {
        image.set(entry, 0, 5);
    }
    let mut instance = component.instance();
    read(&image, &mut instance, &mut ReadBudget::new(ReadLimits::default().with_cells(140_000)));
    assert_eq!(dropped(&registry), ["read_budget 1"]);
    assert_eq!(
        ["first_total", "second_total", "third_total", "hits_total"].map(|name| total(&registry, name)),
        [5, 5, 0, 5]
    );
    // Values are cumulative, so that a later read loses nothing.
    read(&image, &mut instance, &mut ReadBudget::default());
    assert_eq!(total(&registry, "third_total"), 5);
    instance.read_last_within(image.view(), NOW.into(), &mut ReadBudget::new(ReadLimits::NOTHING), None);
    assert_eq!(dropped(&registry), ["read_budget 5"], "the list of four was not read");
    assert_eq!(total(&registry, "first_total"), 5);
}

#[test]
fn regions_of_store_share_budget() {
    let (registry, component) = shop(&[&FIRST]);
    let images: Vec<Image> = (0..4).map(|_| Image::with(4, [&FIRST]).0).collect();
    let mut budget = ReadBudget::new(ReadLimits::default().with_cells(140_000));
    for image in &images {
        read(image, &mut component.instance(), &mut budget);
    }
    assert_eq!(dropped(&registry), ["read_budget 2"]);
}

#[test]
fn read_ends_at_deadline() {
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    fn clock() -> Duration {
        // Each look takes a millisecond.
        Duration::from_millis(CLOCK.fetch_add(1, Relaxed))
    }
    let (registry, component) = shop(&[&FIRST, &SECOND, &THIRD]);
    let (image, _) = Image::with(4, [&FIRST, &SECOND, &THIRD]);
    let mut budget = ReadBudget::default().with_deadline(clock, Duration::from_millis(2));
    read(&image, &mut component.instance(), &mut budget);
    // One look before each entry, none before the list.
    assert_eq!(dropped(&registry), ["read_budget 1"]);
    // A small read takes no look.
    let (registry, component) = shop(&[&HITS]);
    let (mut image, [hits]) = Image::with(4, [&HITS]);
    image.set(hits, 0, 1);
    read(&image, &mut component.instance(), &mut ReadBudget::default().with_deadline(clock, Duration::ZERO));
    assert_eq!(total(&registry, "hits_total"), 1);
    assert_eq!(dropped(&registry), [""; 0]);
}

/// Regions with headers of their own whose entries are the same memory.
#[test]
fn shared_entries_are_merged_once() {
    let (registry, component) = shop(&[&HITS, &OPEN]);
    let (mut image, [hits, open]) = Image::with(4, [&HITS, &OPEN]);
    image.set(hits, 0, 3);
    image.set(open, 0, 7);
    image.set(open, 1, 1);
    let header = image.bytes[(image.header - image.base) as usize..][..image.offsets.header_size].to_vec();
    let mut headers = vec![image.header];
    for _ in 1..64 {
        headers.push(image.base + image.bytes.len() as u64);
        image.bytes.extend(&header);
    }
    let mut instances: Vec<Instance> = headers.iter().map(|_| component.instance()).collect();
    for reads in 1..3 {
        image.set(hits, 0, 3 * reads);
        let mut budget = ReadBudget::default();
        for (header, instance) in headers.iter().zip(&mut instances) {
            let view = RegionView { header: *header, ..image.view() };
            instance.read_within(view, NOW.into(), &mut budget, None);
        }
        assert_eq!(total(&registry, "hits_total"), 3 * reads);
        // Once for each instance.
        assert_eq!(dropped(&registry), ["overlap 63"]);
    }
    drop(instances);
    assert_eq!(total(&registry, "open"), 7);
    // Another memory at equal addresses is another store's, or another component's in it.
    let copy = image.clone();
    let mut budget = ReadBudget::default();
    read(&image, &mut component.instance(), &mut budget);
    read(&copy, &mut component.instance(), &mut budget);
    assert_eq!(total(&registry, "hits_total"), 6 * 3);
    assert_eq!(dropped(&registry), ["overlap 63"]);
}

/// Copies of regions, each at the place of the last one, have one budget.
#[test]
fn copies_of_store_share_budget() {
    let (registry, component) = shop(&[&HITS]);
    let (mut image, [hits]) = Image::with(4, [&HITS]);
    image.set(hits, 0, 1);
    // A list of one entry takes eight cells, and the entry one.
    let mut budget = ReadBudget::new(ReadLimits::default().with_cells(2 * 9));
    for _ in 0..3 {
        read(&image, &mut component.instance(), &mut budget);
        budget.forget_regions();
    }
    assert_eq!(total(&registry, "hits_total"), 2);
    assert_eq!(dropped(&registry), ["read_budget 1"]);
}

/// 64 regions of a guest over 16 MiB that it never touched.
#[test]
fn untouched_regions_keep_little_memory() {
    const METRICS: [&Declared; 3] = [&FIRST, &SECOND, &THIRD];
    const WORDS: u64 = 3 << 16;
    let (registry, component) = shop(&METRICS);
    registry.snapshot(NOW);
    let (before, all) = (component.memory_bytes(), registry.memory_bytes());
    let mut image = Image::new(4);
    METRICS.iter().for_each(|metric| _ = image.register(metric));
    let memory = component.store_memory();
    let mut instances: Vec<Instance> = (0..64).map(|_| component.instance_in(&memory)).collect();
    for instance in &mut instances {
        // Each with a budget of its own, as if the windows did not overlap.
        read(&image, instance, &mut ReadBudget::default());
    }
    let kept = memory.bytes();
    assert!(kept <= limits::STORE_MEMORY && kept > limits::STORE_MEMORY - 9 * WORDS, "{kept}");
    assert_eq!((registry.memory_bytes(), component.memory_bytes()), (all + kept, before + kept));
    let refused = 64 - limits::STORE_MEMORY / (8 * WORDS);
    assert_eq!(dropped(&registry), [format!("memory_limit {refused}")]);
    // What could not be kept is read at the end.
    for instance in instances {
        image.read_last(instance, 1);
    }
    assert_eq!(dropped(&registry), [format!("memory_limit {refused}")]);
    assert_eq!(memory.bytes(), 0, "given back at the end");
    // What makes the next read cheap is given back by the second snapshot without an instance.
    let idle = [1, 2].map(|_| {
        registry.snapshot(NOW);
        component.memory_bytes()
    });
    // Beside a byte for each series, which is shown or not.
    assert!(idle[1] <= idle[0] && idle[1] - before < WORDS + (8 << 10), "{before}, {idle:?}");
}

/// An idle component keeps no buffers for its next instances.
#[test]
fn idle_buffers_are_given_back() {
    const INSTANCES: u64 = 64;
    let (registry, component) = shop(&[&SALES, &OPEN]);
    let (image, _) = Image::with(4, [&SALES, &OPEN]);
    registry.snapshot(NOW);
    let before = component.memory_bytes();
    let mut instances: Vec<Instance> = (0..INSTANCES).map(|_| component.instance()).collect();
    instances.iter_mut().for_each(|instance| read(&image, instance, &mut ReadBudget::default()));
    let busy = component.memory_bytes() - before;
    drop(instances);
    registry.snapshot(NOW);
    let spare = component.memory_bytes() - before;
    registry.snapshot(NOW);
    let idle = component.memory_bytes() - before;
    // Beside the layout, which is kept.
    assert!(idle < 2 << 10 && idle < spare && spare < busy, "{busy}, {spare}, {idle}");
    // A busy component keeps them.
    for _ in 0..3 {
        read(&image, &mut component.instance(), &mut ReadBudget::default());
        registry.snapshot(NOW);
        assert!(component.memory_bytes() - before > idle);
    }
}

#[test]
fn memory_is_bounded_by_tenant() {
    let registry = Registry::new();
    let tenant =
        |name: &str, tenant: &str| registry.component(Identity::new(name).with_tenant(tenant), declarations(&[&FIRST]));
    let components = [tenant("a", "acme"), tenant("b", "acme"), tenant("c", "mallory")];
    let words = 8 << 16;
    // The values of all instances take as much as those of one.
    let own = components.each_ref().map(Component::memory_bytes);
    assert!(own.iter().all(|bytes| *bytes > words), "{own:?}");
    // Of the second instance of `acme`, there is room for all but some words.
    registry.set_memory_limits(20 * words, own[0] + own[1] + 2 * words - 100);
    let (image, _) = Image::with(4, [&FIRST]);
    let mut instances: Vec<Instance> = components.iter().map(|component| component.instance()).collect();
    instances.iter_mut().for_each(|instance| image.read(instance, 1));
    let counted = samples(&registry, 1, "wasmetry_dropped_total{component=");
    let counted: Vec<_> = counted.iter().filter(|line| line.contains("memory_limit")).collect();
    assert_eq!(
        counted,
        [r#"wasmetry_dropped_total{component="b",tenant="acme",signal="metrics",reason="memory_limit"} 1"#]
    );
    instances.clear();
    let kept: u64 = own.iter().sum();
    let left = registry.memory_bytes();
    assert!((kept..kept + (64 << 10)).contains(&left), "{left} beside {kept}");
}

/// Series that came before the limit are charged as they are, and bound what comes after them.
#[test]
fn lowered_limit_hides_no_memory() {
    let registry = Registry::new();
    let component =
        |name: &str| registry.component(Identity::new(name).with_tenant(name), declarations(&[&FIRST, &SALES]));
    let [evil, bank] = ["evil", "bank"].map(component);
    registry.snapshot(NOW);
    let before = evil.memory_bytes();
    assert!(before > 8 << 16);
    registry.set_memory_limits(u64::MAX, 1 << 16);
    registry.snapshot(NOW);
    assert!(evil.memory_bytes() >= before, "the limit changes nothing that is in use");
    let (mut image, [sales]) = Image::with(4, [&SALES]);
    image.text(sales, 0, 0, b"sku");
    image.set(sales, 0, 3);
    image.read_last(evil.instance(), 1);
    registry.set_memory_limits(u64::MAX, limits::TENANT_MEMORY);
    image.read_last(bank.instance(), 1);
    let sales = samples(&registry, 1, "sales_total{");
    assert_eq!(
        sales,
        [
            r#"sales_total{component="bank",tenant="bank",sku="sku"} 3"#,
            r#"sales_total{component="evil",tenant="evil",sku="overflow"} 3"#
        ]
    );
    let counted = samples(&registry, 1, "wasmetry_dropped_total{component=\"evil\"");
    assert!(counted.iter().any(|line| line.ends_with(r#"reason="series_limit"} 1"#)), "{counted:?}");
}

/// The list ends at the limit of entries, though each is where it should be.
#[test]
fn list_of_million_entries_is_cut() {
    let (registry, component) = shop(&[&HITS]);
    let mut image = Image::new(4);
    let start = image.base + image.bytes.len() as u64;
    let nodes = 1_000_000;
    image.bytes.resize(image.bytes.len() + 16 * nodes as usize, 0);
    for node in 0..nodes {
        let next = if node + 1 < nodes { start + 16 * (node + 1) } else { 0 };
        image.put_pointer(start + 16 * node, next);
    }
    image.put_pointer(image.header + image.offsets.header_metrics as u64, start);
    image.read_last(component.instance(), 1);
    assert_eq!(dropped(&registry), ["entry_list 1".to_owned(), format!("unknown_descriptor {}", limits::ENTRIES)]);
    // Lists of several regions share the budget of their store.
    let mut budget = ReadBudget::default();
    for _ in 0..80 {
        component.instance().read_last_within(image.view(), NOW.into(), &mut budget, None);
    }
    // 64 lists cost as many cells as a read may.
    let over_budget = format!("read_budget {}", 16 * limits::ENTRIES);
    assert!(dropped(&registry).contains(&over_budget), "{:?}", dropped(&registry));
}

/// A window of 4 GiB, of which the guest has touched two pages.
#[cfg(target_pointer_width = "64")]
#[test]
fn window_of_four_gib_costs_nothing() {
    let (registry, component) = shop(&[&HITS]);
    let (small, [hits]) = Image::with(4, [&HITS]);
    let mut memory = vec![0; 1 << 32];
    let at = memory.len() - small.bytes.len();
    let base = u64::from(u32::MAX) + 1 - small.bytes.len() as u64;
    memory[at..].copy_from_slice(&small.bytes);
    let mut image = Image { base: 0, header: base + small.header - small.base, bytes: memory, ..small.clone() };
    let entry = base + hits.address - small.base;
    image.put_pointer(image.header + image.offsets.header_metrics as u64, entry);
    image.read_last(component.instance(), 1);
    assert_eq!(dropped(&registry), [""; 0]);
    // Beyond the window's end.
    image.put_pointer(image.header + image.offsets.header_metrics as u64, u64::from(u32::MAX) - 7);
    image.read_last(component.instance(), 1);
    assert_eq!(dropped(&registry), ["entry_list 1"]);
}

/// A batch that declares 8 MiB, again and again at other addresses.
#[test]
fn declared_batches_stay_in_memory_limit() {
    let (registry, component) = shop(&[&HITS]);
    let memory = component.store_memory();
    memory.set_limit(1 << 20);
    let mut receiver = BatchReceiver::new_in(component.clone(), memory.clone());
    let mut image = Image::with(4, [&HITS]).0;
    image.bytes.resize(2 << 20, 0);
    let region = receiver.open().unwrap();
    for batch in push(&image, region, 0, 64) {
        receiver.receive(&batch, NOW.into(), None);
    }
    assert_eq!(memory.bytes(), 0);
    let counted = dropped(&registry);
    assert!(counted.iter().any(|line| line.starts_with("memory_limit ")), "{counted:?}");
    drop(receiver);
}
