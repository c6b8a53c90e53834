//! Metrics, logs and spans of WebAssembly services, recorded in the guest's own memory and read by
//! the host.
//!
//! An event is a load, an add and a store: no allocation, no lock, no string, no call of the host.
//! The host keeps a view of the guest's static memory and reads it at the end of a request, at a
//! scrape, and after a trap. Declarations stand in the binary, where `wasmetry inspect` lists them
//! without running it; names, units, labels and bounds are checked at compile time.
//!
//! - [First example](#first-example)
//! - [Metrics](#metrics), [labels](#labels), [histograms](#histograms), [observable
//!   metrics](#observable-metrics)
//! - [Logs and spans](#logs-and-spans)
//! - [Handlers](#handlers), [panics and errors](#panics-and-errors), [trace
//!   propagation](#trace-propagation)
//! - [Testing](#testing)
//! - [Targets](#targets)
//! - [Crate features](#crate-features)
//! - [Limits](#limits)
//!
//! # First example
//!
//! ```
//! use wasmetry::{Counter, Histogram, Label, counter, histogram, info};
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
//!     info!(items = 3, "cart loaded");
//! }
//!
//! handle(Route::Checkout);
//! assert_eq!(REQUESTS.with(Route::Checkout).get(), 1);
//! assert_eq!(REQUESTS.with(Route::Home).get(), 0);
//! ```
//!
//! # Metrics
//!
//! A metric is a `static` that a macro makes:
//!
//! | macro | type | use |
//! |---|---|---|
//! | [`counter!`] | [`Counter`] | events and amounts, which only rise |
//! | [`up_down_counter!`] | [`UpDownCounter`] | a sum of differences over all instances |
//! | [`gauge!`] | [`Gauge`] | a value that is set; the host has the last one |
//! | [`histogram!`] | [`Histogram`] | a distribution over bounds that are given |
//! | [`exponential_histogram!`] | [`ExponentialHistogram`] | over bounds that follow from the values |
//! | [`observable_counter!`] | [`ObservableCounter`] | a total that a function reads elsewhere |
//! | [`observable_gauge!`] | [`ObservableGauge`] | a value that a function reads elsewhere |
//! | [`info_metric!`] | none | facts about the binary, as labels of a series with the value 1 |
//!
//! The host exports a declared series as 0 before its first event, adds up the instances of a
//! component, and counts what a request recorded before it trapped. Most hosts start an instance
//! for each request. So a gauge is set, and the host keeps the value that was set last; a sum that
//! requests raise and lower for each other is an [`UpDownCounter`]. A macro can stand where it is
//! used, too: `counter!("clicks_total", "Clicks.").inc()`.
//!
//! # Labels
//!
//! A label is a type, so each of its series has a place in memory at compile time:
//!
//! - [`derive(Label)`](derive@Label) for an enum, whose variants are the values;
//! - `bool`, and [`Below<N>`](Below) for the integers below `N`;
//! - [`Text<N>`](Text) for up to `N` texts that are known at run time only;
//! - of HTTP: [`Method`], [`StatusClass`] and [`Status`].
//!
//! A metric has none, one, a tuple of up to six, or a struct with a field for each. Values outside
//! of a label go to a series with the value `overflow`, so no input makes memory or the number of
//! series grow.
//!
//! # Histograms
//!
//! With `unit: seconds`, a histogram keeps integer nanoseconds, and
//! [`start_timer`](Histogram::start_timer) measures a block. Without `buckets: […]`, a
//! [`Histogram`] has Prometheus' default bounds. An [`ExponentialHistogram`] needs no bounds: it
//! keeps the finest resolution that fits into `max_buckets`.
//!
//! An exponential histogram has a zero threshold, as OpenTelemetry's data model defines it: values
//! up to it are in the zero bucket, so they do not make the other buckets coarser. The threshold is
//! a constant of the memory format, `wasmetry_abi::exponential::ZERO_THRESHOLD`, and is exported
//! with the histogram.
//!
//! # Observable metrics
//!
//! The function of an observable metric runs when the host is about to read: at the end of each
//! [`handler`](macro@handler), in [`publish`], when a guest with WASI ends or exits, and when the
//! host of a core module asks. See [`ObservableGauge`].
//!
//! # Logs and spans
//!
//! ```
//! use wasmetry::{debug, info, instrument, span};
//!
//! #[instrument]
//! fn load_cart(user: u64) {
//!     debug!(user, "looking");
//!     let _query = span!("query", kind: client, db.system = "sqlite").entered();
//!     info!(items = 3, cached = true, "cart of {user} loaded");
//! }
//! # load_cart(7);
//! ```
//!
//! [`error!`], [`warn!`], [`info!`], [`debug!`] and [`trace!`] record a log with typed fields; the
//! host puts the message together. [`span!`] and [`instrument`](macro@instrument) begin a [`Span`];
//! logs, events and further spans belong to the current one. [`audit!`] records a log that no level
//! and no sampling drops. A log below the host's record level costs a load and a branch. The host
//! exports debug logs and unsampled spans of requests that fail.
//!
//! # Handlers
//!
//! [`handler`](macro@handler) marks the function that handles a request: it gets a span below the
//! caller's, its method, route and status become attributes, and a host that cannot read memory is
//! sent the request's telemetry at its end.
//!
//! ```text
//! #[wstd::http_server]
//! #[wasmetry::handler(route = "/cart/{id}")]
//! async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
//! ```
//!
//! # Panics and errors
//!
//! A panic, and the `Err` that a handler returns, are logs of the level error with the trace,
//! events `exception` of the span, and the span's status. [`handler`](macro@handler) sets the panic
//! hook, once for each instance; the hook calls the one that was set before. Elsewhere,
//! [`set_panic_hook!`] sets it, and in a guest without the standard library [`panic_handler!`]
//! defines the panic handler. There, handlers have the option `no_std`:
//!
//! ```text
//! #![no_std]
//! wasmetry::panic_handler!();
//!
//! #[wasmetry::handler(no_std)]
//! fn handle(job: u32) -> Result<(), JobError> {
//! ```
//!
//! The attribute `error.type` of an error is the path of its type. A type that holds any error,
//! such as `anyhow::Error`, is `_OTHER`, unless the option `error_type` names a function that
//! returns a better one.
//!
//! A host that cannot read memory is sent the guest's telemetry by the hook, so it has the panic
//! and what precedes it. Without the hook, it has neither.
//!
//! # Trace propagation
//!
//! [`current_context`] is the current span for the header `traceparent`. [`propagate`] sets
//! `traceparent`, `tracestate` and `baggage` of an outgoing request; `Propagation` does so for the
//! crate `http`. wasmetry's hosts add the headers that a request lacks.
//!
//! # Testing
//!
//! With the feature `testing`, `wasmetry::testing` captures the metrics, logs and spans of a test's
//! thread and asserts on them:
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use wasmetry::{counter, testing};
//!
//! let recorded = testing::capture();
//! counter!("visits_total", "Visits.").inc();
//! recorded.assert(&["visits_total 1"]);
//! # }
//! ```
//!
//! # Targets
//!
//! | target | how the host finds the region |
//! |---|---|
//! | `wasm32-wasip2` | the component calls an import, and lends a window on its static memory |
//! | `wasm32-wasip1` | the core module exports its address; it has WASI's clock |
//! | `wasm32-unknown-unknown` | the same, without imports: [`set_clock`] gives it a clock |
//! | native | none: the process records in its own memory, for `cargo test` |
//!
//! A host that cannot read memory answers so. It is sent a copy of the region when a function with
//! [`handler`](macro@handler) ends, by [`publish`], when the guest ends or exits, and when a ring
//! of logs and spans is nearly full. After a trap, such a host has what was sent before; a panic
//! hook sends once more.
//!
//! # Crate features
//!
//! | feature | effect |
//! |---|---|
//! | `http` | `Propagation`; conversions from the crate `http`, and handlers of its types under other names than `Request` and `Response` |
//! | `testing` | `wasmetry::testing`, for tests on any target with the standard library |
//! | `dynamic` | call sites that are defined at run time, for `wasmetry-log` and `wasmetry-tracing` |
//! | `component` | imports as components have them, in a core module that is made one later |
//!
//! None is on by default.
//!
//! # Limits
//!
//! The crate is `no_std`. It does not allocate, block or panic, and does not know where telemetry
//! goes. It drops a value that it cannot record and counts the drop; the host exports the count as
//! `wasmetry_dropped_total{reason}`.
//!
//! | | at most |
//! |---|---|
//! | labels of a metric | 6 |
//! | buckets of an exponential histogram | 200, 160 by default |
//! | values of one log or span | 32 |
//! | one text of a log or span | 1 KiB; a longer one is cut |
//! | one log or span | 2 KiB |
//! | logs and spans that the host has not read | 32 KiB; a newer record overwrites the oldest |
//! | audit records that the host has not read | 4 KiB |

