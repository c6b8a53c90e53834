//! Two components in one: the recorder, composed with itself.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};

/// The recorder's functions that the pair has of each of both.
const FUNCTIONS: [&str; 3] = ["count", "label", "trap"];

/// Composes two instances of the recorder, which thus have the same addresses, into a component that exports the functions
/// of the first as `first-NAME` and those of the second as `second-NAME`.
///
/// # Panics
///
/// Panics if the recorder is no such component.
pub fn compose(recorder: &[u8]) -> Vec<u8> {
    let mut graph = CompositionGraph::new();
    let package = Package::from_bytes("recorder", None, recorder, graph.types_mut()).unwrap();
    let package = graph.register_package(package).unwrap();
    for order in ["first", "second"] {
        let instance = graph.instantiate(package);
        for function in FUNCTIONS {
            let export = graph.alias_instance_export(instance, function).unwrap();
            graph.export(export, format!("{order}-{function}")).unwrap();
        }
    }
    graph.encode(EncodeOptions::default()).unwrap()
}
