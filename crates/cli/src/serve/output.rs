//! The stdout and stderr of this process, behind bounded queues: for the host's own lines, and for
//! guests whose output is raw.
//!
//! A write to a pipe that is not read blocks. On a thread that runs guests it would block all other
//! requests too, so each output has a thread of its own. A guest that finds the queue full waits by
//! itself, until its deadline at the latest. An output that fails, such as a full disk or a closed
//! pipe, never fails a guest: what cannot be written is dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc as sync;
use std::thread;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use wasmetry_host::{Counter, Registry};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::limits;
use crate::text;

/// Both outputs of the process.
pub(super) struct Stdio {
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    ended: [sync::Receiver<()>; 2],
}

impl Stdio {
    /// Starts a thread for each output.
    pub(super) fn start(registry: &Registry) -> io::Result<Self> {
        let dropped = registry.dropped("output", "write_failed");
        let (stdout, stdout_ended) = start("stdout", io::stdout, dropped.clone())?;
        let (stderr, stderr_ended) = start("stderr", io::stderr, dropped)?;
        Ok(Self { stdout, stderr, ended: [stdout_ended, stderr_ended] })
    }

    /// Waits for a bounded time until everything is written. All clones of the outputs must have
    /// been dropped.
    pub(super) fn finish(self) {
        drop((self.stdout, self.stderr));
        for ended in self.ended {
            // Nothing is ever sent: the thread drops its end.
            let _ = ended.recv_timeout(limits::STDIO_TIMEOUT);
        }
    }
}

fn start<W: Write>(
    name: &'static str,
    open: impl FnOnce() -> W + Send + 'static,
    dropped: Counter,
) -> io::Result<(Output, sync::Receiver<()>)> {
    let (sender, mut chunks) = mpsc::channel::<Bytes>(limits::STDIO_CHUNKS);
    let (alive, ended) = sync::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let alive: sync::Sender<()> = alive;
        let mut writer = Writer { name, output: open(), dropped, has_failed: false };
        while let Some(chunk) = chunks.blocking_recv() {
            // The beginning of a line is shown if nothing follows.
            writer.write(&chunk, chunks.is_empty());
        }
        drop(alive);
    })?;
    Ok((Output { sender }, ended))
}

/// Writes chunks to an output that may fail.
struct Writer<W> {
    name: &'static str,
    output: W,
    dropped: Counter,
    /// `true` from a chunk that was dropped until one is written.
    has_failed: bool,
}

impl<W: Write> Writer<W> {
    /// Writes a chunk. If the output fails, it retries for a bounded time and then drops the chunk.
    fn write(&mut self, chunk: &[u8], flush: bool) {
        let (mut rest, mut delay) = (chunk, limits::STDIO_RETRY_DELAY);
        loop {
            let Err(error) = self.try_write(&mut rest, flush) else {
                self.has_failed = false;
                return;
            };
            // After the first chunk that was dropped, guests do not wait for retries. Each further
            // chunk is a new attempt.
            if self.has_failed || error.kind() == ErrorKind::BrokenPipe || delay > limits::MAX_STDIO_RETRY_DELAY {
                self.drop_chunk(&error);
                return;
            }
            thread::sleep(delay);
            delay *= 2;
        }
    }

    /// Writes the rest of a chunk, which shrinks by the bytes that were written.
    fn try_write(&mut self, rest: &mut &[u8], flush: bool) -> io::Result<()> {
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => *rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if flush { self.output.flush() } else { Ok(()) }
    }

    fn drop_chunk(&mut self, error: &io::Error) {
        self.dropped.inc();
        if !std::mem::replace(&mut self.has_failed, true) {
            let name = self.name;
            text::print_stderr(format_args!(
                "cannot write to {name}: {error}; output is dropped and counted until it can be written again"
            ));
        }
    }
}

/// One output. A clone is the same output.
#[derive(Clone)]
pub(super) struct Output {
    sender: mpsc::Sender<Bytes>,
}

impl Output {
    /// Writes a line without waiting. Returns `false` if the queue is full.
    pub(super) fn line(&self, mut line: String) -> bool {
        line.push('\n');
        self.sender.try_send(line.into()).is_ok()
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        // Many instances share a terminal, so that no guest has control of it.
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Stream { sender: self.sender.clone(), pending: Bytes::new() })
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // For WASI 0.3, whose components are not served.
        Box::new(tokio::io::sink())
    }
}

