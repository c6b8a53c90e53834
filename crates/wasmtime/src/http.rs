//! HTTP: the spans and metrics of the requests that the host serves, and of those that its guests
//! send.

mod client_span;
mod exchange;
mod header;
mod metrics;
mod route;
mod server_span;

pub use client_span::{ClientSpan, ClientSpans};
pub use exchange::{HttpExchange, ResponseStatus};
pub(crate) use header::incoming;
pub use metrics::{AbortReason, HttpMetrics, HttpRequest};
pub(crate) use route::{EXPECTED_ROUTES, RouteMetrics};
pub use server_span::ServerSpan;
