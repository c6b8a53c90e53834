//! The plan of what is served: a command line or a configuration, resolved to complete values.
//!
//! In come flags and a file, out comes a plan whose binaries have been read. Nothing is compiled
//! here.

mod component;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use wasmetry_export::scrape::Target;
use wasmetry_host::{ExpositionLimits, GuestLimits, Identity, Recording};

use super::route::{Host, Prefix, Routes};
use super::{Config, Position, Source};
use crate::binary::{Binary, Digest};
use crate::flag::limit::Limit;
use crate::flag::outgoing::OutgoingArgs;
use crate::flag::telemetry::TelemetryArgs;
use crate::process::watched_file::WatchedFile;
use crate::process::{regular_file, system_error};
use crate::serve::args::{Flags, Origin};
use crate::serve::limits::{self, service::ServiceLimits};
use crate::text;

use component::Settings;

/// The components to serve, and the addresses to serve them on.
#[derive(Debug)]
pub(in crate::serve) struct Plan {
    pub(in crate::serve) addr: ListenAddress,
    pub(in crate::serve) telemetry_addr: ListenAddress,
    /// The address at which others reach the telemetry endpoint, if it is not its own.
    telemetry_advertise: Option<Target>,
    /// The tokens, host names and certificate of the telemetry endpoint.
    pub(in crate::serve) telemetry: TelemetryArgs,
    /// The telemetry endpoints of the other processes of the fleet.
    peers: Vec<Target>,
    pub(in crate::serve) shutdown_timeout: Option<Duration>,
    /// The time for compiling a binary during a reload.
    pub(in crate::serve) compile_timeout: Duration,
    pub(in crate::serve) exposition: ExpositionLimits,
    pub(in crate::serve) guest_limits: GuestLimits,
    pub(in crate::serve) service_limits: ServiceLimits,
    /// In the order of the configuration, without those that are unreadable.
    pub(in crate::serve) components: Vec<ComponentPlan>,
    pub(in crate::serve) unreadable: Vec<UnreadableComponent>,
    /// The table `[ops]`.
    ops: wasmetry_ops::Settings,
    /// The tables `[[slo]]`, each with its position.
    objectives: Vec<(Position, wasmetry_ops::Objective)>,
}

impl Plan {
    /// Returns the address at which others reach the telemetry endpoint, if it is configured.
    pub(in crate::serve) fn advertised(&self) -> Option<&Target> {
        self.telemetry_advertise.as_ref()
    }

    /// Returns the error of the first component whose binary cannot be read.
    pub(in crate::serve) fn check_readable(&self) -> Result<()> {
        self.unreadable.first().map_or(Ok(()), |component| Err(system_error::duplicate(&component.error)))
    }

    /// Returns the targets for `/sd`: the telemetry endpoint, which listens on `addr`, and its
    /// peers. Returns none if others cannot reach `addr` as it is.
    pub(in crate::serve) fn targets(&self, addr: SocketAddr) -> Vec<Target> {
        let own = own_target(addr, self.telemetry_advertise.as_ref(), &self.peers);
        own.map(|own| [vec![own], self.peers.clone()].concat()).unwrap_or_default()
    }
}

