//! What a program may do to the terminal and to the host, where no flag says it.

use std::time::Duration;

pub(super) use crate::limits::{DEADLINE_GRACE, EPOCH, KILL_TIMEOUT};

/// Frames of a trap's backtrace that are shown.
pub(super) const REPORTED_FRAMES: usize = 20;

/// Functions that an error names when it asks for one of them.
pub(super) const REPORTED_FUNCTIONS: usize = 20;

/// How long logs and spans that wait may take to be sent when the program has ended.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads for the program and its host calls; one that blocks leaves another for the rest.
pub(super) const WORKERS: usize = 2;
