//! The live console of a host: keeps the recent past of its metrics, logs and traces in bounded
//! memory, and answers requests for them and for a page that shows them.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use wasmetry_console::{Config, Console, Request};
//! use wasmetry_host::Registry;
//!
//! let registry = Registry::new();
//! let console = Console::new(Config::default());
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_374_400);
//! console.store(&registry.snapshot(Duration::ZERO), now);
//! let answer = console.answer(&Request { method: "GET", path: "/api/v1/status", ..Request::default() });
//! assert_eq!(answer.status, 200);
//! ```
//!
//! `API.md` of this crate describes the requests and answers. The crate deliberately has no
//! sockets: an HTTP server passes requests to [`Console::answer`]. It does not collect from guests;
//! snapshots, logs and spans come from `wasmetry-host`.

#![forbid(unsafe_code)]

mod api;
mod code;
mod console;
mod event;
mod json;
pub mod limits;
mod owner;
mod page;
mod problem;
mod query;
mod record;
mod recorder;
mod request;
mod series;

pub use console::{ChangeKind, Config, Console, SnapshotThread};
pub use recorder::Recorder;
pub use request::{Answer, Body, Events, Request};
