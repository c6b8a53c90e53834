//! The plan of what is served: a command line or a configuration, resolved to complete values.
//!
//! In come flags and a file, out comes a plan whose binaries have been read. Nothing is compiled
//! here.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use wasmetry_host::{Identity, Recording};

use super::route::{Host, Prefix, Routes};
use super::watched_file::WatchedFile;
use super::{Component, Config, Defaults, Position, Source};
use crate::binary::{Binary, Digest};
use crate::flag::value;
use crate::process::system_error;
use crate::serve::args::{Flags, Origin};
use crate::serve::limits;
use crate::text;

/// The components to serve, and the addresses to serve them on.
#[derive(Debug)]
pub(in crate::serve) struct Plan {
    pub(in crate::serve) addr: ListenAddress,
    pub(in crate::serve) telemetry_addr: ListenAddress,
    pub(in crate::serve) shutdown_timeout: Option<Duration>,
    /// In the order of the configuration.
    pub(in crate::serve) components: Vec<ComponentPlan>,
    /// The table `[ops]`.
    ops: wasmetry_ops::Settings,
}

impl Plan {
    /// The time for requests in progress at shutdown: by default the longest request timeout.
    pub(in crate::serve) fn shutdown_timeout(&self) -> Duration {
        let longest = self.components.iter().map(|planned| planned.spec.request_timeout).max();
        self.shutdown_timeout.or(longest).unwrap_or(limits::REQUEST_TIMEOUT)
    }
}

/// An address to listen on, and its position in the configuration if it comes from there.
#[derive(Clone, Debug)]
pub(in crate::serve) struct ListenAddress {
    pub(in crate::serve) addr: SocketAddr,
    pub(in crate::serve) position: Option<Position>,
}

/// One component and its mounts.
#[derive(Debug)]
pub(in crate::serve) struct ComponentPlan {
    pub(in crate::serve) binary: Arc<Binary>,
    pub(in crate::serve) spec: ComponentSpec,
    pub(in crate::serve) mounts: Vec<(Host, Prefix)>,
    pub(in crate::serve) recording: Recording,
    position: Option<Position>,
}

/// The properties of a component that cannot change while it is served: a reload that changes one
/// of them replaces the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct ComponentSpec {
    pub(in crate::serve) digest: Digest,
    pub(in crate::serve) identity: Identity,
    pub(in crate::serve) request_timeout: Duration,
    pub(in crate::serve) memory: u64,
    pub(in crate::serve) instances: u32,
    pub(in crate::serve) waiting: usize,
    pub(in crate::serve) variables: Vec<(String, String)>,
}

impl ComponentPlan {
    /// Adds the component and its position in the configuration to an error.
    pub(in crate::serve) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.position {
            Some(position) => error.context(format!("{position}: `{}`", self.spec.identity.component())),
            None => error,
        }
    }
}

/// A plan, or the error in it, and the files that it was made from.
pub(in crate::serve) struct Loaded {
    pub(in crate::serve) plan: Result<Plan>,
    pub(in crate::serve) files: Vec<WatchedFile>,
}

/// Reads a plan and all files that it needs.
pub(in crate::serve) fn load(origin: &Origin, flags: &Flags) -> Loaded {
    match origin {
        Origin::App(path) => Loaded { plan: app(path, flags), files: Vec::new() },
        Origin::Config(path) => {
            let mut files = vec![WatchedFile::new(path.clone())];
            let plan = read_config(path).and_then(|text| {
                let source = Source { path, text: &text };
                let config = source.parse()?;
                let directory = path.parent().unwrap_or(Path::new(""));
                // Even if the configuration is wrong elsewhere, a corrected binary causes a reload.
                let paths = config.component.iter().filter_map(|component| component.get_ref().path.as_ref());
                files.extend(paths.map(|path| WatchedFile::new(directory.join(path.get_ref()))));
                resolve(&source, config, directory, flags)
            });
            Loaded { plan, files }
        }
    }
}

