//! The composition. Components cannot depend on each other in a circle, so it is a chain: the config, the collector, the
//! app whose batches the collector takes, and before the app one that tells the collector of requests or runs.

use std::panic::{self, AssertUnwindSafe};

use anyhow::{Context, Result, anyhow};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};
use wasmetry_adapter_provider::{COLLECTOR, COMMAND, HTTP};

use super::app::App;
use super::config::{self, Config};
use crate::binary::Binary;

const CONTROL: &str = "wasmetry:adapter/control";
const REGION: &str = "wasmetry:telemetry/region@0.1.0";
const HANDLER: &str = "wasi:http/incoming-handler@0.2.0";
const RUN: &str = "wasi:cli/run@0.2.0";

/// Composes an app with what collects its metrics.
pub(super) fn compose(binary: &Binary, app: &App, config: &Config) -> Result<Vec<u8>> {
    let shown = binary.path.display();
    // The library asserts what it takes for granted, so that an odd component could make it panic.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let composed = panic::catch_unwind(AssertUnwindSafe(|| chain(binary, app, config)));
    panic::set_hook(hook);
    composed.unwrap_or_else(|_| Err(anyhow!("its types are of a kind that cannot be composed"))).with_context(|| {
        format!("{shown} cannot be adapted; build it again with a current toolchain for WASI 0.2, or report this")
    })
}

fn chain(binary: &Binary, app: &App, config: &Config) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let config = instantiate(&mut graph, "config", config.encode())?;
    let collector = instantiate(&mut graph, "collector", COLLECTOR)?;
    connect(&mut graph, (config, config::INTERFACE), (collector, config::INTERFACE))?;
    let service = instantiate(&mut graph, "app", binary.bytes.as_slice())?;
    if let Some(region) = &app.region {
        connect(&mut graph, (collector, REGION), (service, region))?;
    }
    for export in &app.exports {
        let before = if Some(export) == app.handler.as_ref() {
            Some((HTTP, "http", HANDLER))
        } else if Some(export) == app.run.as_ref() {
            Some((COMMAND, "command", RUN))
        } else {
            None
        };
        let mut exported = (service, export.as_str());
        if let Some((bytes, name, interface)) = before {
            let before = instantiate(&mut graph, name, bytes)?;
            connect(&mut graph, (collector, CONTROL), (before, CONTROL))?;
            connect(&mut graph, exported, (before, interface))?;
            exported = (before, interface);
        }
        let node = graph.alias_instance_export(exported.0, exported.1)?;
        graph.export(node, export)?;
    }
    Ok(graph.encode(EncodeOptions::default())?)
}

fn instantiate(graph: &mut CompositionGraph, name: &str, bytes: impl Into<Vec<u8>>) -> Result<NodeId> {
    let package = Package::from_bytes(name, None, bytes, graph.types_mut())?;
    let package = graph.register_package(package)?;
    let instance = graph.instantiate(package);
    graph.set_node_name(instance, name);
    Ok(instance)
}

/// Gives an export of one instance to another one as its import.
fn connect(graph: &mut CompositionGraph, from: (NodeId, &str), to: (NodeId, &str)) -> Result<()> {
    let node = graph.alias_instance_export(from.0, from.1)?;
    graph.set_instantiation_argument(to.0, to.1, node)?;
    Ok(())
}
