//! A second runtime: the bare example in wasmi.

use std::time::Duration;

use wasmetry_host::{Declarations, Identity, Registry, encode};
use wasmetry_wasmi::Regions;
use wasmi::{Engine, Linker, Module, Store};

#[test]
fn trapped_instances_are_added_up() {
    // <target>/<profile>/deps/<test>
    let test = std::env::current_exe().unwrap();
    let guest = test.ancestors().nth(3).unwrap().join("guests/bare.wasm");
    let wasm =
        std::fs::read(&guest).unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", guest.display()));
    assert!(wasm.len() < 4096, "the example is {} bytes", wasm.len());

    let registry = Registry::new();
    let component = registry.component(Identity::new("bare"), Declarations::from_wasm(&wasm).unwrap());
    let engine = Engine::default();
    let module = Module::new(&engine, &wasm).unwrap();
    assert_eq!(module.imports().len(), 0);
    let linker = Linker::<()>::new(&engine);
    for n in 0..50 {
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
        let mut regions = Regions::of(&component, &mut store, &instance).unwrap();
        assert_eq!(regions.len(), 1);
        let look = instance.get_typed_func::<u32, u32>(&store, "look").unwrap();
        for number in 0..n {
            assert_eq!(look.call(&mut store, number).unwrap(), 2 * number);
            regions.read(&store, Duration::ZERO);
        }
        let trap = instance.get_typed_func::<u32, u32>(&store, "trap").unwrap();
        trap.call(&mut store, 7).unwrap_err();
        regions.read_last(&store, Duration::ZERO);
    }
    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    // Half of 0..n are even and half odd. Each instance then traps at 7, which is odd.
    let even: u32 = (0..50u32).map(|n| n.div_ceil(2)).sum();
    let odd: u32 = (0..50u32).map(|n| n / 2 + 1).sum();
    assert!(text.contains(&format!("numbers_seen_total{{component=\"bare\",parity=\"even\"}} {even}\n")), "{text}");
    assert!(text.contains(&format!("numbers_seen_total{{component=\"bare\",parity=\"odd\"}} {odd}\n")), "{text}");
    assert!(text.contains(&format!("number_size_count{{component=\"bare\"}} {}\n", even + odd)), "{text}");
}
