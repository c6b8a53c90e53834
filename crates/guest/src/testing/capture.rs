//! The memory of captures, which recording code uses in the place of the region and the rings.

extern crate std;

use core::any::Any;
use core::cell::Cell;
use std::boxed::Box;
use std::cell::RefCell;

use wasmetry_abi::Level;
use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::ring::RecordKind;

use crate::record::argument::Arg;
use crate::sync::AtomicU64;
use crate::testing::record::Recorded;

pub(crate) use std::string::String;
pub(crate) use std::vec::Vec;

std::thread_local! {
    /// The captures of this thread, the innermost last.
    pub(super) static CAPTURES: RefCell<Vec<Captured>> = const { RefCell::new(Vec::new()) };

    /// `true` while this thread writes a record.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// The contents of one capture.
#[derive(Default)]
pub(super) struct Captured {
    pub(super) metrics: Vec<CapturedMetric>,
    pub(super) drops: Vec<GuestDropReason>,
    pub(super) recorded: Recorded,
    /// The hash of the route that was set last.
    pub(super) route: Option<u64>,
    /// The observers' addresses and functions.
    observers: Vec<(usize, fn())>,
    /// `true` while the observers run.
    is_observing: bool,
}

/// A metric's memory in a capture. It is leaked, because handles keep it for as long as they like.
pub(super) struct CapturedMetric {
    /// The address of the metric's own memory.
    address: usize,
    pub(super) record: &'static [u8],
    pub(super) words: &'static [AtomicU64],
    tables: &'static (dyn Any + Sync),
    pub(super) values_at: Box<dyn Fn(usize) -> Vec<String>>,
}

/// The memory that a metric records in on this thread.
pub(crate) fn memory<T: Sync + 'static>(
    address: usize,
    tables: &'static T,
    words: &'static [AtomicU64],
    record: &'static [u8],
    values_at: fn(usize, &T) -> Vec<String>,
    empty: fn() -> T,
) -> (&'static T, &'static [AtomicU64]) {
    CAPTURES.with_borrow_mut(|captures| {
        let Some(captured) = captures.last_mut() else { return (tables, words) };
        if let Some(metric) = captured.metrics.iter().find(|metric| metric.address == address) {
            let tables: &'static dyn Any = metric.tables;
            return (tables.downcast_ref().unwrap_or_else(|| unreachable!("a metric has one type")), metric.words);
        }
        let tables: &'static T = Box::leak(Box::new(empty()));
        let words = Box::leak(words.iter().map(|_| AtomicU64::new(0)).collect::<Box<[_]>>());
        captured.metrics.push(CapturedMetric {
            address,
            record,
            words,
            tables,
            values_at: Box::new(move |position| values_at(position, tables)),
        });
        (tables, words)
    })
}

/// Registers an observer in this thread's capture. Returns `false` if there is no capture.
pub(crate) fn register(observer: usize, observe: fn()) -> bool {
    CAPTURES.with_borrow_mut(|captures| {
        let Some(captured) = captures.last_mut() else { return false };
        if !captured.observers.iter().any(|(known, _)| *known == observer) {
            captured.observers.push((observer, observe));
        }
        true
    })
}

/// Runs the observers of this thread's capture. Returns `false` if there is no capture.
pub(crate) fn observe() -> bool {
    /// Ends the run, also if an observer unwinds. The capture may be gone then.
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
        if std::thread::panicking() || core::mem::replace(&mut captured.is_observing, true) {
            return Some((None, Vec::new()));
        }
        let observers = captured.observers.clone();
        Some((Some(Done(captures.len() - 1)), observers))
    });
    let Some((_done, observers)) = observers else { return false };
    for (_, observe) in observers {
        observe();
    }
    true
}

/// Counts a dropped event in this thread's capture.
pub(crate) fn count_drop(reason: GuestDropReason) {
    CAPTURES.with_borrow_mut(|captures| {
        if let Some(captured) = captures.last_mut() {
            captured.drops.push(reason);
        }
    });
}

/// The finest level that this thread's capture records. Returns `None` without a capture.
pub(crate) fn level() -> Option<Level> {
    CAPTURES.with_borrow(|captures| captures.last().map(|captured| captured.recorded.finest()))
}

/// Keeps a site's declaration in this thread's capture.
pub(crate) fn site(hash: u64, record: &'static [u8]) {
    CAPTURES.with_borrow_mut(|captures| {
        if let Some(captured) = captures.last_mut() {
            captured.recorded.add_site(hash, record);
        }
    });
}

/// Keeps the declaration of a dynamic site in this thread's capture. Returns `false` if there is no
/// capture.
#[cfg(feature = "dynamic")]
pub(crate) fn dynamic_site(hash: u64, record: &[u8]) -> bool {
    CAPTURES.with_borrow_mut(|captures| {
        let Some(captured) = captures.last_mut() else { return false };
        if !captured.recorded.has_site(hash) {
            // As the declarations of all other sites, it is kept for as long as the process.
            captured.recorded.add_site(hash, Box::leak(Box::from(record)));
        }
        true
    })
}

/// Keeps a record in this thread's capture. Returns `false` if there is no capture.
pub(crate) fn record(kind: RecordKind, span: u64, fixed: &[u64], arguments: &[Arg<'_>]) -> bool {
    if level().is_none() {
        return false;
    }
    // As in the ring, a record that an argument makes while it is formatted is dropped.
    if WRITING.replace(true) {
        count_drop(GuestDropReason::RecordNested);
        return true;
    }
    let record = super::record::Record::new(kind, span, fixed, arguments);
    WRITING.set(false);
    CAPTURES.with_borrow_mut(|captures| {
        if let Some(captured) = captures.last_mut() {
            captured.recorded.add(record);
        }
    });
    true
}

/// Keeps the route in this thread's capture.
pub(crate) fn route(hash: u64) {
    CAPTURES.with_borrow_mut(|captures| {
        if let Some(captured) = captures.last_mut() {
            captured.route = Some(hash);
        }
    });
}

/// A number as text.
pub(crate) fn decimal(number: usize) -> String {
    std::format!("{number}")
}
