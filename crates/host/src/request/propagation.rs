//! Propagation of trace contexts between services, in HTTP headers.
//!
//! Source: W3C Trace Context, level 2, sections 2 and 3. Its grammar is in `wasmetry_abi::trace`.

mod sampler;

use wasmetry_abi::trace::{SpanId, TraceContext, TraceId};

pub use sampler::Sampler;
pub use wasmetry_abi::trace::TraceState;

/// The trace context of an incoming or outgoing request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagated {
    /// The sender's span.
    pub context: TraceContext,
    /// The vendors' data of the trace.
    pub trace_state: TraceState,
}

impl Propagated {
    /// Parses the values of all `traceparent` and `tracestate` headers of a request.
    ///
    /// Returns `None` unless there is exactly one `traceparent` and it is valid. An invalid
    /// `tracestate` is dropped.
    ///
    /// ```
    /// use wasmetry_host::propagation::Propagated;
    ///
    /// let parent = &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..];
    /// let incoming = Propagated::from_headers([parent], [&b"a=1, b=2"[..], b"c=3"]).unwrap();
    /// assert_eq!(incoming.trace_state.as_str(), "a=1,b=2,c=3");
    /// assert_eq!(Propagated::from_headers([parent, parent], []), None);
    /// ```
    pub fn from_headers<'a>(
        traceparent: impl IntoIterator<Item = &'a [u8]>,
        tracestate: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let context = TraceContext::from_headers(traceparent)?;
        Some(Self { context, trace_state: TraceState::parse(tracestate) })
    }

    /// Returns the context of a new span, in the parent's trace or in a new one.
    ///
    /// `random` returns random numbers.
    pub fn begin(parent: Option<&Self>, sampler: &Sampler, mut random: impl FnMut() -> u64) -> Self {
        let mut not_zero = || loop {
            let number = random();
            if number != 0 {
                return number;
            }
        };
        let span_id = SpanId::new(not_zero());
        let parent_context = parent.map(|parent| parent.context);
        let (trace_id, flags) = match parent_context {
            Some(parent) => (Some(parent.trace_id), parent.flags & TraceContext::RANDOM),
            None => (TraceId::new(u128::from(not_zero()) << 64 | u128::from(not_zero())), TraceContext::RANDOM),
        };
        let (Some(trace_id), Some(span_id)) = (trace_id, span_id) else { unreachable!("no number is 0") };
        let mut trace_state = parent.map_or(TraceState::EMPTY, |parent| parent.trace_state.clone());
        let is_sampled = sampler.samples(parent_context, trace_id, &mut trace_state);
        let sampled = if is_sampled { TraceContext::SAMPLED } else { 0 };
        Self { context: TraceContext { trace_id, span_id, flags: flags | sampled }, trace_state }
    }
}

/// Returns the context of a new span, in the parent's trace or in a new one: [`Propagated::begin`]
/// without `tracestate`, for a span that is not propagated.
pub fn begin(parent: Option<TraceContext>, sampler: &Sampler, random: impl FnMut() -> u64) -> TraceContext {
    let parent = parent.map(|context| Propagated { context, trace_state: TraceState::EMPTY });
    Propagated::begin(parent.as_ref(), sampler, random).context
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Returns pseudo-random numbers.
    fn random() -> impl FnMut() -> u64 {
        let mut state = 1u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 33)
        }
    }

    fn incoming(flags: &str, trace_state: &str) -> Propagated {
        let header = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        Propagated::from_headers([header.as_bytes()], [trace_state.as_bytes()]).unwrap()
    }

    #[test]
    fn invalid_tracestate_is_dropped_alone() {
        let invalid = Propagated::from_headers([PARENT], [&b"foo"[..]]).unwrap();
        assert!(invalid.trace_state.is_empty());
        for traceparent in [&[][..], &[PARENT, PARENT], &[b"00-x"]] {
            assert_eq!(Propagated::from_headers(traceparent.iter().copied(), [&b"foo=1"[..]]), None);
        }
    }

    #[test]
    fn span_continues_trace_state_and_flags() {
        let mut random = random();
        for (flags, goes_on) in [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("ff", 3)] {
            let parent = incoming(flags, "a=1,b=2");
            let child = Propagated::begin(Some(&parent), &Sampler::default(), &mut random);
            assert_eq!(child.context.trace_id, parent.context.trace_id);
            assert_ne!(child.context.span_id, parent.context.span_id);
            assert_eq!((child.context.flags, child.trace_state.as_str()), (goes_on, "a=1,b=2"));
        }
        let root = Propagated::begin(None, &Sampler::default(), &mut random);
        assert_eq!((root.context.flags, root.trace_state.as_str()), (3, ""));
        let other = begin(None, &Sampler::default(), &mut random);
        assert_ne!(other.trace_id, root.context.trace_id);
        assert_eq!(begin(Some(other), &Sampler::default(), &mut random).trace_id, other.trace_id);
    }

    #[test]
    fn ratio_samples_a_share() {
        let mut random = random();
        let quarter = Sampler { ratio: 0.25, is_parent_based: true };
        let sampled =
            (0..10_000).filter(|_| Propagated::begin(None, &quarter, &mut random).context.is_sampled()).count();
        assert!((2_300..2_700).contains(&sampled), "{sampled}");
        let never = Sampler { ratio: 0.0, is_parent_based: true };
        assert!(!Propagated::begin(None, &never, &mut random).context.is_sampled());
        assert!(Propagated::begin(Some(&incoming("01", "")), &never, &mut random).context.is_sampled());
    }
}
