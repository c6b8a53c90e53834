//! Head sampling: the decision whether a trace is recorded, made at its first span.
//!
//! Source: OpenTelemetry, "Tracing SDK", Built-in samplers and ProbabilitySampler, and "TraceState:
//! Probability Sampling".

use wasmetry_abi::trace::{RANDOM_VALUES, TraceContext, TraceId, TraceState};

/// The number of hexadecimal digits of a threshold, without leading `f`s.
const PRECISION: u32 = 4;

/// The key of OpenTelemetry's member of `tracestate`.
const MEMBER: &str = "ot";

/// Decides which traces are recorded.
///
/// With a [`ratio`](Self::ratio), a trace is recorded if its random value is not below a threshold.
/// So all samplers with the same ratio or a higher one record the same trace. The random value is
/// the right-most 7 bytes of the trace id, as in W3C Trace Context, or the `rv` in the `ot` member
/// of `tracestate`. The threshold is propagated in the same member as `th`. From it a backend
/// computes the number of traces that a recorded one represents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The share of traces that are recorded, from 0 to 1.
    pub ratio: f64,
    /// If `true`, the caller's decision is used if there is one.
    pub is_parent_based: bool,
}

impl Default for Sampler {
    /// `parentbased_always_on`.
    fn default() -> Self {
        Self { ratio: 1.0, is_parent_based: true }
    }
}

impl Sampler {
    /// Returns `true` if a trace is recorded. `state` is the trace's, and is updated with the
    /// threshold of the decision.
    pub fn samples(&self, parent: Option<TraceContext>, trace: TraceId, state: &mut TraceState) -> bool {
        let random = || random_value(trace, state);
        if let (true, Some(parent)) = (self.is_parent_based, parent) {
            let is_sampled = parent.is_sampled();
            if let Some(threshold) = sub_key(state, "th").and_then(parse_threshold)
                && (random() >= threshold) != is_sampled
            {
                // The caller's decision has no threshold.
                set_threshold(state, None);
            }
            return is_sampled;
        }
        let threshold = threshold(self.ratio).filter(|threshold| random() >= *threshold);
        set_threshold(state, threshold.filter(|threshold| *threshold > 0));
        threshold.is_some()
    }

    /// Returns `true` if a trace without a parent is recorded. It has no `tracestate`.
    pub fn samples_root(&self, trace: TraceId) -> bool {
        threshold(self.ratio).is_some_and(|threshold| random_value(trace, &TraceState::EMPTY) >= threshold)
    }

    /// Returns the share of traces that the threshold keeps, a multiple of 2⁻⁵⁶. It is the
    /// [`ratio`](Self::ratio), rounded.
    pub fn sampled_share(&self) -> f64 {
        threshold(self.ratio).map_or(0.0, |threshold| (RANDOM_VALUES - threshold) as f64 / RANDOM_VALUES as f64)
    }
}

/// Returns the random value of a trace.
fn random_value(trace: TraceId, state: &TraceState) -> u64 {
    let given = sub_key(state, "rv").filter(|digits| digits.len() == 14).and_then(parse_digits);
    given.unwrap_or(trace.number() as u64 & (RANDOM_VALUES - 1))
}

/// Returns the threshold for a share of traces: a random value below it is rejected. Returns `None`
/// if all are rejected.
///
/// It has 4 digits, and one more for each leading `f`. Source: "TraceState: Probability Sampling",
/// Algorithms.
fn threshold(ratio: f64) -> Option<u64> {
    let kept = (ratio.clamp(0.0, 1.0) * RANDOM_VALUES as f64).round() as u64;
    let exact = RANDOM_VALUES - kept;
    let leading = (55u32.saturating_sub(kept.checked_ilog2()?)) / 4;
    let unit = 1 << (56 - 4 * (PRECISION + leading).min(12));
    let rounded = (exact + unit / 2) / unit * unit;
    Some(if rounded < RANDOM_VALUES { rounded } else { exact })
}

/// Returns the value of a sub-key in OpenTelemetry's member.
fn sub_key<'a>(state: &'a TraceState, key: &str) -> Option<&'a str> {
    state.get(MEMBER)?.split(';').find_map(|pair| pair.strip_prefix(key)?.strip_prefix(':'))
}

/// Sets or removes the threshold in OpenTelemetry's member.
fn set_threshold(state: &mut TraceState, threshold: Option<u64>) {
    let others = state.get(MEMBER).into_iter().flat_map(|member| member.split(';'));
    let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("th:"));
    let threshold = threshold.map(|threshold| {
        let digits = format!("{threshold:014x}");
        format!("th:{}", digits.trim_end_matches('0'))
    });
    let member: Vec<&str> = threshold.as_deref().into_iter().chain(others).collect();
    let member = member.join(";");
    if member.is_empty() {
        state.remove(MEMBER);
    } else if state.get(MEMBER) != Some(&*member) {
        state.set(MEMBER, &member);
    }
}

/// Formats a threshold, without trailing zeros.
fn parse_threshold(digits: &str) -> Option<u64> {
    let missing = 14usize.checked_sub(digits.len())?;
    Some(parse_digits(digits)? << (4 * missing))
}

