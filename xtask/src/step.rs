//! Progress on standard error: the name of each step, and its duration.

use std::{
    fmt,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Runs an action without output of its own, and prints one line: `subject: doing ... 1.2 s`.
pub(crate) fn quiet<T>(subject: &str, doing: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    eprint!("{subject}: {doing} ... ");
    // The line must be visible before the wait; a failure to print it is no reason to stop.
    let _ = std::io::stderr().flush();
    let start = Instant::now();
    let result = action();
    match &result {
        Ok(_) => eprintln!("{}", Seconds(start.elapsed())),
        Err(_) => eprintln!("failed after {}", Seconds(start.elapsed())),
    }
    result
}

/// Runs an action whose programs print, between a header and a closing line; its error names the
/// step.
pub(crate) fn loud<T>(name: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {name}");
    let start = Instant::now();
    let value = action().with_context(|| format!("step `{name}`"))?;
    eprintln!("==> {name}: ok, {}", Seconds(start.elapsed()));
    Ok(value)
}

/// Returns `None` for a missing optional tool and prints one line; with `CI=true` that is an error.
pub(crate) fn optional<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(error) if std::env::var_os("CI").is_none_or(|value| value != "true") => {
            let lines = format!("{error:#}");
            let line: Vec<&str> = lines.lines().map(str::trim).collect();
            note("skipped", &line.join(" "));
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// Prints a note about `subject`.
pub(crate) fn note(subject: &str, text: &str) {
    eprintln!("{subject}: {text}");
}

/// A duration, shown in seconds with one decimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} s", self.0.as_secs_f64())
    }
}
