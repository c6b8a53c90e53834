use std::time::Duration;

use wasmetry_abi::layout::{EntryLayout, HEADER_VERSION, HEADER_WIDTH, MAGIC, Offsets, state};
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, VERSION};
use wasmetry_host::{
    Component, Declarations, Identity, Instance, Number, RegionView, Registry, RequestTelemetry, Timestamp, Value,
};

use crate::Random;

/// The values of an [`Image`]'s first label.
pub const ROUTES: [&str; 10] =
    ["home", "search", "item", "cart", "checkout", "account", "static", "login", "logout", "other"];

/// The values of an [`Image`]'s second label.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];

const LABELS: &[LabelSpec<'static>] = &[
    LabelSpec { key: "route", shape: LabelShape::values(&ROUTES) },
    LabelSpec { key: "method", shape: LabelShape::values(&METHODS) },
];

/// The bytes of a record, which all have names of the same length.
const RECORD: usize = descriptor("bench_000_requests_total").record_len();

/// The address of a guest's window, where `wasm-ld` places it.
const BASE: u64 = 1024;

const OFFSETS: Offsets = Offsets::WIDTH_4;

const fn descriptor(name: &str) -> Descriptor<'_> {
    Descriptor::new(Kind::CounterU64, name, "Requests by route and method.").with_labels(LABELS)
}

/// The memory of a 32-bit guest with some counters of 100 series each, in the layout of
/// `crates/abi/FORMAT.md`.
#[derive(Clone, Debug)]
pub struct Image {
    names: Vec<String>,
    bytes: Vec<u8>,
    /// The index in `bytes` of each counter's first word.
    cells: Vec<usize>,
}

impl Image {
    /// The series of each counter.
    pub const SERIES_EACH: usize = ROUTES.len() * METHODS.len();

    /// Returns the memory of a guest that has registered `counters` counters, at most 1,000, all at
    /// 0.
    ///
    /// # Panics
    ///
    /// Panics if `counters` is larger than 1,000.
    pub fn new(counters: usize) -> Self {
        assert!(counters <= 1000, "names have three digits");
        let names: Vec<String> = (0..counters).map(|index| format!("bench_{index:03}_requests_total")).collect();
        let mut image = Self { names: Vec::new(), bytes: vec![0; OFFSETS.header_size], cells: Vec::new() };
        image.put(0, &MAGIC.to_le_bytes());
        image.put(HEADER_VERSION, &(VERSION as u16).to_le_bytes());
        image.put(HEADER_WIDTH, &[4]);
        let mut newest = 0;
        for name in &names {
            newest = image.register(name, newest);
        }
        image.put(OFFSETS.header_metrics, &newest.to_le_bytes());
        image.names = names;
        image
    }

    /// Appends a counter and links it to the one registered before. Returns its address.
    fn register(&mut self, name: &str, newest: u32) -> u32 {
        let descriptor = descriptor(name);
        let record: [u8; RECORD] = descriptor.encode();
        let layout = EntryLayout::of(&descriptor, &OFFSETS).expect("a counter of a size that fits");
        let start = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(start + layout.size as usize, 0);
        self.put(start + OFFSETS.entry_next, &newest.to_le_bytes());
        self.put(start + OFFSETS.entry_state, &state::READY.to_le_bytes());
        self.put(start + OFFSETS.entry_hash, &wasmetry_abi::hash(&record).to_le_bytes());
        self.cells.push(start + layout.cells as usize);
        BASE as u32 + start as u32
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Returns the counters' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of series.
    pub fn series(&self) -> usize {
        self.cells.len() * Self::SERIES_EACH
    }

    /// Returns the values of a counter's series.
    pub fn values(&self, counter: usize) -> impl Iterator<Item = u64> {
        let start = self.cells[counter];
        let words = self.bytes[start..start + 8 * Self::SERIES_EACH].chunks_exact(8);
        words.map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
    }

    /// Adds up to a million to each series.
    pub fn grow(&mut self, random: &mut Random) {
        for start in &self.cells {
            for word in self.bytes[*start..start + 8 * Self::SERIES_EACH].as_chunks_mut().0 {
                *word = (u64::from_le_bytes(*word) + random.below(20)).to_le_bytes();
            }
        }
    }

    /// Returns `images` images, each grown from the one before.
    pub fn growing(mut self, images: usize, random: &mut Random) -> Vec<Self> {
        let next = |_| {
            self.grow(random);
            self.clone()
        };
        (0..images).map(next).collect()
    }

    /// Registers a component that declares these counters.
    pub fn declare(&self, registry: &Registry) -> Component {
        let records: Vec<[u8; RECORD]> = self.names.iter().map(|name| descriptor(name).encode()).collect();
        let declarations = Declarations::from_sections(records.iter().map(|record| &record[..]));
        assert_eq!(declarations.metrics().len(), self.names.len(), "every counter is declared");
        registry.component(Identity::new("bench"), declarations)
    }

    /// Checks that a registry shows exactly the values in this memory. A read that misses something
    /// would be fast, too.
    ///
    /// # Panics
    ///
    /// Panics if a counter or one of its series has another value.
    pub fn assert_shown(&self, registry: &Registry) {
        let snapshot = registry.snapshot(Duration::ZERO);
        for (counter, name) in self.names.iter().enumerate() {
            let family = snapshot.families().find(|family| family.name() == name).expect("the counter is shown");
            let shown: Vec<Value<'_>> = family.series().map(|series| series.value()).collect();
            let held: Vec<Value<'_>> =
                self.values(counter).map(|value| Value::Number(Number::Unsigned(value))).collect();
            assert_eq!(shown, held, "{name}");
        }
    }

    fn view(&self) -> RegionView<'_> {
        RegionView { memory: &self.bytes, base: BASE, header: BASE }
    }

    /// Lends an instance this memory.
    pub fn read(&self, instance: &mut Instance) {
        instance.read(self.view(), Timestamp::default(), None);
    }

    /// Lends an instance this memory for the last time.
    pub fn read_last(&self, instance: Instance) {
        instance.read_last(self.view(), Timestamp::default(), None);
    }

    /// Reads the region into an instance for the last time, for a request that has ended.
    pub fn read_last_for(&self, instance: Instance, request: &mut RequestTelemetry) {
        instance.read_last(self.view(), Timestamp::default(), Some(request));
    }
}
