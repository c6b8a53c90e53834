//! Region images of all released formats, which every later host decodes.
//!
//! An image consists of `base` and `header` (`u64`, little-endian), the length of the declarations
//! (`u32`), the declarations' section, and the window's bytes. `UPDATE_EXPECT=1 cargo test --test
//! golden` writes the image of the current format if it is missing, and never overwrites one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmetry_host::{Declarations, Identity, RegionView, Registry, Timestamp, encode};
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

/// Decodes an image and returns the guest's metrics in the Prometheus text format.
fn decode(image: &[u8]) -> String {
    let (base, rest) = image.split_first_chunk().unwrap();
    let (header, rest) = rest.split_first_chunk().unwrap();
    let (length, rest) = rest.split_first_chunk().unwrap();
    let (section, window) = rest.split_at(u32::from_le_bytes(*length) as usize);

    let registry = Registry::new();
    let declarations = Declarations::from_wasm(&module(section)).unwrap();
    assert_eq!(declarations.rejected().len(), 0);
    let component = registry.component(Identity::new("golden"), declarations);
    let instance = component.instance();
    let (base, header) = (u64::from_le_bytes(*base), u64::from_le_bytes(*header));
    instance.read_last(RegionView { memory: window, base, header }, Timestamp::default(), None);
    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    // The host's own build info changes with each release.
    let own = |line: &&str| !line.contains("wasmetry_build_info");
    text.lines().filter(own).map(|line| format!("{line}\n")).collect()
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
    let path = directory().join("v1-wasm32.region");
    if path.exists() {
        return;
    }
    let wasm = fs::read(wasmetry_tests::guest("recorder")).unwrap();
    let engine = Engine::default();
    let mut linker = Linker::<ImageRecorder>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    let mut region = linker.instance("wasmetry:telemetry/region@0.1.0").unwrap();
    region
        .func_new("open", |_, _, _, results| {
            results[0] = Val::Record(
                [
                    ("collection", Val::Enum("mapped".to_owned())),
                    ("record-level", Val::Enum("off".to_owned())),
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
            );
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
    macro_rules! call {
        ($function:literal, $parameters:expr) => {{
            let parameters = $parameters;
            let function = typed(&instance, &mut store, $function, &parameters);
            function.call(&mut store, parameters).unwrap();
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

    let (window, base, header) = store.data_mut().attached.take().unwrap();
    let section = section(&wasm);
    let mut image = Vec::new();
    image.extend(base.to_le_bytes());
    image.extend(header.to_le_bytes());
    image.extend(u32::try_from(section.len()).unwrap().to_le_bytes());
    image.extend(section);
    image.extend(window.as_le_slice(&store));
    fs::create_dir_all(directory()).unwrap();
    fs::write(path, image).unwrap();
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
