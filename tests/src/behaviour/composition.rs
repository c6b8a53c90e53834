//! A component that is composed of two recorders.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};

/// The functions of each recorder that the composition exports.
const FUNCTIONS: [&str; 3] = ["count", "label", "trap"];

/// Composes two instances of the recorder into a component that exports `first-NAME` and
/// `second-NAME` for each function.
///
/// The regions of both have the same addresses, each in a memory of its own.
///
/// # Panics
///
/// Panics if `recorder` is not the recorder's component.
pub(super) fn compose(recorder: &[u8]) -> Vec<u8> {
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
