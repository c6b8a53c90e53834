//! Memory that the host keeps for a guest: resources of WASI, and tables.

use std::fs;
use std::process::Command;

use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::server::command;

use crate::neighbour::{HOSTILE, Neighbours, Setup};

/// A guest of 128 MiB, of which its telemetry may have 32 MiB, has what its memory leaves of the
/// rest in resources of 64 KiB, and 256 that are free.
#[test]
fn header_fields_are_bounded() {
    let neighbours = Neighbours::start(Setup { hostile: "max-memory = '128MiB'", ..Setup::default() });
    let resident = |text: &str| value(text, "process_resident_memory_bytes", &[]);
    let before = resident(&neighbours.server.scrape());
    // A single one of more than 64 KiB ends its guest.
    assert_eq!(neighbours.attack("fields?n=1&size=100000"), Some(500));
    let attacks = neighbours.start_attacks("fields?n=1000&size=60000&hold=2000", 1);
    let text = neighbours.server.scrape_until(|text| resident(text) > before + 20e6);
    assert!(resident(&text) < before + 110e6, "{} {before}", resident(&text));
    neighbours.serve_honest(20);
    crate::neighbour::finish(attacks);
    // One more than a store may have ends its guest.
    assert_eq!(neighbours.attack("fields?n=1800&size=60000"), Some(500));
    let traps = [HOSTILE[0], HOSTILE[1], ("reason", "out_of_resources")];
    let text = neighbours.server.scrape_until(|text| sum(text, "wasm_traps_total", &traps) == 1.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[HOSTILE[0], HOSTILE[1], ("reason", "host_error")]), 1.0);
    assert!(resident(&text) < before + 110e6, "{} {before}", resident(&text));
    neighbours.assert_honest_exact();
}

/// Tables are charged to the limit of memory; the first 64 KiB are free. A program that ends where
/// its growth was refused is counted with its owner, and a service on the same machine serves.
#[test]
fn tables_count_as_memory() {
    let module = r#"(module (table $t 0 funcref) (memory (export "memory") 1)
        (func $grow (export "grow") (result i32) (local $i i32)
            (loop $l
                (drop (table.grow $t (ref.null func) (i32.const 1000)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 100000))))
            (table.size $t))
        (func (export "exhaust") (drop (call $grow)) unreachable))"#;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.wasm");
    fs::write(&path, wat::parse_str(module).unwrap()).unwrap();
    let neighbours = Neighbours::start(Setup::default());
    let run = |function: &str, memory: &str| {
        let mut run = Command::new(command());
        let [(_, name), (_, tenant)] = HOSTILE;
        run.args(["run", "--invoke", function, "--max-memory", memory, "--name", name, "--tenant", tenant]);
        let output = run.arg("--print-metrics").arg(&path).output().unwrap();
        neighbours.serve_honest(20);
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    // A page is memory, the rest of the limit and 64 KiB are of tables.
    for (memory, bytes) in [("1MiB", 1_048_576), ("64KiB", 65_536)] {
        let [output, _] = run("grow", memory);
        let size = output.lines().next().unwrap();
        assert_eq!(size.parse::<u64>().unwrap(), bytes / 8 / 1000 * 1000);
        let [metrics, _] = run("exhaust", memory);
        let reason = [HOSTILE[0], HOSTILE[1], ("reason", "out_of_memory")];
        assert_eq!(value(&metrics, "wasm_traps_total", &reason), 1.0);
    }
    neighbours.assert_honest_exact();
}

/// A service whose table grows without end: its guest ends where its growth was refused, and no
/// neighbour has less.
#[test]
fn growing_tables_leave_neighbours_memory() {
    let component = r#"(component
        (import "wasi:http/types@0.2.0" (instance $types
            (export "incoming-request" (type (sub resource)))
            (export "response-outparam" (type (sub resource)))))
        (alias export $types "incoming-request" (type $request))
        (alias export $types "response-outparam" (type $response))
        (core module $module
            (table $t 0 funcref)
            (func (export "handle") (param i32 i32) (local $i i32)
                (loop $l
                    (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $i) (i32.const 100000))))))
        (core instance $instance (instantiate $module))
        (type $handle (func (param "request" (own $request)) (param "response-out" (own $response))))
        (func $handle (type $handle) (canon lift (core func $instance "handle")))
        (instance $handler (export "handle" (func $handle)))
        (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.wasm");
    fs::write(&path, wat::parse_str(component).unwrap()).unwrap();
    let setup = Setup { binary: Some(&path), hostile: "max-memory = '1MiB'", ..Setup::default() };
    let neighbours = Neighbours::start(setup);
    let resident = |text: &str| value(text, "process_resident_memory_bytes", &[]);
    let before = resident(&neighbours.server.scrape());
    let attacks = neighbours.start_attacks("", 20);
    neighbours.serve_honest(100);
    for attack in attacks {
        assert_eq!(attack.join().unwrap(), Some(500));
    }
    let traps = [HOSTILE[0], HOSTILE[1], ("reason", "out_of_memory")];
    let text = neighbours.server.scrape_until(|text| sum(text, "wasm_traps_total", &HOSTILE) == 20.0);
    assert_eq!(sum(&text, "wasm_traps_total", &traps), 20.0);
    assert!(resident(&text) < before + 110e6, "{} {before}", resident(&text));
    neighbours.assert_honest_exact();
}
