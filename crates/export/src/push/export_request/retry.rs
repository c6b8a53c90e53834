//! The delays between the attempts of a request.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::push::config::Retry;

/// The exponential backoff of one request.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Retry,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(policy: Retry) -> Self {
        Self { next: policy.initial, policy }
    }

    /// Returns the delay before the next attempt, or `None` if the request is to be dropped.
    ///
    /// `elapsed` is the time since the first attempt, `retry_after` the delay that the destination
    /// asked for. `random` is between 0 and 1; it makes up half of a delay, so that many processes
    /// do not retry at the same moment.
    pub(crate) fn next_delay(
        &mut self,
        elapsed: Duration,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        let random = random.clamp(0.0, 1.0);
        let delay = match retry_after {
            // Never earlier than the destination asked for.
            Some(after) => after.saturating_add(self.policy.initial.mul_f64(random)),
            None => self.next.mul_f64(0.5 + 0.5 * random),
        };
        self.next = self.next.saturating_mul(2).min(self.policy.max);
        (elapsed.saturating_add(delay) <= self.policy.give_up_after).then_some(delay)
    }
}

/// A timer for the delays between attempts. At shutdown, the current delay ends at once, for a last
/// attempt.
pub(crate) struct RetryTimer {
    closing: watch::Receiver<bool>,
    /// `true` after a delay was cut short.
    was_cut: bool,
}

impl RetryTimer {
    pub(crate) fn new(closing: watch::Receiver<bool>) -> Self {
        Self { closing, was_cut: false }
    }

    /// Returns `true` after shutdown has begun.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.closing.has_changed().is_err()
    }

    /// Waits for a delay. Shutdown interrupts one wait, so that one more attempt is made at once;
    /// later waits take their full delay.
    pub(crate) async fn wait(&mut self, delay: Duration) {
        if self.was_cut {
            return tokio::time::sleep(delay).await;
        }
        // An error means that the exporter was dropped, which is a shutdown too.
        let cut = tokio::time::timeout(delay, self.closing.wait_for(|closing| *closing)).await;
        self.was_cut = cut.is_ok();
    }
}

/// Returns a random number from 0 to below 1. Not for secrets.
pub(crate) fn random() -> f64 {
    (random_bits() >> 11) as f64 / (1u64 << 53) as f64
}

/// Returns 64 random bits. Not for secrets.
pub(crate) fn random_bits() -> u64 {
    // The standard library seeds each `RandomState` with different random keys.
    RandomState::new().hash_one(())
}

/// Parses a `Retry-After` header: seconds, or a date.
///
/// Source: RFC 9110, section 10.2.3. A date in the past means no delay. A value that is neither is
/// ignored.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit is a very long time.
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
        Retry::new(SECOND, 8 * SECOND, 60 * SECOND)
    }

    #[test]
    fn delays_double_up_to_maximum() {
        let mut backoff = Backoff::new(policy());
        let delays: Vec<_> = (0..6).filter_map(|_| backoff.next_delay(Duration::ZERO, None, 1.0)).collect();
        assert_eq!(delays, [1, 2, 4, 8, 8, 8].map(|seconds| seconds * SECOND));
    }

    #[test]
    fn half_of_delay_is_random() {
        for (random, expected) in [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0), (-3.0, 0.5), (7.0, 1.0)] {
            let delay = Backoff::new(policy()).next_delay(Duration::ZERO, None, random);
            assert_eq!(delay, Some(Duration::from_secs_f64(expected)), "{random}");
        }
        let mut seen: Vec<_> = (0..100).map(|_| random()).collect();
        assert!(seen.iter().all(|random| (0.0..1.0).contains(random)), "{seen:?}");
        seen.sort_by(f64::total_cmp);
        seen.dedup();
        assert!(seen.len() > 90, "{seen:?}");
    }

    #[test]
    fn retry_after_sets_minimum_delay() {
        let mut backoff = Backoff::new(policy());
        assert_eq!(backoff.next_delay(Duration::ZERO, Some(20 * SECOND), 0.0), Some(20 * SECOND));
        assert_eq!(backoff.next_delay(Duration::ZERO, Some(20 * SECOND), 1.0), Some(21 * SECOND));
        assert_eq!(backoff.next_delay(Duration::ZERO, Some(Duration::ZERO), 0.0), Some(Duration::ZERO));
        // The next delay is the fourth, as if these three had been computed.
        assert_eq!(backoff.next_delay(Duration::ZERO, None, 1.0), Some(8 * SECOND));
    }

    #[test]
    fn request_is_dropped_after_limit() {
        let mut backoff = Backoff::new(policy());
        assert_eq!(backoff.next_delay(59 * SECOND, None, 1.0), Some(SECOND));
        assert_eq!(backoff.next_delay(59 * SECOND, None, 1.0), None);
        assert_eq!(backoff.next_delay(Duration::ZERO, Some(60 * SECOND), 0.0), Some(60 * SECOND));
        assert_eq!(backoff.next_delay(Duration::ZERO, Some(Duration::MAX), 1.0), None);
        assert_eq!(backoff.next_delay(Duration::MAX, None, 0.0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_date() {
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
