//! The behaviours of `behaviours.json`, over every runtime and way to collect.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use wasmetry_tests::adapted::fresh;
use wasmetry_tests::behaviour::{self, Column, Form, Interpreter, Need, Node, Plain, Runtime, Way};
use wasmetry_tests::embedding::observed::Allocation;

const BOTH: [Allocation; 2] = [Allocation::OnDemand, Allocation::Pooling];

/// Makes a test of each column, and one of the table.
macro_rules! columns {
    ($($test:ident: $name:literal, $lacks:expr, $run:expr;)*) => {
        $(#[test]
        fn $test() {
            let run: fn(&Column) = $run;
            run(&Column { name: $name, test: stringify!($test), lacks: $lacks });
        })*

        #[test]
        fn table_is_current() {
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

/// Runs all behaviours with both allocators.
fn in_wasmtime(column: &Column, form: Form) {
    for allocation in BOTH {
        behaviour::run(column, &Runtime::new(form, allocation));
    }
}

/// Runs all behaviours in Node if it is installed.
fn in_node(column: &Column, way: Way<'_>) {
    if let Some(node) = Node::start(way) {
        behaviour::run(column, &node);
    }
}

/// Runs with the adapter components that are checked in, and with those built from this tree.
fn with_parts(run: impl Fn(&[&str])) {
    run(&[]);
    run(&["--parts", fresh().to_str().unwrap()]);
}

const SENT_AT_THE_END: &str = "The guest sends its metrics only when a request ends or when it calls `publish`";
const NO_DROP: &str = "Node cannot drop a running call";
const NO_LIMIT: &str = "Node cannot limit the memory of one guest";

fn component(need: Need) -> Option<&'static str> {
    match need {
        Need::NoClock => Some("A component always uses its host's clock"),
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
        Need::TwoVersions => Some("The guest with two versions exists only as Rust's linker makes it"),
        other => component(other),
    }
}

fn module(need: Need) -> Option<&'static str> {
    match need {
        Need::Clock => Some("A core module imports nothing and so has no clock"),
        Need::Publish => Some("A core module imports nothing and so cannot call its host, which collects at any time"),
        Need::Composed | Need::ComposedLastWords => Some("Only components can be composed"),
        Need::Kill | Need::Drop | Need::LastWords | Need::Show | Need::MemoryLimit => None,
        Need::NoClock | Need::TwoVersions | Need::Standing | Need::Merge => None,
    }
}

fn wasip1(need: Need) -> Option<&'static str> {
    match need {
        Need::Clock => None,
        Need::NoClock => Some("A core module with WASI starts with the clock of WASI"),
        other => module(other),
    }
}

fn node_pushed(need: Need) -> Option<&'static str> {
    match need {
        Need::Drop => Some(NO_DROP),
        Need::MemoryLimit => Some(NO_LIMIT),
        other => pushed(other),
    }
}

fn node_read(need: Need) -> Option<&'static str> {
    match need {
        Need::ComposedLastWords => Some("In Node, a guest with several memories sends its metrics"),
        other => node(other, component),
    }
}

fn node_module(need: Need) -> Option<&'static str> {
    node(need, module)
}

/// Returns the reason why Node lacks a capability for guests whose memory is read.
fn node(need: Need, form: fn(Need) -> Option<&'static str>) -> Option<&'static str> {
    match need {
        Need::Show => Some("A running guest occupies Node's only thread"),
        Need::Drop => Some(NO_DROP),
        Need::MemoryLimit => Some(NO_LIMIT),
        other => form(other),
    }
}

fn adapted(need: Need) -> Option<&'static str> {
    match need {
        Need::Standing => Some("Lines have only series that have changed"),
        Need::Merge => Some("Lines have the gauges of each instance, which their reader must combine"),
        other => pushed(other),
    }
}

fn adapted_jco(need: Need) -> Option<&'static str> {
    match need {
        Need::Drop => Some(NO_DROP),
        Need::MemoryLimit => Some(NO_LIMIT),
        other => adapted(other),
    }
}
