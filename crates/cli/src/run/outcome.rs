//! How a program ended, and what the process says and returns then.

use std::process::ExitCode;

use wasmtime::WasmBacktrace;

use super::limits;
use crate::process::signal::Signal;
use crate::text;

/// How a program ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It returned, or exited with a code.
    Exited(i32),
    /// It trapped.
    Trapped {
        /// The label of `wasm_traps_total`.
        reason: &'static str,
        /// What the runtime says of it.
        cause: String,
        /// Where it was, innermost first.
        frames: Vec<String>,
    },
    /// It was ended at its deadline.
    Late,
    /// It was ended because the process was told to end.
    Killed(Signal),
}

impl Outcome {
    /// The exit code of a trap: that of a process which aborted, as Wasmtime has it too.
    const TRAPPED: u8 = 134;

    /// The exit code at the deadline, as the command `timeout` has it.
    const LATE: u8 = 124;

    /// How a call ended that has failed for a `reason`.
    pub(super) fn trapped(reason: &'static str, error: &wasmtime::Error) -> Self {
        let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
        Self::Trapped { reason, cause: error.root_cause().to_string(), frames }
    }

    /// The process's exit code. A guest's code that a process cannot have is 255, so that a failure stays one.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(*code).unwrap_or(u8::MAX),
            Self::Trapped { .. } => Self::TRAPPED,
            Self::Late => Self::LATE,
            Self::Killed(signal) => signal.code(),
        }
    }

    /// Says on stderr how the program ended, if it did not end by itself.
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
            Self::Late => text::print_stderr(format_args!("timeout: {program}: it ran longer than --timeout allows")),
            Self::Killed(signal) => text::print_stderr(format_args!("killed: {program}: {signal}")),
        }
    }
}

impl From<&Outcome> for ExitCode {
    fn from(outcome: &Outcome) -> Self {
        outcome.code().into()
    }
}

/// The lines of a backtrace, as Wasmtime writes them.
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
