//! The same records of a core module: in wasmi, and with WASI preview 1 in Wasmtime.

use std::fs;
use std::sync::Arc;

use wasmetry_host::{Declarations, Identity, Outcome, RegionView, Registry, RequestTelemetry, Timestamp};
use wasmetry_tests::embedding::observed::{Allocation, State, engine, prepare_module};
use wasmetry_tests::memory_sink::MemorySink;
use wasmetry_wasmtime::{ObservedStore, Telemetry, attach_module, wall_clock};
use wasmi::{Engine, Instance, Linker, Module, Store, Val};
use wasmtime::{Module as WasmtimeModule, Store as WasmtimeStore};

use super::{AUDIT, LOGS, assert_nested, assert_related, debug, lines};

/// A core module in wasmi, whose memory is read.
struct Guest {
    store: Store<()>,
    instance: Instance,
    header: u64,
    records: wasmetry_host::Instance,
    request: RequestTelemetry,
    sink: Arc<MemorySink>,
}

impl Guest {
    fn new(registry: &Registry) -> Self {
        let wasm = fs::read(wasmetry_tests::guest("facade-module")).unwrap();
        let declarations = Declarations::from_wasm(&wasm).unwrap();
        assert_eq!(declarations.facades().collect::<Vec<_>>(), ["log", "tracing"]);
        let component = registry.component(Identity::new("facade-module"), declarations);
        let engine = Engine::default();
        let module = Module::new(&engine, &wasm).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
        let mut header = [Val::I32(0)];
        let export = instance.get_func(&store, "wasmetry_region_1").unwrap();
        export.call(&mut store, &[], &mut header).unwrap();
        let header = u64::from(header[0].i32().unwrap().cast_unsigned());
        let sink = Arc::new(MemorySink::default());
        let request = component.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::new(debug()));
        Self { store, instance, header, records: component.instance(), request, sink }
    }

    /// Calls an operation, and reads its records.
    fn run(&mut self, operation: &str) -> bool {
        let function = self.instance.get_func(&self.store, operation).unwrap();
        let result = function.call(&mut self.store, &[], &mut []);
        let memory = self.instance.get_memory(&self.store, "memory").unwrap();
        let view = RegionView { memory: memory.data(&self.store), base: 0, header: self.header };
        self.records.read_records(view, Timestamp::default(), &mut self.request);
        result.is_ok()
    }
}

#[test]
fn core_module_in_wasmi_records() {
    let registry = Registry::new();
    let mut guest = Guest::new(&registry);
    for _ in 0..2 {
        assert!(guest.run("emit-logs"));
        let logs = guest.sink.take_logs();
        assert_eq!(
            (lines(&logs, false), lines(&logs, true)),
            (LOGS.map(str::to_owned).into(), AUDIT.map(str::to_owned).into())
        );
    }
    assert!(guest.run("nest-spans"));
    assert_nested(&guest.sink.take_logs(), &guest.sink.take_spans());
    assert!(guest.run("relate-spans"));
    assert_related(&guest.sink.take_logs(), &guest.sink.take_spans());
    assert!(!guest.run("trap"));
    guest.request.finish(Outcome::Ended("unreachable"), std::time::Duration::ZERO, 0);
    assert!(lines(&guest.sink.take_logs(), false).contains(&r#"debug facade_guests "about to fail""#.to_owned()));
    assert_eq!(&*guest.sink.take_spans()[0].name, "before the end");
    let text = wasmetry_host::encode::prometheus::encode(&registry.snapshot(std::time::Duration::ZERO));
    assert!(!text.contains("signal=\"records\""), "{text}");
}

#[test]
fn core_module_with_wasi_records() {
    let engine = engine(Allocation::OnDemand);
    let wasm = fs::read(wasmetry_tests::guest("facade-wasip1")).unwrap();
    let sink = Arc::new(MemorySink::default());
    let telemetry = Telemetry::new(Registry::with_clock(wall_clock), &engine);
    let telemetry = telemetry.with_sink(Arc::<MemorySink>::clone(&sink));
    let component = telemetry.component(Identity::new("facade-wasip1"), &wasm).unwrap();
    component.set_recording(debug());
    let prepared = prepare_module(&WasmtimeModule::new(&engine, &wasm).unwrap(), true, false);
    for operation in ["emit-logs", "nest-spans", "relate-spans"] {
        let mut store = ObservedStore::new_sync(WasmtimeStore::new(&engine, State::new(component.state())));
        let instance = prepared.instantiate(&mut *store).unwrap();
        assert_eq!(attach_module(&mut *store, &instance).unwrap(), 1);
        let function = instance.get_typed_func::<(), ()>(&mut *store, operation).unwrap();
        function.call(&mut *store, ()).unwrap();
        drop(store);
        let (logs, spans) = (sink.take_logs(), sink.take_spans());
        match operation {
            "emit-logs" => assert_eq!(lines(&logs, false), LOGS),
            "nest-spans" => assert_nested(&logs, &spans),
            _ => assert_related(&logs, &spans),
        }
    }
}
