//! Timers, which record a duration in a histogram.

use core::time::Duration;

use wasmetry_abi::layout::GuestDropReason;

use crate::host::{clock, count_drop};

/// A series that durations are recorded in: [`HistogramSeries`](crate::HistogramSeries) or
/// [`ExponentialSeries`](crate::ExponentialSeries); or `()`, if the timer's end chooses the series.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a series of a histogram",
    label = "not a series of a histogram",
    note = "a histogram's series is `LATENCY.with(Route::Home)`, or `LATENCY.with(())` without labels"
)]
pub trait Timed: Sealed {
    /// `true` if a timer that is dropped has a series to record in.
    #[doc(hidden)]
    const IS_SERIES: bool = true;
    #[doc(hidden)]
    fn record(&self, duration: Duration);
}

impl Sealed for () {}

/// No series: the timer's end chooses one.
impl Timed for () {
    const IS_SERIES: bool = false;

    fn record(&self, _duration: Duration) {}
}

/// Implemented by the types of this crate only.
pub trait Sealed {}

/// A running measurement of a duration; dropping it records the time since
/// [`start_timer`](crate::Histogram::start_timer).
///
/// If the series is known at the end only, start the timer by [`Timer::start`], or by `start_timer`
/// on the series of an early return, and end it by [`observe_in`](Self::observe_in):
///
/// ```
/// use wasmetry::{Histogram, StatusClass, Timer, histogram};
///
/// static LATENCY: Histogram<StatusClass> = histogram!(
///     "http_request_duration_seconds",
///     "Time to serve a request.",
///     labels: [status: StatusClass],
///     unit: seconds,
/// );
///
/// let timer = Timer::start();
/// let status = 204;
/// timer.observe_in(LATENCY.with(StatusClass::from(status)));
/// assert_eq!(LATENCY.with(StatusClass::Successful).count(), 1);
///
/// // With a series for the case that `?` ends the function before.
/// let timer = LATENCY.with(StatusClass::ServerError).start_timer();
/// timer.observe_in(LATENCY.with(StatusClass::from(status)));
/// assert_eq!(LATENCY.with(StatusClass::ServerError).count(), 0);
/// ```
#[must_use = "a timer measures until it is dropped: write `let _timer = …`"]
pub struct Timer<S: Timed = crate::HistogramSeries> {
    series: S,
    start: Option<u64>,
    is_armed: bool,
}

impl Timer<()> {
    /// Starts a timer without a series, for [`observe_in`](Self::observe_in). Dropping it records
    /// nothing.
    #[inline]
    #[must_use = "a timer without a series records by `timer.observe_in(LATENCY.with(…))`"]
    pub fn start() -> Self {
        Self::of(())
    }
}

impl<S: Timed> Timer<S> {
    #[inline]
    pub(crate) fn of(series: S) -> Self {
        Self { series, start: clock::now(), is_armed: S::IS_SERIES }
    }

    /// Records the duration now. Returns `None` if there is no clock.
    pub fn stop(mut self) -> Option<Duration> {
        self.is_armed = false;
        self.record_in(&self.series)
    }

    /// Records the duration now, in this series in the place of the timer's own. Returns `None` if
    /// there is no clock.
    pub fn observe_in(mut self, series: impl Timed) -> Option<Duration> {
        self.is_armed = false;
        self.record_in(&series)
    }

    /// Ends the measurement without a record.
    pub fn discard(mut self) {
        self.is_armed = false;
    }

    fn record_in(&self, series: &impl Timed) -> Option<Duration> {
        let elapsed = self.start.zip(clock::now()).map(|(start, now)| Duration::from_nanos(now.saturating_sub(start)));
        match elapsed {
            Some(elapsed) => series.record(elapsed),
            None => count_drop(GuestDropReason::NoClock),
        }
        elapsed
    }
}

impl<S: Timed> Drop for Timer<S> {
    fn drop(&mut self) {
        if self.is_armed {
            self.record_in(&self.series);
        }
    }
}