/// A component of a configuration, for `wasmetry inspect` and `wasmetry ops`.
#[derive(Debug)]
pub(crate) struct ConfiguredComponent {
    /// The position in the configuration.
    pub(crate) position: String,
    pub(crate) identity: Identity,
    pub(crate) binary: Arc<Binary>,
    /// The instances that it may have at the same time.
    pub(crate) instances: u32,
    /// The bytes of linear memory that one instance may have.
    pub(crate) memory: u64,
    /// The number of values of its label `route`.
    pub(crate) routes: usize,
}

impl ConfiguredComponent {
    fn new(component: ComponentPlan) -> Self {
        let routes: BTreeSet<&str> = component.mounts.iter().map(|(_, prefix)| prefix.as_str()).collect();
        Self {
            position: component.position.map_or_else(String::new, |position| position.to_string()),
            instances: component.spec.instances,
            memory: component.spec.memory,
            routes: routes.len(),
            identity: component.spec.identity,
            binary: component.binary,
        }
    }
}

/// The service of a command line or a configuration, for `wasmetry ops`.
#[derive(Debug)]
pub(crate) struct ConfiguredService {
    pub(crate) components: Vec<ConfiguredComponent>,
    pub(crate) telemetry_addr: SocketAddr,
    /// The time for requests in progress after SIGTERM.
    pub(crate) shutdown_timeout: Duration,
    pub(crate) ops: wasmetry_ops::Settings,
}

/// Returns the components of a configuration, as `wasmetry serve` would serve them.
pub(crate) fn configured_components(path: &Path) -> Result<Vec<ConfiguredComponent>> {
    let plan = load(&Origin::Config(path.to_owned()), &Flags::default()).plan?;
    Ok(plan.components.into_iter().map(ConfiguredComponent::new).collect())
}

/// Returns a binary or a configuration, as `wasmetry serve` would serve it.
pub(crate) fn configured_service(origin: &Origin) -> Result<ConfiguredService> {
    let plan = load(origin, &Flags::default()).plan?;
    Ok(ConfiguredService {
        shutdown_timeout: plan.shutdown_timeout(),
        components: plan.components.into_iter().map(ConfiguredComponent::new).collect(),
        telemetry_addr: plan.telemetry_addr.addr,
        ops: plan.ops,
    })
}

/// The plan of a single component that is mounted everywhere.
fn app(path: &Path, flags: &Flags) -> Result<Plan> {
    let (binary, digest) = read_component(path)?;
    let name = flags.name.clone().map_or_else(|| default_name(&binary, "give --name"), Ok)?;
    let version = flags.component_version.clone();
    let component = ComponentPlan {
        spec: ComponentSpec {
            identity: identity(name, version.unwrap_or_else(|| digest.version()), flags.tenant.clone()),
            digest,
            request_timeout: flags.request_timeout.unwrap_or(limits::REQUEST_TIMEOUT),
            memory: flags.max_memory.unwrap_or(limits::MEMORY),
            instances: flags.max_concurrent_requests.unwrap_or(limits::CONCURRENT_REQUESTS),
            waiting: flags.max_waiting_requests.unwrap_or(limits::WAITING_REQUESTS),
            variables: merge([&flags.variables]),
        },
        binary,
        mounts: vec![(Host::Any, Prefix::root())],
        recording: Recording { access_log: flags.access_log.unwrap_or_default(), ..Recording::default() },
        position: None,
    };
    let setting = |flag: Option<SocketAddr>, default| ListenAddress { addr: flag.unwrap_or(default), position: None };
    Ok(Plan {
        addr: setting(flags.addr, limits::ADDR),
        telemetry_addr: setting(flags.telemetry_addr, limits::TELEMETRY_ADDR),
        shutdown_timeout: flags.shutdown_timeout,
        components: vec![component],
        ops: wasmetry_ops::Settings::default(),
    })
}

