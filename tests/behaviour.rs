//! The behaviours of `behaviours.json`, over every runtime and way to collect.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use wasmetry_tests::behaviour::{self, Column, Form, Interpreter, Need, Runtime};
use wasmetry_tests::store::Allocation;

const BOTH: [Allocation; 2] = [Allocation::OnDemand, Allocation::Pooling];

/// Makes a test of each column, and the table of all of them.
macro_rules! columns {
    ($($test:ident: $name:literal, $lacks:expr, $run:expr;)*) => {
        $(#[test]
        fn $test() {
            let run: fn(&Column) = $run;
            run(&Column { name: $name, test: stringify!($test), lacks: $lacks });
        })*

        #[test]
        fn the_table_says_what_runs_where() {
            behaviour::check(&[$(Column { name: $name, test: stringify!($test), lacks: $lacks }),*]);
        }
    };
}

columns! {
    wasmtime_component_mapped: "Wasmtime, component, mapped", component, |column| in_wasmtime(column, Form::Mapped);
    wasmtime_component_pushed: "Wasmtime, component, pushed", pushed, |column| in_wasmtime(column, Form::Pushed);
    wasmtime_component_encoded: "Wasmtime, core module made a component", encoded,
        |column| in_wasmtime(column, Form::Encoded);
    wasmtime_module: "Wasmtime, core module", module, |column| in_wasmtime(column, Form::Module);
    wasmtime_wasip1: "Wasmtime, core module with WASI", wasip1, |column| in_wasmtime(column, Form::Wasip1);
    wasmi_module: "wasmi, core module", module, |column| behaviour::run(column, &Interpreter::default());
}

/// Runs all with both allocators.
fn in_wasmtime(column: &Column, form: Form) {
    for allocation in BOTH {
        behaviour::run(column, &Runtime::new(form, allocation));
    }
}

fn component(need: Need) -> Option<&'static str> {
    match need {
        Need::NoClock => Some("A component has its host's clock, and takes no other one"),
        Need::Kill | Need::Drop | Need::LastWords | Need::Show | Need::MemoryLimit => None,
        Need::Clock | Need::Publish | Need::TwoVersions => None,
    }
}

fn pushed(need: Need) -> Option<&'static str> {
    match need {
        Need::LastWords | Need::Show => {
            Some("The guest sends what it has recorded when a request ends, or when it publishes")
        }
        other => component(other),
    }
}

fn encoded(need: Need) -> Option<&'static str> {
    match need {
        Need::TwoVersions => Some("The guest with two versions is made a component by Rust's own linker"),
        other => component(other),
    }
}

fn module(need: Need) -> Option<&'static str> {
    match need {
        Need::Clock => Some("A core module imports nothing, no clock either"),
        Need::Publish => {
            Some("A core module imports nothing of the host's, so it cannot call it, and the host looks when it likes")
        }
        Need::Kill | Need::Drop | Need::LastWords | Need::Show | Need::MemoryLimit => None,
        Need::NoClock | Need::TwoVersions => None,
    }
}

fn wasip1(need: Need) -> Option<&'static str> {
    match need {
        Need::Clock => None,
        Need::NoClock => Some("A core module with WASI has its clock until it is given another one"),
        other => module(other),
    }
}
