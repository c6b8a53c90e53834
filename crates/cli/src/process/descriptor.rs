//! The file descriptors of the process: their limit, and connections that could not be accepted
//! for want of them.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmetry_host::{Counter, Registry};

/// The time without a failed connection after which the next one is reported again.
const QUIET: Duration = Duration::from_secs(60);

/// Raises the soft limit of open files to the hard one, and returns the limit. Returns `None` if
/// there is none, or if it is unknown.
///
/// The usual soft limit of 1,024 is there for programs that use `select`, which this one does not.
#[cfg(unix)]
pub(crate) fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    // If it is refused, the soft limit is what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current
}

/// Returns `None`: the limit is unknown.
#[cfg(not(unix))]
pub(crate) fn raise_limit() -> Option<u64> {
    None
}

/// The connections that a process may have open with this limit of open files, by their purpose.
///
/// The rest is a reserve for the telemetry address (64 connections), pushes, the outputs and files:
/// an eighth of the limit, from 96 to 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    /// Those of the service's clients.
    pub(crate) clients: usize,
    /// Those that guests open.
    pub(crate) guests: usize,
}

impl Connections {
    /// Divides the open files that the process may have; `None` if there is no limit.
    pub(crate) fn of(descriptors: Option<u64>) -> Self {
        const MAX: Connections = Connections { clients: 10_000, guests: 10_000 };
        let Some(descriptors) = descriptors.and_then(|limit| usize::try_from(limit).ok()) else { return MAX };
        let reserve = (descriptors / 8).clamp(96, 512);
        let guests = (descriptors / 4).clamp(1, MAX.guests);
        let clients = descriptors.saturating_sub(reserve + guests).clamp(1, MAX.clients);
        Self { clients, guests }
    }
}

/// Counts and reports the connections of one listener that could not be accepted.
pub(crate) struct AcceptErrors {
    listener: &'static str,
    errors: Counter,
    report: Box<dyn Fn(String) + Send + Sync>,
    last: Mutex<Option<Instant>>,
}

impl AcceptErrors {
    pub(crate) fn new(
        registry: &Registry,
        listener: &'static str,
        report: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        let errors = registry.counter(
            "wasmetry_accept_errors_total",
            "Attempts to accept a connection that failed, as when file descriptors have run out.",
            &["listener"],
        );
        Self { listener, errors: errors.with(&[listener]), report: Box::new(report), last: Mutex::default() }
    }

    /// Counts an error, and reports the first of a series.
    pub(crate) fn record(&self, error: &io::Error) {
        self.errors.inc();
        let now = Instant::now();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if last.is_none_or(|last| now - last > QUIET) {
            let listener = self.listener;
            (self.report)(format!(
                "connections to the {listener} port cannot be accepted and wait: {error}; raise the hard limit of open files (`ulimit -Hn`)"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn connections_leave_a_reserve() {
        for (descriptors, clients, guests) in [
            (None, 10_000, 10_000),
            (Some(1 << 20), 10_000, 10_000),
            (Some(16_384), 10_000, 4096),
            (Some(1024), 640, 256),
            (Some(256), 96, 64),
            (Some(64), 1, 16),
            (Some(0), 1, 1),
        ] {
            assert_eq!(Connections::of(descriptors), Connections { clients, guests }, "{descriptors:?}");
        }
    }

    #[test]
    fn errors_are_counted_and_reported_once() {
        let (registry, reports) = (Registry::new(), Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&reports);
        let errors = AcceptErrors::new(&registry, "service", move |line| kept.lock().unwrap().push(line));
        for _ in 0..3 {
            errors.record(&io::Error::from_raw_os_error(24));
        }
        assert_eq!(errors.errors.get(), 3);
        let reports = reports.lock().unwrap();
        assert!(reports.len() == 1 && reports[0].contains("to the service port"), "{reports:?}");
    }
}
