//! The outcome of a request, as attributes and the status of the current span.

use wasmetry_abi::Level;

use crate::record::argument::Arg;
use crate::span::current;

/// Sets the status of the response to the current request, as an attribute of the current span.
/// From 500 on, the span has failed.
///
/// [`handler`](macro@crate::handler) does this for functions that return the response. A function
/// that is exported as `wasi:http/incoming-handler` returns nothing, so it calls this function:
///
/// ```text
/// #[wasmetry::handler]
/// fn handle(request: IncomingRequest, out: ResponseOutparam) {
///     let response = OutgoingResponse::new(Fields::new());
///     wasmetry::set_response_status(response.status_code());
///     ResponseOutparam::set(out, Ok(response));
/// }
/// ```
pub fn set_response_status(status: u16) {
    current::set_current("http.response.status_code", Level::Info, Arg::Unsigned(status.into()));
    if status >= 500 {
        current::set_current("error.type", Level::Info, Arg::Display(&status));
        // The status itself is the reason.
        current::fail(&"");
    }
}