/// Parses 1 to 14 lower-case hexadecimal digits.
fn parse_digits(digits: &str) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    (digits.len() <= 14 && digits.bytes().all(is_digit)).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(random: u64) -> TraceId {
        TraceId::new(0xdead_beef << 64 | 0xff << 56 | u128::from(random)).unwrap()
    }

    fn parent(is_sampled: bool) -> Option<TraceContext> {
        let header = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{}", u8::from(is_sampled));
        TraceContext::parse(header.as_bytes())
    }

    /// Returns the decision and the new state.
    fn decide(sampler: Sampler, parent: Option<TraceContext>, random: u64, state: &str) -> (bool, String) {
        let mut state = TraceState::parse([state.as_bytes()]);
        let is_sampled = sampler.samples(parent, trace(random), &mut state);
        (is_sampled, state.to_string())
    }

    #[test]
    fn thresholds_match_the_specification() {
        for (one_in, digits) in [
            (2, "8"),
            (3, "aaab"),
            (4, "c"),
            (5, "cccd"),
            (8, "e"),
            (10, "e666"),
            (16, "f"),
            (100, "fd70a"),
            (1000, "ffbe77"),
            (10_000, "fff9724"),
            (100_000, "ffff583a"),
            (1_000_000, "ffffef39"),
        ] {
            let threshold = threshold(1.0 / f64::from(one_in)).unwrap();
            assert_eq!(format!("{threshold:014x}").trim_end_matches('0'), digits, "1 in {one_in}");
            assert_eq!(parse_threshold(digits), Some(threshold));
        }
        assert_eq!((threshold(1.0), threshold(2.0)), (Some(0), Some(0)));
        assert_eq!((threshold(0.0), threshold(-1.0), threshold(f64::NAN)), (None, None, None));
        assert!(threshold(f64::powi(2.0, -56)).is_some_and(|threshold| threshold < RANDOM_VALUES));
    }

    #[test]
    fn threshold_is_propagated() {
        let quarter = Sampler { ratio: 0.25, is_parent_based: true };
        let first = 0xc0_0000_0000_0000;
        assert_eq!(decide(quarter, None, first, ""), (true, "ot=th:c".to_owned()));
        assert_eq!(decide(quarter, None, first - 1, ""), (false, String::new()));
        // Other members follow the threshold; an old threshold is removed.
        assert_eq!(decide(quarter, None, first, "a=1,ot=th:8;x:y,b=2"), (true, "ot=th:c;x:y,a=1,b=2".to_owned()));
        assert_eq!(decide(quarter, None, 0, "a=1,ot=th:8,b=2"), (false, "a=1,b=2".to_owned()));
        // An explicit random value precedes the trace id.
        assert_eq!(decide(quarter, None, 0, "ot=rv:c0000000000001"), (true, "ot=th:c;rv:c0000000000001".to_owned()));
        assert_eq!(decide(quarter, None, first, "ot=rv:bfffffffffffff"), (false, "ot=rv:bfffffffffffff".to_owned()));
        assert!(decide(quarter, None, first, "ot=rv:0").0, "that is no random value");
        let always = Sampler { ratio: 1.0, ..quarter };
        assert_eq!(decide(always, None, 0, ""), (true, String::new()));
        let never = Sampler { ratio: 0.0, ..quarter };
        assert_eq!(decide(never, None, RANDOM_VALUES - 1, ""), (false, String::new()));
    }

    #[test]
    fn higher_ratio_samples_a_superset() {
        let ratios = [0.0, 0.000_1, 0.1, 0.25, 0.333, 0.5, 0.9, 1.0];
        let mut state = 1u64;
        let mut counts = [0; 8];
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (state ^ (state >> 29)) & (RANDOM_VALUES - 1);
            let samples = ratios.map(|ratio| decide(Sampler { ratio, is_parent_based: false }, None, random, "").0);
            assert!(samples.is_sorted(), "{random:x}: {samples:?}");
            for (count, is_sampled) in counts.iter_mut().zip(samples) {
                *count += u32::from(is_sampled);
            }
        }
        for (ratio, count) in ratios.iter().zip(counts) {
            assert!((f64::from(count) - ratio * 10_000.0).abs() < 200.0, "{ratio}: {count}");
        }
    }

    #[test]
    fn share_has_the_same_threshold() {
        for ratio in [0.0, 1e-17, 0.000_1, 0.1, 0.25, 1.0 / 3.0, 0.5, 0.9, 1.0, 2.0, f64::NAN] {
            let sampler = Sampler { ratio, is_parent_based: false };
            let kept = (sampler.sampled_share() * RANDOM_VALUES as f64) as u64;
            let threshold = threshold(ratio).unwrap_or(RANDOM_VALUES);
            assert_eq!(RANDOM_VALUES - kept, threshold, "{ratio}");
            let shared = Sampler { ratio: sampler.sampled_share(), ..sampler };
            for random in [threshold.wrapping_sub(1), threshold, threshold + 1] {
                let trace = trace(random % RANDOM_VALUES);
                let is_sampled = sampler.samples(None, trace, &mut TraceState::EMPTY.clone());
                assert_eq!(
                    (sampler.samples_root(trace), shared.samples_root(trace)),
                    (is_sampled, is_sampled),
                    "{ratio}"
                );
            }
        }
    }

    #[test]
    fn parent_based_sampler_follows_parent() {
        let never = Sampler { ratio: 0.0, is_parent_based: true };
        assert!(decide(never, parent(true), 0, "").0);
        assert!(!decide(Sampler::default(), parent(false), 0, "").0);
        assert!(decide(Sampler { ratio: 1.0, is_parent_based: false }, parent(false), 0, "").0);
        assert!(!decide(Sampler { ratio: 0.0, is_parent_based: false }, parent(true), 0, "").0);
        // The caller's threshold is propagated, unless it contradicts the caller's decision.
        let state = "a=1,ot=x:y;th:8";
        assert_eq!(decide(never, parent(true), 0x80_0000_0000_0000, state), (true, state.to_owned()));
        assert_eq!(decide(never, parent(true), 1, state), (true, "ot=x:y,a=1".to_owned()));
        assert_eq!(decide(never, parent(false), 1, state), (false, state.to_owned()));
        assert_eq!(decide(never, parent(true), 1, "ot=th:xyz").1, "ot=th:xyz", "it is not understood");
    }
}
