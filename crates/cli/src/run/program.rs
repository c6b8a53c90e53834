//! A program: the entry point of a binary, compiled and linked.

use std::fmt;

use anyhow::{Context, Result, anyhow, bail};
use wasmetry_wasmtime::{DeadlineExceeded, observe_modules_async};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, Instance, InstancePre, Linker, Module, Store, Trap};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::guest::State;
use super::invocation::{self, Invocation};
use crate::binary::{Binary, Kind};
use crate::guest::link;
use crate::text;

/// A program that is ready to run.
pub(super) struct Program {
    engine: Engine,
    shown: String,
    entry: Entry,
}

/// The entry point of a program.
enum Entry {
    /// The export `wasi:cli/run` of a component.
    Command(CommandPre<State>),
    /// The export `_start` of a core module.
    Start(InstancePre<State>),
    /// Any function that a core module exports.
    Function(InstancePre<State>, Invocation),
}

/// The return of a program.
pub(super) enum Completion {
    /// With an exit code.
    Exited(i32),
    /// With the results of the invoked function, one per line.
    Returned(String),
}

/// Marks the error of a program that could not be started, and has not run at all.
#[derive(Debug)]
pub(super) struct NotStarted;

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the program could not be started")
    }
}

impl Program {
    /// Compiles and links a binary. `invoke` has a function and its arguments; without it, the
    /// entry point is that of a command.
    pub(super) fn new(binary: &Binary, invoke: Option<(&str, &[String])>) -> Result<Self> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            // WASI 0.2 components do not use it, and without it a host call takes less than half
            // the time.
            .concurrency_support(false);
        let engine = Engine::new(&config).map_err(anyhow::Error::from).context("cannot prepare the runtime")?;
        let entry = match binary.kind {
            Kind::Component => command(binary, &engine, invoke.map(|(name, _)| name))?,
            Kind::Module => module(binary, &engine, invoke)?,
        };
        Ok(Self { engine, shown: binary.path.display().to_string(), entry })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs the program in a new instance.
    pub(super) async fn call(&self, store: &mut Store<State>) -> wasmtime::Result<Completion> {
        match &self.entry {
            Entry::Command(pre) => {
                let command = pre.instantiate_async(&mut *store).await.map_err(not_started)?;
                let result = command.wasi_cli_run().call_run(store).await?;
                Ok(Completion::Exited(i32::from(result.is_err())))
            }
            Entry::Start(pre) => {
                let instance = instantiate(pre, store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start").map_err(not_started)?;
                start.call_async(&mut *store, ()).await?;
                observe_modules_async(store).await?;
                Ok(Completion::Exited(0))
            }
            Entry::Function(pre, invocation) => {
                let instance = instantiate(pre, store).await?;
                // The export in which a WASI 0.1 library initializes itself.
                if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
                    initialize.call_async(&mut *store, ()).await?;
                }
                let returned = invocation.call(&instance, store).await?;
                observe_modules_async(store).await?;
                Ok(Completion::Returned(returned))
            }
        }
    }

    /// Converts the error of a program that could not be started. `is_denied` is `true` if it
    /// requested more memory than its limit.
    pub(super) fn explain_start(&self, error: &wasmtime::Error, is_denied: bool) -> anyhow::Error {
        let shown = &self.shown;
        if is_denied {
            return anyhow!("{shown} needs more memory to start than --max-memory allows; raise --max-memory");
        }
        anyhow!("{shown} cannot be started: {}; build it again with a current toolchain", error.root_cause())
    }
}

/// Instantiates a core module and finds its regions.
async fn instantiate(pre: &InstancePre<State>, store: &mut Store<State>) -> wasmtime::Result<Instance> {
    let instance = pre.instantiate_async(&mut *store).await.map_err(not_started)?;
    wasmetry_wasmtime::attach_module_async(store, &instance).await?;
    Ok(instance)
}

/// Marks an error of instantiation as [`NotStarted`], unless code of the guest has run.
fn not_started(error: wasmtime::Error) -> wasmtime::Error {
    let has_run = error.is::<Trap>() || error.is::<I32Exit>() || error.is::<DeadlineExceeded>();
    if has_run { error } else { error.context(NotStarted) }
}

/// The prefix of the name of the export that runs a component.
const RUN: &str = "wasi:cli/run@0.2.";