fn read_config(path: &Path) -> Result<String> {
    let shown = path.display();
    let file = File::open(path)
        .map_err(|error| system_error::explain(&error, format!("cannot open {shown}: {error}; check the path")))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        bail!("{shown} is a directory; give the path of a configuration in it");
    }
    let mut bytes = Vec::new();
    file.take(limits::MAX_CONFIG + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| system_error::explain(&error, format!("cannot read {shown}: {error}")))?;
    if bytes.len() as u64 > limits::MAX_CONFIG {
        bail!("{shown} is larger than {}; check that it is a configuration", text::size(limits::MAX_CONFIG));
    }
    if bytes.starts_with(b"\0asm") {
        bail!("{shown} is WebAssembly, not a configuration; serve it with `wasmetry serve {shown}`");
    }
    String::from_utf8(bytes).map_err(|error| {
        anyhow!("{shown} is not text: byte {} is not UTF-8; save it as UTF-8", error.utf8_error().valid_up_to())
    })
}

/// Completes a configuration: a flag overrides the value of a component, which overrides the
/// default.
fn resolve(source: &Source<'_>, config: Config, directory: &Path, flags: &Flags) -> Result<Plan> {
    if config.component.is_empty() {
        bail!("{}: it has no [[component]]; add one with a `path`", source.path.display());
    }
    if let Some(component) = config.component.get(limits::MAX_COMPONENTS) {
        bail!(
            "{}: it has more than {} components; divide them among several processes",
            source.position(component.span().start),
            limits::MAX_COMPONENTS
        );
    }
    let mut binaries: HashMap<PathBuf, (Arc<Binary>, Digest)> = HashMap::new();
    let mut components = Vec::new();
    let mut names = HashMap::new();
    let mut routes = Routes::default();
    for spanned in config.component {
        let position = source.position(spanned.span().start);
        let component = spanned.into_inner();
        let Some(path) = &component.path else {
            bail!("{position}: the component has no `path`; give its file, such as `path = \"shop.wasm\"`");
        };
        let file = directory.join(path.get_ref());
        let at_path =
            |error: anyhow::Error| error.context(format!("{}: `component.path`", source.position(path.span().start)));
        let (binary, digest) = match binaries.entry(file) {
            Entry::Occupied(read) => read.get().clone(),
            Entry::Vacant(unread) => {
                let read = read_component(unread.key()).map_err(at_path)?;
                unread.insert(read).clone()
            }
        };
        let name =
            component.name.clone().map_or_else(|| default_name(&binary, "give a `name`").map_err(at_path), Ok)?;
        let planned = complete(&component, name, binary, digest, position.clone(), &config.defaults, flags);

        let key = (planned.spec.identity.tenant().to_owned(), planned.spec.identity.component().to_owned());
        if let Some(other) = names.insert(key, position.clone()) {
            let remedy = if component.name.is_some() { "" } else { " (it comes from the file's name)" };
            bail!(
                "{position}: the component at {other} has the name `{}` too, so that their metrics would be mixed: give this one \
                 another `name`{remedy}, or mount one component several times with lists of `host` and `prefix`",
                planned.spec.identity.component()
            );
        }
        for (host, prefix) in &planned.mounts {
            let owner = (planned.spec.identity.component().to_owned(), position.clone());
            if let Err((other, at)) = routes.add(host.clone(), prefix.clone(), owner) {
                let at_fault = component.prefix.as_ref().map(|prefix| prefix.span());
                let at_fault = at_fault.or(component.host.as_ref().map(|host| host.span()));
                let position = at_fault.map_or(position, |span| source.position(span.start));
                bail!(
                    "{position}: {host} with the prefix `{}` is taken by the component `{other}` at {at}; choose another \
                     `host` or `prefix`",
                    prefix.as_str()
                );
            }
        }
        components.push(planned);
    }
    let setting = |flag: Option<SocketAddr>, value: Option<toml::Spanned<SocketAddr>>, default| match (flag, value) {
        (Some(addr), _) => ListenAddress { addr, position: None },
        (None, Some(value)) => {
            ListenAddress { addr: *value.get_ref(), position: Some(source.position(value.span().start)) }
        }
        (None, None) => ListenAddress { addr: default, position: None },
    };
    Ok(Plan {
        addr: setting(flags.addr, config.addr, limits::ADDR),
        telemetry_addr: setting(flags.telemetry_addr, config.telemetry_addr, limits::TELEMETRY_ADDR),
        shutdown_timeout: flags.shutdown_timeout.or(config.shutdown_timeout),
        components,
        ops: config.ops,
    })
}

