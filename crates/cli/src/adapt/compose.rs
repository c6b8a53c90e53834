//! The composition of an app with its collector.
//!
//! Components cannot depend on each other in a circle, so they form a chain: the config, the
//! collector, the app, which sends its batches to the collector, and around the app a component
//! that notifies the collector of requests or runs.

use std::borrow::Cow;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use wac_graph::types::{ItemKind, Package};
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};
use wasmetry_adapter_provider::{COLLECTOR, COMMAND, EXIT, HTTP, OTLP_COLLECTOR};

use super::app::App;
use super::config::{self, Config};
use crate::binary::Binary;

const CONTROL: &str = "wasmetry:adapter/control";
const REGION_INTERFACE: &str = "wasmetry:telemetry/region@0.1.0";
const HANDLER: &str = "wasi:http/incoming-handler@0.2.0";
const RUN: &str = "wasi:cli/run@0.2.0";
const EXIT_INTERFACE: &str = "wasi:cli/exit@0.2.0";

/// The components to compose with an app.
#[derive(Debug)]
pub(super) struct Parts {
    collector: Cow<'static, [u8]>,
    otlp_collector: Cow<'static, [u8]>,
    http: Cow<'static, [u8]>,
    command: Cow<'static, [u8]>,
    exit: Cow<'static, [u8]>,
}

impl Parts {
    /// Returns the components that are built into this program.
    pub(super) fn built_in() -> Self {
        Self {
            collector: COLLECTOR.into(),
            otlp_collector: OTLP_COLLECTOR.into(),
            http: HTTP.into(),
            command: COMMAND.into(),
            exit: EXIT.into(),
        }
    }

    /// Reads the components from a directory, as `cargo xtask adapter` makes them.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let part = |name: &str| {
            let path = directory.join(name);
            let bytes = fs::read(&path).with_context(|| {
                format!("cannot read {}; give the directory that `cargo xtask adapter` fills", path.display())
            });
            bytes.map(Cow::Owned)
        };
        Ok(Self {
            collector: part("collector.wasm")?,
            otlp_collector: part("otlp-collector.wasm")?,
            http: part("http.wasm")?,
            command: part("command.wasm")?,
            exit: part("exit.wasm")?,
        })
    }
}

/// Composes an app with the collector of its metrics.
pub(super) fn compose(binary: &Binary, app: &App, config: &Config, parts: &Parts) -> Result<Vec<u8>> {
    let shown = binary.path.display();
    // The library panics where its assumptions about a component do not hold.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let composed = panic::catch_unwind(AssertUnwindSafe(|| chain(binary, app, config, parts)));
    panic::set_hook(hook);
    composed
        .unwrap_or_else(|_| Err(anyhow!("its types cannot be composed")))
        .with_context(|| format!("{shown} cannot be adapted (build it again with a current toolchain, for WASI 0.2)"))
}

fn chain(binary: &Binary, app: &App, config: &Config, parts: &Parts) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    // Without OTLP the result must not import outgoing HTTP.
    let collector = if config.otlp.is_some() { &parts.otlp_collector } else { &parts.collector };
    let config = instantiate(&mut graph, "config", &config.encode())?;
    let collector = instantiate(&mut graph, "collector", collector)?;
    connect(&mut graph, (config, config::INTERFACE), (collector, config::INTERFACE))?;
    let service = instantiate(&mut graph, "app", &binary.bytes)?;
    if let Some(region) = &app.region {
        connect(&mut graph, (collector, REGION_INTERFACE), (service, region))
            .context("it was built with a release of wasmetry that is incompatible with this one")?;
    }
    if app.run.is_some()
        && let Some(exit) = &app.exit
        && has_one_function(&graph, service, exit)
    {
        let behind = instantiate(&mut graph, "exit", &parts.exit)?;
        connect(&mut graph, (collector, CONTROL), (behind, CONTROL))?;
        connect(&mut graph, (behind, EXIT_INTERFACE), (service, exit))?;
    }
    for export in &app.exports {
        let mut exported = (service, export.as_str());
        let before = if Some(export) == app.handler.as_ref() {
            Some(("http", &parts.http, HANDLER))
        } else if Some(export) == app.run.as_ref() {
            Some(("command", &parts.command, RUN))
        } else {
            None
        };
        if let Some((name, bytes, interface)) = before {
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

fn instantiate(graph: &mut CompositionGraph, name: &str, bytes: &[u8]) -> Result<NodeId> {
    let package = Package::from_bytes(name, None, bytes, graph.types_mut())?;
    let package = graph.register_package(package)?;
    let instance = graph.instantiate(package);
    graph.set_node_name(instance, name);
    Ok(instance)
}

/// Connects an export of one instance to an import of another one.
fn connect(graph: &mut CompositionGraph, from: (NodeId, &str), to: (NodeId, &str)) -> Result<()> {
    let node = graph.alias_instance_export(from.0, from.1)?;
    graph.set_instantiation_argument(to.0, to.1, node)?;
    Ok(())
}

/// Returns `true` if an instance imports an interface of a single function. An interface with more
/// of them cannot be satisfied by the part for it.
fn has_one_function(graph: &CompositionGraph, instance: NodeId, import: &str) -> bool {
    let imports = graph[instance].package().map(|package| &graph.types()[graph[package].ty()].imports);
    match imports.and_then(|imports| imports.get(import)) {
        Some(ItemKind::Instance(interface)) => graph.types()[*interface].exports.len() == 1,
        _ => false,
    }
}
