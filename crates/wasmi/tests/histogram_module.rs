//! A guest loses no recorded value, at whichever instruction a runtime stops it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::time::Duration;

use wasmetry_host::{Component, Declarations, ExponentialValue, Identity, Registry, Value};
use wasmetry_wasmi::Regions;
use wasmi::{Config, Engine, Instance, Linker, Module, Store, TypedFunc};

/// The guest, and an engine with fuel.
struct Program {
    wasm: Vec<u8>,
    engine: Engine,
    module: Module,
}

impl Program {
    fn new() -> Self {
        // <target>/<profile>/deps/<test>
        let test = std::env::current_exe().unwrap();
        let guest = test.ancestors().nth(3).unwrap().join("guests/histogram-module.wasm");
        let wasm = std::fs::read(&guest)
            .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", guest.display()));
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, &wasm).unwrap();
        Self { wasm, engine, module }
    }

    fn component(&self) -> (Registry, Component) {
        let registry = Registry::new();
        let declarations = Declarations::from_wasm(&self.wasm).unwrap();
        let component = registry.component(Identity::new("histogram-module"), declarations);
        (registry, component)
    }
}

/// An instance of the guest, and all that it has recorded.
struct Running {
    registry: Registry,
    store: Store<()>,
    instance: Instance,
    regions: Regions,
}

impl Running {
    fn new(program: &Program) -> Self {
        let (registry, component) = program.component();
        let mut store = Store::new(&program.engine, ());
        store.set_fuel(u64::MAX).unwrap();
        let instance = Linker::new(&program.engine).instantiate_and_start(&mut store, &program.module).unwrap();
        let regions = Regions::of(&component, &mut store, &instance).unwrap();
        assert_eq!(regions.len(), 1);
        Self { registry, store, instance, regions }
    }

    /// Records a value in the series of a side, with this much fuel. Returns `true` if the guest
    /// returned before the fuel was used up.
    fn observe(&mut self, side: u32, value: f64, fuel: u64) -> bool {
        self.store.set_fuel(fuel).unwrap();
        let observe: TypedFunc<(u32, f64), ()> = self.instance.get_typed_func(&self.store, "observe").unwrap();
        observe.call(&mut self.store, (side, value)).is_ok()
    }

    /// Returns the values of a host that has read the guest after each event.
    fn read(&mut self) -> [ExponentialValue; 2] {
        self.regions.read(&self.store, Duration::ZERO);
        values(&self.registry)
    }

    /// Returns the values of a host that reads the guest only once, at its end.
    fn read_once(&mut self, program: &Program) -> [ExponentialValue; 2] {
        self.store.set_fuel(u64::MAX).unwrap();
        let (registry, component) = program.component();
        let regions = Regions::of(&component, &mut self.store, &self.instance).unwrap();
        regions.read_last(&self.store, Duration::ZERO);
        values(&registry)
    }
}

fn values(registry: &Registry) -> [ExponentialValue; 2] {
    let snapshot = registry.snapshot(Duration::ZERO);
    let family = snapshot.families().find(|family| family.name() == "sample_size").unwrap();
    let values: Vec<_> = family
        .series()
        .map(|series| match series.value() {
            Value::Exponential(value) => value.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    values.try_into().unwrap()
}

/// Returns `true` if a series has exactly these values, none of which is near a bucket's boundary.
fn has(found: &ExponentialValue, values: &[f64]) -> bool {
    let mut expected = BTreeMap::<i32, u64>::new();
    for value in values {
        *expected.entry((value.log2() * f64::from(found.scale()).exp2()).floor() as i32).or_default() += 1;
    }
    let counted = (found.first_index()..).zip(found.counts()).filter(|(_, count)| **count != 0);
    counted.map(|(index, count)| (index, *count)).collect::<BTreeMap<_, _>>() == expected
}

#[test]
fn stopped_rescale_keeps_every_value() {
    let program = Program::new();
    // They are in 40 buckets at the finest scale. One more value makes the scale much coarser.
    let left: Vec<f64> = (0..60).map(|n| 1.0005 + f64::from(n) * 0.0017).collect();
    let right: Vec<f64> = (0..30).map(|n| 3.0005 * 1.1f64.powi(n)).collect();
    let (last, after) = (700.3, [left.clone(), vec![700.3]].concat());
    let (mut fine, mut coarse, mut counted) = (0, 0, 0);
    for fuel in 0.. {
        let mut guest = Running::new(&program);
        for value in &left {
            assert!(guest.observe(0, *value, u64::MAX));
        }
        for value in &right {
            assert!(guest.observe(1, *value, u64::MAX));
        }
        assert_eq!(guest.read()[0].scale(), 8);
        let is_finished = guest.observe(0, last, fuel);
        let [stopped, other] = guest.read();
        assert!(has(&other, &right), "after {fuel}");
        let is_counted = stopped.count() == after.len() as u64;
        let now = if is_counted { &after } else { &left };
        assert!(has(&stopped, now), "after {fuel}: {stopped:?}");
        let [stopped, other] = guest.read_once(&program);
        assert!(has(&other, &right) && has(&stopped, now), "after {fuel}: {stopped:?}");
        fine += u32::from(stopped.scale() == 8);
        coarse += u32::from(stopped.scale() != 8 && !is_counted);
        counted += u32::from(is_counted);

        // A host may call the guest again, whichever series needs the scratch area first.
        let again = guest.observe(1, 1e-30, u64::MAX) && guest.observe(0, 1e30, u64::MAX);
        assert!(again, "after {fuel}");
        let [first, second] = guest.read();
        assert!(has(&second, &[&right[..], &[1e-30]].concat()), "after {fuel}: {second:?}");
        assert!(has(&first, &[&now[..], &[1e30]].concat()), "after {fuel}: {first:?}");
        if is_finished {
            break;
        }
    }
    // It was stopped before the scale was lowered, while the counts moved, and after all.
    assert!(fine >= 20 && coarse >= 20 && counted >= 1, "{fine} {coarse} {counted}");
}
