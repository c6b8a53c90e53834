//! Assertions on the metrics, logs and spans that a handler records, for `cargo test`.
//!
//! Add the crate with this feature for tests: `wasmetry = { …, features = ["testing"] }` under
//! `[dev-dependencies]`. Then:
//!
//! ```
//! use wasmetry::{Counter, Label, counter, info, instrument, testing, warn};
//!
//! #[derive(Clone, Copy, Debug, Label)]
//! enum Route {
//!     Home,
//!     Cart,
//! }
//!
//! static REQUESTS: Counter<Route> =
//!     counter!("http_requests_total", "HTTP requests.", labels: [route: Route]);
//!
//! #[instrument]
//! fn handle(route: Route) {
//!     REQUESTS.with(route).inc();
//!     info!(items = 3, "cart loaded");
//! }
//!
//! let recorded = testing::capture();
//! handle(Route::Cart);
//! recorded.assert(&[r#"http_requests_total{route="cart"} 1"#]);
//! recorded.assert_includes(&[r#"http_requests_total{route="cart"} 1"#]); // or with others
//! recorded.assert_logs(&["INFO cart loaded items=3"]);
//! recorded.assert_spans(&[r#"handle route="Cart""#]);
//! assert_eq!(recorded.value("http_requests_total", &[("route", "home")]), 0.0);
//! ```
//!
//! While a [`Capture`] lives, its thread records into memory of the capture, so tests that run at
//! the same time do not see each other's records. A handle of a series that was made before the
//! capture records elsewhere: call `with` again.
//!
//! Observable metrics are observed when a test reads the capture's metrics, if they were registered
//! during the capture.
//!
//! A capture takes logs and spans of every level; [`Capture::up_to`] limits it, as a host's level
//! does.

extern crate std;

pub(crate) mod capture;
mod difference;
pub(crate) mod record;
mod series;

use core::marker::PhantomData;

use wasmetry_abi::Level;

use crate::request::route::{AsRoute, Route};
use crate::testing::capture::{CAPTURES, Captured, CapturedMetric, String, Vec};
use crate::testing::series::Series;

/// A capture of all that this thread records, until it is dropped.
///
/// Captures may be nested; the innermost one takes the records.
#[must_use = "a capture ends when it is dropped: write `let recorded = testing::capture();`"]
pub struct Capture {
    depth: usize,
    /// The capture belongs to its thread.
    thread: PhantomData<*const ()>,
}

/// Begins a capture of all that this thread records.
pub fn capture() -> Capture {
    let depth = CAPTURES.with_borrow_mut(|captures| {
        captures.push(Captured::default());
        captures.len()
    });
    Capture { depth, thread: PhantomData }
}

impl Drop for Capture {
    fn drop(&mut self) {
        CAPTURES.with_borrow_mut(|captures| captures.truncate(self.depth - 1));
    }
}

