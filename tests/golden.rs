//! Region images of all released formats, which every later host decodes.
//!
//! An image consists of `base` and `header` (`u64`, little-endian), the length of the declarations
//! (`u32`), the declarations' section, and the window's bytes. `UPDATE_EXPECT=1 cargo test --test
//! golden` writes the image of the current format if it is missing, and never overwrites one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::layout::Offsets;
use wasmetry_abi::ring;
use wasmetry_host::record::SpanRecord;
use wasmetry_host::{Declarations, Identity, Outcome, Recording, RegionView, Registry, Timestamp, encode};
use wasmetry_tests::memory_sink::MemorySink;
use wasmparser::{Parser, Payload};
use wasmtime::component::{
    Component, ComponentNamedList, Instance, Linker, Lower, ResourceTable, TypedFunc, Val, WasmList,
};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Every golden image decodes to its recorded metrics.
#[test]
fn golden_images_decode_unchanged() {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        write_current_image();
        write_dynamic_image();
    }
    let mut images = 0;
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "region") {
            continue;
        }
        images += 1;
        let text = decode(&fs::read(&path).unwrap());
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() && !expected.exists() {
            fs::write(&expected, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
    assert!(images > 0, "there is an image");
}

/// Decodes an image and returns the guest's metrics in the Prometheus text format, then its logs
/// and spans if it has a ring.
fn decode(image: &[u8]) -> String {
    let (base, rest) = image.split_first_chunk().unwrap();
    let (header, rest) = rest.split_first_chunk().unwrap();
    let (length, rest) = rest.split_first_chunk().unwrap();
    let (section, window) = rest.split_at(u32::from_le_bytes(*length) as usize);

    let registry = Registry::new();
    let declarations = Declarations::from_wasm(&module(section)).unwrap();
    assert_eq!(declarations.rejected().len(), 0);
    let component = registry.component(Identity::new("golden"), declarations);
    let mut instance = component.instance();
    let (base, header) = (u64::from_le_bytes(*base), u64::from_le_bytes(*header));
    let view = RegionView { memory: window, base, header };
    let sink = Arc::new(MemorySink::default());
    let recording = Recording { export: "trace".parse().unwrap(), ..Recording::default() };
    let mut request = component.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::new(recording));
    instance.read_records(view, Timestamp::default(), &mut request);
    request.finish(Outcome::Ok, Duration::ZERO, 0);
    instance.read_last(view, Timestamp::default(), None);
    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    let mut lines = samples_with_metadata(&text);
    for log in sink.take_logs() {
        let place = log.source.as_ref().map(|source| source.line);
        let (trace, fields) = (log.trace.map(|trace| trace.span_id.to_string()), &log.fields);
        lines.push_str(&format!(
            "{} {} {place:?} {:?} {fields:?} {trace:?}\n",
            log.level.name(),
            log.target,
            log.message
        ));
    }
    for span in sink.take_spans() {
        let SpanRecord { name, context, parent, attributes, links, status, .. } = &span;
        let (id, parent) = (context.span_id.to_string(), parent.map(|parent| parent.to_string()));
        lines.push_str(&format!("{name} {id} {parent:?} {attributes:?} {} {status:?}\n", links.len()));
    }
    lines
}

