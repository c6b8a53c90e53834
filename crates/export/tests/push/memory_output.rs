//! An output in memory that can fail, and that a test can block.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// A clone is the same output.
#[derive(Clone, Default)]
pub(crate) struct MemoryOutput(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    bytes: Vec<u8>,
    /// The error of every write, while there is one.
    failure: Option<io::ErrorKind>,
    /// The bytes that fit, after which the disk is full.
    room: Option<usize>,
    attempts: usize,
}

impl MemoryOutput {
    /// Blocks writes until the guard is dropped.
    pub(crate) fn block(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Fails all writes from now on, or none.
    pub(crate) fn fail(&self, failure: Option<io::ErrorKind>) {
        self.block().failure = failure;
    }

    /// Accepts this many more bytes, and fails then as a full disk does.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.block().room = room;
    }

    pub(crate) fn attempts(&self) -> usize {
        self.block().attempts
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.block().bytes.clone()).unwrap()
    }
}

impl Write for MemoryOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.block();
        state.attempts += 1;
        if let Some(failure) = state.failure {
            return Err(failure.into());
        }
        let fits = bytes.len().min(state.room.unwrap_or(usize::MAX));
        if fits == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.room = state.room.map(|room| room - fits);
        state.bytes.extend(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
