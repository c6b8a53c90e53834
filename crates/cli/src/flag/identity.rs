//! The flags of a component's identity: the labels `component`, `version` and `tenant` of its
//! metrics.

use wasmetry_host::Identity;

use crate::binary::Binary;
use crate::flag::value;

/// The flags that name a component.
#[derive(Debug, clap::Args)]
pub(crate) struct IdentityArgs {
    /// The label `component` of the metrics [default: the file's name without its extension]
    #[arg(long, value_name = "NAME", value_parser = value::label, help_heading = "Identity")]
    name: Option<String>,

    /// The label `version` of the metrics [default: the first 12 digits of the file's SHA-256]
    #[arg(long, value_name = "VERSION", value_parser = value::label, help_heading = "Identity")]
    component_version: Option<String>,

    /// The label `tenant` of the metrics [default: no such label]
    #[arg(long, value_name = "TENANT", value_parser = value::label, help_heading = "Identity")]
    tenant: Option<String>,
}

impl IdentityArgs {
    /// Returns the identity of a binary. Its file gives the values of flags that are not given.
    pub(crate) fn identify(&self, binary: &Binary) -> Identity {
        let name = self.name.clone().unwrap_or_else(|| binary.stem());
        let version = self.component_version.clone().unwrap_or_else(|| binary.digest().version());
        let identity = Identity::new(name).with_version(version);
        match &self.tenant {
            Some(tenant) => identity.with_tenant(tenant),
            None => identity,
        }
    }
}
