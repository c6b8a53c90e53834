//! Collects wasmetry telemetry from guests that run in Wasmtime, also from those that trap or are
//! ended.
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
//! // Once for each store. The guest is collected when `store` is dropped.
//! let mut store = ObservedStore::new_sync(Store::new(&engine, MyState { telemetry: observed.state() }));
//! linker.instantiate(&mut *store, &component)?;
//! drop(store);
//!
//! print!("{}", encode::prometheus::encode(&telemetry.snapshot()));
//! # Ok(())
//! # }
//! ```
//!
//! Guests that import `wasmetry:telemetry` lend the host a view of their memory; [`ObservedStore`]
//! reads it when the store ends (after a return, a trap, or a dropped future), and while the guest
//! runs, at the engine's epochs. Core modules import nothing; [`attach_module`] finds their
//! regions. Guests in other languages than Rust use the handle API. For every guest, instrumented
//! or not, the host counts instances, traps by reason, memory and busy time.
//!
//! This crate deliberately opens no socket, knows no exposition format, and has no `unsafe` code.
//! It starts a thread only for a [`Ticker`].

#![forbid(unsafe_code)]

mod clock;
mod component;
mod error;
mod http;
mod linker;
mod module;
mod store;
mod telemetry;

pub use clock::wall_clock;
pub use component::{ObservedComponent, RefusalReason};
pub use error::Error;
pub use http::{
    AbortReason, ClientSpan, ClientSpans, HttpExchange, HttpMetrics, HttpRequest, ResponseStatus, ServerSpan,
};
pub use linker::{add_to_linker, check_imports, flush_batch, interface};
pub use module::{attach_module, attach_module_async, observe_modules, observe_modules_async};
pub use store::{
    BusyTimer, DeadlineExceeded, Exited, Killed, ObservedStore, StoreState, TelemetryView, collect_waiting, trap_reason,
};
pub use telemetry::{Telemetry, Ticker};
