//! The process around the guests: its addresses and signals, its own metrics, its telemetry
//! endpoint and its console, and the components whose recording levels a client may change.

pub(crate) mod address;
pub(crate) mod connection;
pub(crate) mod console;
pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod endpoint;
mod metrics;
pub(crate) mod regular_file;
pub(crate) mod signal;
pub(crate) mod system_error;
pub(crate) mod watched_file;
