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
#[cfg(feature = "server")]
mod drill;
#[cfg(feature = "server")]
mod exposition;
#[cfg(feature = "server")]
mod guard;
#[cfg(feature = "server")]
mod handler;
#[cfg(feature = "server")]
mod login;
mod negotiation;
#[cfg(feature = "server")]
mod permit;
#[cfg(feature = "server")]
mod response;
#[cfg(feature = "server")]
mod route;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod tls;

#[cfg(feature = "server")]
pub use config::Config;
#[cfg(feature = "server")]
pub use connection_set::Closure;
#[cfg(feature = "server")]
pub use content_encoding::gzip;
#[cfg(feature = "server")]
pub use control::{Control, Recordings};
#[cfg(feature = "server")]
pub use discovery::{InvalidTarget, Target};
#[cfg(feature = "server")]
pub use drill::{Drill, DrillRefusal, Drills, Lease};
#[cfg(feature = "server")]
pub use guard::{Guard, InvalidToken, Refusal, SESSION_COOKIE, Token};
#[cfg(feature = "server")]
pub use handler::{Access, Answer, Handler};
pub use negotiation::{Format, Negotiated};
#[cfg(feature = "server")]
pub use response::{Body, Endless};
#[cfg(feature = "server")]
pub use route::Source;
#[cfg(feature = "server")]
pub use server::Server;
#[cfg(feature = "server")]
pub use tls::{InvalidTls, ServerTls};
