//! A guest's memory, written word by word.

use std::time::Duration;

use wasmetry_abi::exponential::{self, State};
use wasmetry_abi::layout::{
    EntryLayout, GuestDropReason, HEADER_VERSION, HEADER_WIDTH, MAGIC, Offsets, scratch_words, state, table_key,
    table_size,
};
use wasmetry_abi::{Descriptor, Kind, LabelShape, VERSION};
use wasmetry_host::{Component, Declarations, Identity, Instance, RegionView, Registry, encode};

/// A declared metric: its descriptor and its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared {
    pub(crate) descriptor: Descriptor<'static>,
    pub(crate) record: &'static [u8],
}

impl Declared {
    pub(crate) fn hash(&self) -> u64 {
        wasmetry_abi::hash(self.record)
    }
}

/// Encodes a descriptor as the macros do.
macro_rules! declare {
    ($name:ident = $descriptor:expr) => {
        pub(crate) static $name: $crate::image::Declared = {
            const DESCRIPTOR: wasmetry_abi::Descriptor<'static> = $descriptor;
            static RECORD: [u8; DESCRIPTOR.record_len()] = DESCRIPTOR.encode();
            $crate::image::Declared { descriptor: DESCRIPTOR, record: &RECORD }
        };
    };
}
pub(crate) use declare;

/// A registered entry of an [`Image`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    cells: u64,
    metric: Declared,
}

impl Entry {
    pub(crate) fn is_histogram(self) -> bool {
        matches!(self.metric.descriptor.kind, wasmetry_abi::Kind::HistogramF64 | wasmetry_abi::Kind::HistogramNanos)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) offsets: Offsets,
    pub(crate) base: u64,
    pub(crate) header: u64,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) const WIDTHS: [u8; 2] = [4, 8];

impl Image {
    pub(crate) fn new(width: u8) -> Self {
        let offsets = Offsets::for_width(width).expect("a width of the format");
        let mut image = Self { offsets, base: 1024, header: 1024 + 64, bytes: vec![0; 64 + offsets.header_size] };
        let header = image.header;
        image.put(header, &MAGIC.to_le_bytes());
        image.put(header + HEADER_VERSION as u64, &(VERSION as u16).to_le_bytes());
        image.put(header + HEADER_WIDTH as u64, &[width]);
        image
    }

    /// Creates an image with these metrics, registered in this order.
    pub(crate) fn with<const N: usize>(width: u8, metrics: [&Declared; N]) -> (Self, [Entry; N]) {
        let mut image = Self::new(width);
        let entries = metrics.map(|metric| image.register(metric));
        (image, entries)
    }

    /// Adds an entry behind the others and links it.
    pub(crate) fn register(&mut self, metric: &Declared) -> Entry {
        let layout = EntryLayout::of(&metric.descriptor, &self.offsets).expect("a metric of a size that fits");
        let address = self.base + self.bytes.len() as u64;
        self.bytes.resize(self.bytes.len() + layout.size as usize, 0);
        self.put(address + self.offsets.entry_hash as u64, &metric.hash().to_le_bytes());
        self.put(address + self.offsets.entry_state as u64, &state::READY.to_le_bytes());
        let head = self.header + self.offsets.header_metrics as u64;
        let newest = self.pointer(head);
        self.put_pointer(address + self.offsets.entry_next as u64, newest);
        self.put_pointer(head, address);
        Entry { address, cells: address + layout.cells, metric: *metric }
    }

    pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - self.base) as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn put_pointer(&mut self, address: u64, pointer: u64) {
        let width = self.offsets.pointer;
        self.put(address, &pointer.to_le_bytes()[..width]);
    }

    pub(crate) fn pointer(&self, address: u64) -> u64 {
        let at = (address - self.base) as usize;
        let mut bytes = [0; 8];
        bytes[..self.offsets.pointer].copy_from_slice(&self.bytes[at..at + self.offsets.pointer]);
        u64::from_le_bytes(bytes)
    }

    /// Sets a word of an entry's cells.
    pub(crate) fn set(&mut self, entry: Entry, word: usize, value: u64) {
        self.put(entry.cells + 8 * word as u64, &value.to_le_bytes());
    }

    /// Sets a word of an exponential histogram's scratch area.
    pub(crate) fn set_scratch(&mut self, entry: Entry, word: usize, value: u64) {
        let Descriptor { kind, max_buckets, .. } = entry.metric.descriptor;
        let start = entry.cells - 8 * scratch_words(kind, max_buckets) as u64;
        self.put(start + 8 * word as u64, &value.to_le_bytes());
    }

    pub(crate) fn set_f64(&mut self, entry: Entry, word: usize, value: f64) {
        self.set(entry, word, value.to_bits());
    }

    /// Writes the state and the counts of one series of an exponential histogram of a guest that
    /// has recorded these values. The first bucket's word has the index with the number `base`.
    pub(crate) fn set_exponential(&mut self, entry: Entry, at: usize, values: &[f64], base: usize) {
        let max_buckets = entry.metric.descriptor.max_buckets;
        let cell = at * (exponential::BUCKETS + usize::from(max_buckets));
        for word in exponential::STATE..exponential::BUCKETS + usize::from(max_buckets) {
            self.set(entry, cell + word, 0);
        }
        let (zeros, values): (Vec<f64>, Vec<f64>) = values.iter().partition(|value| **value == 0.0);
        self.set(entry, cell + exponential::ZERO, zeros.len() as u64);
        let indices = |scale: i32| values.iter().map(move |value| exponential::index(*value, scale));
        let range = |scale: i32| indices(scale).min().zip(indices(scale).max());
        let fits = |scale: &i32| range(*scale).is_some_and(|(low, high)| high - low < i32::from(max_buckets));
        let scale = (exponential::MIN_SCALE..=exponential::MAX_SCALE).rev().find(fits);
        let Some((scale, (low, high))) = scale.and_then(|scale| Some((scale, range(scale)?))) else { return };
        let len = (high - low + 1) as u8;
        let below = (base % usize::from(len)) as u8;
        let state = State { base: low + i32::from(below), below, len, scale: scale as i8, in_scratch: false };
        self.set(entry, cell + exponential::STATE, state.to_word());
        for index in low..=high {
            let count = indices(scale).filter(|other| *other == index).count() as u64;
            self.set(entry, cell + exponential::BUCKETS + state.slot(index, max_buckets), count);
        }
    }

    pub(crate) fn set_loss(&mut self, loss: GuestDropReason, value: u64) {
        self.put(self.header + self.offsets.header_losses as u64 + 8 * loss as u64, &value.to_le_bytes());
    }

    /// Interns a text of an entry's text label. `label` is its number among the text labels.
    pub(crate) fn text(&mut self, entry: Entry, label: usize, slot: u32, text: &[u8]) {
        let mut table = entry.address + self.offsets.entry_size as u64;
        let mut left = label;
        for spec in entry.metric.descriptor.labels() {
            let LabelShape::Text { capacity, max_len } = spec.shape else { continue };
            if left == 0 {
                self.put(table + 4 * u64::from(slot), &(wasmetry_abi::hash(text) as u32 | 1).to_le_bytes());
                let key = table + table_key(capacity, max_len, slot);
                self.put(key, &(text.len() as u32 + 1).to_le_bytes());
                return self.put(key + 4, text);
            }
            left -= 1;
            table += table_size(capacity, max_len).unwrap_or(u64::MAX);
        }
        panic!("no such label");
    }

    pub(crate) fn view(&self) -> RegionView<'_> {
        RegionView { memory: &self.bytes, base: self.base, header: self.header }
    }

    pub(crate) fn read(&self, instance: &mut Instance, seconds: u64) {
        instance.read(self.view(), Duration::from_secs(seconds).into(), None);
    }

    pub(crate) fn read_last(&self, instance: Instance, seconds: u64) {
        instance.read_last(self.view(), Duration::from_secs(seconds).into(), None);
    }
}

pub(crate) fn declarations(metrics: &[&Declared]) -> Declarations {
    let declarations = Declarations::from_sections(metrics.iter().map(|metric| metric.record));
    assert_eq!(declarations.rejected(), []);
    declarations
}

/// Returns a registry with one component `shop` that declares these metrics.
pub(crate) fn shop(metrics: &[&Declared]) -> (Registry, Component) {
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop"), declarations(metrics));
    (registry, component)
}

declare!(NEIGHBOUR = Descriptor::new(Kind::CounterU64, "neighbour_total", "Requests of a neighbour."));

/// Returns a registry with the component `shop`, as [`shop`] does, beside one of another tenant
/// with a value, which [`dropped_beside_neighbour`] compares.
pub(crate) fn shop_beside_neighbour(metrics: &[&Declared]) -> (Registry, Component) {
    let (registry, component) = shop(metrics);
    add_neighbour(&registry);
    (registry, component)
}

/// Adds a component of another tenant with a value, and returns it.
pub(crate) fn add_neighbour(registry: &Registry) -> Component {
    let neighbour = registry.component(Identity::new("bank").with_tenant("acme"), declarations(&[&NEIGHBOUR]));
    let (mut image, [requests]) = Image::with(4, [&NEIGHBOUR]);
    image.set(requests, 0, 7);
    image.read_last(neighbour.instance(), 0);
    neighbour
}

/// Asserts that the neighbour's value is exact, and that nothing of it was dropped.
pub(crate) fn assert_neighbour_exact(registry: &Registry) {
    let expected = ["neighbour_total{component=\"bank\",tenant=\"acme\"} 7"];
    assert_eq!(samples(registry, 0, "neighbour_total{"), expected);
    assert_eq!(dropped_by_neighbour(registry), [""; 0]);
}

/// Returns the neighbour's samples of `wasmetry_dropped_total` that are not 0.
pub(crate) fn dropped_by_neighbour(registry: &Registry) -> Vec<String> {
    let mut drops = samples(registry, 0, "wasmetry_dropped_total{component=\"bank\"");
    drops.retain(|line| !line.ends_with(" 0"));
    drops
}

/// Returns what [`dropped`] does, of a registry whose neighbour has lost nothing.
pub(crate) fn dropped_beside_neighbour(registry: &Registry) -> Vec<String> {
    assert_neighbour_exact(registry);
    dropped(registry)
}

/// Returns the samples whose lines start with a text.
pub(crate) fn samples(registry: &Registry, seconds: u64, prefix: &str) -> Vec<String> {
    let text = encode::prometheus::encode(&registry.snapshot(Duration::from_secs(seconds)));
    text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

/// Returns the reasons and counts in `wasmetry_dropped_total` of the component `shop` that are not
/// 0.
pub(crate) fn dropped(registry: &Registry) -> Vec<String> {
    samples(registry, 0, "wasmetry_dropped_total{component=\"shop\",signal=\"metrics\",reason=")
        .into_iter()
        .filter_map(|line| {
            let (_, rest) = line.split_once("reason=\"")?;
            let (reason, count) = rest.split_once("\"} ")?;
            (count != "0").then(|| format!("{reason} {count}"))
        })
        .collect()
}
