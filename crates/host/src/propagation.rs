//! Trace context between services: what HTTP headers bring, and what goes on.
//!
//! Source: W3C Trace Context, level 2, sections 2 and 3.

use wasmetry_abi::trace::{SpanId, TraceContext, TraceId};

/// Members that a `tracestate` may have; with more, all of it is dropped.
const MEMBERS: usize = 32;

/// Bytes of a `tracestate` that are passed on; what is beyond is dropped member by member from its end.
///
/// Section 3.3.1.5: "Vendors SHOULD propagate at least 512 characters of a combined header".
const TRACE_STATE: usize = 512;

/// The trace that a request comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The caller's span.
    pub context: TraceContext,
    /// The value of its `tracestate`, put together and valid, or an empty text.
    pub trace_state: String,
}

impl Incoming {
    /// Reads the values of a request's headers `traceparent` and `tracestate`, all that there are of each.
    ///
    /// Without exactly one valid `traceparent` there is no trace; an invalid `tracestate` is dropped alone.
    ///
    /// ```
    /// use wasmetry_host::propagation::Incoming;
    ///
    /// let parent = &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..];
    /// let incoming = Incoming::from_headers([parent], [&b"a=1, b=2"[..], b"c=3"]).unwrap();
    /// assert_eq!(incoming.trace_state, "a=1,b=2,c=3");
    /// assert_eq!(Incoming::from_headers([parent, parent], []), None);
    /// ```
    pub fn from_headers<'a>(
        traceparent: impl IntoIterator<Item = &'a [u8]>,
        tracestate: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut traceparent = traceparent.into_iter();
        let (Some(header), None) = (traceparent.next(), traceparent.next()) else { return None };
        let context = TraceContext::parse(header.trim_ascii())?;
        Some(Self { context, trace_state: trace_state(tracestate).unwrap_or_default() })
    }
}

/// Puts the values of `tracestate` headers together; nothing if one of them is invalid.
fn trace_state<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for header in headers {
        for member in std::str::from_utf8(header).ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_known = members.iter().any(|(known, _)| *known == key);
            if !is_key(key) || !is_value(value) || is_known || members.len() == MEMBERS {
                return None;
            }
            members.push((key, value));
        }
    }
    let mut state = String::new();
    for (key, value) in members {
        let separator = usize::from(!state.is_empty());
        if state.len() + separator + key.len() + 1 + value.len() > TRACE_STATE {
            break;
        }
        if separator == 1 {
            state.push(',');
        }
        state.extend([key, "=", value]);
    }
    Some(state)
}

/// `key`, section 3.3.1.3.1: a simple key of up to 256 characters, or `tenant@system` of up to 241 and 14.
fn is_key(key: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte);
    let is_part = |part: &str, most: usize, may_begin_with_digit: bool| {
        let begins = part
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || (may_begin_with_digit && first.is_ascii_digit()));
        begins && part.len() <= most && part.bytes().all(is_char)
    };
    match key.split_once('@') {
        None => is_part(key, 256, true),
        Some((tenant, system)) => is_part(tenant, 241, true) && is_part(system, 14, false),
    }
}

/// `value`, section 3.3.1.3.2: up to 256 printable ASCII characters without `,` and `=`, of which the last is no space.
fn is_value(value: &str) -> bool {
    let is_char = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(is_char) && !value.ends_with(' ')
}

/// Which traces are recorded, decided where they come in.
///
/// Source: OpenTelemetry, "Tracing SDK", Built-in samplers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The share of the traces that begin here, from 0 to 1.
    pub ratio: f64,
    /// Whether the caller's decision is followed where there is one.
    pub is_parent_based: bool,
}

impl Default for Sampler {
    /// `parentbased_always_on`.
    fn default() -> Self {
        Self { ratio: 1.0, is_parent_based: true }
    }
}

impl Sampler {
    /// Whether a trace is recorded.
    pub fn samples(&self, parent: Option<TraceContext>, trace: TraceId) -> bool {
        if let (true, Some(parent)) = (self.is_parent_based, parent) {
            return parent.is_sampled();
        }
        // The right-most 7 bytes are the random ones, as the flag of W3C Trace Context says.
        let random = trace.number() as u64 & ((1 << 56) - 1);
        (random as f64) < self.ratio * (1u64 << 56) as f64
    }
}

