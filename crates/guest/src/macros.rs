//! The public macros. Each adds the path of this crate, so that it can be renamed, and calls the
//! procedural macro, which checks the syntax.

/// Makes a [`Counter`](crate::Counter).
///
/// ```
/// use wasmetry::{Counter, Label, Text, counter};
///
/// #[derive(Clone, Copy, Label)]
/// enum Outcome {
///     Won,
///     Lost,
/// }
///
/// static GAMES: Counter<Outcome> =
///     counter!("games_total", "Games played.", labels: [outcome: Outcome]);
/// static MOVES: Counter<(Outcome, Text<16>)> =
///     counter!("moves_total", "Moves made.", labels: [outcome: Outcome, piece: Text<16>]);
///
/// GAMES.with(Outcome::Won).inc();
/// MOVES.with((Outcome::Won, "rook")).add(3);
/// // Or where it is used:
/// counter!("clicks_total", "Clicks.").inc();
/// ```
///
/// The name ends in `_total`. After it and the help text, the options are, in any order:
///
/// - `labels: [key: Type, …]`, with types that implement [`Label`](trait@crate::Label), or `labels:
///   Struct`, a struct of labels;
/// - `unit: bytes`, the base unit, in which the name ends before `_total`;
/// - `value: f64`, for amounts that are no integers;
/// - `const_labels: [key: "value", …]`, labels with the same value on every series.
#[macro_export]
macro_rules! counter {
    ($($tokens:tt)*) => { $crate::__private::counter!([$crate] $($tokens)*) };
}

/// Makes a [`Gauge`](crate::Gauge).
///
/// ```
/// use wasmetry::{Gauge, Sum, gauge};
///
/// static DEPTH: Gauge = gauge!("queue_depth", "Jobs that wait.");
/// static HOTTEST: Gauge =
///     gauge!("temperature_celsius", "Temperature.", unit: celsius, merge: max);
/// static OPEN: Gauge<(), i64, Sum> =
///     gauge!("open_files", "Open files.", value: i64, merge: sum);
///
/// DEPTH.set(3.0);
/// HOTTEST.set(41.5);
/// OPEN.inc();
/// ```
///
/// After the name and the help text, the options are, in any order:
///
/// - `labels: […]`, `const_labels: […]` and `unit: …`, as for [`counter!`](crate::counter!);
/// - `value: i64`, for integers;
/// - `merge: RULE`, the rule that combines the values of several instances.
///
/// | rule | the host exports | kept after an instance has ended |
/// |---|---|---|
/// | `last` (the default) | the value that was set last | until the component is removed |
/// | `max`, `min` | the greatest, the least | five minutes |
/// | `sum` | the sum over the live instances | no |
///
/// - **One instance per request**, as `wasmetry serve` and most hosts have: `last`. The value of a
///   `sum` is gone with its request, before a scrape can read it.
/// - **Reused instances**, several of which serve requests: `last` or `max` for a value that all of
///   them observe, such as the length of a queue elsewhere; `sum` for the share of each, such as
///   the entries of its cache.
/// - **One long-lived instance**, such as a program under `wasmetry run`: `last`, or `sum` if
///   nothing may be left when it ends. A program's last value is in its last scrape or push.
///
/// A gauge has the method `set`. `inc`, `dec`, `add` and `sub` change the sum of a gauge with
/// `merge: sum`, whose type is `Gauge<L, V, Sum>`. For a sum that instances raise and lower for
/// each other, such as the jobs in a queue, there is [`up_down_counter!`](crate::up_down_counter!).
#[macro_export]
macro_rules! gauge {
    ($($tokens:tt)*) => { $crate::__private::gauge!([$crate] $($tokens)*) };
}

/// Makes an [`ObservableGauge`](crate::ObservableGauge): a gauge that a function sets when the host
/// is about to read it.
///
/// ```
/// use wasmetry::{Label, ObservableGauge, observable_gauge};
///
/// #[derive(Clone, Copy, Label)]
/// enum Queue {
///     Mail,
///     Orders,
/// }
/// # fn free() -> f64 { 0.5 }
/// # fn waiting(_queue: &str) -> i64 { 3 }
///
/// static FREE: ObservableGauge =
///     observable_gauge!("disk_free_ratio", "Free space.", unit: ratio, observe: free);
/// static WAITING: ObservableGauge<Queue, i64> = observable_gauge!(
///     "queue_depth",
///     "Jobs that wait.",
///     labels: [queue: Queue],
///     value: i64,
///     observe: |gauge| {
///         gauge.with(Queue::Mail).set(waiting("mail"));
///         gauge.with(Queue::Orders).set(waiting("orders"));
///     },
/// );
///
/// fn handle() {
///     FREE.register();
///     WAITING.register();
///     // …
/// }
/// ```
///
/// After the name and the help text come, in any order, the options of [`gauge!`](crate::gauge!),
/// and `observe: FUNCTION`, a function or a closure that captures nothing. Without labels it has no
/// parameter and returns the value. With labels, or as a closure with one parameter, it gets the
/// [`Gauge`](crate::Gauge) and sets its series.
///
/// An asynchronous up/down counter of OpenTelemetry, a share of a sum such as the memory in use, is
/// an observable gauge with `merge: sum`. Its value ends with its instance.
#[macro_export]
macro_rules! observable_gauge {
    ($($tokens:tt)*) => { $crate::__private::observable_gauge!([$crate] $($tokens)*) };
}

