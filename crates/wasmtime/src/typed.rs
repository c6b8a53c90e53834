//! What a store has of the typed imports.

use std::fmt;

use wasmetry_host::handle_api::{Counter, Gauge, Histogram, Recorder, UpDownCounter};
use wasmetry_host::limits;
use wasmetry_host::propagation::{self, Sampler};
use wasmetry_host::record::TraceContext;

use crate::handle::Handles;
use crate::trace::random;

/// The handles that one store's guest has.
pub(crate) struct Typed {
    pub(crate) recorder: Recorder,
    pub(crate) counters: Handles<Counter>,
    pub(crate) up_down_counters: Handles<UpDownCounter>,
    pub(crate) gauges: Handles<Gauge>,
    pub(crate) histograms: Handles<Histogram>,
    pub(crate) spans: Handles<Span>,
}

impl Typed {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            counters: Handles::default(),
            up_down_counters: Handles::default(),
            gauges: Handles::default(),
            histograms: Handles::default(),
            spans: Handles::default(),
        }
    }

    /// Whether the guest may have one more handle.
    pub(crate) fn has_room(&self) -> bool {
        let Self { counters, up_down_counters, gauges, histograms, spans, .. } = self;
        counters.len() + up_down_counters.len() + gauges.len() + histograms.len() + spans.len() < limits::HANDLES
    }
}

/// A span that a guest has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// What is propagated.
    pub(crate) context: TraceContext,
    /// Whether it is recorded, so that `context` is its own.
    pub(crate) is_recorded: bool,
}

impl Span {
    /// A span that is not recorded: what lies below it goes below its parent.
    pub(crate) fn unrecorded(parent: Option<TraceContext>) -> Self {
        let context = parent.unwrap_or_else(|| {
            let context = begin(None);
            TraceContext { flags: context.flags & !TraceContext::SAMPLED, ..context }
        });
        Self { context, is_recorded: false }
    }
}

/// The context of a new span: the head has decided for the whole trace of its parent; one that begins here is sampled.
pub(crate) fn begin(parent: Option<TraceContext>) -> TraceContext {
    propagation::begin(parent, &Sampler::default(), random)
}

/// The error of a guest that keeps more handles than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyHandles;

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
