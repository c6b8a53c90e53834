//! The request, or the run of a program, that a store serves: its spans, its status, and the
//! guest's logs and spans.

use std::sync::Arc;
use std::time::Instant;

use wasmetry_host::record::{Level, TraceContext};
use wasmetry_host::{Outcome, RequestKey, RequestTelemetry};

use crate::clock::wall_clock;
use crate::component::ObservedComponent;
use crate::http::{ClientSpans, ServerSpan};

/// The request that one store serves.
pub(crate) struct Request {
    /// The guest's logs and spans; `None` if no sink is set, and after the request has ended.
    pub(crate) telemetry: Option<RequestTelemetry>,
    pub(super) start: Instant,
    server_span: Option<ServerSpan>,
    /// The span that the client named in its headers; set only where there is no server span.
    pub(super) caller: Option<TraceContext>,
    pub(super) client_spans: ClientSpans,
    /// The route that the guest has set.
    pub(super) route: Option<Arc<str>>,
    pub(super) status: Option<u16>,
    pub(super) has_failed: bool,
    /// The reason for which the guest ended early.
    pub(super) end_reason: Option<&'static str>,
}

impl Request {
    pub(super) fn new(component: &ObservedComponent) -> Self {
        Self {
            telemetry: component.request_telemetry(),
            start: Instant::now(),
            server_span: None,
            caller: None,
            client_spans: ClientSpans::default(),
            route: None,
            status: None,
            has_failed: false,
            end_reason: None,
        }
    }

    /// Makes `span` the parent of what the guest and its outgoing requests record.
    pub(super) fn set_server_span(&mut self, span: ServerSpan, component: &ObservedComponent) {
        self.start = span.started();
        // An instance that is used again has set it for the request before.
        self.route = None;
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.set_context(span.context(), wall_clock());
        }
        let (server, baggage) = (span.propagated().clone(), span.baggage().to_vec());
        self.client_spans = ClientSpans::new(component.clone(), server, baggage);
        self.server_span = Some(span);
    }

    /// Returns the parent of the spans that the guest starts by the handle API: the server span,
    /// else the caller's.
    pub(crate) fn span(&self) -> Option<TraceContext> {
        self.server_span.as_ref().map(ServerSpan::context).or(self.caller)
    }

    /// Returns the key by which the guest names the request when it sets the route.
    pub(super) fn key(&self) -> RequestKey {
        RequestKey::Span(self.span().map_or(0, |span| span.span_id.number()))
    }

    /// Returns `true` if [`span`](Self::span) belongs to another process.
    pub(crate) fn is_span_remote(&self) -> bool {
        self.server_span.is_none() && self.caller.is_some()
    }

    /// Returns the finest level that the guest records.
    pub(crate) fn record_level(&self) -> Level {
        self.telemetry.as_ref().map_or(Level::Off, |telemetry| telemetry.recording().record_level())
    }

    /// Returns the finest level that is exported.
    pub(crate) fn export_level(&self) -> Level {
        self.telemetry.as_ref().map_or(Level::Off, |telemetry| telemetry.recording().export.finest())
    }

    /// Ends the request: exports or drops its buffered records, and ends the server span.
    ///
    /// Returns the telemetry, which then knows whether the request was kept; `None` if the request
    /// had ended before.
    pub(super) fn finish(&mut self) -> Option<RequestTelemetry> {
        let mut telemetry = self.telemetry.take()?;
        let outcome = match (self.end_reason, self.status) {
            (Some(reason), _) => Outcome::Ended(reason),
            (None, Some(500..)) => Outcome::Failed,
            (None, _) if self.has_failed => Outcome::Failed,
            _ => Outcome::Ok,
        };
        let is_kept = telemetry.finish(outcome, self.start.elapsed(), wall_clock());
        self.client_spans.finish(is_kept, telemetry.is_observed());
        if let Some(mut server) = self.server_span.take()
            && telemetry.wants_span(server.context(), is_kept)
        {
            if let Some(route) = &self.route {
                server.set_route(route);
            }
            let mut span = server.end(self.status, self.end_reason, &telemetry);
            telemetry.take_request_attributes().add_to(&mut span);
            telemetry.span(span);
        }
        Some(telemetry)
    }
}
