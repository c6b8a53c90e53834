//! The faults that drills inject into the requests of a mount.
//!
//! In come injections with their leases, out comes the fault of the next request. It does not know
//! alerts.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmetry_host::Counter;

/// The fault of one request.
#[derive(Clone)]
pub(super) enum RequestFault {
    /// It is answered with 500.
    Error,
    /// It is delayed before it gets an instance.
    Delay(Duration),
    /// It waits as if no instance were free.
    Wait(Duration),
    /// It is refused as if too many were waiting.
    Refusal,
    /// Its instance has a fault.
    Instance(InstanceFault),
    /// It records telemetry.
    Record(Arc<dyn Fn() + Send + Sync>),
}

/// The fault of a request's instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InstanceFault {
    /// It ends in a trap.
    Trap,
    /// It runs until its deadline.
    Deadline,
    /// It is denied memory and ends in a trap.
    OutOfMemory,
    /// It has had this share of its memory limit at its end.
    Memory(f64),
}

/// The faults of the requests of one mount.
#[derive(Default)]
pub(super) struct MountFaults {
    /// So that a request without a drill costs one load.
    is_active: AtomicBool,
    active: Mutex<Option<Injection>>,
}

/// A fault that is injected until its lease ends.
pub(super) struct Injection {
    pub(super) fault: RequestFault,
    /// The share of requests.
    pub(super) share: f64,
    pub(super) until: Instant,
    /// Counts the requests that had the fault.
    pub(super) injected: Counter,
    /// The part of a fault that is due.
    pub(super) due: f64,
}

impl fmt::Debug for MountFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountFaults").field("is_active", &self.is_active).finish_non_exhaustive()
    }
}

impl MountFaults {
    /// Injects a fault, in place of the one before.
    pub(super) fn inject(&self, injection: Injection) {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Some(injection);
        self.is_active.store(true, Relaxed);
    }

    /// Sets the end of the injection.
    pub(super) fn renew(&self, until: Instant) {
        if let Some(active) = &mut *self.active.lock().unwrap_or_else(PoisonError::into_inner) {
            active.until = until;
        }
    }

    /// Ends the injection.
    pub(super) fn end(&self) {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.is_active.store(false, Relaxed);
    }

    /// Returns the fault of the next request, if it has one, and counts it.
    pub(super) fn next(&self) -> Option<RequestFault> {
        if !self.is_active.load(Relaxed) {
            return None;
        }
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let injection = active.as_mut()?;
        if Instant::now() >= injection.until {
            *active = None;
            self.is_active.store(false, Relaxed);
            return None;
        }
        injection.due += injection.share;
        // Ten times a tenth is less than one.
        if injection.due < 1.0 - 1e-9 {
            return None;
        }
        injection.due -= 1.0;
        injection.injected.inc();
        Some(injection.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injection(share: f64, until: Instant, injected: &Counter) -> Injection {
        Injection { fault: RequestFault::Error, share, until, injected: injected.clone(), due: 0.0 }
    }

    #[test]
    fn share_of_requests_has_fault() {
        let (faults, injected) = (MountFaults::default(), Counter::default());
        assert!(faults.next().is_none());
        let later = Instant::now() + Duration::from_secs(3600);
        for (share, count) in [(0.25, 25), (0.1, 10), (0.9, 90)] {
            faults.inject(injection(share, later, &injected));
            assert_eq!((0..100).filter(|_| faults.next().is_some()).count(), count);
        }
        assert_eq!(injected.get(), 125);
        faults.end();
        assert!((0..100).all(|_| faults.next().is_none()));
    }

    /// A lease that is not renewed ends by itself.
    #[test]
    fn lease_ends_by_itself() {
        let (faults, injected) = (MountFaults::default(), Counter::default());
        faults.inject(injection(1.0, Instant::now(), &injected));
        assert!(faults.next().is_none() && !faults.is_active.load(Relaxed));
        faults.renew(Instant::now() + Duration::from_secs(3600));
        assert!(faults.next().is_none(), "it has ended");
        faults.inject(injection(1.0, Instant::now(), &injected));
        faults.renew(Instant::now() + Duration::from_secs(3600));
        assert!(faults.next().is_some());
        assert_eq!(injected.get(), 1);
    }
}
