//! Timers, which record a duration in a histogram.

use core::time::Duration;

use wasmetry_abi::layout::GuestDropReason;

use crate::host::{clock, count_drop};

/// A series that durations are recorded in: [`HistogramSeries`](crate::HistogramSeries) or
/// [`ExponentialSeries`](crate::ExponentialSeries).
pub trait Timed: Sealed {
    #[doc(hidden)]
    fn record(&self, duration: Duration);
}

/// Implemented by the types of this crate only.
pub trait Sealed {}

/// A running measurement of a duration; dropping it records the time since
/// [`start_timer`](crate::Histogram::start_timer).
#[must_use = "a timer measures until it is dropped: write `let _timer = …`"]
pub struct Timer<S: Timed = crate::HistogramSeries> {
    series: S,
    start: Option<u64>,
    is_armed: bool,
}

impl<S: Timed> Timer<S> {
    #[inline]
    pub(crate) fn start(series: S) -> Self {
        Self { series, start: clock::now(), is_armed: true }
    }

    /// Records the duration now. Returns `None` if there is no clock.
    pub fn stop(mut self) -> Option<Duration> {
        self.is_armed = false;
        self.record()
    }

    /// Ends the measurement without a record.
    pub fn discard(mut self) {
        self.is_armed = false;
    }

    fn record(&self) -> Option<Duration> {
        let elapsed = self.start.zip(clock::now()).map(|(start, now)| Duration::from_nanos(now.saturating_sub(start)));
        match elapsed {
            Some(elapsed) => self.series.record(elapsed),
            None => count_drop(GuestDropReason::NoClock),
        }
        elapsed
    }
}

impl<S: Timed> Drop for Timer<S> {
    fn drop(&mut self) {
        if self.is_armed {
            self.record();
        }
    }
}
