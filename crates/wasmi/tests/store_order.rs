//! A host that reads a guest between any two of its stores never sees a torn record, table or
//! metric.
//!
//! Each guest is rewritten so that it calls the test after every store. LLVM may reorder stores
//! when it generates code, so there is one guest for each optimisation level.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{CodeSection, EntityType, ImportSection, Instruction, SectionId, TypeSection};
use wasmetry_abi::Records;
use wasmetry_abi::layout::{Offsets, table_key};
use wasmetry_abi::ring::{self, Argument, Body, Record};
use wasmetry_host::{Component, Declarations, Identity, Registry, Value, encode};
use wasmetry_wasmi::Regions;
use wasmi::{AsContext, Caller, Engine, Extern, Instance, Linker, Module, Store};

/// The module and name of the import that is called after each store.
const STORED: (&str, &str) = ("test", "stored");

#[test]
fn stores_keep_their_order_at_2() {
    check("2");
}

#[test]
fn stores_keep_their_order_at_3() {
    check("3");
}

#[test]
fn stores_keep_their_order_at_s() {
    check("s");
}

#[test]
fn stores_keep_their_order_at_z() {
    check("z");
}

fn check(level: &str) {
    // <target>/<profile>/deps/<test>
    let test = std::env::current_exe().unwrap();
    let guest = test.ancestors().nth(3).unwrap().join(format!("guests/every-kind-{level}.wasm"));
    let wasm =
        std::fs::read(&guest).unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", guest.display()));
    let mut guest = Guest::new(&wasm);

    guest.store.data_mut().reads = Reads::Metrics;
    // Each metric for the first time, each text of the table, and ranges of values that make the
    // exponential histogram coarser.
    let values = [1.0, 1.5, 100.25, 0.001, 7.0, 1e6, 1e-9, 0.0, 3.0, 1e12, 2.5, 40.0];
    for (n, value) in values.into_iter().enumerate() {
        guest.call("measure", (n as u32, value));
    }
    for total in [3u64, 5, 5, 900] {
        guest.call("set_total", total);
        guest.observe();
    }
    guest.store.data_mut().reads = Reads::Records;
    // Both rings overwrite their oldest records.
    for n in 0..700u64 {
        guest.call("log", (n, (n * 7 % 65) as u32));
        if n % 5 == 0 {
            guest.call("log_audit", (n, (n % 65) as u32));
            guest.call("trace", (n, (n * 11 % 65) as u32));
        }
    }

    let state = guest.store.data();
    assert!(state.stores > 15_000, "only {} stores were seen", state.stores);
    assert!(state.rings.iter().all(|ring| ring.overwritten > 0), "no record was overwritten");
    let text = encode::prometheus::encode(&state.registry.snapshot(Duration::ZERO));
    let dropped = text.lines().filter(|line| line.starts_with("wasmetry_dropped_total{") && !line.ends_with(" 0"));
    let reasons: Vec<&str> = dropped.filter_map(|line| line.split("reason=\"").nth(1)?.split('"').next()).collect();
    let expected = ["invalid_value", "label_table_full", "label_too_long"];
    assert_eq!(reasons, expected, "the host has dropped nothing");
}

/// A guest, and all that was read of it.
struct Guest {
    store: Store<State>,
    instance: Instance,
}

/// The part of the guest that a call changes, which is read after each store.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Metrics,
    Records,
}

/// The state of the test, which the guest's calls reach.
struct State {
    reads: Reads,
    registry: Registry,
    component: Component,
    /// The regions, after the first call of the guest. Taken out while they are read.
    regions: Option<Regions>,
    header: usize,
    /// See [`hashes`].
    hashes: Vec<u64>,
    rings: [Ring; 2],
    /// The metrics since the event began, each of which has one or two values.
    metrics: BTreeMap<String, BTreeSet<String>>,
    stores: usize,
}

/// The records of one ring, as they were read before.
#[derive(Default)]
struct Ring {
    /// Each record's sequence number and description, by its position.
    records: BTreeMap<u64, (u32, String)>,
    overwritten: u64,
}