fn complete(
    component: &Component,
    name: String,
    binary: Arc<Binary>,
    digest: Digest,
    position: Position,
    defaults: &Defaults,
    flags: &Flags,
) -> ComponentPlan {
    macro_rules! first {
        ($field:ident) => {
            flags.$field.clone().or_else(|| component.$field.clone()).or_else(|| defaults.$field.clone())
        };
    }
    let version = component.version.clone();
    let hosts = component.host.as_ref().map_or(vec![Host::Any], |hosts| hosts.get_ref().0.clone());
    let prefixes = component.prefix.as_ref().map_or(vec![Prefix::root()], |prefixes| prefixes.get_ref().0.clone());
    ComponentPlan {
        spec: ComponentSpec {
            identity: identity(name, version.unwrap_or_else(|| digest.version()), first!(tenant)),
            digest,
            request_timeout: first!(request_timeout).unwrap_or(limits::REQUEST_TIMEOUT),
            memory: first!(max_memory).unwrap_or(limits::MEMORY),
            instances: first!(max_concurrent_requests).unwrap_or(limits::CONCURRENT_REQUESTS),
            waiting: first!(max_waiting_requests).unwrap_or(limits::WAITING_REQUESTS),
            variables: merge([&defaults.env.0, &component.env.0, &flags.variables]),
        },
        binary,
        mounts: hosts.iter().flat_map(|host| prefixes.iter().map(|prefix| (host.clone(), prefix.clone()))).collect(),
        recording: Recording { access_log: first!(access_log).unwrap_or_default(), ..recording(component, defaults) },
        position: Some(position),
    }
}

fn recording(component: &Component, defaults: &Defaults) -> Recording {
    let otherwise = Recording::default();
    let redacted = component.redact_query_parameters.as_ref().or(defaults.redact_query_parameters.as_ref());
    Recording {
        export: component.log_level.clone().or(defaults.log_level.clone()).unwrap_or(otherwise.export),
        record: component.record_level.or(defaults.record_level).unwrap_or(otherwise.record),
        keep_failed: component.keep_failed.or(defaults.keep_failed).unwrap_or(otherwise.keep_failed),
        keep_slow: component.keep_slow.or(defaults.keep_slow).or(otherwise.keep_slow),
        redaction: otherwise.redaction.with_parameters(redacted.into_iter().flatten().cloned()),
        access_log: otherwise.access_log,
    }
}

fn read_component(path: &Path) -> Result<(Arc<Binary>, Digest)> {
    let binary = Binary::read(path)?;
    binary.require_component("service")?;
    let digest = binary.digest();
    Ok((Arc::new(binary), digest))
}

fn default_name(binary: &Binary, remedy: &str) -> Result<String> {
    value::label(&binary.stem()).map_err(|error| {
        anyhow!(
            "{}: the file's name cannot be the label `component` of the metrics: {error}; {remedy}",
            binary.path.display()
        )
    })
}

fn identity(name: String, version: String, tenant: Option<String>) -> Identity {
    let identity = Identity::new(name).with_version(version);
    match tenant {
        Some(tenant) => identity.with_tenant(tenant),
        None => identity,
    }
}

/// Merges environment variables of several sources; the last one that sets a name wins.
fn merge<'a>(sources: impl IntoIterator<Item = &'a Vec<(String, String)>>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in sources.into_iter().flatten() {
        match merged.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => old.clone_from(value),
            None => merged.push((name.clone(), value.clone())),
        }
    }
    merged
}