impl Capture {
    /// The value of a counter or gauge with these labels, or the number of values in a histogram; 0
    /// if nothing was recorded.
    ///
    /// Give all of the series' labels, in any order.
    ///
    /// # Panics
    ///
    /// Panics if the metric has other labels, or a label has no such value.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map_or(0.0, |series| series.value)
    }

    /// The sum of the values in a histogram with these labels, in its unit; 0 if nothing was
    /// recorded.
    ///
    /// # Panics
    ///
    /// Panics if the histogram has other labels, or a label has no such value.
    #[track_caller]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).and_then(|series| series.sum).unwrap_or(0.0)
    }

    /// The number of events that were dropped or redirected for a reason, such as
    /// `label_table_full`.
    pub fn dropped(&self, reason: &str) -> usize {
        self.with(|captured| captured.drops.iter().filter(|loss| loss.name() == reason).count())
    }

    /// Every recorded series, one line each, sorted: `name{key="value"} 3`. A histogram's line has
    /// the number of its values.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.series().iter().map(Series::line).collect();
        lines.sort();
        lines
    }

    /// Asserts that exactly these series were recorded, in the form of [`lines`](Self::lines), in
    /// any order.
    ///
    /// # Panics
    ///
    /// Panics if they differ. The message has both side by side.
    #[track_caller]
    pub fn assert(&self, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(|line| String::from(line.trim())).collect();
        expected.sort();
        let actual = self.lines();
        difference::assert_same("metrics", &expected, &actual);
    }

    /// Asserts that these series were recorded, and perhaps others, in the form of
    /// [`lines`](Self::lines), in any order.
    ///
    /// # Panics
    ///
    /// Panics if one of them is missing. The message has both side by side.
    #[track_caller]
    pub fn assert_includes(&self, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(|line| String::from(line.trim())).collect();
        expected.sort();
        difference::assert_included("metrics", &expected, &self.lines());
    }

    /// Leaves out logs and spans that are finer than `level`.
    pub fn up_to(self, level: Level) -> Self {
        CAPTURES.with_borrow_mut(|captures| captures[self.depth - 1].recorded.up_to(level));
        self
    }

    /// Every recorded log, one line each, in their order: the level, the message, the fields.
    ///
    /// `INFO cart loaded items=3 user="ann"`; a log without a message has its fields only, and an
    /// audit log begins with `AUDIT`.
    pub fn logs(&self) -> Vec<String> {
        self.with(|captured| captured.recorded.logs())
    }

    /// Asserts that exactly these logs were recorded, in the form and the order of
    /// [`logs`](Self::logs).
    ///
    /// # Panics
    ///
    /// Panics if they differ. The message has both side by side.
    #[track_caller]
    pub fn assert_logs(&self, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|line| String::from(line.trim())).collect();
        difference::assert_same("logs", &expected, &self.logs());
    }

    /// Every recorded span, one line each, as a tree: a span's events and children follow it,
    /// indented by two more spaces, in the order in which they began.
    ///
    /// `query (client) db.system="sqlite" error "no such table"`: the name; the kind, if the span
    /// is not internal; the last value of each attribute; `link=…` for each link; the status, `ok`
    /// or `error` with its reason; `open`, if the span has not ended. An event is `event cache miss
    /// key="apple"`.
    pub fn spans(&self) -> Vec<String> {
        self.with(|captured| captured.recorded.spans())
    }

    /// Asserts that exactly these spans were recorded, in the form and the order of
    /// [`spans`](Self::spans).
    ///
    /// # Panics
    ///
    /// Panics if they differ. The message has both side by side.
    #[track_caller]
    pub fn assert_spans(&self, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|line| String::from(line.trim_end())).collect();
        difference::assert_same("spans", &expected, &self.spans());
    }

    /// Asserts that this route was set last, or none.
    ///
    /// ```
    /// use wasmetry::{route, set_route, testing};
    ///
    /// let recorded = testing::capture();
    /// set_route!("/users/{id}");
    /// recorded.assert_route(route!("/users/{id}"));
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if another one was.
    #[track_caller]
    pub fn assert_route(&self, expected: impl AsRoute) {
        let expected = expected.as_route();
        let actual = self.with(|captured| captured.route.map(Route::new));
        assert!(actual == expected, "another route was set: {actual:?}, and not {expected:?}");
    }

    #[track_caller]
    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<Series> {
        let series = self.series();
        let problem = self.with(|captured| captured.metrics.iter().find_map(|metric| metric.problem(name, labels)));
        if let Some(problem) = problem {
            panic!("{problem}");
        }
        series.into_iter().find(|series| series.is(name, labels))
    }

    fn series(&self) -> Vec<Series> {
        // Observers record into the innermost capture.
        if CAPTURES.with_borrow(|captures| captures.len() == self.depth) {
            capture::observe();
        }
        self.with(|captured| captured.metrics.iter().flat_map(CapturedMetric::series).collect())
    }

    fn with<R>(&self, f: impl FnOnce(&Captured) -> R) -> R {
        CAPTURES.with_borrow(|captures| f(&captures[self.depth - 1]))
    }
}
