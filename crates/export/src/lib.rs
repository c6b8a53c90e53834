//! The telemetry endpoint: serves one process's metrics to Prometheus, whatever the guests are doing.
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
//! It answers `GET` and `HEAD` on four paths:
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the metrics, as OpenMetrics 1.0, Prometheus text 0.0.4 or Protocol Buffers, by the `Accept` header |
//! | `/healthz` | 200 as long as the endpoint itself is alive |
//! | `/readyz` | 200, or 503 with the reason why the process takes no requests |
//! | `/` | a small page that names the others |
//!
//! A client that takes gzip gets the metrics compressed. OpenMetrics has the samples `_created` for a client that asks for
//! `/metrics?created=true`; to Prometheus they are so many series more, unless it is told to take them for what they are.
//!
//! The server runs on a thread and a runtime of its own, so guests that spin on every core of the
//! service's runtime cannot keep a scrape from being answered. It bounds what a scrape client can hold:
//! see [`limits`] for the numbers and [`Config`](scrape::Config) to change those that a test or an embedder may want to.
//!
//! Without the feature `server`, this crate is only [`Format`](scrape::Format), which a host with an HTTP server of its own needs too.
//!
//! With a [`Control`](scrape::Control) there is one path more, `/recording`, on which clients that know a token change what is recorded of logs
//! and spans.
//!
//! What it deliberately does not do: collect from guests (a [`Source`](scrape::Source) does), keep values, authenticate who reads,
//! or speak TLS. Bind it to a loopback or otherwise protected address.

#![forbid(unsafe_code)]

#[cfg(feature = "push")]
mod error;
pub mod limits;
#[cfg(feature = "push")]
pub mod push;
pub mod scrape;

#[cfg(feature = "push")]
pub use error::Error;
