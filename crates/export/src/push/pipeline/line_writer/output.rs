//! Outputs for lines.

use std::io::{self, Write};

/// An output for lines.
pub type Output = Box<dyn Write + Send>;

/// An output that may be a file which is rotated.
pub(in crate::push) trait LineOutput: Send {
    /// Writes bytes, and returns the number of those that are written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until everything is written; if the output is durable, on the disk.
    fn flush(&mut self) -> io::Result<()>;

    /// Returns `true` if lines count as written only after [`flush`](Self::flush).
    fn is_durable(&self) -> bool {
        false
    }

    /// Opens the output again.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Opens the output again if its path leads to another file. Returns `true` if it did.
    fn reopen_if_moved(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// Returns `true` if what was written is lost, because its file has no name any more.
    fn was_removed(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// An output that is written only.
pub(in crate::push) struct PlainOutput(pub(in crate::push) Output);

impl LineOutput for PlainOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns this process's stdout without the buffer of the standard library, which hides how much
/// of a line is written.
pub(in crate::push) fn stdout() -> Output {
    #[cfg(unix)]
    if let Ok(stdout) = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned() {
        return Box::new(std::fs::File::from(stdout));
    }
    Box::new(io::stdout())
}