/// Returns the address at which others reach the telemetry endpoint, if it is known. Peers on other
/// machines do not reach a loopback address.
fn own_target(addr: SocketAddr, advertised: Option<&Target>, peers: &[Target]) -> Option<Target> {
    let is_loopback = |peer: &Target| match peer.to_string() {
        peer if peer.starts_with("localhost:") => true,
        peer => peer.parse().is_ok_and(|peer: SocketAddr| peer.ip().is_loopback()),
    };
    match advertised {
        Some(target) => Some(target.clone()),
        None if addr.ip().is_unspecified() => None,
        None if addr.ip().is_loopback() && !peers.iter().all(is_loopback) => None,
        None => addr.to_string().parse().ok(),
    }
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

/// A component whose binary cannot be read. A reload serves its former version where it is mounted
/// now.
#[derive(Debug)]
pub(in crate::serve) struct UnreadableComponent {
    pub(in crate::serve) tenant: String,
    pub(in crate::serve) name: String,
    pub(in crate::serve) mounts: Vec<(Host, Prefix)>,
    pub(in crate::serve) recording: Recording,
    pub(in crate::serve) error: anyhow::Error,
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
    pub(in crate::serve) outgoing: OutgoingArgs,
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
                // A certificate is renewed while it is in use.
                let telemetry = flags.telemetry.or(config.telemetry(directory));
                let tls = [telemetry.telemetry_tls_cert, telemetry.telemetry_tls_key];
                files.extend(tls.into_iter().flatten().map(WatchedFile::new));
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
    fn new(component: &ComponentPlan) -> Self {
        let routes: BTreeSet<&str> = component.mounts.iter().map(|(_, prefix)| prefix.as_str()).collect();
        Self {
            position: component.position.as_ref().map_or_else(String::new, Position::to_string),
            instances: component.spec.instances,
            memory: component.spec.memory,
            routes: routes.len(),
            identity: component.spec.identity.clone(),
            binary: Arc::clone(&component.binary),
        }
    }
}

/// The service of a command line or a configuration, for `wasmetry ops`.
#[derive(Debug)]
pub(crate) struct ConfiguredService {
    pub(crate) components: Vec<ConfiguredComponent>,
    pub(crate) telemetry_addr: SocketAddr,
    /// The telemetry endpoint and its peers, if others can reach it.
    pub(crate) targets: Vec<Target>,
    /// The time for requests in progress after SIGTERM.
    pub(crate) shutdown_timeout: Duration,
    pub(crate) ops: wasmetry_ops::Settings,
    /// The tables `[[slo]]`, each with its position in the configuration.
    pub(crate) objectives: Vec<(String, wasmetry_ops::Objective)>,
}

/// Returns the components of a configuration, as `wasmetry serve` would serve them.
pub(crate) fn configured_components(path: &Path) -> Result<Vec<ConfiguredComponent>> {
    let plan = load(&Origin::Config(path.to_owned()), &Flags::default()).plan?;
    plan.check_readable()?;
    Ok(plan.components.iter().map(ConfiguredComponent::new).collect())
}

/// Returns a binary or a configuration, as `wasmetry serve` would serve it.
pub(crate) fn configured_service(origin: &Origin) -> Result<ConfiguredService> {
    let plan = load(origin, &Flags::default()).plan?;
    plan.check_readable()?;
    Ok(ConfiguredService::new(&plan))
}

impl ConfiguredService {
    /// Returns the service of a plan.
    pub(in crate::serve) fn new(plan: &Plan) -> Self {
        let objectives = plan.objectives.iter();
        Self {
            shutdown_timeout: plan.shutdown_timeout(),
            components: plan.components.iter().map(ConfiguredComponent::new).collect(),
            telemetry_addr: plan.telemetry_addr.addr,
            targets: plan.targets(plan.telemetry_addr.addr),
            ops: plan.ops.clone(),
            objectives: objectives.map(|(position, slo)| (position.to_string(), slo.clone())).collect(),
        }
    }
}

/// The plan of a single component that is mounted everywhere.
fn app(path: &Path, flags: &Flags) -> Result<Plan> {
    let (binary, digest) = component::read(path)?;
    let name = flags.name.clone().map_or_else(|| component::default_name(path, "give --name"), Ok)?;
    let version = flags.component_version.clone();
    let component = ComponentPlan {
        spec: ComponentSpec {
            identity: component::identity(name, version.unwrap_or_else(|| digest.version()), flags.tenant.clone()),
            digest,
            request_timeout: flags.request_timeout.unwrap_or(limits::REQUEST_TIMEOUT),
            memory: flags.max_memory.unwrap_or(limits::MEMORY),
            instances: flags.max_concurrent_requests.unwrap_or(limits::CONCURRENT_REQUESTS),
            waiting: flags.max_waiting_requests.unwrap_or(limits::WAITING_REQUESTS),
            variables: component::merge([&flags.variables]),
            outgoing: flags.outgoing.clone(),
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
        telemetry_advertise: flags.telemetry_advertise.clone(),
        telemetry: flags.telemetry.clone(),
        peers: Vec::new(),
        shutdown_timeout: flags.shutdown_timeout,
        compile_timeout: flags.compile_timeout.unwrap_or(limits::COMPILE_TIMEOUT),
        exposition: exposition(flags, [None; 3]),
        guest_limits: Limit::of_guests(flags.limits.iter().copied()),
        service_limits: Limit::of_service(flags.limits.iter().copied()),
        components: vec![component],
        unreadable: Vec::new(),
        ops: wasmetry_ops::Settings::default(),
        objectives: Vec::new(),
    })
}

fn read_config(path: &Path) -> Result<String> {
    let shown = path.display();
    let file = regular_file::open(path, "a configuration")?;
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
    let telemetry = flags.telemetry.or(config.telemetry(directory));
    let mut binaries: HashMap<PathBuf, Result<(Arc<Binary>, Digest)>> = HashMap::new();
    let (mut components, mut unreadable) = (Vec::new(), Vec::new());
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
        let default_name = || component::default_name(&file, "give a `name`").map_err(at_path);
        let name = component.name.clone().map_or_else(default_name, Ok)?;
        let settings = Settings { component: &component, defaults: &config.defaults, flags };
        let tenant = settings.tenant().unwrap_or_default();
        let mounts = settings.mounts();

        if let Some(other) = names.insert((tenant.clone(), name.clone()), position.clone()) {
            let remedy = if component.name.is_some() { "" } else { " (it comes from the file's name)" };
            bail!(
                "{position}: the component at {other} has the name `{name}` too, so that their metrics would be mixed: give this \
                 one another `name`{remedy}, or mount one component several times with lists of `host` and `prefix`"
            );
        }
        for (host, prefix) in &mounts {
            let owner = (name.clone(), position.clone());
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
        let read = match binaries.entry(file) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => {
                let read = component::read(unread.key());
                unread.insert(read)
            }
        };
        match read {
            Ok((binary, digest)) => components.push(settings.complete(name, Arc::clone(binary), *digest, position)),
            Err(error) => unreadable.push(UnreadableComponent {
                error: at_path(system_error::duplicate(error)),
                recording: settings.recording(),
                tenant,
                name,
                mounts,
            }),
        }
    }
    let objectives = config.slo.into_iter();
    let objectives = objectives.map(|slo| (source.position(slo.span().start), slo.into_inner())).collect();
    let setting = |flag: Option<SocketAddr>, value: Option<toml::Spanned<SocketAddr>>, default| match (flag, value) {
        (Some(addr), _) => ListenAddress { addr, position: None },
        (None, Some(value)) => {
            ListenAddress { addr: *value.get_ref(), position: Some(source.position(value.span().start)) }
        }
        (None, None) => ListenAddress { addr: default, position: None },
    };
    let telemetry_addr = setting(flags.telemetry_addr, config.telemetry_addr, limits::TELEMETRY_ADDR);
    let telemetry_advertise = flags.telemetry_advertise.clone().or(config.telemetry_advertise);
    let peers = &config.fleet.peers;
    if !peers.is_empty() && own_target(telemetry_addr.addr, telemetry_advertise.as_ref(), peers).is_none() {
        bail!(
            "{}: `fleet.peers`: others cannot reach this process at {}; give its own address, such as \
             `telemetry-advertise = \"10.0.0.7:9464\"`",
            source.path.display(),
            telemetry_addr.addr
        );
    }
    Ok(Plan {
        addr: setting(flags.addr, config.addr, limits::ADDR),
        telemetry_addr,
        telemetry_advertise,
        telemetry,
        peers: config.fleet.peers,
        shutdown_timeout: flags.shutdown_timeout.or(config.shutdown_timeout),
        compile_timeout: flags.compile_timeout.or(config.compile_timeout).unwrap_or(limits::COMPILE_TIMEOUT),
        exposition: exposition(
            flags,
            [config.max_component_exposition, config.max_tenant_exposition, config.max_exposition],
        ),
        guest_limits: Limit::of_guests(config.limits.iter().chain(&flags.limits).copied()),
        service_limits: Limit::of_service(config.limits.iter().chain(&flags.limits).copied()),
        components,
        unreadable,
        ops: config.ops,
        objectives,
    })
}

/// Returns the bounds of expositions. `configured` are those of a component, of a tenant and of all
/// in the configuration.
fn exposition(flags: &Flags, configured: [Option<u64>; 3]) -> ExpositionLimits {
    let flags = [flags.max_component_exposition, flags.max_tenant_exposition, flags.max_exposition];
    let [component, tenant, total] = [0, 1, 2].map(|at| flags[at].or(configured[at]));
    let default = ExpositionLimits::default();
    default
        .with_component(component.unwrap_or(default.component))
        .with_tenant(tenant.unwrap_or(default.tenant))
        .with_total(total.unwrap_or(default.total))
}