impl Guest {
    fn new(wasm: &[u8]) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, rewrite(wasm)).unwrap();
        let registry = Registry::new();
        let component = registry.component(Identity::new("guest"), Declarations::from_wasm(wasm).unwrap());
        let state = State {
            registry,
            component,
            regions: None,
            header: 0,
            hashes: hashes(wasm),
            rings: Default::default(),
            metrics: BTreeMap::new(),
            stores: 0,
            reads: Reads::Metrics,
        };
        let mut store = Store::new(&engine, state);
        let mut linker = Linker::new(&engine);
        linker.func_wrap(STORED.0, STORED.1, |caller: Caller<'_, State>| read(caller)).unwrap();
        let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
        let component = store.data().component.clone();
        let regions = Regions::of(&component, &mut store, &instance).unwrap();
        assert_eq!(regions.len(), 1);
        let header = instance.get_typed_func::<(), u32>(&store, "wasmetry_region_1").unwrap();
        store.data_mut().header = header.call(&mut store, ()).unwrap() as usize;
        store.data_mut().regions = Some(regions);
        Self { store, instance }
    }

    /// Calls a function of the guest, and reads the guest after each of its stores.
    fn call<P: wasmi::WasmParams>(&mut self, name: &str, parameters: P) {
        self.begin();
        let function = self.instance.get_typed_func::<P, ()>(&self.store, name).unwrap();
        function.call(&mut self.store, parameters).unwrap();
        self.end(name);
    }

    /// Has the guest's observable metrics observed.
    fn observe(&mut self) {
        self.begin();
        let header = self.instance.get_typed_func::<(), u32>(&self.store, "wasmetry_region_1").unwrap();
        header.call(&mut self.store, ()).unwrap();
        self.end("the region's export");
    }

    fn begin(&mut self) {
        self.store.data_mut().metrics.clear();
        self.read();
    }

    /// Each series had its value from before the call or the one from after it, and no other.
    fn end(&mut self, call: &str) {
        let before: BTreeMap<String, BTreeSet<String>> = std::mem::take(&mut self.store.data_mut().metrics);
        self.read();
        let after = &self.store.data().metrics;
        for (series, values) in &before {
            let allowed: BTreeSet<_> = after.get(series).into_iter().flatten().collect();
            let others = values.iter().filter(|value| !allowed.contains(value)).count();
            assert!(others <= 1, "{call}: `{series}` had the values {values:?} before {allowed:?}");
        }
    }

    fn read(&mut self) {
        let memory = self.instance.get_memory(&self.store, "memory").unwrap();
        let mut regions = self.store.data_mut().regions.take().unwrap();
        regions.read(&self.store, Duration::ZERO);
        let (bytes, state) = memory.data_and_store_mut(&mut self.store);
        state.regions = Some(regions);
        state.check_metrics(bytes);
        state.check_rings(bytes, usize::MAX);
    }
}

/// Reads the guest after one of its stores.
fn read(mut caller: Caller<'_, State>) {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { panic!("the guest has a memory") };
    let Some(mut regions) = caller.data_mut().regions.take() else { return };
    if caller.data().reads == Reads::Metrics {
        regions.read(caller.as_context(), Duration::ZERO);
    }
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    state.regions = Some(regions);
    state.stores += 1;
    match state.reads {
        Reads::Metrics => state.check_metrics(bytes),
        Reads::Records => state.check_rings(bytes, 3),
    }
}

impl State {
    /// Decodes the oldest and the newest records of each ring, so many of both.
    fn check_rings(&mut self, memory: &[u8], records: usize) {
        let offsets = Offsets::WIDTH_4;
        for (index, offset) in [offsets.header_ring, offsets.header_audit].into_iter().enumerate() {
            let address = u32_at(memory, self.header + offset) as usize;
            if address != 0 {
                self.rings[index].check(memory, address, records);
            }
        }
    }

