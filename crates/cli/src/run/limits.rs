//! Limits of a program and of the messages about it.

use std::time::Duration;

pub(super) use crate::guest::limits::{DEADLINE_GRACE, EPOCH, HOST_CALL, KILL_TIMEOUT, RESOURCE};

/// Frames of a trap's backtrace that are printed.
pub(super) const REPORTED_FRAMES: usize = 20;

/// Functions that an error lists.
pub(super) const REPORTED_FUNCTIONS: usize = 20;

/// The time in which queued telemetry must be exported when the program has ended.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads of the runtime: one for the program, which may block in a host call, and one for the
/// rest.
pub(super) const WORKERS: usize = 2;
