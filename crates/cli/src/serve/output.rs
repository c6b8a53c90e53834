//! The guests' stdout and stderr: this process's, through a bounded queue.
//!
//! Writing to a pipe that nobody reads blocks. Where guests run it would block every other request
//! too; so a thread of its own writes, and a guest that finds the queue full waits by itself, as
//! long as its deadline lets it.

use std::io::{self, Write};
use std::sync::mpsc as sync;
use std::thread;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::limits;

/// Both outputs of the process.
pub(super) struct Stdio {
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    ended: [sync::Receiver<()>; 2],
}

impl Stdio {
    /// Starts a thread for each output.
    pub(super) fn start() -> io::Result<Self> {
        let (stdout, stdout_ended) = start("stdout", io::stdout)?;
        let (stderr, stderr_ended) = start("stderr", io::stderr)?;
        Ok(Self { stdout, stderr, ended: [stdout_ended, stderr_ended] })
    }

    /// Waits until everything is written, but not for long; all clones of the outputs must be gone.
    pub(super) fn finish(self) {
        drop((self.stdout, self.stderr));
        for ended in self.ended {
            // Nothing is ever sent: the thread drops its end.
            let _ = ended.recv_timeout(limits::STDIO_TIMEOUT);
        }
    }
}

fn start<W: Write>(name: &str, open: impl FnOnce() -> W + Send + 'static) -> io::Result<(Output, sync::Receiver<()>)> {
    let (sender, mut chunks) = mpsc::channel::<Bytes>(limits::STDIO_CHUNKS);
    let (alive, ended) = sync::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let alive: sync::Sender<()> = alive;
        let mut output = open();
        while let Some(chunk) = chunks.blocking_recv() {
            let written = output.write_all(&chunk);
            // A line may be long in coming; what is there is shown when nothing follows.
            let flushed = if chunks.is_empty() { output.flush() } else { Ok(()) };
            if written.and(flushed).is_err() {
                // Nobody reads any more. Guests see a closed stream.
                break;
            }
        }
        // Who is told of the end finds the stream closed.
        drop(chunks);
        drop(alive);
    })?;
    Ok((Output { sender }, ended))
}

/// One output. A clone is the same output.
#[derive(Clone)]
pub(super) struct Output {
    sender: mpsc::Sender<Bytes>,
}

impl Output {
    /// Writes a line without waiting; returns `false` if it cannot be taken now.
    pub(super) fn line(&self, mut line: String) -> bool {
        line.push('\n');
        self.sender.try_send(line.into()).is_ok()
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        // What a terminal shows comes from many instances, so none has it for itself.
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Stream { sender: self.sender.clone(), pending: Bytes::new() })
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for it, whose components are not served.
        Box::new(tokio::io::sink())
    }
}

/// A guest's handle of an output.
struct Stream {
    sender: mpsc::Sender<Bytes>,
    /// A chunk that the queue had no room for; the guest may not write before it is gone.
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
        if self.sender.is_closed() {
            return Err(StreamError::Closed);
        }
        Ok(if self.pending.is_empty() { limits::STDIO_CHUNK } else { 0 })
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        // The chunk stays here until there is room for it, as this future may be dropped while it
        // waits.
        if let Ok(permit) = self.sender.reserve().await {
            permit.send(std::mem::take(&mut self.pending));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

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
    async fn a_blocked_output_blocks_nobody_else() {
        let sink = Sink::default();
        let (output, ended) = start("test", {
            let sink = sink.clone();
            move || sink
        })
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

    #[tokio::test]
    async fn a_closed_output_is_a_closed_stream() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (output, ended) = start("test", || Closed).unwrap();
        let mut stream = output.p2_stream();
        stream.write(Bytes::from_static(b"x")).unwrap();
        assert_eq!(ended.recv(), Err(sync::RecvError));
        assert!(matches!(stream.check_write(), Err(StreamError::Closed)));
        stream.ready().await;
    }
}
