//! Procedural macros of the crate `wasmetry`, which re-exports them and documents their use.
//!
//! They check names, units, labels and bounds by the rules of `wasmetry_abi::name`, so a mistake is
//! a compile error with the remedy. They have no rules of their own, and no part of them is in a
//! guest.

mod body;
mod declaration;
mod event;
mod foreign;
mod handler;
mod instrument;
mod krate;
mod label;
mod message;
mod metric;
mod namesake;
mod observe;
mod option;
mod route;

use proc_macro::TokenStream;

/// Expands `wasmetry::counter!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn counter(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::Counter, tokens.into()).into()
}

/// Expands `wasmetry::gauge!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn gauge(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::Gauge, tokens.into()).into()
}

/// Expands `wasmetry::observable_counter!`; the first token is the path of the `wasmetry` crate in
/// brackets.
#[proc_macro]
pub fn observable_counter(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::ObservableCounter, tokens.into()).into()
}

/// Expands `wasmetry::observable_gauge!`; the first token is the path of the `wasmetry` crate in
/// brackets.
#[proc_macro]
pub fn observable_gauge(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::ObservableGauge, tokens.into()).into()
}

/// Expands `wasmetry::histogram!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn histogram(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::Histogram, tokens.into()).into()
}

/// Expands `wasmetry::exponential_histogram!`; the first token is the path of the `wasmetry` crate
/// in brackets.
#[proc_macro]
pub fn exponential_histogram(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::ExponentialHistogram, tokens.into()).into()
}

/// Expands `wasmetry::up_down_counter!`; the first token is the path of the `wasmetry` crate in
/// brackets.
#[proc_macro]
pub fn up_down_counter(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::UpDownCounter, tokens.into()).into()
}

/// Expands `wasmetry::info_metric!`; the first token is the path of the `wasmetry` crate in
/// brackets.
#[proc_macro]
pub fn info_metric(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::Info, tokens.into()).into()
}

/// Expands `wasmetry::log!` and the macros of the levels: the path of the `wasmetry` crate in
/// brackets, the level, the rest.
#[proc_macro]
pub fn log(tokens: TokenStream) -> TokenStream {
    event::log(tokens.into()).into()
}

/// Expands `wasmetry::event!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn event(tokens: TokenStream) -> TokenStream {
    event::event(tokens.into()).into()
}

/// Expands `wasmetry::span!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn span(tokens: TokenStream) -> TokenStream {
    event::span(tokens.into()).into()
}

/// Expands `wasmetry::route!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn route(tokens: TokenStream) -> TokenStream {
    route::expand(tokens.into()).into()
}

/// Makes an enum without fields a label of metrics, or a struct of labels the labels of metrics.
///
/// A variant's value is its name in snake case (`NotFound` is `not_found`), or the text of
/// `#[label("value")]` on it. `#[label(rename_all = "…")]` on the enum chooses another case:
/// `lowercase`, `UPPERCASE`, `snake_case`, `SCREAMING_SNAKE_CASE`, `kebab-case`, or `PascalCase`
/// for the names as they are written. `#[label(route)]` declares the values as routes of requests,
/// for `wasmetry::set_route`.
///
/// A struct's fields are the labels of a metric that is declared with `labels: TheStruct`; it has a
/// series for each combination of their values. A field's type is a label, or it says what the
/// label is: `#[label(text = 64)] sku: &'a str` is a `Text<64>` (also with `max_len = 128`), and
/// `#[label(below = 16)] shard: usize` is a `Below<16>`. The key is the field's name, or the text
/// of `#[label("key")]` on it.
///
/// ```text
/// #[derive(Label)]
/// struct Request<'a> {
///     method: Method,
///     route: Route,
///     #[label(text = 32)]
///     shop: &'a str,
/// }
///
/// static REQUESTS: Counter<Request> = counter!("requests_total", "Requests.", labels: Request);
///
/// REQUESTS.with(Request { method: Method::Get, route: Route::Home, shop: "north" }).inc();
/// ```
///
/// The crate `wasmetry` is found in the manifest, also under another name. `#[label(crate = path)]`
/// is for a crate that gets it from elsewhere.
#[proc_macro_derive(Label, attributes(label))]
pub fn derive_label(tokens: TokenStream) -> TokenStream {
    label::expand(tokens.into()).into()
}

/// Marks the function that handles a request.
///
/// The function runs in a span of its name, below the span of the request's header `traceparent`.
/// If a server's attribute has renamed the function, as `wstd::http_server` does, the span's name
/// is `handle`, or the one of the option `name`.
///
/// Headers, method and status are those of a type `Request` and a type `Response` with the methods
/// of the crate `http`, which wstd uses; with the crate's feature `http`, of the types
/// `http::Request` and `http::Response` under any name. `#[handler]` recognises requests of
/// `wasi:http`, of any bindings, by the type name `IncomingRequest` of the first parameter; such a
/// function sets its status by `wasmetry::set_response_status`. A status from 500 on is an error of
/// the span.
///
/// An `Err` that the function returns is a log of the level error with the error's sources, an
/// event `exception` of the span, and its status. So is a panic: the attribute sets a panic hook,
/// which calls the one that was set before.
///
/// When the function ends, also by `return` or `?`, the functions of observable metrics run, and a
/// host that cannot read memory is sent the guest's telemetry.
///
/// The attribute goes on an `async fn`, a function that returns `impl Future` or `Pin<Box<dyn
/// Future>>`, a method, and `main` of a command program. It goes below an attribute that makes a
/// server of the function:
///
/// ```text
/// #[wstd::http_server]
/// #[wasmetry::handler]
/// async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
/// ```
///
/// Options: `name = "…"` for the span; `route = "/cart/{id}"` or `route = function`, which sets the
/// request's route as `wasmetry::set_route` does; `error_type = path::of::function` for a function
/// that takes the error by reference and returns a text, the attribute `error.type` (by default the
/// path of the error's type); `no_std` for a guest without the standard library, which has
/// `wasmetry::panic_handler!`; and `crate = path` for a crate whose manifest does not name
/// wasmetry. A function of `route` gets a reference to the request and returns a route, an enum
/// with `#[label(route)]`, or an `Option` of one. A literal is also the span's attribute
/// `http.route`.
#[proc_macro_attribute]
pub fn handler(options: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(options.into(), item.into()).into()
}

/// Runs a function in a span of its own.
///
/// The span has the function's name, and its parameters as attributes: numbers, booleans and texts
/// by type, others by their `Debug` text. It ends when the function returns, also by `?` or a
/// panic. For an `async fn`, and a function that returns `impl Future` or `Pin<Box<dyn Future>>`,
/// the span is current while the future is polled, and ends with it.
///
/// ```text
/// #[wasmetry::instrument(skip(password), err, fields(source = "web"))]
/// async fn login(user: &str, password: &str) -> Result<Session, LoginError> {
/// ```
///
/// Options: `name = "login"`, `level = Level::Debug`, `kind = client`, `target = "auth"`; `skip(a,
/// b)` or `skip_all` leave parameters out, `fields(key = value, …)` adds attributes, in the syntax
/// of `span!`; `err` sets the span's status to an error, with the `Display` text of the `Err` that
/// is returned. `crate = path` is for a crate whose manifest does not name wasmetry.
#[proc_macro_attribute]
pub fn instrument(options: TokenStream, item: TokenStream) -> TokenStream {
    instrument::expand(options.into(), item.into()).into()
}