/// Makes an [`ObservableCounter`](crate::ObservableCounter): a counter whose totals a function
/// takes from another source.
///
/// ```
/// use wasmetry::{Label, ObservableCounter, observable_counter};
///
/// #[derive(Clone, Copy, Label)]
/// enum Outcome {
///     Hit,
///     Miss,
/// }
/// # struct Statistics { hits: u64, misses: u64 }
/// # fn statistics() -> Statistics { Statistics { hits: 7, misses: 2 } }
///
/// static LOOKUPS: ObservableCounter<Outcome> = observable_counter!(
///     "cache_lookups_total",
///     "Lookups in the cache.",
///     labels: [outcome: Outcome],
///     observe: |totals| {
///         let statistics = statistics();
///         totals.with(Outcome::Hit).set(statistics.hits);
///         totals.with(Outcome::Miss).set(statistics.misses);
///     },
/// );
///
/// LOOKUPS.register();
/// ```
///
/// After the name and the help text come, in any order, the options of
/// [`counter!`](crate::counter!), and `observe: FUNCTION` as for
/// [`observable_gauge!`](crate::observable_gauge!): it returns the total since the instance began,
/// or gets the [`Totals`](crate::Totals) to set.
#[macro_export]
macro_rules! observable_counter {
    ($($tokens:tt)*) => { $crate::__private::observable_counter!([$crate] $($tokens)*) };
}

/// Makes a [`Histogram`](crate::Histogram).
///
/// ```
/// use wasmetry::{Histogram, histogram};
///
/// static LATENCY: Histogram = histogram!(
///     "http_request_duration_seconds",
///     "Time to serve a request.",
///     unit: seconds,
///     buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
/// );
/// static SIZE: Histogram =
///     histogram!("cart_items", "Items in a cart.", buckets: [1, 2, 5, 10, 100]);
///
/// let _timer = LATENCY.start_timer();
/// SIZE.observe(7.0);
/// ```
///
/// After the name and the help text, the options are, in any order:
///
/// - `labels: […]`, `const_labels: […]` and `unit: …`, as for [`counter!`](crate::counter!);
/// - `buckets: […]`, the upper bounds in that unit. The default is Prometheus' default bounds, for
///   seconds.
#[macro_export]
macro_rules! histogram {
    ($($tokens:tt)*) => { $crate::__private::histogram!([$crate] $($tokens)*) };
}

/// Makes an [`ExponentialHistogram`](crate::ExponentialHistogram).
///
/// ```
/// use wasmetry::{ExponentialHistogram, Label, exponential_histogram};
///
/// #[derive(Clone, Copy, Label)]
/// enum Table {
///     Users,
///     Orders,
/// }
///
/// static LATENCY: ExponentialHistogram<Table> = exponential_histogram!(
///     "query_duration_seconds",
///     "Time to answer a query.",
///     labels: [table: Table],
///     unit: seconds,
///     max_buckets: 80,
/// );
/// static SIZE: ExponentialHistogram =
///     exponential_histogram!("reply_size_bytes", "Size of a reply.", unit: bytes);
///
/// let _timer = LATENCY.with(Table::Orders).start_timer();
/// SIZE.observe(1500.0);
/// ```
///
/// After the name and the help text, the options are, in any order:
///
/// - `labels: […]`, `const_labels: […]` and `unit: …`, as for [`counter!`](crate::counter!);
/// - `max_buckets: N`, from 2 to 200; the default is 160.
///
/// Each series takes 8 bytes for each of its buckets, and 24 more. The metric takes half as many
/// buckets once more, which its series share. Series without values cost neither the guest nor the
/// host any time.
#[macro_export]
macro_rules! exponential_histogram {
    ($($tokens:tt)*) => { $crate::__private::exponential_histogram!([$crate] $($tokens)*) };
}