fn command(binary: &Binary, engine: &Engine, invoke: Option<&str>) -> Result<Entry> {
    let shown = binary.path.display();
    if let Some(name) = invoke {
        bail!(
            "{shown} is a component, and --invoke {} calls a function of a core module; leave it out to run the component's \
             wasi:cli/run",
            text::line(name)
        );
    }
    let component = Component::new(engine, &binary.bytes).map_err(|error| explain(binary, &error))?;
    link::check_imports(binary, engine, &component)?;
    check_exports(binary, engine, &component)?;
    let pre = link::instantiate_pre(binary, engine, &component)?;
    let pre = CommandPre::new(pre).map_err(|error| {
        anyhow!("{shown} exports a wasi:cli/run of another shape than WASI 0.2 has: {error}; rebuild it with current bindings")
    })?;
    Ok(Entry::Command(pre))
}

/// A part of the panic message in the `main` that `#[wstd::http_server]` adds to a service.
const WSTD_MAIN: &[u8] = b"should be run with `handle` rather than `run`";

fn check_exports(binary: &Binary, engine: &Engine, component: &Component) -> Result<()> {
    let exports = link::exports(engine, component);
    let has = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    let is_service = has("wasi:http/incoming-handler@") || has("wasi:http/handler@");
    let remedy = "serve it with `wasmetry serve`";
    if has(RUN) {
        let is_stub = is_service && binary.bytes.windows(WSTD_MAIN.len()).any(|bytes| bytes == WSTD_MAIN);
        if is_stub {
            bail!(
                "{} is a service (it exports a wasi:http handler, and its `main` does nothing): {remedy}",
                binary.path.display()
            );
        }
        return Ok(());
    }
    let (what, remedy) = if has("wasi:cli/run@") {
        ("a WASI 0.3 command, which this release does not run yet".to_owned(), "build it for WASI 0.2")
    } else if is_service {
        ("a service (it exports a wasi:http handler)".to_owned(), remedy)
    } else if exports.is_empty() {
        ("a component that exports nothing".to_owned(), "give it a `main`, and build it for wasm32-wasip2")
    } else {
        let exports = link::some_of(&exports);
        (format!("a library (it exports {exports})"), "compose it into a program, or give it a `main`")
    };
    bail!("{} does not export wasi:cli/run 0.2; it is {what}: {remedy}", binary.path.display())
}

fn module(binary: &Binary, engine: &Engine, invoke: Option<(&str, &[String])>) -> Result<Entry> {
    let shown = binary.path.display();
    let module = Module::new(engine, &binary.bytes).map_err(|error| explain(binary, &error))?;
    let invocation = match invoke {
        Some((name, arguments)) => {
            Some(Invocation::new(&module, name, arguments).map_err(|error| anyhow!("{shown}: {error:#}"))?)
        }
        None if invocation::is_command(&module) => None,
        None => bail!("{shown} exports no `_start`, so it is not a command; {}", invocation::choice(&module)),
    };
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state| &mut state.wasi)
        .map_err(anyhow::Error::from)
        .context("cannot link the host's functions")?;
    link_exit(&mut linker).map_err(anyhow::Error::from).context("cannot link the host's functions")?;
    let pre = linker.instantiate_pre(&module).map_err(|error| unknown_import(binary, &module, &error))?;
    Ok(match invocation {
        Some(invocation) => Entry::Function(pre, invocation),
        None => Entry::Start(pre),
    })
}

/// Lets a core module exit with any code. Wasmtime's own function traps from code 126 on.
fn link_exit(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(I32Exit(code).into())
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Converts an error of the compiler, with its remedy.
fn explain(binary: &Binary, error: &wasmtime::Error) -> anyhow::Error {
    anyhow!("{} cannot be compiled: {error:#}; build it again with a current toolchain", binary.path.display())
}

/// Converts an error of linking a core module, with its remedy.
fn unknown_import(binary: &Binary, module: &Module, error: &wasmtime::Error) -> anyhow::Error {
    let shown = binary.path.display();
    let Some(import) = module.imports().find(|import| import.module() != "wasi_snapshot_preview1") else {
        return anyhow!("{shown} cannot be linked: {error:#}; build it again with a current toolchain");
    };
    let remedy = match import.module() {
        "wasi_unstable" => "build it for wasm32-wasip1, whose WASI is the successor of this one",
        module if module.starts_with("wasmetry:telemetry") || module.starts_with("wasi:") => {
            "it is the core of a component: make that with `wasm-tools component new`, and run it"
        }
        _ => "remove the import, or link what defines it into the module",
    };
    anyhow!(
        "{shown} imports `{}` from `{}`, which this host does not offer; it offers wasi_snapshot_preview1: {remedy}",
        text::line(import.name()),
        text::line(import.module())
    )
}
