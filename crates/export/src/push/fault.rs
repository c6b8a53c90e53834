//! Faults of requests to destinations, for drills.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmetry_host::Counter;

use super::transport::Response;

/// The fault of a request to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFault {
    /// The request fails, and is sent again.
    Failure,
    /// The destination refuses the request, so that its records are dropped.
    Refusal,
}

/// The faults that are injected into requests to destinations. A clone is the same.
///
/// Three of four requests have the fault: so more than half fail, and records that are sent again
/// arrive. Without a fault, a request costs one load.
#[derive(Clone, Default)]
pub struct ExportFaults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_active: AtomicBool,
    destinations: AtomicUsize,
    active: Mutex<Option<Active>>,
}

struct Active {
    fault: ExportFault,
    until: Instant,
    requests: u64,
    injected: Counter,
}

impl fmt::Debug for ExportFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportFaults").field("is_active", &self.0.is_active).finish_non_exhaustive()
    }
}

impl ExportFaults {
    /// Returns `true` if there is a destination that receives requests.
    pub fn has_destinations(&self) -> bool {
        self.0.destinations.load(Relaxed) > 0
    }

    /// Injects a fault until a time, in place of the one before. `injected` counts it.
    pub fn inject(&self, fault: ExportFault, until: Instant, injected: Counter) {
        let mut active = self.0.active.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = active.as_ref().map_or(0, |active| active.requests);
        *active = Some(Active { fault, until, requests, injected });
        self.0.is_active.store(true, Relaxed);
    }

    /// Ends the fault.
    pub fn end(&self) {
        *self.0.active.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.is_active.store(false, Relaxed);
    }

    /// Adds a destination.
    pub(super) fn add_destination(&self) {
        self.0.destinations.fetch_add(1, Relaxed);
    }

    /// Returns the response in place of that of the next request, if it has a fault.
    pub(super) fn next(&self) -> Option<Response> {
        if !self.0.is_active.load(Relaxed) {
            return None;
        }
        let mut shared = self.0.active.lock().unwrap_or_else(PoisonError::into_inner);
        let active = shared.as_mut()?;
        if Instant::now() >= active.until {
            *shared = None;
            self.0.is_active.store(false, Relaxed);
            return None;
        }
        active.requests += 1;
        if active.requests.is_multiple_of(4) {
            return None;
        }
        active.injected.inc();
        let cause = "a drill has injected this fault".to_owned();
        Some(match active.fault {
            ExportFault::Failure => Response::Retryable { after: None, cause },
            ExportFault::Refusal => Response::NonRetryable { cause },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fault_ends_by_itself() {
        let (faults, injected) = (ExportFaults::default(), Counter::default());
        assert_eq!(faults.next(), None);
        let later = Instant::now() + Duration::from_secs(3600);
        faults.inject(ExportFault::Failure, later, injected.clone());
        let found: Vec<bool> = (0..8).map(|_| faults.next().is_some()).collect();
        assert_eq!(found, [true, true, true, false, true, true, true, false]);
        assert_eq!(injected.get(), 6);
        faults.inject(ExportFault::Refusal, later, injected.clone());
        assert!(matches!(faults.next(), Some(Response::NonRetryable { .. })));
        faults.end();
        assert_eq!(faults.next(), None);
        faults.inject(ExportFault::Failure, Instant::now(), injected.clone());
        assert_eq!((faults.next(), faults.0.is_active.load(Relaxed)), (None, false));
        assert_eq!(injected.get(), 7);
    }
}
