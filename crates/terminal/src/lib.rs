//! The terminal's side of a wasmetry host: `top`, `tail` and `explain`, over the console's API.
//!
//! In come a [`Client`], which sends requests to one host, and the options of a command. Out come
//! lines or screens:
//!
//! ```
//! use wasmetry_terminal::{Client, Error, Response, explain};
//!
//! struct Host;
//!
//! impl Client for Host {
//!     fn get(&self, _target: &str, _last_event: Option<&str>) -> Result<Response, Error> {
//!         let answer = r#"{"verdict": "nothing", "text": "nothing differs"}"#;
//!         Ok(Response::new(200, "application/json", Box::new(answer.as_bytes())))
//!     }
//! }
//!
//! let mut lines = Vec::new();
//! explain::run(&Host, &explain::Options::default(), &mut lines)?;
//! assert!(String::from_utf8_lossy(&lines).starts_with("nothing differs\n"));
//! # Ok::<(), Error>(())
//! ```
//!
//! Text of guests is written with its control and bidirectional characters escaped. It deliberately
//! does not know sockets, TLS, the command line, or the process.

#![forbid(unsafe_code)]

mod answer;
mod client;
mod escape;
mod event;
pub mod explain;
mod format;
pub mod limits;
pub mod tail;
#[cfg(unix)]
pub mod top;

pub use client::{Client, Error, Response};
pub use escape::escape;
