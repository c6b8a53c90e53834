//! The current span, which is the parent of the next span and the span of logs.

use wasmetry_abi::ring::{GUEST_TRACE, TRACE_FLAGS_SHIFT};
use wasmetry_abi::route::request_key;
use wasmetry_abi::trace::{SpanId, TraceContext, TraceId};

use crate::host::{random, settings};

/// The position in [`Context::flags`] of record flags that are no flags of the trace.
const RECORD_FLAGS_SHIFT: u32 = 8;

/// A span or none, in the form in which records carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    trace_high: u64,
    trace_low: u64,
    span: u64,
    /// The flags of the trace in the first byte, record flags in the second, and above them the key
    /// of the request that the span belongs to.
    flags: u64,
}

/// The position of the request's key in the flags, in bits.
const REQUEST_SHIFT: u32 = 16;

impl Context {
    pub(crate) const NONE: Self = Self { trace_high: 0, trace_low: 0, span: 0, flags: 0 };

    pub(crate) const fn of(context: TraceContext) -> Self {
        let trace = context.trace_id.number();
        Self {
            trace_high: (trace >> 64) as u64,
            trace_low: trace as u64,
            span: context.span_id.number(),
            flags: context.flags as u64,
        }
    }

    /// The same in the request of `current`, or in the one that this span has begun as its caller.
    pub(crate) const fn in_request(self, current: Self) -> Self {
        let request = match current.request() {
            0 => request_key(self.span),
            request => request,
        };
        Self { flags: self.flags & 0xffff | request << REQUEST_SHIFT, ..self }
    }

    /// The key of the request; 0 if there is none, or it has no caller.
    pub(crate) const fn request(self) -> u64 {
        self.flags >> REQUEST_SHIFT
    }

    /// A new trace, without a span yet, which is sampled as the host's settings ask for.
    pub(crate) fn new_trace() -> Self {
        let (trace_high, trace_low) = (random::next(), random::next());
        let sampled = if settings::samples(trace_low) { TraceContext::SAMPLED } else { 0 };
        let flags = u64::from(GUEST_TRACE) << RECORD_FLAGS_SHIFT | u64::from(TraceContext::RANDOM | sampled);
        Self { trace_high, trace_low, span: 0, flags }
    }

    /// The span as it is propagated. Returns `None` if there is none.
    pub(crate) fn trace_context(self) -> Option<TraceContext> {
        let trace = u128::from(self.trace_high) << 64 | u128::from(self.trace_low);
        Some(TraceContext { trace_id: TraceId::new(trace)?, span_id: SpanId::new(self.span)?, flags: self.flags as u8 })
    }

    pub(crate) const fn trace_halves(self) -> (u64, u64) {
        (self.trace_high, self.trace_low)
    }

    pub(crate) const fn span(self) -> u64 {
        self.span
    }

    /// The flags of a record in this trace.
    pub(crate) const fn record_flags(self) -> u8 {
        (self.flags as u8) << TRACE_FLAGS_SHIFT | (self.flags >> RECORD_FLAGS_SHIFT) as u8
    }

    /// The same trace with another span.
    pub(crate) const fn with_span(self, span: u64) -> Self {
        Self { span, ..self }
    }

    /// The current span.
    #[inline]
    pub(crate) fn current() -> Self {
        current::get()
    }

    /// Makes this span the current one. Returns the span that was current before.
    #[inline]
    pub(crate) fn make_current(self) -> Self {
        let before = current::get();
        current::set(self);
        before
    }
}

/// A wasm guest without shared memory has one thread.
#[cfg(target_family = "wasm")]
mod current {
    use super::Context;
    use crate::sync::{AtomicU64, Ordering};

    static CURRENT: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

    #[inline]
    pub(super) fn get() -> Context {
        let [trace_high, trace_low, span, flags] = CURRENT.each_ref().map(|word| word.load(Ordering::Relaxed));
        Context { trace_high, trace_low, span, flags }
    }

    #[inline]
    pub(super) fn set(context: Context) {
        let Context { trace_high, trace_low, span, flags } = context;
        for (word, value) in CURRENT.iter().zip([trace_high, trace_low, span, flags]) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod current {
    extern crate std;

    use super::Context;
    use core::cell::Cell;

    std::thread_local! {
        static CURRENT: Cell<Context> = const { Cell::new(Context::NONE) };
    }

    pub(super) fn get() -> Context {
        CURRENT.get()
    }

    pub(super) fn set(context: Context) {
        CURRENT.set(context);
    }
}