/// Makes an [`UpDownCounter`](crate::UpDownCounter).
///
/// ```
/// use wasmetry::{UpDownCounter, up_down_counter};
///
/// static QUEUED: UpDownCounter = up_down_counter!("jobs_queued", "Jobs that wait.");
/// static BALANCE: UpDownCounter<(), f64> =
///     up_down_counter!("balance_euros", "Balance.", unit: euros, value: f64);
///
/// QUEUED.inc();
/// BALANCE.add(-12.5);
/// ```
///
/// After the name and the help text, the options are, in any order:
///
/// - `labels: […]`, `const_labels: […]` and `unit: …`, as for [`counter!`](crate::counter!);
/// - `value: f64`, for differences that are no integers.
#[macro_export]
macro_rules! up_down_counter {
    ($($tokens:tt)*) => { $crate::__private::up_down_counter!([$crate] $($tokens)*) };
}

/// Declares an info metric: a series with the value 1, whose labels describe the binary.
///
/// ```
/// wasmetry::info_metric!("storefront_info", "About this build.", const_labels: [
///     package_version: env!("CARGO_PKG_VERSION"),
///     flavour: "organic",
/// ]);
/// ```
///
/// It is in the binary only, so it costs the guest nothing. The host exports it as long as the
/// component is registered. The values are constants of type `&str`.
#[macro_export]
macro_rules! info_metric {
    ($($tokens:tt)*) => { const _: () = $crate::__private::info_metric!([$crate] $($tokens)*); };
}

/// Declares a route of requests, for [`set_route`](crate::set_route()) or the option `route` of
/// [`handler`](macro@crate::handler).
///
/// ```
/// use wasmetry::{Route, route};
///
/// fn route_of(path: &str) -> Option<Route> {
///     match path.split('/').nth(1) {
///         Some("") => Some(route!("/")),
///         Some("users") => Some(route!("/users/{id}")),
///         _ => None,
///     }
/// }
/// ```
///
/// It is the path's template, a literal, without the values of its parameters.
#[macro_export]
macro_rules! route {
    ($($tokens:tt)*) => { $crate::__private::route!([$crate] $($tokens)*) };
}

/// Sets the route of the current request; see [`set_route`](crate::set_route()).
///
/// ```
/// wasmetry::set_route!("/users/{id}");
/// ```
#[macro_export]
macro_rules! set_route {
    ($($tokens:tt)*) => { $crate::set_route($crate::route!($($tokens)*)) };
}

/// Records a log with a level, which is a constant.
///
/// ```
/// use wasmetry::{Level, log};
///
/// let (user, elapsed) = (7, 1.5);
/// log!(Level::Info, user, elapsed_ms = elapsed, "cart of {user} loaded");
/// ```
///
/// The macros of the levels ([`error!`](crate::error!), [`warn!`](crate::warn!),
/// [`info!`](crate::info!), [`debug!`](crate::debug!), [`trace!`](crate::trace!)) take the same
/// without the level:
///
/// - first, optionally, `target: "payments"`, a constant; the default is the module's path. Records
///   with the target `audit`, or one that begins with `audit::`, are audit records, which no level
///   and no sampling drops;
/// - then fields: `key = value` for numbers, booleans and texts, which keep their type;
///   `key = %value` for a `Display` text, `key = ?value` for a `Debug` text; `user`, `%user` and
///   `?user` for a variable under its own name; a key may have dots (`http.route = "/cart"`) or be
///   a literal;
/// - last, a message in the syntax of `format!`, with arguments behind it or captured. The host
///   formats it; the guest formats only arguments with format parameters (`{:?}`, `{:.3}`).
///
/// A record is written into the guest's memory, without a call of the host. If its level is not
/// recorded, it costs a load and a branch, and its arguments are not evaluated.
#[macro_export]
macro_rules! log {
    ($($tokens:tt)*) => { $crate::__private::log!([$crate] $($tokens)*) };
}

/// Records a log of an operation that failed; see [`log!`](crate::log!).
///
/// ```
/// # let error = "no such file";
/// wasmetry::error!(err = %error, "cannot load the catalogue");
/// ```
#[macro_export]
macro_rules! error {
    ($($tokens:tt)*) => { $crate::__private::log!([$crate] $crate::Level::Error, $($tokens)*) };
}

/// Records a log of a condition that deserves attention; see [`log!`](crate::log!).
///
/// ```
/// wasmetry::warn!(left = 3, "stock is low");
/// ```
#[macro_export]
macro_rules! warn {
    ($($tokens:tt)*) => { $crate::__private::log!([$crate] $crate::Level::Warn, $($tokens)*) };
}

/// Records a log for operators of a healthy service; see [`log!`](crate::log!).
///
/// ```
/// let items = 3;
/// wasmetry::info!(items, ok = true, "cart loaded in {} ms", 1.5);
/// ```
#[macro_export]
macro_rules! info {
    ($($tokens:tt)*) => { $crate::__private::log!([$crate] $crate::Level::Info, $($tokens)*) };
}

