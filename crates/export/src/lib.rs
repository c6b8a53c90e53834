//! Exports one process's telemetry in both directions: Prometheus scrapes it ([`scrape`]), and it
//! is pushed to OTLP endpoints, Loki, files and a Pushgateway ([`push`]).
//!
//! ```
//! use std::{net::TcpListener, sync::Arc};
//! use wasmetry_export::scrape::{Server, Source};
//! use wasmetry_host::{Registry, Snapshot};
//!
//! struct Process(Registry);
//!
//! impl Source for Process {
//!     fn snapshot(&self) -> Snapshot {
//!         self.0.snapshot(std::time::Duration::ZERO)
//!     }
//!     fn ready(&self) -> Result<(), String> {
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let server = Server::start(listener, Arc::new(Process(Registry::new())))?;
//! println!("telemetry http://{}/metrics", server.local_addr());
//! server.stop();
//! # Ok(())
//! # }
//! ```
//!
//! # Scrape
//!
//! The server answers `GET` and `HEAD` on these paths:
//!
//! | path | response |
//! |---|---|
//! | `/metrics` | the metrics, as OpenMetrics 1.0, Prometheus text 0.0.4 or Protocol Buffers, by the `Accept` header |
//! | `/healthz` | 200 while the endpoint itself is alive |
//! | `/readyz` | 200, or 503 with the reason why the process accepts no requests |
//! | `/sd` | the targets of a fleet, for Prometheus' HTTP service discovery |
//! | `/` | a small page that names the others |
//!
//! With a [`Control`](scrape::Control) there is `/recording`, at which clients that have a token
//! change the recording levels of logs and spans, and, if it allows them, `/drill`, which makes
//! alerts fire. A [`Handler`](scrape::Handler) answers further paths. The
//! [`Guard`](scrape::Guard) has the access of each path, [`ServerTls`](scrape::ServerTls) the
//! certificate.
//!
//! Metrics are compressed if the client accepts gzip. OpenMetrics has `_created` samples on
//! request, by `/metrics?created=true`; Prometheus stores them as further series, unless it is
//! configured to read them as start times.
//!
//! The server has a thread and a runtime of its own, so a scrape is answered even if guests occupy
//! all cores. Its clients are bounded: [`limits`] has the numbers, [`Config`](scrape::Config)
//! changes them.
//!
//! # Push
//!
//! An [`Exporter`](push::Exporter) sends logs, spans and metrics in batches, with retries.
//! Recording never waits for a destination, and every record is counted, as sent or as dropped for
//! a reason.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `server` (default) | the telemetry endpoint. Without it, [`scrape`] has only [`Negotiated`](scrape::Negotiated), for hosts with an HTTP server of their own |
//! | `push` (default) | [`push`], with TLS |
//! | `protobuf` | Protocol Buffers as a format of scrapes; part of `server` |
//!
//! This crate deliberately does not collect from guests (a [`Source`](scrape::Source) does), keep
//! values, or encode records (`wasmetry-host` does). Without a token for all, whoever reaches the
//! endpoint reads its metrics: bind it to a loopback address, or configure the guard.

#![forbid(unsafe_code)]

#[cfg(feature = "push")]
mod error;
pub mod limits;
#[cfg(feature = "push")]
pub mod push;
pub mod scrape;

#[cfg(feature = "push")]
pub use error::Error;
