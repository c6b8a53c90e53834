//! Asserting in `cargo test` on the metrics, logs and spans that a handler recorded.
//!
//! Add the crate once more, with this feature, for tests: `wasmetry = { …, features = ["testing"] }` under
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
//! static REQUESTS: Counter<Route> = counter!("http_requests_total", "HTTP requests.", labels: [route: Route]);
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
//! recorded.assert_includes(&[r#"http_requests_total{route="cart"} 1"#]); // … and perhaps others
//! recorded.assert_logs(&["INFO cart loaded items=3"]);
//! recorded.assert_spans(&[r#"handle route="Cart""#]);
//! assert_eq!(recorded.value("http_requests_total", &[("route", "home")]), 0.0);
//! ```
//!
//! While a [`Capture`] lives, what its thread records goes to memory of its own, so that tests that run at the same
//! time do not see each other. A handle to a series that was made before does not know of it: make it anew.
//!
//! Metrics that are observed are observed when the capture is asked for metrics, if they were registered while it lived.
//!
//! Logs and spans of every level are captured; [`Capture::up_to`] leaves the finer ones out, as a host's level does.

extern crate std;

mod difference;
mod record;

use core::any::Any;
use core::fmt::Write;
use core::marker::PhantomData;
use std::boxed::Box;
use std::cell::RefCell;

use wasmetry_abi::layout::{EntryLayout, GuestDropReason, Offsets, scratch_words};
use wasmetry_abi::{Descriptor, Kind, LabelShape, Level, Records, exponential};

use self::record::Recorded;
use crate::observer::{Observer, is_unwinding};
use crate::region::Entry;
use crate::sync::{AtomicU64, Ordering};

pub(crate) use self::record::{level, record, site};

#[doc(hidden)]
pub use std::string::String;
#[doc(hidden)]
pub use std::vec::Vec;

std::thread_local! {
    /// The captures of this thread, the innermost last.
    static CAPTURES: RefCell<Vec<Captured>> = const { RefCell::new(Vec::new()) };
}

/// What one capture has recorded.
#[derive(Default)]
struct Captured {
    metrics: Vec<CapturedMetric>,
    losses: Vec<GuestDropReason>,
    recorded: Recorded,
    observers: Vec<&'static Observer>,
    /// Whether they are being called.
    is_observing: bool,
}

/// A metric's memory in a capture. It is leaked, because handles hold it for as long as they like.
struct CapturedMetric {
    entry: *const Entry,
    record: &'static [u8],
    words: &'static [AtomicU64],
    tables: &'static (dyn Any + Sync),
    values_at: Box<dyn Fn(usize) -> Vec<String>>,
}

