//! Requests beside their attributes, and the choice of those that are selected and compared.

use std::time::Duration;

use wasmetry_host::record::TraceId;

/// The group that a request belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// It neither failed nor was slow.
    #[default]
    Normal,
    /// It was slow and did not fail.
    Slow,
    /// It failed: its status is 500 or greater, its guest ended early, or its response was aborted.
    Failed,
}

/// The facts of one request beside its attributes.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The group.
    pub group: Group,
    /// The end, in nanoseconds since 1970-01-01 00:00 UTC.
    pub end: u64,
    /// The duration.
    pub took: Duration,
    /// The number of requests that it stands for: 1, or the inverse of the share of requests that
    /// are kept.
    pub weight: u32,
    /// The trace, if there is one.
    pub trace: Option<TraceId>,
}

impl Default for Request {
    fn default() -> Self {
        Self { group: Group::Normal, end: 0, took: Duration::ZERO, weight: 1, trace: None }
    }
}

/// The requests that are selected, and with which they are compared.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only requests of this component.
    pub component: Option<String>,
    /// Only requests of this tenant; an empty text stands for none.
    pub tenant: Option<String>,
    /// Only requests of this route.
    pub route: Option<String>,
    /// The earliest end of a selected request, in nanoseconds since 1970-01-01 00:00 UTC.
    pub from: u64,
    /// The latest end of a selected request.
    pub to: u64,
    /// Select failed requests.
    pub failed: bool,
    /// Select slow requests.
    pub slow: bool,
    /// The duration from which a request counts as slow, whatever its group and outcome. Without
    /// it, those of the group [`Group::Slow`] are slow.
    pub slow_from: Option<Duration>,
    /// Select all requests of the time instead. All others are the normal ones then.
    pub all: bool,
    /// Select the requests with a duration in this range instead, whatever their outcome. All
    /// others are the normal ones then.
    pub durations: Option<(Duration, Duration)>,
}

impl Default for Selection {
    /// All failed and slow requests.
    fn default() -> Self {
        Self {
            component: None,
            tenant: None,
            route: None,
            from: 0,
            to: u64::MAX,
            failed: true,
            slow: true,
            slow_from: None,
            all: false,
            durations: None,
        }
    }
}

impl Selection {
    /// Returns 0 for a selected request, 1 for a normal one.
    pub(crate) fn group_of(&self, request: &Request) -> Option<usize> {
        let is_in_time = (self.from..=self.to).contains(&request.end);
        match self.durations {
            Some((least, most)) => Some(usize::from(!(is_in_time && (least..=most).contains(&request.took)))),
            None if self.all => Some(usize::from(!is_in_time)),
            None if !is_in_time => None,
            None => {
                let is_failed = request.group == Group::Failed;
                let is_slow = match self.slow_from {
                    Some(least) => request.took >= least,
                    None => request.group == Group::Slow,
                };
                match (is_failed && self.failed || is_slow && self.slow, is_failed || is_slow) {
                    (true, _) => Some(0),
                    (false, true) => None,
                    (false, false) => Some(1),
                }
            }
        }
    }
}
