//! Progress: what is being done, and how long it took.

use std::{
    fmt,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Does something whose programs keep silent, on one line: `subject: doing ... 1.2 s`.
pub(crate) fn quiet<T>(subject: &str, doing: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    eprint!("{subject}: {doing} ... ");
    // The line must be seen before the wait that it announces; failing to show it is no reason to stop.
    let _ = std::io::stderr().flush();
    let start = Instant::now();
    let result = action();
    match &result {
        Ok(_) => eprintln!("{}", Seconds(start.elapsed())),
        Err(_) => eprintln!("failed after {}", Seconds(start.elapsed())),
    }
    result
}

/// Does something whose programs print, between a header and a closing line; its error names the step.
pub(crate) fn loud<T>(name: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {name}");
    let start = Instant::now();
    let value = action().with_context(|| format!("step `{name}`"))?;
    eprintln!("==> {name}: ok, {}", Seconds(start.elapsed()));
    Ok(value)
}

/// Says something about `subject` that took no time.
pub(crate) fn note(subject: &str, text: &str) {
    eprintln!("{subject}: {text}");
}

/// A duration as people read it here: seconds with one decimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} s", self.0.as_secs_f64())
    }
}