#![no_std]

#[cfg(feature = "dynamic")]
#[doc(hidden)]
pub mod dynamic;
mod host;
mod macros;
mod metric;
mod record;
mod region;
mod request;
mod span;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;

pub use metric::counter::{Counter, CounterSeries};
pub use metric::gauge::{Gauge, GaugeSeries};
pub use metric::histogram::explicit::{Histogram, HistogramSeries};
pub use metric::histogram::exponential::{ExponentialHistogram, ExponentialSeries};
pub use metric::histogram::timer::{Timed, Timer};
pub use metric::label::http::{Method, Status, StatusClass};
pub use metric::label::set::LabelSet;
pub use metric::label::text::Text;
pub use metric::label::{Below, Label};
pub use metric::merge::{MergeRule, Set, Sum, Summed};
pub use metric::number::{CounterValue, GaugeValue};
pub use metric::observable::{ObservableCounter, ObservableGauge, TotalSeries, Totals};
pub use metric::up_down_counter::{UpDownCounter, UpDownSeries};
pub use record::field::Value;
#[cfg(feature = "http")]
pub use request::http::Propagation;
pub use request::propagation::propagate;
pub use request::route::{AsRoute, Route, set_request_attribute, set_route};
pub use request::status::set_response_status;
pub use span::current::current_context;
pub use span::future::{Instrument, Instrumented};
pub use span::handle::{Entered, EnteredSpan, Span};
pub use wasmetry_abi::Level;
pub use wasmetry_abi::trace::{SpanId, TraceContext, TraceId, TraceState};
pub use wasmetry_macros::{Label, handler, instrument};

