//! Attacks on the compiler, which reloads of all tenants need.

use std::fs;
use std::path::Path;

use wasm_encoder::{
    BlockType, CodeSection, ComponentSection as _, Function, FunctionSection, Module, ModuleSection, TypeSection,
    ValType,
};
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;

use crate::neighbour::{HONEST, Neighbours, Setup};

/// Returns a component with one more function, of some hundred kilobytes, that takes minutes to
/// compile: in a loop, tables of jumps lead to each of `blocks` blocks, behind which other locals
/// change.
fn bomb(component: &Path, blocks: u32) -> Vec<u8> {
    let mut function = Function::new([(blocks, ValType::I32)]);
    let mut code = function.instructions();
    code.loop_(BlockType::Empty);
    for _ in 0..blocks {
        code.block(BlockType::Empty);
    }
    for block in 0..blocks {
        // The labels of the open blocks, of which 0 is that of the `if`.
        let open = blocks - block;
        let targets: Vec<u32> = (1..open).collect();
        code.local_get(block).if_(BlockType::Empty).local_get(block).br_table(targets, open).end();
        code.end();
        for at in 0..4 {
            let local = (4 * block + at) % blocks;
            code.local_get(local).i32_const(1).i32_add().local_set(local);
        }
    }
    code.br(0).end().end();
    let (mut types, mut functions, mut codes) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    codes.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&codes);
    // A component may have modules of which it makes no instance.
    let mut bytes = fs::read(component).unwrap();
    ModuleSection(&module).append_to_component(&mut bytes);
    bytes
}

/// New versions of the hostile component take minutes to compile. It keeps its former one, and the
/// neighbour's new version is served after the same reload: after the time for compiling, and then
/// at once, while the bomb is still compiled.
#[test]
fn compile_bomb_stops_no_other_reload() {
    let directory = tempfile::tempdir().unwrap();
    let version = |number: u32| directory.path().join(format!("release-{number}.wasm"));
    fs::copy(guest("hostile"), version(1)).unwrap();
    fs::write(version(2), bomb(&guest("hostile"), 400)).unwrap();
    fs::write(version(3), bomb(&guest("hostile"), 401)).unwrap();
    let neighbours = Neighbours::start(Setup {
        top: "compile-timeout = '20s'",
        binary: Some(&version(1)),
        honest: "version = 'release-1'",
        ..Setup::default()
    });
    let is_successful = |text: &str| value(text, "wasmetry_config_last_reload_successful", &[]);
    assert_eq!(is_successful(&neighbours.server.scrape()), 1.0);
    for (release, cause) in [
        ("release-2", "compiling it takes longer than 20s"),
        ("release-3", "another binary of its tenant took too long"),
    ] {
        neighbours.start_reload("release-1", release);
        let error = neighbours.server.wait_for("error: not reloaded on");
        assert!(error.contains("`hostile` of the tenant `mallory`: its former version stays in force"), "{error}");
        assert!(error.contains(cause), "{error}");
        let line = neighbours.server.wait_for("reloaded on");
        assert!(line.ends_with(", without 1 component: shop"), "{line}");
        neighbours.serve_honest(20);
        assert_eq!(neighbours.attack("hello"), Some(200));
        let text = neighbours.assert_honest_exact();
        let of_release = [HONEST[0], HONEST[1], ("version", release)];
        assert_eq!(sum(&text, "http_requests_total", &of_release), 20.0, "{release}");
        assert_eq!(is_successful(&text), 0.0);
    }
    neighbours.reload("release-1", "release-1");
    assert_eq!(is_successful(&neighbours.server.scrape()), 1.0);
}