    fn check_metrics(&mut self, memory: &[u8]) {
        self.check_entries(memory);
        let snapshot = self.registry.snapshot(Duration::ZERO);
        for family in snapshot.families() {
            for series in family.series() {
                let value = match series.value() {
                    Value::Number(value) => format!("{value:?}"),
                    // The count comes before the sum, so a host may see one without the other.
                    Value::Histogram { counts, sum } => {
                        self.metrics.entry(name(family, &series, "_sum")).or_default().insert(format!("{sum:?}"));
                        format!("{counts:?}")
                    }
                    Value::Exponential(value) => format!("{}", value.count()),
                    other => panic!("{other:?}"),
                };
                self.metrics.entry(name(family, &series, "")).or_default().insert(value);
            }
        }
        for (series, values) in &self.metrics {
            assert!(values.len() <= 2, "`{series}` had more than two values during one call: {values:?}");
        }
    }

    /// Each linked entry has its hash, and each text that has its length has its bytes.
    fn check_entries(&self, memory: &[u8]) {
        let offsets = Offsets::WIDTH_4;
        let mut entry = u32_at(memory, self.header + offsets.header_metrics) as usize;
        while entry != 0 {
            let hash = u64_at(memory, entry + offsets.entry_hash);
            assert!(self.hashes.contains(&hash), "an entry has the hash {hash}");
            if self.hashes[NAMED] == hash {
                for slot in 0..CAPACITY {
                    let table = entry + offsets.entry_size;
                    let key = table + table_key(CAPACITY, MAX_LEN, slot) as usize;
                    if let Some(len) = u32_at(memory, key).checked_sub(1) {
                        let text = std::str::from_utf8(&memory[key + 4..][..len as usize]).unwrap();
                        assert!(NAMES.contains(&text), "the table has the text `{text}`");
                    }
                }
            }
            entry = u32_at(memory, entry + offsets.entry_next) as usize;
        }
    }
}

/// The shape of the guest's text label, and the texts that fit.
const CAPACITY: u32 = 6;
const MAX_LEN: u32 = 16;
const NAMES: [&str; 6] = ["a", "bcdefgh", "ijklmnop", "q", "rstuvwxyzabcdef", "g"];

/// The hashes of the guest's metrics, that of the metric with the text label first.
fn hashes(wasm: &[u8]) -> Vec<u64> {
    let mut hashes = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let wasmparser::Payload::CustomSection(section) = payload.unwrap() else { continue };
        if section.name() == wasmetry_abi::SECTION {
            for record in Records::new(section.data()).map(Result::unwrap) {
                let at = if record.descriptor.name == "named_total" { NAMED } else { hashes.len() };
                hashes.insert(at, record.hash);
            }
        }
    }
    hashes
}

/// The index of the metric with the text label.
const NAMED: usize = 0;

fn name(family: &wasmetry_host::FamilySnapshot, series: &wasmetry_host::Series<'_>, suffix: &str) -> String {
    let labels: Vec<String> = series.labels().map(|(key, value)| format!("{key}={value:?}")).collect();
    format!("{}{suffix}{{{}}}", family.name(), labels.join(","))
}

impl Ring {
    /// Decodes the oldest and the newest `count` records. A record never changes, and its sequence
    /// number follows that of the record before it.
    fn check(&mut self, memory: &[u8], address: usize, count: usize) {
        let capacity = u64::from(u32_at(memory, address + ring::CAPACITY));
        let (tail, head) = (u64_at(memory, address + ring::TAIL), u64_at(memory, address + ring::HEAD));
        assert!(capacity.is_power_of_two() && tail <= head && head - tail <= capacity, "{tail} {head} {capacity}");
        self.overwritten = tail;
        self.decode(memory, address, capacity, tail, head, count);
        let newest = self.records.keys().rev().nth(count.min(self.records.len()).saturating_sub(1));
        let newest = newest.copied().unwrap_or(tail).max(tail);
        self.decode(memory, address, capacity, newest, head, usize::MAX);
    }

