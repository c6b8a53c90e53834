//! The exemplars of one request: values that wait until it is known whether the request's trace is
//! exported.

use crate::aggregate::exemplar::{ExemplarContext, PendingExemplar};
use crate::limits;
use crate::record::TraceContext;
use crate::registry::component::ComponentState;

/// The span of a request, and the values that become exemplars if the span is exported.
#[derive(Default)]
pub(super) struct RequestExemplars {
    context: Option<TraceContext>,
    /// `true` if the trace is exported at once if it is sampled.
    is_exported_at_once: bool,
    pending: Vec<PendingExemplar>,
    /// After the request has ended: `true` if it was kept.
    is_kept: Option<bool>,
}

impl RequestExemplars {
    /// The span of the request.
    pub(super) fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// The span of the request if it is exported: it is sampled, or the request has ended and was
    /// kept.
    pub(super) fn exported_context(&self) -> Option<TraceContext> {
        self.context.filter(|context| (context.is_sampled() && self.is_exported_at_once) || self.is_kept == Some(true))
    }

    /// Starts a request with this span. The pending values belong to the request before it; see
    /// [`flush`](Self::flush).
    pub(super) fn start(
        &mut self,
        context: TraceContext,
        is_exported_at_once: bool,
        component: &ComponentState,
        now: u64,
    ) {
        self.flush(component, now);
        self.is_kept = None;
        (self.context, self.is_exported_at_once) = (Some(context), is_exported_at_once);
    }

    /// Ends the request.
    pub(super) fn finish(&mut self, is_kept: bool, component: &ComponentState, now: u64) {
        self.is_kept = Some(is_kept);
        self.flush(component, now);
    }

    /// Stores the pending values as exemplars if the request's trace is exported, and drops them
    /// otherwise.
    fn flush(&mut self, component: &ComponentState, now: u64) {
        let pending = std::mem::take(&mut self.pending);
        if let Some(context) = self.exported_context() {
            component.keep_exemplars(pending, context, now);
        }
    }

    /// Returns the context in which a read takes exemplars, or `None` if the request's trace will
    /// not be exported.
    pub(super) fn read_context(&mut self, time: u64, may_keep: bool) -> Option<ExemplarContext<'_>> {
        if let Some(context) = self.exported_context() {
            return Some(ExemplarContext { context, time, held: None });
        }
        let may_export = may_keep && self.is_kept.is_none();
        let pending = &mut self.pending;
        self.context.filter(|_| may_export).map(|context| ExemplarContext { context, time, held: Some(pending) })
    }

    /// Adds a value of the handle API. It waits for the request's end, because to store an exemplar
    /// takes a lock.
    pub(super) fn observe(&mut self, may_keep: bool, value: impl FnOnce() -> PendingExemplar) {
        let may_export = self.context.is_some_and(|context| context.is_sampled() || may_keep);
        if may_export && self.pending.len() < limits::PENDING_EXEMPLARS {
            self.pending.push(value());
        }
    }
}
