//! The process around the guests: its addresses and signals, its own metrics, its telemetry
//! endpoint, and the components whose recording levels a client may change.

pub(crate) mod address;
pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod endpoint;
mod metrics;
pub(crate) mod signal;
pub(crate) mod system_error;