    /// Decodes `count` records from a position on, or those up to the head.
    fn decode(&mut self, memory: &[u8], address: usize, capacity: u64, mut at: u64, head: u64, count: usize) {
        let word = |at: u64| address + ring::HEADER_SIZE + 8 * (at % capacity) as usize;
        for _ in 0..count {
            if at == head {
                return;
            }
            let words = ring::record_words(u64_at(memory, word(at))) as u64;
            assert!(at + words <= head, "a record at {at} goes beyond the head {head}");
            let bytes: Vec<u8> = (at..at + words).flat_map(|at| memory[word(at)..][..8].iter().copied()).collect();
            let record = Record::decode(&bytes).unwrap_or_else(|| panic!("no record at {at}: {bytes:?}"));
            let before = self.records.range(..at).next_back().map(|(_, (sequence, _))| *sequence);
            assert!(before.is_none_or(|before| record.sequence == before + 1), "{before:?} {record:?}");
            let found = (record.sequence, description(&record));
            let known = self.records.entry(at).or_insert_with(|| found.clone());
            assert_eq!(*known, found, "the record at {at} changed");
            at += words;
        }
    }
}

/// The parts of a record that the guest was called with, which are checked against each other.
fn description(record: &Record<'_>) -> String {
    match record.body {
        Body::Log { arguments, .. } | Body::Event { arguments, .. } | Body::Start { arguments, .. } => {
            let arguments: Vec<Argument<'_>> = arguments.collect();
            let [number, Argument::Text { bytes, is_cut: false }] = arguments[..] else { panic!("{arguments:?}") };
            let (Argument::Unsigned(_) | Argument::Signed(_)) = number else { panic!("{number:?}") };
            assert!(bytes.iter().all(|byte| *byte == b'x'), "{bytes:?}");
            format!("{number:?} {} {:?}", bytes.len(), record.span)
        }
        Body::Attribute { arguments } => format!("{:?}", arguments.collect::<Vec<_>>()),
        Body::End => format!("the end of {:?}", record.span),
        other => panic!("{other:?}"),
    }
}

fn u32_at(memory: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*memory[at..].first_chunk().unwrap())
}

fn u64_at(memory: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*memory[at..].first_chunk().unwrap())
}

/// Adds an import to a module without any, and a call of it after each store.
fn rewrite(wasm: &[u8]) -> Vec<u8> {
    let mut module = wasm_encoder::Module::new();
    let mut rewriter = Rewriter::default();
    rewriter.parse_core_module(&mut module, wasmparser::Parser::new(0), wasm).unwrap();
    assert!(rewriter.stores > 50, "the guest has only {} stores", rewriter.stores);
    module.finish()
}

/// See [`rewrite`].
#[derive(Default)]
struct Rewriter {
    /// The index of the import's type.
    ty: u32,
    has_import: bool,
    stores: usize,
}

impl Reencode for Rewriter {
    type Error = Infallible;

    /// The import is the function 0.
    fn function_index(&mut self, index: u32) -> Result<u32, reencode::Error<Infallible>> {
        Ok(index + 1)
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        utils::parse_type_section(self, types, section)?;
        self.ty = types.len();
        types.ty().function([], []);
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut wasm_encoder::Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), reencode::Error<Infallible>> {
        if before == Some(SectionId::Function) && !std::mem::replace(&mut self.has_import, true) {
            let mut imports = ImportSection::new();
            imports.import(STORED.0, STORED.1, EntityType::Function(self.ty));
            module.section(&imports);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: wasmparser::FunctionBody<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let instruction = self.instruction(operators.read()?)?;
            let is_store = matches!(
                instruction,
                Instruction::I32Store(_)
                    | Instruction::I32Store8(_)
                    | Instruction::I32Store16(_)
                    | Instruction::I64Store(_)
                    | Instruction::I64Store8(_)
                    | Instruction::I64Store16(_)
                    | Instruction::I64Store32(_)
                    | Instruction::F32Store(_)
                    | Instruction::F64Store(_)
                    | Instruction::V128Store(_)
                    | Instruction::MemoryCopy { .. }
                    | Instruction::MemoryFill(_)
            );
            function.instruction(&instruction);
            if is_store {
                self.stores += 1;
                function.instruction(&Instruction::Call(0));
            }
        }
        code.function(&function);
        Ok(())
    }
}
