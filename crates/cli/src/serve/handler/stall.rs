//! Clients that stall while an instance waits for them.

use std::time::{Duration, Instant};

use crate::serve::limits::STALL_INTERVAL;
use crate::serve::limits::service::{ServiceLimits, time};

/// The time since a client has last sent or received a byte of a body.
#[derive(Debug)]
pub(super) struct Stall {
    limits: ServiceLimits,
    progress: u64,
    since: Instant,
}

impl Stall {
    pub(super) fn new(limits: ServiceLimits, now: Instant) -> Self {
        Self { limits, progress: 0, since: now }
    }

    /// Returns `true` if the instance need not wait for the client any longer, provided that it
    /// waits for it. `progress` is the number of bytes that have passed.
    ///
    /// If other requests wait for an instance, a client has less time.
    pub(super) fn is_over(&mut self, progress: u64, is_contended: bool, now: Instant) -> bool {
        if progress != self.progress {
            (self.progress, self.since) = (progress, now);
        }
        let ServiceLimits { stalled_client_time, contended_client_time, .. } = self.limits;
        let limit = if is_contended { contended_client_time } else { stalled_client_time };
        now.saturating_duration_since(self.since) >= time(limit)
    }

    /// The guest waits for something else: the client has all of its time again.
    pub(super) fn reset(&mut self, now: Instant) {
        self.since = now;
    }

    /// Returns the delay of the next check of a request that has `left` until its deadline.
    pub(super) fn next_check(&self, left: Duration) -> Duration {
        let ServiceLimits { stalled_client_time, contended_client_time, .. } = self.limits;
        left.min(STALL_INTERVAL).min(time(stalled_client_time.min(contended_client_time)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_renews_the_time() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut stall = Stall::new(ServiceLimits::default(), begin);
        assert!(!stall.is_over(0, false, at(9)));
        assert!(!stall.is_over(1, false, at(10)));
        assert!(!stall.is_over(1, false, at(19)));
        assert!(stall.is_over(1, false, at(20)));
        stall.reset(at(20));
        assert!(!stall.is_over(1, false, at(29)));
    }

    #[test]
    fn contention_shortens_the_time() {
        let begin = Instant::now();
        let mut stall = Stall::new(ServiceLimits::default(), begin);
        let later = begin + time(ServiceLimits::default().contended_client_time);
        assert!(!stall.is_over(0, false, later));
        assert!(stall.is_over(0, true, later));
    }
}