/// Returns the lines of a text exposition without the families that have no sample, and without
/// the host's build info, which changes with each release.
fn samples_with_metadata(text: &str) -> String {
    let (mut lines, mut metadata) = (String::new(), Vec::new());
    let is_of_host = |line: &&str| ["wasmetry_build_info", "wasm_log_records"].iter().any(|name| line.contains(name));
    for line in text.lines().filter(|line| !is_of_host(line)) {
        if line.starts_with("# HELP") {
            metadata.clear();
        }
        if line.starts_with('#') {
            metadata.push(line);
            continue;
        }
        for line in metadata.drain(..).chain([line]) {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    lines
}

/// Makes a module that consists of the custom section.
fn module(section: &[u8]) -> Vec<u8> {
    let mut custom = wasm_encoder::Module::new();
    custom.section(&wasm_encoder::CustomSection { name: "wasmetry.v1".into(), data: section.into() });
    custom.finish()
}

/// The data of the store that records the image: the window that the guest attaches.
struct ImageRecorder {
    wasi: WasiCtx,
    table: ResourceTable,
    attached: Option<(WasmList<u8>, u64, u64)>,
}

impl WasiView for ImageRecorder {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

fn write_current_image() {
    write_image("v1-wasm32.region", "recorder", "off", |store, instance| {
        macro_rules! call {
            ($function:literal, $parameters:expr) => {{
                let parameters = $parameters;
                let function = typed(instance, store, $function, &parameters);
                function.call(&mut *store, parameters).unwrap();
            }};
        }
        call!("count", (7u64,));
        call!("visit", (1u32, 1u64));
        call!("visit", (2u32, 5u64));
        call!("shard", (3u32,));
        call!("shard", (4u32,));
        for value in ["a", "quote \" and \\", "two\nlines", "漢字", "one too many"] {
            call!("label", (value, 2u64));
        }
        for seconds in [0.005, 0.05, 0.5, 5.0, -1.0] {
            call!("observe-seconds", (seconds,));
        }
        for size in [-2.0, 0.25, 1e9] {
            call!("observe-size", (size,));
        }
        call!("set-gauges", (2.5,));
        call!("add-level", (-3i64,));
    });
}

/// Writes the image of a guest that has defined call sites.
fn write_dynamic_image() {
    write_image("v1-wasm32-dynamic.region", "facade-emitter", "debug", |store, instance| {
        typed(instance, store, "emit-logs", &(7u64, "Ada")).call(&mut *store, (7u64, "Ada")).unwrap();
        typed(instance, store, "relate-spans", &()).call(&mut *store, ()).unwrap();
    });
}

/// Writes the window of a guest after these calls, unless the file exists.
fn write_image(name: &str, guest: &str, level: &'static str, calls: impl FnOnce(&mut Store<ImageRecorder>, &Instance)) {
    let path = directory().join(name);
    if path.exists() {
        return;
    }
    let wasm = fs::read(wasmetry_tests::guest(guest)).unwrap();
    let engine = Engine::default();
    let mut linker = Linker::<ImageRecorder>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    let mut region = linker.instance("wasmetry:telemetry/region@0.1.0").unwrap();
    region
        .func_new("open", move |_, _, _, results| {
            results[0] = settings(level);
            Ok(())
        })
        .unwrap();
    region
        .func_new("refresh", move |_, _, _, results| {
            results[0] = settings(level);
            Ok(())
        })
        .unwrap();
    region
        .func_wrap("attach", |mut store: StoreContextMut<'_, ImageRecorder>, attached: (WasmList<u8>, u64, u64)| {
            store.data_mut().attached = Some(attached);
            Ok(())
        })
        .unwrap();
    region.func_new("flush", |_, _, _, _| Err(wasmtime::Error::msg("the image recorder refuses batches"))).unwrap();

    let component = Component::new(&engine, &wasm).unwrap();
    let recorder = ImageRecorder { wasi: WasiCtx::builder().build(), table: ResourceTable::new(), attached: None };
    let mut store = Store::new(&engine, recorder);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    calls(&mut store, &instance);

    let (window, base, header) = store.data_mut().attached.take().unwrap();
    let section = section(&wasm);
    let mut image = Vec::new();
    image.extend(base.to_le_bytes());
    image.extend(header.to_le_bytes());
    image.extend(u32::try_from(section.len()).unwrap().to_le_bytes());
    image.extend(section);
    let mut window = window.as_le_slice(&store).to_vec();
    if level != "off" {
        keep_rings(&mut window, base, header);
    }
    image.extend(window);
    fs::create_dir_all(directory()).unwrap();
    fs::write(path, image).unwrap();
}

/// Returns the settings with which the image recorder answers.
fn settings(level: &str) -> Val {
    Val::Record(
        [
            ("collection", Val::Enum("mapped".to_owned())),
            ("record-level", Val::Enum(level.to_owned())),
            ("export-level", Val::Enum("off".to_owned())),
            ("timestamps", Val::Enum("cached".to_owned())),
            ("region", Val::U32(0)),
            ("sample-ratio", Val::Float64(0.0)),
            ("consumed", Val::U64(0)),
            ("seed", Val::U64(0)),
            ("time", Val::U64(0)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
    )
}

/// Clears all memory but the header and the rings: the rest has paths of the machine that built the
/// guest.
fn keep_rings(window: &mut [u8], base: u64, header: u64) {
    let offsets = Offsets::WIDTH_4;
    let word = |address: u64| {
        let at = (address - base) as usize;
        u64::from(u32::from_le_bytes(window[at..at + 4].try_into().unwrap()))
    };
    let places = [offsets.header_ring, offsets.header_audit, offsets.header_size];
    let rings = places.map(|place| {
        let ring = word(header + place as u64);
        ring..ring + ring::HEADER_SIZE as u64 + 8 * word(ring)
    });
    let in_header = header..header + offsets.header_size as u64 + 8;
    for (byte, address) in window.iter_mut().zip(base..) {
        if !in_header.contains(&address) && !rings.iter().any(|ring| ring.contains(&address)) {
            *byte = 0;
        }
    }
}

/// Returns an exported function for parameters of this type.
fn typed<P: ComponentNamedList + Lower>(
    instance: &Instance,
    store: &mut Store<ImageRecorder>,
    name: &str,
    _parameters: &P,
) -> TypedFunc<P, ()> {
    instance.get_typed_func(store, name).unwrap()
}

/// Returns the declarations of all core modules of a component, concatenated.
fn section(wasm: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CustomSection(section) = payload.unwrap()
            && section.name() == "wasmetry.v1"
        {
            bytes.extend_from_slice(section.data());
        }
    }
    bytes
}
