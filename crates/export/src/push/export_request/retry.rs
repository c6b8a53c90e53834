//! When a request that failed is sent again.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::push::config::Retry;

/// The waits between the attempts of one batch.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Retry,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(policy: Retry) -> Self {
        Self { next: policy.initial, policy }
    }

    /// How long to wait before the next attempt, or nothing where the batch is to be given up.
    ///
    /// `elapsed` is the time since the first attempt began, `wanted` how long the destination wants to be left alone, and
    /// `random` a number from 0 to 1, of which half a wait is made, so that many processes do not come back together.
    pub(crate) fn wait(&mut self, elapsed: Duration, wanted: Option<Duration>, random: f64) -> Option<Duration> {
        let random = random.clamp(0.0, 1.0);
        let wait = match wanted {
            // Never earlier than it was asked for.
            Some(wanted) => wanted.saturating_add(self.policy.initial.mul_f64(random)),
            None => self.next.mul_f64(0.5 + 0.5 * random),
        };
        self.next = self.next.saturating_mul(2).min(self.policy.max);
        (elapsed.saturating_add(wait) <= self.policy.give_up_after).then_some(wait)
    }
}

/// Waits between attempts, and knows whether the process is about to end.
pub(crate) struct Pause {
    closing: watch::Receiver<bool>,
    /// Whether a wait was cut short because of that.
    hurried: bool,
}

impl Pause {
    pub(crate) fn new(closing: watch::Receiver<bool>) -> Self {
        Self { closing, hurried: false }
    }

    /// Waits; the first wait that is in the way when the process is about to end is cut short.
    pub(crate) async fn wait(&mut self, wait: Duration) {
        if self.hurried {
            return tokio::time::sleep(wait).await;
        }
        // An error means that the exporter was dropped, which is an end too.
        let cut = tokio::time::timeout(wait, self.closing.wait_for(|closing| *closing)).await;
        self.hurried = cut.is_ok();
    }
}

/// A random number from 0 to below 1; not for secrets.
pub(crate) fn random() -> f64 {
    (random_bits() >> 11) as f64 / (1u64 << 53) as f64
}

/// 64 random bits; not for secrets.
pub(crate) fn random_bits() -> u64 {
    // The hasher's keys are new for each state, and were random for the first.
    RandomState::new().hash_one(())
}

/// What a `Retry-After` header asks for: seconds, or a date.
///
/// Source: RFC 9110, section 10.2.3. A date that has passed asks for no wait; what is neither is as good as absent.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> Retry {
        Retry { initial: SECOND, max: 8 * SECOND, give_up_after: 60 * SECOND }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(policy());
        let waits: Vec<_> = (0..6).filter_map(|_| backoff.wait(Duration::ZERO, None, 1.0)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8, 8].map(|seconds| seconds * SECOND));
    }

    #[test]
    fn half_a_wait_is_random() {
        for (random, expected) in [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0), (-3.0, 0.5), (7.0, 1.0)] {
            let wait = Backoff::new(policy()).wait(Duration::ZERO, None, random);
            assert_eq!(wait, Some(Duration::from_secs_f64(expected)), "{random}");
        }
        let mut seen: Vec<_> = (0..100).map(|_| random()).collect();
        assert!(seen.iter().all(|random| (0.0..1.0).contains(random)), "{seen:?}");
        seen.sort_by(f64::total_cmp);
        seen.dedup();
        assert!(seen.len() > 90, "{seen:?}");
    }

    #[test]
    fn a_destination_is_left_alone_for_as_long_as_it_wants() {
        let mut backoff = Backoff::new(policy());
        assert_eq!(backoff.wait(Duration::ZERO, Some(20 * SECOND), 0.0), Some(20 * SECOND));
        assert_eq!(backoff.wait(Duration::ZERO, Some(20 * SECOND), 1.0), Some(21 * SECOND));
        assert_eq!(backoff.wait(Duration::ZERO, Some(Duration::ZERO), 0.0), Some(Duration::ZERO));
        // The next wait is the fourth, as if there had been none of these.
        assert_eq!(backoff.wait(Duration::ZERO, None, 1.0), Some(8 * SECOND));
    }

    #[test]
    fn a_batch_is_given_up_in_the_end() {
        let mut backoff = Backoff::new(policy());
        assert_eq!(backoff.wait(59 * SECOND, None, 1.0), Some(SECOND));
        assert_eq!(backoff.wait(59 * SECOND, None, 1.0), None);
        assert_eq!(backoff.wait(Duration::ZERO, Some(60 * SECOND), 0.0), Some(60 * SECOND));
        assert_eq!(backoff.wait(Duration::ZERO, Some(Duration::MAX), 1.0), None);
        assert_eq!(backoff.wait(Duration::MAX, None, 0.0), None);
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        // 1994-11-06 08:49:37 UTC, the date of the RFC's examples.
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
            ("Sun Nov  6 08:49:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:48:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("1e3", None),
        ] {
            let found = retry_after(value, date - 60 * SECOND);
            assert_eq!(found, expected.map(Duration::from_secs), "{value:?}");
        }
    }
}
