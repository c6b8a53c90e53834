//! Metrics, logs and spans of WebAssembly services, recorded in the guest's own memory and read by the host.
//!
//! ```
//! use wasmetry::{Counter, Histogram, Label, counter, histogram};
//!
//! #[derive(Clone, Copy, Label)]
//! enum Route {
//!     Home,
//!     Checkout,
//! }
//!
//! static REQUESTS: Counter<Route> =
//!     counter!("http_requests_total", "HTTP requests.", labels: [route: Route]);
//! static LATENCY: Histogram =
//!     histogram!("http_request_duration_seconds", "Time to serve a request.", unit: seconds);
//!
//! fn handle(route: Route) {
//!     let _timer = LATENCY.start_timer();
//!     REQUESTS.with(route).inc();
//!     counter!("visits_total", "Visits, counted where they happen.").inc();
//! }
//!
//! handle(Route::Checkout);
//! assert_eq!(REQUESTS.with(Route::Checkout).get(), 1);
//! assert_eq!(REQUESTS.with(Route::Home).get(), 0);
//! ```
//!
//! An event is a load, an add and a store: no allocation, no lock, no string, no call of the host. What is declared
//! stands in the binary, where `wasmetry inspect` lists it without running it, and names, units, labels and bounds are
//! checked when it is compiled.
//!
//! Built for `wasm32-wasip2`, the crate lends its host a window on the guest's memory on the first event; any host of the
//! WIT package `wasmetry:telemetry` can read it, also after the guest has trapped. Built for another wasm target, it makes a
//! core module that exports where its region is and imports nothing, or with `wasm32-wasip1` WASI's clock; the feature `component` is for core modules that are
//! made components later. On native targets it records in the process's memory, so that handlers can be tested with
//! `cargo test`; see the feature `testing`.
//!
//! What it deliberately does not do: allocate, block, panic, or know where telemetry goes. A value that cannot be recorded is
//! counted as lost instead. Only a host that cannot read memory, and says so, is sent a copy of what was recorded: when a
//! function with [`handler`](macro@handler) ends, by [`publish`], and when a ring of logs and spans is nearly full. After a trap,
//! such a host has what was sent before.

#![no_std]

#[cfg(any(wasmetry_component, test))]
mod batch;
mod bounds;
mod clock;
mod context;
mod counter;
mod exponential;
mod field;
mod gauge;
mod header;
mod histogram;
mod host;
mod id;
mod label;
mod macros;
mod observable;
mod observer;
#[cfg(feature = "http")]
mod propagation;
mod record;
mod region;
mod request;
mod span;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod timer;
mod up_down;
mod value;

pub use counter::{Counter, CounterSeries};
pub use exponential::{ExponentialHistogram, ExponentialSeries};
pub use field::Value;
pub use gauge::{Gauge, GaugeSeries};
pub use header::propagate;
pub use histogram::{Histogram, HistogramSeries};
pub use label::{Below, Label, LabelSet, Text};
pub use observable::{ObservableCounter, ObservableGauge, TotalSeries, Totals};
#[cfg(feature = "http")]
pub use propagation::Propagation;
pub use request::set_response_status;
pub use span::{Entered, EnteredSpan, Instrument, Instrumented, Span, current_context};
pub use timer::{Timed, Timer};
pub use up_down::{UpDownCounter, UpDownSeries};
pub use value::{CounterValue, GaugeValue};
pub use wasmetry_abi::Level;
pub use wasmetry_abi::trace::{SpanId, TraceContext, TraceId, TraceState};
pub use wasmetry_macros::{Label, handler, instrument};

/// What the macros expand to; not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::bounds::{Bounds, duration_keys, number_keys};
    pub use crate::field::{ByText, ByType, Other, Wrap};
    pub use crate::observer::{Observer, set_by};
    #[cfg(feature = "http")]
    pub use crate::propagation::{HttpRequest, HttpResponse};
    pub use crate::record::{Arg, is_enabled, log, site};
    pub use crate::region::{Storage, Words};
    pub use crate::request::{AnyRequest, AnyResponse, Request, wasi_method, wasi_parent};
    #[cfg(not(feature = "http"))]
    pub use crate::request::{HttpRequest, HttpResponse};
    pub use crate::span::{Fallible, event, fail};
    pub use core::sync::atomic::AtomicU64;
    pub use wasmetry_abi as abi;
    pub use wasmetry_macros::{
        counter, event, exponential_histogram, gauge, histogram, info_metric, log, observable_counter,
        observable_gauge, span, up_down_counter,
    };
}

/// Tells the host that now is a good time to collect what was recorded.
///
/// A host that reads the guest's memory needs no such call for counters and histograms: it reads them at the latest when
/// the instance ends. A gauge is worth it before a wait, when the host would otherwise see nothing of the instance
/// until it goes on. It costs one call of the host. Metrics that are observed are set before; see [`ObservableGauge`].
///
/// To a host that cannot read the guest's memory this sends what was recorded; [`handler`](macro@handler) does it at the end of a
/// request. Such a host never sees what was recorded after the last time, for example before a trap.
pub fn publish() {
    region::publish();
}

/// Gives timers a clock: nanoseconds since any fixed moment, never falling.
///
/// A core module for `wasm32-unknown-unknown` imports nothing, so it has no clock of its own; until it is given one, timers
/// record nothing but the loss, with the reason `no_clock`. One for `wasm32-wasip1` has WASI's clock until it is given
/// another. Components and native programs have one, and this does nothing there.
///
/// Nanoseconds since 1970 are best: then they are also the times of logs and spans. Where there are no random numbers, the time at
/// which an instance needs the first one begins the numbers of its spans, so that two instances whose clocks say the same make the
/// same: give the clock before the first span, and one that does not begin anew with each instance.
///
/// ```
/// fn now() -> u64 {
///     // … ask whatever the module's host offers …
///     # 0
/// }
///
/// wasmetry::set_clock(&(now as fn() -> u64));
/// ```
pub fn set_clock(clock: &'static fn() -> u64) {
    #[cfg(wasmetry_module)]
    clock::module::set(clock);
    #[cfg(not(wasmetry_module))]
    let _ = clock;
}

/// Runs `f`, in which recording does not call the host.
///
/// The first event of an instance calls the host. A component may not do that while the host is calling its
/// allocator (`cabi_realloc`) or a `post-return` function: a metric that is recorded there, for example by an
/// allocator that counts, needs this. What is recorded is kept; the host learns of the region by the next event elsewhere.
pub fn without_host_calls<R>(f: impl FnOnce() -> R) -> R {
    region::quietly(f)
}

/// Compiles the example of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