/// Records what this thread records from now on, until it is dropped.
///
/// Captures may be nested; the innermost one records.
#[must_use = "what is recorded is captured until the capture is dropped"]
pub struct Capture {
    depth: usize,
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

/// Begins to capture what this thread records.
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
    /// The value of a counter or gauge with these labels, or the number of values in a histogram; 0 where nothing was
    /// recorded.
    ///
    /// All of the series' labels have to be given, in any order.
    ///
    /// # Panics
    ///
    /// Panics if the metric has other labels, or a label has no such value.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map_or(0.0, |series| series.value)
    }

    /// The sum of the values in a histogram with these labels, in its unit; 0 where nothing was recorded.
    ///
    /// # Panics
    ///
    /// Panics if the histogram has other labels, or a label has no such value.
    #[track_caller]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).and_then(|series| series.sum).unwrap_or(0.0)
    }

    /// How often an event was lost or redirected for a reason, such as `label_table_full`.
    pub fn lost(&self, reason: &str) -> usize {
        self.with(|captured| captured.losses.iter().filter(|loss| loss.name() == reason).count())
    }

    /// Every series that was recorded, one line each, sorted: `name{key="value"} 3`. A histogram's line has the number
    /// of its values.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.series().iter().map(Series::line).collect();
        lines.sort();
        lines
    }

    /// Asserts that these series were recorded, and no others, in the form of [`lines`](Self::lines), in any order.
    ///
    /// # Panics
    ///
    /// Panics if they differ, and shows both side by side.
    #[track_caller]
    pub fn assert(&self, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(|line| String::from(line.trim())).collect();
        expected.sort();
        let actual = self.lines();
        difference::assert_same("metrics", &expected, &actual);
    }

    /// Asserts that these series were recorded, perhaps beside others, in the form of [`lines`](Self::lines), in any order.
    ///
    /// # Panics
    ///
    /// Panics if one of them is not there, and shows both side by side.
    #[track_caller]
    pub fn assert_includes(&self, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(|line| String::from(line.trim())).collect();
        expected.sort();
        difference::assert_included("metrics", &expected, &self.lines());
    }

    /// Leaves logs and spans out that are finer than `level`.
    pub fn up_to(self, level: Level) -> Self {
        CAPTURES.with_borrow_mut(|captures| captures[self.depth - 1].recorded.up_to(level));
        self
    }

    /// Every log that was recorded, one line each, in their order: the level, the message, the fields.
    ///
    /// `INFO cart loaded items=3 user="ann"`; a log without a message has its fields only, and an audit log begins with `AUDIT`.
    pub fn logs(&self) -> Vec<String> {
        self.with(|captured| captured.recorded.logs())
    }

    /// Asserts that these logs were recorded, and no others, in the form and the order of [`logs`](Self::logs).
    ///
    /// # Panics
    ///
    /// Panics if they differ, and shows both side by side.
    #[track_caller]
    pub fn assert_logs(&self, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|line| String::from(line.trim())).collect();
        difference::assert_same("logs", &expected, &self.logs());
    }

    /// Every span that was recorded, one line each, as a tree: below a span, two spaces further in, its events and the spans in
    /// it, in the order in which they began.
    ///
    /// `query (client) db.system="sqlite" error "no such table"`: the name; the kind, if the span is not internal; the
    /// attributes, each as it was set last; `link=…` for each link; `ok`, or `error` and why; `open`, if it has not ended. An
    /// event is `event cache miss key="apple"`.
    pub fn spans(&self) -> Vec<String> {
        self.with(|captured| captured.recorded.spans())
    }

    /// Asserts that these spans were recorded, and no others, in the form and the order of [`spans`](Self::spans).
    ///
    /// # Panics
    ///
    /// Panics if they differ, and shows both side by side.
    #[track_caller]
    pub fn assert_spans(&self, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|line| String::from(line.trim_end())).collect();
        difference::assert_same("spans", &expected, &self.spans());
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
        // What is observed goes to the innermost capture.
        if CAPTURES.with_borrow(|captures| captures.len() == self.depth) {
            observe();
        }
        self.with(|captured| captured.metrics.iter().flat_map(CapturedMetric::series).collect())
    }

    fn with<R>(&self, f: impl FnOnce(&Captured) -> R) -> R {
        CAPTURES.with_borrow(|captures| f(&captures[self.depth - 1]))
    }
}

/// The memory that a metric records in on this thread.
pub(crate) fn memory<T: Sync + 'static>(
    entry: &'static Entry,
    tables: &'static T,
    words: &'static [AtomicU64],
    record: &'static [u8],
    values_at: fn(usize, &T) -> Vec<String>,
    empty: fn() -> T,
) -> (&'static T, &'static [AtomicU64]) {
    CAPTURES.with_borrow_mut(|captures| {
        let Some(captured) = captures.last_mut() else { return (tables, words) };
        if let Some(metric) = captured.metrics.iter().find(|metric| metric.entry == core::ptr::from_ref(entry)) {
            let tables: &'static dyn Any = metric.tables;
            return (tables.downcast_ref().unwrap_or_else(|| unreachable!("an entry has one type")), metric.words);
        }
        let tables: &'static T = Box::leak(Box::new(empty()));
        let words = Box::leak(words.iter().map(|_| AtomicU64::new(0)).collect::<Box<[_]>>());
        captured.metrics.push(CapturedMetric {
            entry,
            record,
            words,
            tables,
            values_at: Box::new(move |position| values_at(position, tables)),
        });
        (tables, words)
    })
}

/// Has a metric observed in this thread's capture, if there is one. Returns whether there is.
pub(crate) fn register(observer: &'static Observer) -> bool {
    CAPTURES.with_borrow_mut(|captures| {
        let Some(captured) = captures.last_mut() else { return false };
        if !captured.observers.iter().any(|known| core::ptr::eq(*known, observer)) {
            captured.observers.push(observer);
        }
        true
    })
}

/// Calls the observers of this thread's capture, if there is one. Returns whether there is.
pub(crate) fn observe() -> bool {
    /// It ends also if an observer unwinds. The capture may be gone then.
    struct Done(usize);
    impl Drop for Done {
        fn drop(&mut self) {
            CAPTURES.with_borrow_mut(|captures| {
                if let Some(captured) = captures.get_mut(self.0) {
                    captured.is_observing = false;
                }
            });
        }
    }

    let observers = CAPTURES.with_borrow_mut(|captures| {
        let captured = captures.last_mut()?;
        if is_unwinding() || core::mem::replace(&mut captured.is_observing, true) {
            return Some((None, Vec::new()));
        }
        let observers = captured.observers.clone();
        Some((Some(Done(captures.len() - 1)), observers))
    });
    let Some((_done, observers)) = observers else { return false };
    for observer in observers {
        observer.call();
    }
    true
}