/// The names that the macros expand to. They are not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::host::observer::{Observer, set_by};
    pub use crate::metric::histogram::bounds::{Bounds, duration_keys, number_keys};
    pub use crate::metric::label::set::{FieldLabel, LabelStruct};
    pub use crate::metric::number::Number;
    pub use crate::metric::storage::{Labelled, Storage};
    pub use crate::record::argument::Arg;
    pub use crate::record::field::{ByText, ByType, Other, Wrap};
    pub use crate::record::{is_enabled, log, site};
    pub use crate::region::words::Words;
    pub use crate::request::exception::{
        AnyError, BoxedError, DisplayError, Fails, Place, SendError, Succeeds, TypedError, must_set_hook, panicked,
    };
    pub use crate::request::handler::{AnyRequest, AnyResponse, Request, method_of, wasi_method, wasi_parent};
    #[cfg(not(feature = "http"))]
    pub use crate::request::handler::{HttpRequest, HttpResponse};
    #[cfg(feature = "http")]
    pub use crate::request::http::{HttpRequest, HttpResponse};
    pub use crate::request::route::route_of;
    pub use crate::request::structural;
    pub use crate::span::current::{Fallible, event, fail};
    #[cfg(not(feature = "http"))]
    pub use crate::{__structural_request as http_request, __structural_response as http_response};
    #[cfg(feature = "http")]
    pub use crate::{__typed_request as http_request, __typed_response as http_response};
    pub use core::sync::atomic::AtomicU64;
    pub use wasmetry_abi as abi;
    pub use wasmetry_macros::{
        counter, event, exponential_histogram, gauge, histogram, info_metric, log, observable_counter,
        observable_gauge, route, span, up_down_counter,
    };
}

/// Runs the functions of observable metrics, and asks the host to collect now.
///
/// A host that reads the guest's memory needs no such call for counters and histograms, which it
/// reads when the instance ends at the latest. Call it before a long wait, so that the host sees
/// gauges and progress meanwhile. It costs one call of the host.
///
/// A host that cannot read memory is sent the region; [`handler`](macro@handler) does so at the end
/// of a request. Such a host does not see what was recorded after the last time, for example before
/// a trap.
pub fn publish() {
    host::publish();
}

/// Sets the clock of a core module: nanoseconds since any fixed moment, never falling.
///
/// A core module for `wasm32-unknown-unknown` imports nothing, so it has no clock of its own.
/// Without one, timers record nothing and are counted with the reason `no_clock`. A module for
/// `wasm32-wasip1` has WASI's clock until it is given another. Components and native programs have
/// a clock, and this does nothing there.
///
/// Nanoseconds since 1970 are best: they are also the times of logs and spans. Without random
/// numbers, the first time that is read seeds the ids of an instance's spans. So set the clock
/// before the first span, and use one that does not start again with each instance: instances that
/// read the same time make the same ids.
///
/// ```
/// fn now() -> u64 {
///     // … call an import of the module's host …
///     # 0
/// }
///
/// wasmetry::set_clock(&(now as fn() -> u64));
/// ```
pub fn set_clock(clock: &'static fn() -> u64) {
    #[cfg(wasmetry_module)]
    host::clock::module::set(clock);
    #[cfg(not(wasmetry_module))]
    let _ = clock;
}

/// Runs `f`, in which recording does not call the host.
///
/// The first event of an instance calls the host. A component must not do that while the host calls
/// its allocator (`cabi_realloc`) or a `post-return` function, so an allocator that counts needs
/// this. The events are kept; the next event outside of `f` announces the region to the host.
pub fn without_host_calls<R>(f: impl FnOnce() -> R) -> R {
    host::call::without_calls(f)
}

/// Compiles the example of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
