//! The signals that end the process.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// A signal to end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    HangUp,
    Interrupt,
    Terminate,
}

impl Signal {
    /// The exit code of a process that this signal ended, as shells report it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::HangUp => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// [`code`](Self::code), for `main` to return.
    pub(crate) fn exit_code(self) -> ExitCode {
        self.code().into()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HangUp => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Receives signals, which no longer end the process by themselves once this exists.
#[cfg(unix)]
pub(crate) struct Signals {
    /// Not received by `serve`, which reloads on SIGHUP, nor under `nohup`.
    hang_up: Option<tokio::signal::unix::Signal>,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Receives SIGINT and SIGTERM.
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { hang_up: None, interrupt, terminate })
    }

    /// Receives SIGINT, SIGTERM and, unless the process was started to ignore it, SIGHUP.
    pub(crate) fn with_hang_up() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let hang_up = if is_hang_up_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { hang_up, ..Self::new()? })
    }

    /// Returns the next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hang_up => Signal::HangUp,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// Returns `true` if the process ignores SIGHUP, as `nohup` starts one.
///
/// Source: proc(5), `SigIgn` of `/proc/pid/status`, a mask whose lowest bit is signal 1.
#[cfg(unix)]
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Receives signals.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn with_hang_up() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            // This system has no such signal.
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
