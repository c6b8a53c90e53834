//! The behaviours of `behaviours.json`, over every runtime and way to collect.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use wasmetry_tests::adapted::fresh;
use wasmetry_tests::behaviour::{self, Column, Form, Interpreter, Need, Node, Plain, Runtime, Way};
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
    node_component_pushed: "Node, component, pushed", node_pushed, |column| in_node(column, Way::Pushed);
    node_component_read: "Node, component, read", node_read, |column| in_node(column, Way::Read);
    node_core_module: "Node, core module", node_module, |column| in_node(column, Way::Module);
    adapted_under_jco: "adapted, under jco", adapted_jco,
        |column| with_parts(|parts| in_node(column, Way::Adapted(parts)));
    adapted_under_wasmtime: "adapted, under a plain Wasmtime embedding", adapted,
        |column| with_parts(|parts| behaviour::run(column, &&Plain::adapted(parts)));
}

/// Runs all with both allocators.
fn in_wasmtime(column: &Column, form: Form) {
    for allocation in BOTH {
        behaviour::run(column, &Runtime::new(form, allocation));
    }
}

/// Runs all where Node is installed.
fn in_node(column: &Column, way: Way<'_>) {
    if let Some(node) = Node::start(way) {
        behaviour::run(column, &node);
    }
}

/// Adapts with the components that are checked in, and with those that were built from this tree.
fn with_parts(run: impl Fn(&[&str])) {
    run(&[]);
    run(&["--parts", fresh().to_str().unwrap()]);
}

const SENT_AT_THE_END: &str = "The guest sends what it has recorded when a request ends, or when it publishes";
const NOT_LEFT: &str = "A call in Node cannot be left before it has ended";
const UNLIMITED: &str = "Node has no limit for one guest's memory";

fn component(need: Need) -> Option<&'static str> {
    match need {
        Need::NoClock => Some("A component has its host's clock, and takes no other one"),
        Need::Kill | Need::Drop | Need::LastWords | Need::Show | Need::MemoryLimit => None,
        Need::Clock | Need::Publish | Need::TwoVersions | Need::Standing | Need::Merge => None,
        Need::Composed | Need::ComposedLastWords => None,
    }
}

fn pushed(need: Need) -> Option<&'static str> {
    match need {
        Need::LastWords | Need::ComposedLastWords | Need::Show => Some(SENT_AT_THE_END),
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
        Need::Composed | Need::ComposedLastWords => Some("Only components are composed"),
        Need::Kill | Need::Drop | Need::LastWords | Need::Show | Need::MemoryLimit => None,
        Need::NoClock | Need::TwoVersions | Need::Standing | Need::Merge => None,
    }
}

fn wasip1(need: Need) -> Option<&'static str> {
    match need {
        Need::Clock => None,
        Need::NoClock => Some("A core module with WASI has its clock until it is given another one"),
        other => module(other),
    }
}

fn node_pushed(need: Need) -> Option<&'static str> {
    match need {
        Need::Drop => Some(NOT_LEFT),
        Need::MemoryLimit => Some(UNLIMITED),
        other => pushed(other),
    }
}

fn node_read(need: Need) -> Option<&'static str> {
    match need {
        Need::ComposedLastWords => Some("What has more than one memory is not read in Node, but sends"),
        other => node(other, component),
    }
}

fn node_module(need: Need) -> Option<&'static str> {
    node(need, module)
}

/// Node, where memory is read.
fn node(need: Need, form: fn(Need) -> Option<&'static str>) -> Option<&'static str> {
    match need {
        Need::Show => Some("A guest has Node's thread for itself while it runs"),
        Need::Drop => Some(NOT_LEFT),
        Need::MemoryLimit => Some(UNLIMITED),
        other => form(other),
    }
}

fn adapted(need: Need) -> Option<&'static str> {
    match need {
        Need::Standing => Some("Lines tell what has changed"),
        Need::Merge => {
            Some("Lines tell what each instance set a gauge to, and leave it to their reader to combine them")
        }
        other => pushed(other),
    }
}

fn adapted_jco(need: Need) -> Option<&'static str> {
    match need {
        Need::Drop => Some(NOT_LEFT),
        Need::MemoryLimit => Some(UNLIMITED),
        other => adapted(other),
    }
}
