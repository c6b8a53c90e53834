//! Procedural macros of the `wasmetry` crate, which re-exports them; see there for how to use them.
//!
//! They check names, units, labels and bounds by the rules of `wasmetry_abi::name`, so that a mistake is a compile error
//! that says what to write. They deliberately hold no rule of their own, and nothing of them ends up in a guest.

mod body;
mod declaration;
mod event;
mod handler;
mod instrument;
mod label;
mod message;
mod metric;
mod observe;
mod option;

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

/// Expands `wasmetry::observable_counter!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn observable_counter(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::ObservableCounter, tokens.into()).into()
}

/// Expands `wasmetry::observable_gauge!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn observable_gauge(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::ObservableGauge, tokens.into()).into()
}

/// Expands `wasmetry::histogram!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn histogram(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::Histogram, tokens.into()).into()
}

/// Expands `wasmetry::exponential_histogram!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn exponential_histogram(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::ExponentialHistogram, tokens.into()).into()
}

/// Expands `wasmetry::up_down_counter!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn up_down_counter(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::UpDownCounter, tokens.into()).into()
}

/// Expands `wasmetry::info_metric!`; the first token is the path of the `wasmetry` crate in brackets.
#[proc_macro]
pub fn info_metric(tokens: TokenStream) -> TokenStream {
    metric::expand(metric::Type::Info, tokens.into()).into()
}

/// Expands `wasmetry::log!` and the macros of the levels: the path of the `wasmetry` crate in brackets, the level, the rest.
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

/// Makes an enum without fields a label of metrics.
///
/// A variant's value is its name in snake case (`NotFound` is `not_found`), or what `#[label("value")]` on it says.
/// `#[label(rename_all = "…")]` on the enum chooses another case: `lowercase`, `UPPERCASE`, `snake_case`,
/// `SCREAMING_SNAKE_CASE`, `kebab-case`, or `PascalCase` for the names as they are written; `#[label(crate = path)]` is for a crate
/// that has wasmetry under another name.
#[proc_macro_derive(Label, attributes(label))]
pub fn derive_label(tokens: TokenStream) -> TokenStream {
    label::expand(tokens.into()).into()
}

/// Marks the function that handles a request.
///
/// It runs in a span of the function's name, below the one that the request's header `traceparent` names; where a server's
/// attribute has renamed the function, as `wstd::http_server` does, the span is `handle` unless `name` says otherwise. With the
/// crate's feature `http`, headers, method and status are those of the types `http::Request` and `http::Response`, which wstd uses;
/// a first parameter of a type `IncomingRequest` is a request of `wasi:http`, of any bindings, whose function says by
/// `wasmetry::set_response_status` how it has answered. A status from 500 on and an `Err` are an error of the span. When the
/// function has ended, also by `return` or `?`, metrics that are observed are set, and a host that cannot read the guest's memory is
/// sent what was recorded.
///
/// It may stand on an `async fn`, on a function that returns `impl Future` or `Pin<Box<dyn Future>>`, on a method, and on `main`
/// of a command program; it stands below an attribute that makes the server out of the function:
///
/// ```text
/// #[wstd::http_server]
/// #[wasmetry::handler]
/// async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
/// ```
///
/// Options: `name = "…"` for the span, `route = "/cart/{id}"` for its attribute `http.route`, and `crate = path` for a crate that
/// has wasmetry under another name.
#[proc_macro_attribute]
pub fn handler(options: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(options.into(), item.into()).into()
}

/// Makes a function run in a span of its own.
///
/// The span has the function's name, and its parameters as attributes, by type where they are numbers, truth values or texts,
/// else by their `Debug` text. It ends when the function returns in whatever way; of an `async fn`, and of a function that returns
/// `impl Future` or `Pin<Box<dyn Future>>`, it is current while the future runs, and ends with it.
///
/// ```text
/// #[wasmetry::instrument(skip(password), err, fields(source = "web"))]
/// async fn login(user: &str, password: &str) -> Result<Session, LoginError> {
/// ```
///
/// Options: `name = "login"`, `level = Level::Debug`, `kind = client`, `target = "auth"`; `skip(a, b)` or `skip_all` leave
/// parameters out, `fields(key = value, …)` adds attributes, in the syntax of `span!`; `err` sets the span's status to an
/// error, with the `Display` text of the `Err` that is returned. `crate = path` is for a crate that has wasmetry under another
/// name.
#[proc_macro_attribute]
pub fn instrument(options: TokenStream, item: TokenStream) -> TokenStream {
    instrument::expand(options.into(), item.into()).into()
}
