//! A program whose `main` is a handler that ends as its first argument says: by a panic, by an
//! error, or well.

#![forbid(unsafe_code)]

use std::fmt;

/// The error of a job, with a source.
#[derive(Debug)]
struct JobError(fmt::Error);

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the job failed")
    }
}

impl std::error::Error for JobError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[wasmetry::handler(name = "job")]
fn main() -> Result<(), JobError> {
    wasmetry::set_route!("/nightly");
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some("panic") => panic!("requested by {}", "the test"),
        Some("error") => Err(JobError(fmt::Error)),
        _ => Ok(()),
    }
}
