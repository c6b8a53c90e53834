//! Who a component is in its metrics' labels.

use wasmetry_host::Identity;

use crate::binary::Binary;
use crate::flag::value;

/// The flags that name a component.
#[derive(Debug, clap::Args)]
pub(crate) struct IdentityArgs {
    /// The metrics' label `component` [default: the file's name without its extension]
    #[arg(long, value_name = "NAME", value_parser = value::label, help_heading = "Identity")]
    name: Option<String>,

    /// The metrics' label `version` [default: the first 12 digits of the file's SHA-256]
    #[arg(long, value_name = "VERSION", value_parser = value::label, help_heading = "Identity")]
    component_version: Option<String>,

    /// The metrics' label `tenant` [default: no such label]
    #[arg(long, value_name = "TENANT", value_parser = value::label, help_heading = "Identity")]
    tenant: Option<String>,
}

impl IdentityArgs {
    /// The identity of a binary; what no flag gives is taken from its file.
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