/// The context of a new span: in the caller's trace, or in a new one.
///
/// `random` gives random numbers.
pub fn begin(parent: Option<TraceContext>, sampler: &Sampler, mut random: impl FnMut() -> u64) -> TraceContext {
    let mut not_zero = || loop {
        let number = random();
        if number != 0 {
            return number;
        }
    };
    let span_id = SpanId::new(not_zero());
    let (trace_id, flags) = match parent {
        Some(parent) => (Some(parent.trace_id), parent.flags & TraceContext::RANDOM),
        None => (TraceId::new(u128::from(not_zero()) << 64 | u128::from(not_zero())), TraceContext::RANDOM),
    };
    let (Some(trace_id), Some(span_id)) = (trace_id, span_id) else { unreachable!("no number is 0") };
    let sampled = if sampler.samples(parent, trace_id) { TraceContext::SAMPLED } else { 0 };
    TraceContext { trace_id, span_id, flags: flags | sampled }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn state(headers: &[&str]) -> String {
        let incoming = Incoming::from_headers([PARENT], headers.iter().map(|header| header.as_bytes()));
        incoming.unwrap().trace_state
    }

    #[test]
    fn trace_states_are_put_together_or_dropped() {
        assert_eq!(state(&["foo=1", "", " bar=2 ,\tbaz=3"]), "foo=1,bar=2,baz=3");
        assert_eq!(state(&["0a@b-c=x y"]), "0a@b-c=x y");
        let long = |len| "k".repeat(len);
        for valid in [format!("{}=1", long(256)), format!("{}@{}=1", long(241), long(14)), format!("a={}", long(256))] {
            assert_eq!(state(&[&valid]), valid);
        }
        for invalid in [
            "foo=1,foo=2",
            "foo",
            "foo=",
            "=1",
            "Foo=1",
            "foo=1=2",
            "foo@=1",
            "@foo=1",
            "foo@@bar=1",
            "foo@0bar=1",
            "foo =1",
            "foo=\u{7f}",
            "foo.bar=1",
        ] {
            assert_eq!(state(&["ok=1", invalid]), "", "{invalid}");
        }
        for invalid in [
            format!("{}=1", long(257)),
            format!("{}@a=1", long(242)),
            format!("a@{}=1", long(15)),
            format!("a={}", long(257)),
        ] {
            assert_eq!(state(&[&invalid]), "", "{invalid}");
        }
        let many = |count: usize| (0..count).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&[&many(32)]), many(32));
        assert_eq!(state(&[&many(33)]), "");
        // What is too long loses its end, member by member.
        let members: Vec<String> = (0..4).map(|n| format!("k{n}={}", long(200))).collect();
        assert_eq!(state(&[&members.join(",")]), members[..2].join(","));
    }

    #[test]
    fn there_is_one_traceparent_or_no_trace() {
        assert!(Incoming::from_headers([PARENT], []).is_some());
        let with_spaces = [b" ", PARENT, b"\t"].concat();
        assert!(Incoming::from_headers([&with_spaces[..]], []).is_some());
        assert_eq!(Incoming::from_headers([], [&b"foo=1"[..]]), None);
        assert_eq!(Incoming::from_headers([PARENT, PARENT], []), None);
        assert_eq!(Incoming::from_headers([&b"00-x"[..]], []), None);
    }

    #[test]
    fn the_sampler_follows_the_parent_or_the_ratio() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 33)
        };
        let unsampled =
            Incoming::from_headers([&PARENT[..PARENT.len() - 1], b"0"].concat().chunks(55), []).unwrap().context;
        let never = Sampler { ratio: 0.0, is_parent_based: true };
        let parent = TraceContext::parse(PARENT);
        let child = begin(parent, &never, &mut random);
        assert!(child.is_sampled() && Some(child.trace_id) == parent.map(|parent| parent.trace_id));
        assert!(!begin(Some(unsampled), &Sampler::default(), &mut random).is_sampled());
        assert!(begin(Some(unsampled), &Sampler { ratio: 1.0, is_parent_based: false }, &mut random).is_sampled());
        assert!(!begin(None, &never, &mut random).is_sampled());
        let third = Sampler { ratio: 0.25, is_parent_based: true };
        let sampled = (0..10_000).filter(|_| begin(None, &third, &mut random).is_sampled()).count();
        assert!((2_300..2_700).contains(&sampled), "{sampled}");
    }
}
