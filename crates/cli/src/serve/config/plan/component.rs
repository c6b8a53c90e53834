//! The settings of a component: a flag overrides its value, which overrides the default.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use wasmetry_host::{Identity, Recording};

use super::super::route::{Host, Prefix};
use super::super::value::OneOrMore;
use super::super::{Component, Defaults, Position};
use super::{ComponentPlan, ComponentSpec};
use crate::binary::{self, Binary, Digest};
use crate::flag::outgoing::OutgoingArgs;
use crate::flag::value;
use crate::serve::args::Flags;
use crate::serve::limits;

/// The sources of a component's settings.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    pub(super) component: &'a Component,
    pub(super) defaults: &'a Defaults,
    pub(super) flags: &'a Flags,
}

/// The value of the first source that has one.
macro_rules! first {
    ($settings:ident, $field:ident) => {{
        let Settings { component, defaults, flags } = $settings;
        flags.$field.clone().or_else(|| component.$field.clone()).or_else(|| defaults.$field.clone())
    }};
}

impl Settings<'_> {
    pub(super) fn tenant(self) -> Option<String> {
        first!(self, tenant)
    }

    /// Returns the hosts and prefixes, each host with each prefix.
    pub(super) fn mounts(self) -> Vec<(Host, Prefix)> {
        let Self { component, .. } = self;
        let hosts = component.host.as_ref().map_or(vec![Host::Any], |hosts| hosts.get_ref().0.clone());
        let prefixes = component.prefix.as_ref().map_or(vec![Prefix::root()], |prefixes| prefixes.get_ref().0.clone());
        hosts.iter().flat_map(|host| prefixes.iter().map(|prefix| (host.clone(), prefix.clone()))).collect()
    }

    pub(super) fn recording(self) -> Recording {
        let Self { component, defaults, .. } = self;
        let otherwise = Recording::default();
        let redacted = component.redact_query_parameters.as_ref().or(defaults.redact_query_parameters.as_ref());
        Recording {
            export: component.log_level.clone().or(defaults.log_level.clone()).unwrap_or(otherwise.export),
            record: component.record_level.or(defaults.record_level).unwrap_or(otherwise.record),
            keep_failed: component.keep_failed.or(defaults.keep_failed).unwrap_or(otherwise.keep_failed),
            keep_slow: component.keep_slow.or(defaults.keep_slow).or(otherwise.keep_slow),
            redaction: otherwise.redaction.with_parameters(redacted.into_iter().flatten().cloned()),
            access_log: first!(self, access_log).unwrap_or_default(),
        }
    }

    /// Completes the settings of requests to other services.
    fn outgoing(self) -> OutgoingArgs {
        fn first<T: Clone>(flag: &[T], values: [&Option<OneOrMore<T>>; 2]) -> Vec<T> {
            let configured = values.into_iter().flatten().next().map(|values| values.0.clone());
            if flag.is_empty() { configured.unwrap_or_default() } else { flag.to_vec() }
        }
        let Self { component, defaults, flags } = self;
        let flags = &flags.outgoing;
        OutgoingArgs {
            untrusted: flags.untrusted || component.untrusted.or(defaults.untrusted).unwrap_or(false),
            allow_outgoing: first(&flags.allow_outgoing, [&component.allow_outgoing, &defaults.allow_outgoing]),
            propagate_to: first(&flags.propagate_to, [&component.propagate_to, &defaults.propagate_to]),
        }
    }

    /// Completes a component whose binary has been read.
    pub(super) fn complete(
        self,
        name: String,
        binary: Arc<Binary>,
        digest: Digest,
        position: Position,
    ) -> ComponentPlan {
        let version = self.component.version.clone();
        ComponentPlan {
            spec: ComponentSpec {
                identity: identity(name, version.unwrap_or_else(|| digest.version()), self.tenant()),
                digest,
                request_timeout: first!(self, request_timeout).unwrap_or(limits::REQUEST_TIMEOUT),
                memory: first!(self, max_memory).unwrap_or(limits::MEMORY),
                instances: first!(self, max_concurrent_requests).unwrap_or(limits::CONCURRENT_REQUESTS),
                waiting: first!(self, max_waiting_requests).unwrap_or(limits::WAITING_REQUESTS),
                variables: merge([&self.defaults.env.0, &self.component.env.0, &self.flags.variables]),
                outgoing: self.outgoing(),
            },
            binary,
            mounts: self.mounts(),
            recording: self.recording(),
            position: Some(position),
        }
    }
}

/// Reads a component.
pub(super) fn read(path: &Path) -> Result<(Arc<Binary>, Digest)> {
    let binary = Binary::read(path)?;
    binary.require_component("service")?;
    let digest = binary.digest();
    Ok((Arc::new(binary), digest))
}

/// Returns the name of a component that is given none: its file's, without the extension.
pub(super) fn default_name(path: &Path, remedy: &str) -> Result<String> {
    value::label(&binary::stem(path)).map_err(|error| {
        anyhow!("{}: the file's name cannot be the label `component` of the metrics: {error}; {remedy}", path.display())
    })
}

pub(super) fn identity(name: String, version: String, tenant: Option<String>) -> Identity {
    let identity = Identity::new(name).with_version(version);
    match tenant {
        Some(tenant) => identity.with_tenant(tenant),
        None => identity,
    }
}

/// Merges environment variables of several sources; the last one that sets a name wins.
pub(super) fn merge<'a>(sources: impl IntoIterator<Item = &'a Vec<(String, String)>>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in sources.into_iter().flatten() {
        match merged.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => old.clone_from(value),
            None => merged.push((name.clone(), value.clone())),
        }
    }
    merged
}
