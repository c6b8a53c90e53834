use core::time::Duration;

use wasmetry_abi::layout::GuestDropReason;

use crate::clock;
use crate::histogram::HistogramSeries;
use crate::region::lost;

/// A series that durations are recorded in: [`HistogramSeries`] or [`ExponentialSeries`](crate::ExponentialSeries).
pub trait Timed: sealed::Sealed {
    #[doc(hidden)]
    fn record(&self, duration: Duration);
}

mod sealed {
    use crate::label::LabelSet;

    pub trait Sealed {}
    impl<L: LabelSet> Sealed for crate::HistogramSeries<L> {}
    impl<L: LabelSet> Sealed for crate::ExponentialSeries<L> {}
}

/// A running measurement of a duration; dropping it records the time since
/// [`start_timer`](crate::Histogram::start_timer).
#[must_use = "a timer that is not kept measures nothing: write `let _timer = …`"]
pub struct Timer<S: Timed = HistogramSeries> {
    series: S,
    start: Option<u64>,
    armed: bool,
}

impl<S: Timed> Timer<S> {
    #[inline]
    pub(crate) fn start(series: S) -> Self {
        Self { series, start: clock::now(), armed: true }
    }

    /// Records the duration now, and returns it where there is a clock.
    pub fn stop(mut self) -> Option<Duration> {
        self.armed = false;
        self.record()
    }

    /// Ends the measurement without a record.
    pub fn discard(mut self) {
        self.armed = false;
    }

    fn record(&self) -> Option<Duration> {
        let elapsed = self.start.zip(clock::now()).map(|(start, now)| Duration::from_nanos(now.saturating_sub(start)));
        match elapsed {
            Some(elapsed) => self.series.record(elapsed),
            None => lost(GuestDropReason::NoClock),
        }
        elapsed
    }
}

impl<S: Timed> Drop for Timer<S> {
    fn drop(&mut self) {
        if self.armed {
            self.record();
        }
    }
}
