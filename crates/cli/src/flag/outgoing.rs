//! The flags of guests' requests to other services.

use crate::flag::value;
use crate::guest::outgoing::policy::{Allowed, OwnListeners, Policy, Propagated};

/// The flags of guests' requests to other services, which `wasmetry.toml` has as keys too.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Requests to other services")]
pub(crate) struct OutgoingArgs {
    /// Refuse requests of guests to this machine and to private networks, unless --allow-outgoing
    /// lists them
    ///
    /// Link-local addresses, those of a cloud's metadata and this process's own are refused in any
    /// case.
    #[arg(long)]
    pub(crate) untrusted: bool,

    /// A destination that guests may reach with --untrusted: a network, an address or a host, with
    /// or without a port (`10.1.0.0/16`, `10.1.2.3:5432`, `orders.internal:8080`); repeatable
    #[arg(long, value_name = "DESTINATION", value_parser = value::allowed)]
    pub(crate) allow_outgoing: Vec<Allowed>,

    /// A host on the internet that gets the baggage and the tracestate of a guest's client
    /// (`api.example.org`, `*.example.org`, `*`); repeatable
    #[arg(long, value_name = "HOST", value_parser = value::propagated)]
    pub(crate) propagate_to: Vec<Propagated>,
}

impl OutgoingArgs {
    /// Returns the policy of a component. `own` has the listeners of this process.
    pub(crate) fn policy(&self, own: &OwnListeners) -> Policy {
        Policy {
            is_untrusted: self.untrusted,
            allowed: self.allow_outgoing.clone(),
            propagated: self.propagate_to.clone(),
            own: own.clone(),
        }
    }
}
