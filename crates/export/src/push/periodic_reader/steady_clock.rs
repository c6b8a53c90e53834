//! The time of collections: the wall clock's, but never running backwards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wall clock that follows the system's, except that a system clock that is set back only slows
/// it down.
///
/// Points of metrics need times that rise, and start times that are not later than their times.
/// After the system clock was set back, this clock runs at half speed until the system clock has
/// caught up.
pub(in crate::push) struct SteadyClock {
    last: u64,
    read: Instant,
    /// By how much the last time was ahead of the system clock.
    ahead: u64,
}

impl SteadyClock {
    /// Starts the clock at the system's time.
    pub(in crate::push) fn start() -> Self {
        Self { last: wall_clock(), read: Instant::now(), ahead: 0 }
    }

    /// Returns the time that was read last, or the start.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Reads the time, in nanoseconds since 1970.
    pub(super) fn now(&mut self) -> u64 {
        self.advance(wall_clock(), Instant::now())
    }

    fn advance(&mut self, wall: u64, now: Instant) -> u64 {
        let elapsed = nanoseconds(now.duration_since(self.read));
        let steady = self.last.saturating_add(elapsed - self.ahead.min(elapsed / 2));
        self.read = now;
        self.last = wall.max(steady);
        self.ahead = self.last - wall;
        self.last
    }
}

fn wall_clock() -> u64 {
    nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Reads the clock each second, while the system clock shows these seconds, and returns what it
    /// shows.
    fn seconds(walls: &[u64]) -> Vec<f64> {
        let begin = Instant::now();
        let mut clock = SteadyClock { last: 1000 * SECOND, read: begin, ahead: 0 };
        let read = |(at, wall): (usize, &u64)| {
            clock.advance(wall * SECOND, begin + Duration::from_secs(at as u64 + 1)) as f64 / SECOND as f64
        };
        walls.iter().enumerate().map(read).collect()
    }

    #[test]
    fn system_clock_is_followed_forwards() {
        assert_eq!(seconds(&[1001, 1002, 1500, 1501]), [1001.0, 1002.0, 1500.0, 1501.0]);
    }

    #[test]
    fn backward_step_slows_until_caught_up() {
        // At the step itself, the clock does not slow down: series may have begun a moment before.
        assert_eq!(seconds(&[1001, 999, 1000, 1001, 1002]), [1001.0, 1002.0, 1002.5, 1003.0, 1003.5]);
        let times = seconds(&[1001, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008]);
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        assert_eq!(times.last(), Some(&1008.0));
    }
}
