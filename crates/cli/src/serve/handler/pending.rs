//! A request before it has an instance: it is refused, or passed on.

use std::sync::Arc;

use http::{Response, StatusCode};
use wasmetry_host::record::TraceContext;
use wasmetry_wasmtime::{AbortReason, HttpRequest, RefusalReason, ServerSpan};

use super::body::ResponseBody;
use super::host_response;
use super::outcome::Outcome;
use super::response::CLIENT_GONE;
use crate::serve::table::Mount;

/// The answer to a client that has as many requests in progress as it may have.
const CLIENT_LIMIT: &str = "too many requests of this client are in progress; try again when one has ended";

/// The answer to a request whose tenant has as many requests in progress as it may have.
const TENANT_LIMIT: &str = "too many requests of this service are in progress; try again when one has ended";

/// A request that has arrived and whose guest has not been started.
///
/// It is dropped if its client leaves.
pub(super) struct PendingRequest {
    pub(super) measured: Option<HttpRequest>,
    pub(super) span: Option<ServerSpan>,
    /// The span that the client has named.
    pub(super) caller: Option<TraceContext>,
    pub(super) is_head: bool,
    pub(super) mount: Arc<Mount>,
}

impl PendingRequest {
    /// Answers a request that gets no instance.
    pub(super) fn refuse(mut self, status: StatusCode, text: &'static str) -> Response<ResponseBody> {
        self.end_span(Some(status.as_u16()), text);
        if let Some(measured) = self.measured.take() {
            measured.end(status.as_u16());
        }
        host_response(status, text, Some(&self.mount.metrics))
    }

    /// Counts and answers a request that gets no instance for this reason.
    pub(super) fn refuse_instance(self, reason: RefusalReason) -> Response<ResponseBody> {
        self.mount.component.observed.refused(reason).inc();
        let text = match reason {
            RefusalReason::WaitTimeout => "no instance became free in time; try again later",
            RefusalReason::TenantLimit => TENANT_LIMIT,
            _ => "too many requests are waiting; try again later",
        };
        self.refuse(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// Answers a request that exceeds a limit of clients.
    pub(super) fn refuse_client(self, reason: AbortReason) -> Response<ResponseBody> {
        self.mount.metrics.aborted(reason, None);
        match reason {
            AbortReason::BodyLimit => self.refuse(Outcome::BodyTooLarge.status(), Outcome::BodyTooLarge.text()),
            _ => self.refuse(StatusCode::TOO_MANY_REQUESTS, CLIENT_LIMIT),
        }
    }

    /// Ends the span, makes it the exemplar of the request's duration if it is exported, and
    /// exports the request's record. Without a status, the client has left.
    fn end_span(&mut self, status: Option<u16>, text: &'static str) {
        let Some(measured) = &mut self.measured else { return };
        // The answer has a line break; that to HEAD has no body.
        let response_bytes = status.filter(|_| !self.is_head).map_or(0, |_| text.len() as u64 + 1);
        let mut summary = measured.summary(status.unwrap_or(CLIENT_GONE), Some(0), Some(response_bytes));
        // Only an overload, or a drill, refuses a request with such a status.
        summary.error = status
            .filter(|status| *status >= 500)
            .map(|status| (if status == StatusCode::SERVICE_UNAVAILABLE.as_u16() { "503" } else { "500" }, text));
        let observed = &self.mount.component.observed;
        let exported = observed.refuse_http(self.span.take(), self.caller, status, measured.elapsed(), Some(summary));
        measured.set_trace(exported);
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.end_span(None, "");
        if self.measured.is_some() {
            self.mount.metrics.aborted(AbortReason::ClientGone, None);
        }
    }
}
