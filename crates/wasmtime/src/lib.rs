//! Collects wasmetry telemetry from guests that run in Wasmtime, whatever becomes of them.
//!
//! ```
//! use wasmetry_host::{Identity, Registry, encode};
//! use wasmetry_wasmtime::{ObservedStore, StoreState, Telemetry, TelemetryView};
//! use wasmtime::component::{Component, Linker};
//! use wasmtime::{Engine, Store};
//!
//! struct MyState {
//!     telemetry: StoreState,
//! }
//!
//! impl TelemetryView for MyState {
//!     fn telemetry(&mut self) -> &mut StoreState {
//!         &mut self.telemetry
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! # let wasm = b"\0asm\x0d\0\x01\0";
//! let engine = Engine::default();
//! let telemetry = Telemetry::new(Registry::new(), &engine);
//!
//! // Once for each component:
//! let component = Component::new(&engine, wasm)?;
//! let observed = telemetry.component(Identity::new("hello"), wasm)?;
//! let mut linker = Linker::new(&engine);
//! wasmetry_wasmtime::add_to_linker(&mut linker)?;
//!
//! // Once for each store: what the guest has recorded is collected when `store` is dropped.
//! let mut store = ObservedStore::new_sync(Store::new(&engine, MyState { telemetry: observed.state() }));
//! linker.instantiate(&mut *store, &component)?;
//! drop(store);
//!
//! print!("{}", encode::prometheus::encode(&telemetry.snapshot()));
//! # Ok(())
//! # }
//! ```
//!
//! Guests that import `wasmetry:telemetry` lend the host a view of their memory; [`ObservedStore`] reads it when the store
//! ends (after a return, a trap, or a dropped future), and while the guest runs, at the engine's epochs. Core modules, which
//! import nothing, are found by [`attach_module`]; guests in other languages call the host by handles. For every
//! guest, instrumented or not, it also counts what only the host knows: instances, traps by reason, memory, busy time.
//!
//! What it deliberately does not do: open a socket, know an exposition format, or use `unsafe`. It keeps one thread only if you start a [`Ticker`].

#![forbid(unsafe_code)]

mod activity;
mod client;
mod component;
mod error;
mod handle;
mod header;
mod http;
mod linker;
mod module;
mod state;
mod store;
mod telemetry;
mod ticker;
mod trace;
mod trap;
mod typed;
mod url;

pub use client::{ClientSpan, ClientSpans};
pub use component::ObservedComponent;
pub use error::Error;
pub use http::{HttpMetrics, HttpRequest};
pub use linker::{add_to_linker, check_imports};
pub use module::{attach_module, attach_module_async, observe_modules, observe_modules_async};
pub use state::{StoreState, TelemetryView};
pub use store::{BusyTimer, ObservedStore};
pub use telemetry::Telemetry;
pub use ticker::Ticker;
pub use trace::{ServerSpan, wall_clock};
pub use trap::{DeadlineExceeded, Killed, trap_reason};