/// A guest's handle of an output.
struct Stream {
    sender: mpsc::Sender<Bytes>,
    /// A chunk for which the queue had no room. The guest cannot write before it is sent.
    pending: Bytes,
}

impl Stream {
    fn try_send(&mut self) -> StreamResult<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match self.sender.try_send(std::mem::take(&mut self.pending)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(chunk)) => {
                self.pending = chunk;
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(StreamError::Closed),
        }
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if !self.pending.is_empty() {
            return Err(StreamError::trap("write without a permit"));
        }
        self.pending = bytes;
        self.try_send()
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.try_send()?;
        Ok(if self.pending.is_empty() { limits::STDIO_CHUNK } else { 0 })
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        // The chunk stays here until there is room for it, because this future can be dropped while
        // it waits.
        if let Ok(permit) = self.sender.reserve().await {
            permit.send(std::mem::take(&mut self.pending));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn dropped() -> Counter {
        Registry::new().dropped("output", "write_failed")
    }

    /// Holds writes back until the lock is free.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn blocked_output_blocks_no_thread() {
        let sink = Sink::default();
        let (output, ended) = start(
            "test",
            {
                let sink = sink.clone();
                move || sink
            },
            dropped(),
        )
        .unwrap();
        let mut stream = output.p2_stream();
        let chunk = Bytes::from_static(b"0123456789");
        let mut written = 0;
        {
            let _blocked = sink.0.lock().unwrap();
            // The thread takes the first chunk and waits with it, so that it takes no other one
            // below.
            stream.write(chunk.clone()).unwrap();
            written += 1;
            while output.sender.capacity() < limits::STDIO_CHUNKS {
                thread::yield_now();
            }
            while stream.check_write().unwrap() > 0 {
                stream.write(chunk.clone()).unwrap();
                written += 1;
            }
            // One is being written, and one waits for room.
            assert_eq!(written, limits::STDIO_CHUNKS + 2);
            assert!(stream.write(chunk.clone()).is_err(), "there is no permit");
            assert!(!output.line("no room".to_owned()));
        }
        stream.ready().await;
        assert!(stream.check_write().unwrap() > 0);
        drop((stream, output));
        assert_eq!(ended.recv(), Err(sync::RecvError));
        assert_eq!(sink.0.lock().unwrap().as_slice(), chunk.repeat(written), "nothing is lost");
    }

    /// Fails with these errors in turn, then writes half of the bytes of each call.
    struct Failing {
        errors: Vec<ErrorKind>,
        written: Vec<u8>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(kind) = self.errors.pop() {
                return Err(kind.into());
            }
            let half = bytes.len().div_ceil(2);
            self.written.extend_from_slice(&bytes[..half]);
            Ok(half)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer(errors: &[ErrorKind]) -> Writer<Failing> {
        let output = Failing { errors: errors.to_vec(), written: Vec::new() };
        Writer { name: "test", output, dropped: dropped(), has_failed: false }
    }

    #[test]
    fn full_disk_is_retried() {
        let mut writer = writer(&[ErrorKind::StorageFull, ErrorKind::Interrupted, ErrorKind::StorageFull]);
        writer.write(b"a line\n", true);
        assert_eq!((writer.output.written.as_slice(), writer.dropped.get()), (&b"a line\n"[..], 0));
    }

    #[test]
    fn failed_output_drops_and_recovers() {
        let mut writer = writer(&[ErrorKind::StorageFull, ErrorKind::BrokenPipe]);
        writer.write(b"lost\n", true);
        // Not retried, since the output has failed already.
        writer.write(b"lost\n", true);
        writer.write(b"back\n", true);
        assert_eq!((writer.output.written.as_slice(), writer.dropped.get()), (&b"back\n"[..], 2));
    }

    #[tokio::test]
    async fn guests_never_see_failed_output() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let dropped = dropped();
        let (output, ended) = start("test", || Closed, dropped.clone()).unwrap();
        let mut stream = output.p2_stream();
        stream.write(Bytes::from_static(b"x")).unwrap();
        while dropped.get() == 0 {
            thread::yield_now();
        }
        assert!(stream.check_write().unwrap() > 0);
        stream.write(Bytes::from_static(b"y")).unwrap();
        drop((stream, output));
        assert_eq!(ended.recv(), Err(sync::RecvError));
        assert_eq!(dropped.get(), 2);
    }
}
