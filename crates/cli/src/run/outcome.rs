//! The outcome of a program, its message on stderr and its exit code.

use std::process::ExitCode;

use wasmtime::WasmBacktrace;

use super::limits;
use crate::process::signal::Signal;
use crate::text;

/// The end of a program.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It returned, or exited with a code.
    Exited(i32),
    /// It trapped.
    Trapped {
        /// The label of `wasm_traps_total`.
        reason: &'static str,
        /// The message of the runtime.
        cause: String,
        /// The backtrace, innermost frame first.
        frames: Vec<String>,
    },
    /// It was ended at its deadline.
    TimedOut,
    /// It was ended because the process received a signal.
    Killed(Signal),
}

impl Outcome {
    /// The exit code of a trap: that of a process that aborted, like the one of Wasmtime.
    const TRAPPED: u8 = 134;

    /// The exit code at the deadline, like the one of the command `timeout`.
    const TIMED_OUT: u8 = 124;

    /// Returns the outcome of a call that failed with an error, whose `reason` has been counted.
    pub(super) fn trapped(reason: &'static str, error: &wasmtime::Error) -> Self {
        let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
        Self::Trapped { reason, cause: error.root_cause().to_string(), frames }
    }

    /// Returns the exit code of the process. A guest's code that a process cannot have becomes 255,
    /// so that no failure becomes a success.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(*code).unwrap_or(u8::MAX),
            Self::Trapped { .. } => Self::TRAPPED,
            Self::TimedOut => Self::TIMED_OUT,
            Self::Killed(signal) => signal.code(),
        }
    }

    /// Prints a trap, timeout or signal to stderr.
    pub(super) fn report(&self, program: &str) {
        let program = text::line(program);
        match self {
            Self::Exited(_) => {}
            Self::Trapped { reason, cause, frames } => {
                text::print_stderr(format_args!("trap: {program}: {reason}: {}", text::line(cause)));
                for frame in frames {
                    text::print_stderr(format_args!("    {}", text::line(frame)));
                }
            }
            Self::TimedOut => {
                text::print_stderr(format_args!("timeout: {program}: it ran longer than --timeout allows"))
            }
            Self::Killed(signal) => text::print_stderr(format_args!("killed: {program}: {signal}")),
        }
    }
}

impl From<&Outcome> for ExitCode {
    fn from(outcome: &Outcome) -> Self {
        outcome.code().into()
    }
}

/// Returns the frames of a backtrace, as Wasmtime formats them.
fn frames(trace: &WasmBacktrace) -> Vec<String> {
    let mut frames: Vec<String> = trace
        .to_string()
        .lines()
        .filter(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
        .collect();
    let more = frames.len().saturating_sub(limits::REPORTED_FRAMES);
    if more > 0 {
        frames.truncate(limits::REPORTED_FRAMES);
        frames.push(format!("… and {more} more"));
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_becomes_a_success() {
        for (code, expected) in [(0, 0), (1, 1), (3, 3), (255, 255), (256, 255), (512, 255), (-1, 255), (i32::MIN, 255)]
        {
            assert_eq!(Outcome::Exited(code).code(), expected, "{code}");
        }
    }
}
