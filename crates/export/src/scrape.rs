//! The telemetry endpoint: an HTTP server that serves one process's metrics to Prometheus, and the
//! choice of their format.
//!
//! Requests come in, a [`Source`] returns a snapshot, and the answer goes out in the format that
//! the client accepts. It has no part in how metrics are collected and what they mean.

#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod connection;
#[cfg(feature = "server")]
mod connection_set;
#[cfg(feature = "server")]
mod content_encoding;
#[cfg(feature = "server")]
mod control;
#[cfg(feature = "server")]
mod delivery;
#[cfg(feature = "server")]
mod discovery;
mod negotiation;
#[cfg(feature = "server")]
mod route;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "server")]
pub use config::Config;
#[cfg(feature = "server")]
pub use control::{Control, Recordings};
#[cfg(feature = "server")]
pub use discovery::{InvalidTarget, Target};
pub use negotiation::{Format, Negotiated};
#[cfg(feature = "server")]
pub use route::Source;
#[cfg(feature = "server")]
pub use server::Server;
