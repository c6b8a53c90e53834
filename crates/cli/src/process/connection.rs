//! The counter of connections that the host closes.

use wasmetry_host::{Counter, Family, Registry};

/// Returns the counter of connections that the host closed before their clients did, by listener
/// and reason.
pub(crate) fn closed_connections(registry: &Registry) -> Family<Counter> {
    registry.counter(
        "wasmetry_connections_closed_total",
        "Connections of clients that the host closed: the head of a request did not arrive in time, the client read a response too slowly or had too many of them, or another client needed the place.",
        &["listener", "reason"],
    )
}
