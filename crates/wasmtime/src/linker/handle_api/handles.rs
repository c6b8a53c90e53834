//! The handles of one store's guest.

use std::fmt;
use std::time::Duration;

use wasmetry_host::handle_api::{Counter, Gauge, Histogram, Recorder, UpDownCounter};
use wasmetry_host::propagation::{self, Sampler};
use wasmetry_host::record::TraceContext;
use wasmetry_host::{Component, StoreMemory, limits};

use super::table::Table;
use crate::clock::random;

/// The handles of one store's guest. They are created when the guest first uses the handle API.
pub(crate) struct LazyHandles {
    component: Component,
    /// The memory that the host keeps for the store.
    memory: StoreMemory,
    /// `None` before the first use, and while the handles are taken out.
    handles: Option<Box<Handles>>,
}

impl LazyHandles {
    pub(crate) fn new(component: Component, memory: StoreMemory) -> Self {
        Self { component, memory, handles: None }
    }

    /// Returns the handles.
    pub(crate) fn get(&mut self) -> &mut Handles {
        self.handles.get_or_insert_with(|| Box::new(Handles::new(self.component.recorder_in(&self.memory))))
    }

    /// Takes the handles out, for use while the store is borrowed. [`put`](Self::put) must put them
    /// back.
    pub(super) fn take(&mut self) -> Box<Handles> {
        self.handles.take().unwrap_or_else(|| Box::new(Handles::new(self.component.recorder_in(&self.memory))))
    }

    /// Puts back the handles that [`take`](Self::take) took out.
    pub(super) fn put(&mut self, handles: Box<Handles>) {
        self.handles = Some(handles);
    }

    /// Ends the recorder of the handles. Its gauges keep their last values.
    pub(crate) fn end(&mut self, now: Duration) {
        if let Some(handles) = self.handles.take() {
            handles.recorder.end(now);
        }
    }
}

/// The handles that one store's guest has.
pub(crate) struct Handles {
    pub(super) recorder: Recorder,
    pub(super) counters: Table<Counter>,
    pub(super) up_down_counters: Table<UpDownCounter>,
    pub(super) gauges: Table<Gauge>,
    pub(super) histograms: Table<Histogram>,
    pub(super) spans: Table<Span>,
}

impl Handles {
    fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            counters: Table::default(),
            up_down_counters: Table::default(),
            gauges: Table::default(),
            histograms: Table::default(),
            spans: Table::default(),
        }
    }

    /// Returns `true` if the guest may have one more handle.
    pub(super) fn has_room(&self) -> bool {
        let Self { counters, up_down_counters, gauges, histograms, spans, .. } = self;
        counters.len() + up_down_counters.len() + gauges.len() + histograms.len() + spans.len() < limits::HANDLES
    }
}

/// A span that a guest has started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The context that is propagated: the span's own, or its parent's if the span is not recorded.
    pub(super) context: TraceContext,
    pub(super) is_recorded: bool,
}

impl Span {
    /// Returns a span that is not recorded. Its children become its parent's.
    pub(super) fn unrecorded(parent: Option<TraceContext>) -> Self {
        let context = parent.unwrap_or_else(|| {
            let context = begin(None, false, None);
            TraceContext { flags: context.flags & !TraceContext::SAMPLED, ..context }
        });
        Self { context, is_recorded: false }
    }
}

/// Returns the context of a new span.
///
/// The sampler decides on a trace that begins here or comes from elsewhere. Below a span of this
/// process, that span's decision holds.
pub(super) fn begin(parent: Option<TraceContext>, is_parent_remote: bool, sampler: Option<&Sampler>) -> TraceContext {
    let sampler = sampler.filter(|_| parent.is_none() || is_parent_remote);
    propagation::begin(parent, &sampler.copied().unwrap_or_default(), random)
}

/// The error of a guest that keeps more handles than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyHandles;

impl fmt::Display for TooManyHandles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the guest keeps {} handles of wasmetry:telemetry, the most that an instance may have: it has to drop those of spans \
             that have ended",
            limits::HANDLES
        )
    }
}

impl std::error::Error for TooManyHandles {}