/// Records a log for the service's authors; see [`log!`](crate::log!).
///
/// ```
/// let cart = ["apple", "pear"];
/// wasmetry::debug!(?cart, target_items = cart.len());
/// ```
#[macro_export]
macro_rules! debug {
    ($($tokens:tt)*) => { $crate::__private::log!([$crate] $crate::Level::Debug, $($tokens)*) };
}

/// Records a log of the finest level; see [`log!`](crate::log!).
///
/// ```
/// wasmetry::trace!(target: "shop::cache", key = "apple", "looked up");
/// ```
#[macro_export]
macro_rules! trace {
    ($($tokens:tt)*) => { $crate::__private::log!([$crate] $crate::Level::Trace, $($tokens)*) };
}

/// Records an audit log, which no level and no sampling drops, and which goes to a stream of its
/// own.
///
/// It is [`info!`](crate::info!) with `target: "audit"`.
///
/// ```
/// wasmetry::audit!(user = 7, "signed in");
/// ```
#[macro_export]
macro_rules! audit {
    ($($tokens:tt)*) => { $crate::__private::log!([$crate] $crate::Level::Info, target: "audit", $($tokens)*) };
}

/// Begins a [`Span`](crate::Span).
///
/// ```
/// use wasmetry::{Level, span};
///
/// let user = 7;
/// let _span = span!("load_cart", user).entered();
/// let _inner = span!("query", kind: client, level: Level::Debug, db.system = "sqlite").entered();
/// ```
///
/// After the name, the options are:
///
/// - `kind:`, one of `internal` (the default), `server`, `client`, `producer` and `consumer`;
/// - `level:`, `Level::Info` by default;
/// - `target:`, the module's path by default;
/// - `parent:`, an `Option<TraceContext>` from a request, which is the parent in the place of the
///   current span.
///
/// Attributes follow, in the syntax of [`log!`](crate::log!)'s fields.
#[macro_export]
macro_rules! span {
    ($($tokens:tt)*) => { $crate::__private::span!([$crate] $($tokens)*) };
}

/// Records an event of the current span, with the time now.
///
/// ```
/// use wasmetry::{event, span};
///
/// let _span = span!("load_cart").entered();
/// event!("cache miss", key = "apple");
/// ```
///
/// After the name come the options `level:` and `target:`, then attributes in the syntax of
/// [`log!`](crate::log!)'s fields.
#[macro_export]
macro_rules! event {
    ($($tokens:tt)*) => { $crate::__private::event!([$crate] $($tokens)*) };
}

/// Sets the panic hook, once for each instance: a panic becomes a log, an event of the current span
/// and the span's status. The hook calls the one that was set before.
///
/// [`handler`](macro@crate::handler) does this. A guest without handlers calls it where it begins.
/// Outside of WebAssembly, it does nothing.
///
/// ```
/// wasmetry::set_panic_hook!();
/// ```
///
/// It needs the standard library; see [`panic_handler!`](crate::panic_handler!) for guests without.
#[macro_export]
macro_rules! set_panic_hook {
    () => {{
        #[cfg(target_family = "wasm")]
        {
            if $crate::__private::must_set_hook() {
                // Kept in a static, and not in the new hook, which so needs no allocation.
                static BEFORE: ::std::sync::OnceLock<
                    ::std::boxed::Box<dyn ::core::ops::Fn(&::std::panic::PanicHookInfo<'_>) + Send + Sync>,
                > = ::std::sync::OnceLock::new();
                BEFORE.get_or_init(::std::panic::take_hook);
                ::std::panic::set_hook(::std::boxed::Box::new(|panic| {
                    let payload = panic.payload();
                    let text = match payload.downcast_ref::<&'static str>() {
                        ::core::option::Option::Some(text) => text,
                        ::core::option::Option::None => payload
                            .downcast_ref::<::std::string::String>()
                            .map_or("a value without a text", |text| text),
                    };
                    $crate::__private::panicked(&text, panic.location());
                    if let ::core::option::Option::Some(before) = BEFORE.get() {
                        before(panic);
                    }
                }));
            }
        }
    }};
}

/// Defines the panic handler of a guest without the standard library: a panic becomes a log, an
/// event of the current span and the span's status, and then the guest traps.
///
/// ```text
/// #![no_std]
///
/// wasmetry::panic_handler!();
/// ```
///
/// Write it once, in the crate that becomes the module. It is empty outside of WebAssembly.
#[macro_export]
macro_rules! panic_handler {
    () => {
        #[cfg(target_family = "wasm")]
        #[panic_handler]
        fn record_panic(panic: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::__private::panicked(&panic.message(), panic.location());
            ::core::arch::wasm32::unreachable()
        }
    };
}
