//! Compiling and linking a component, with an engine whose instance pool fits it.

use anyhow::{Context, Result, bail};
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::state::{Pre, State};
use crate::binary::Binary;
use crate::guest::link;
use crate::process::system_error::SystemError;
use crate::serve::limits;
use crate::text;

/// The limits by which the pool of instances is sized.
#[derive(Clone, Copy)]
pub(in crate::serve) struct Limits {
    pub(in crate::serve) instances: u32,
    /// The most instances that one component has for itself. If it may have more, it shares those
    /// that no component has for itself.
    pub(in crate::serve) reserved: u32,
    /// Bytes of linear memory of one instance.
    pub(in crate::serve) memory: u64,
}

/// Compiles a component for an engine whose pool has room for `limits.instances` instances of it.
pub(super) fn compile(binary: &Binary, limits: Limits) -> Result<(Engine, Component)> {
    let (memories, tables) = binary.count_memories_and_tables();
    let (engine, component) = compile_for(binary, limits, memories, tables)?;
    // A component may instantiate a module more than once, which only its compiled form shows.
    match component.resources_required() {
        Some(needed) if needed.num_memories > memories || needed.num_tables > tables => {
            compile_for(binary, limits, needed.num_memories, needed.num_tables)
        }
        _ => Ok((engine, component)),
    }
}

fn compile_for(binary: &Binary, limits: Limits, memories: u32, tables: u32) -> Result<(Engine, Component)> {
    let engine = engine(limits, memories, tables)?;
    let component = Component::new(&engine, &binary.bytes).map_err(|error| explain(binary, limits, &error))?;
    // Otherwise the first request would wait for it.
    component
        .initialize_copy_on_write_image()
        .map_err(anyhow::Error::from)
        .context("cannot create the image of the initial memory")?;
    Ok((engine, component))
}

/// Returns the bytes of the largest linear memory that an instance has at its start.
pub(super) fn initial_memory(component: &Component) -> u64 {
    let pages = component.resources_required().and_then(|needed| needed.max_initial_memory_size);
    pages.unwrap_or(0).saturating_mul(limits::WASM_PAGE)
}

fn engine(limits: Limits, memories: u32, tables: u32) -> Result<Engine> {
    let instances = limits.instances;
    let memory = limits.memory.next_multiple_of(limits::WASM_PAGE);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_memories(instances.saturating_mul(memories.max(1)))
        .total_tables(instances.saturating_mul(tables.max(1)))
        // Bounded by the number of component instances, memories and tables.
        .total_core_instances(u32::MAX)
        .max_memories_per_module(memories.max(1))
        .max_tables_per_module(tables.max(1))
        .max_core_instance_size(limits::INSTANCE_METADATA)
        .max_component_instance_size(limits::INSTANCE_METADATA)
        .table_elements(limits::TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(memory).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(limits::KEEP_RESIDENT)
        .pagemap_scan(wasmtime::Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        // WASI 0.2 components do not use it, and without it a host call takes less than half the
        // time.
        .concurrency_support(false);
    Engine::new(&config).map_err(|error| {
        // Another process, or an engine that is about to be freed, may have the addresses.
        anyhow::Error::from(SystemError::new(format!(
            "cannot reserve addresses for {instances} instances: {error:#}; lower --max-concurrent-requests, \
             or raise the limit of virtual memory (`ulimit -v`)"
        )))
    })
}

/// Links a component with WASI, wasi:http and wasmetry:telemetry.
pub(super) fn link(binary: &Binary, engine: &Engine, component: &Component) -> Result<Pre> {
    let shown = binary.path.display();
    link::check_imports(binary, engine, component)?;
    check_exports(binary, engine, component)?;
    match ProxyPre::new(link::instantiate_pre::<State>(binary, engine, component)?) {
        Ok(pre) if has_handler_shape(engine, component) => Ok(pre),
        _ => bail!(
            "{shown} exports a wasi:http/incoming-handler of another shape than WASI 0.2 has; \
             rebuild it with current bindings"
        ),
    }
}

/// The prefix of the name of the export that handles requests.
const HANDLER: &str = "wasi:http/incoming-handler@0.2.";

fn check_exports(binary: &Binary, engine: &Engine, component: &Component) -> Result<()> {
    let exports = link::exports(engine, component);
    let has = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    if has(HANDLER) {
        return Ok(());
    }
    let (what, remedy) = if has("wasi:http/handler@0.3") || has("wasi:http/incoming-handler@0.3") {
        ("a WASI 0.3 service, which this release does not serve yet".to_owned(), "build it for WASI 0.2")
    } else if has("wasi:cli/run@") {
        (
            "a command (it exports wasi:cli/run)".to_owned(),
            "run it with `wasmetry run`, or export a handler, as the crates `wstd` or `wasi` do",
        )
    } else if exports.is_empty() {
        ("a component that exports nothing".to_owned(), "export a handler, as the crates `wstd` or `wasi` do")
    } else {
        (
            format!("a library (it exports {})", link::some_of(&exports)),
            "compose it into a service, or export a handler",
        )
    };
    bail!("{} does not export wasi:http/incoming-handler 0.2; it is {what}: {remedy}", binary.path.display())
}

/// Returns `true` if the handler exports `handle: func(request: own<…>, response-out: own<…>)`.
///
/// Wasmtime compares the types only when an instance is made; this refuses other shapes at the
/// start.
fn has_handler_shape(engine: &Engine, component: &Component) -> bool {
    let ty = component.component_type();
    let Some((_, export)) = ty.exports(engine).find(|(name, _)| name.starts_with(HANDLER)) else { return false };
    let ComponentItem::ComponentInstance(instance) = export.ty else { return false };
    let Some(handle) = instance.get_export(engine, "handle") else { return false };
    let ComponentItem::ComponentFunc(handle) = handle.ty else { return false };
    handle.params().len() == 2
        && handle.params().all(|(_, ty)| matches!(ty, Type::Own(_)))
        && handle.results().len() == 0
}

/// Converts an error of the compiler, with its remedy.
fn explain(binary: &Binary, limits: Limits, error: &wasmtime::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("minimum byte size") || text.contains("initial memory size") {
        return too_little_memory(binary, limits.memory);
    }
    let remedy = if text.contains("component model async") || text.contains("async") {
        "WASI 0.3 components are not served yet; build it for WASI 0.2"
    } else {
        "build it again with a current toolchain"
    };
    anyhow::anyhow!("{} cannot be compiled: {text}; {remedy}", binary.path.display())
}

/// The error of a component that cannot start within its memory limit.
pub(super) fn too_little_memory(binary: &Binary, memory: u64) -> anyhow::Error {
    anyhow::anyhow!(
        "{} needs more memory to start than the {} that --max-memory allows; raise --max-memory",
        binary.path.display(),
        text::size(memory)
    )
}