/// Counts a loss in this thread's capture.
pub(crate) fn lost(loss: GuestDropReason) {
    CAPTURES.with_borrow_mut(|captures| {
        if let Some(captured) = captures.last_mut() {
            captured.losses.push(loss);
        }
    });
}

/// A number as text.
pub(crate) fn decimal(number: usize) -> String {
    std::format!("{number}")
}

/// One recorded series.
struct Series {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    value: f64,
    sum: Option<f64>,
}

impl Series {
    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && self.labels.len() == labels.len()
            && self.labels.iter().all(|(key, value)| labels.contains(&(key, value)))
    }

    fn line(&self) -> String {
        let mut line = String::from(self.name);
        for (i, (key, value)) in self.labels.iter().enumerate() {
            let open = if i == 0 { "{" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(line, "{open}{key}={value:?}");
        }
        let close = if self.labels.is_empty() { "" } else { "}" };
        let _ = write!(line, "{close} {}", self.value);
        line
    }
}

impl CapturedMetric {
    fn descriptor(&self) -> Option<Descriptor<'static>> {
        Some(Records::new(self.record).next()?.ok()?.descriptor)
    }

    /// Why it has no series with these labels, if it has the name.
    fn problem(&self, name: &str, labels: &[(&str, &str)]) -> Option<String> {
        let descriptor = self.descriptor().filter(|descriptor| descriptor.name == name)?;
        let constant = descriptor.const_labels().map(|(key, _)| key);
        let keys: Vec<&str> = descriptor.labels().map(|label| label.key).chain(constant).collect();
        let is_given = |key: &&str| labels.iter().any(|(given, _)| given == key);
        if labels.len() != keys.len() || !keys.iter().all(is_given) {
            let keys: Vec<String> = keys.iter().map(|key| std::format!("`{key}`")).collect();
            let has = if keys.is_empty() { "no labels".into() } else { std::format!("the labels {}", keys.join(", ")) };
            return Some(std::format!("`{name}` has {has}: give exactly these"));
        }
        descriptor.labels().find_map(|label| {
            let (key, value) = labels.iter().find(|(key, _)| *key == label.key)?;
            let LabelShape::Values(values) = label.shape else { return None };
            let known: Vec<String> = values.iter().map(|value| std::format!("`{value}`")).collect();
            let is_known = values.iter().any(|known| known == *value);
            (!is_known)
                .then(|| std::format!("the label `{key}` of `{name}` is never `{value}`, but {}", known.join(", ")))
        })
    }

    fn series(&self) -> Vec<Series> {
        let Some(descriptor) = self.descriptor() else { return Vec::new() };
        let Some(layout) = EntryLayout::of(&descriptor, &Offsets::WIDTH_8) else { return Vec::new() };
        let scratch = scratch_words(descriptor.kind, descriptor.max_buckets);
        let series = self.words[scratch..].chunks_exact(layout.words as usize).enumerate();
        series.filter_map(|(position, words)| self.one(&descriptor, position, words)).collect()
    }

    fn one(&self, descriptor: &Descriptor<'static>, position: usize, words: &[AtomicU64]) -> Option<Series> {
        let words: Vec<u64> = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        if words.iter().all(|word| *word == 0) {
            return None;
        }
        let keys = descriptor.labels().map(|label| label.key).zip((self.values_at)(position));
        let constant = descriptor.const_labels().map(|(key, value)| (key, String::from(value)));
        let count = |first: usize| words[first..].iter().sum::<u64>() as f64;
        let (value, sum) = match descriptor.kind {
            Kind::CounterF64 | Kind::UpDownF64 | Kind::GaugeF64 => (f64::from_bits(words[0]), None),
            Kind::UpDownI64 | Kind::GaugeI64 => (words[0].cast_signed() as f64, None),
            Kind::HistogramF64 => (count(1), Some(f64::from_bits(words[0]))),
            Kind::HistogramNanos => (count(1), Some(words[0] as f64 / 1e9)),
            Kind::ExponentialF64 => (count(exponential::ZERO), Some(f64::from_bits(words[exponential::SUM]))),
            Kind::ExponentialNanos => (count(exponential::ZERO), Some(words[exponential::SUM] as f64 / 1e9)),
            _ => (words[0] as f64, None),
        };
        Some(Series { name: descriptor.name, labels: keys.chain(constant).collect(), value, sum })
    }
}
