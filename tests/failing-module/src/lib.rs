//! A core module without standard library, allocator and imports, whose handler panics and fails.

#![cfg_attr(target_family = "wasm", no_std)]
#![allow(unsafe_code, reason = "an export of a core module has a name of its own; no two here are the same")]

use core::error::Error;
use core::fmt;

wasmetry::panic_handler!();

/// The error of a job, with a source.
#[derive(Debug)]
struct JobError(u32);

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} failed", self.0)
    }
}

impl Error for JobError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&fmt::Error)
    }
}

/// A value that panics while it is formatted for a record.
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("unprintable")
    }
}

#[wasmetry::handler(no_std)]
fn handle(job: u32) -> Result<u32, JobError> {
    wasmetry::set_route!("/jobs/{id}");
    assert!(job != 7, "no job {job}");
    if job == 8 {
        wasmetry::info!(job, "the job is {}", Unprintable);
    }
    if job == 9 { Err(JobError(job)) } else { Ok(job) }
}

/// Does a job: 7 and 8 panic, 9 fails.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn work(job: u32) -> u32 {
    handle(job).unwrap_or(0)
}
