//! The stdout and stderr of this process, behind bounded queues: for the host's own lines, and for
//! guests whose output is raw.
//!
//! A write to a pipe that is not read blocks. On a thread that runs guests it would block all other
//! requests too, so each output has a thread of its own. A guest that finds its queue full waits by
//! itself, until its deadline at the latest. An output that fails, such as a full disk or a closed
//! pipe, never fails a guest: what cannot be written is dropped and counted, with its owner.
//!
//! The host and each tenant have a lane of their own, and the thread takes a chunk of each in turn.
//! So a tenant that floods waits for itself, and not another one for it.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc as sync;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use wasmetry_host::{Identity, Registry};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::limits;
use crate::guest::share::Owner;
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
        let (stdout, stdout_ended) = start("stdout", io::stdout, registry)?;
        let (stderr, stderr_ended) = start("stderr", io::stderr, registry)?;
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
    registry: &Registry,
) -> io::Result<(Output, sync::Receiver<()>)> {
    // Those without an owner start at 0, so that `increase()` sees the first one.
    registry.dropped(SIGNAL, WRITE_FAILED);
    let registry = registry.clone();
    let (opened, lanes) = mpsc::unbounded_channel();
    let (alive, ended) = sync::channel();
    let (sender, chunks) = mpsc::channel(limits::STDIO_CHUNKS);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let alive: sync::Sender<()> = alive;
        let mut writer = Writer { name, output: open(), registry, has_failed: false };
        let mut queue = Queue { opened: lanes, lanes: vec![chunks], next: 0 };
        while let Some(chunk) = queue.next() {
            // The beginning of a line is shown if nothing follows.
            writer.write(&chunk, queue.is_empty());
        }
        drop(alive);
    })?;
    let lanes = Arc::new(Lanes { opened, senders: Mutex::default() });
    Ok((Output { sender, owner: None, lanes }, ended))
}

/// The signal and the reason of output that cannot be written, in `wasmetry_dropped_total`.
const SIGNAL: &str = "output";
const WRITE_FAILED: &str = "write_failed";

/// A piece of output, with the component whose it is; `None` for the host's own.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    owner: Option<Arc<Identity>>,
}

/// The waiting chunks of an output, as its thread has them.
struct Queue {
    /// Lanes that were opened. It ends when all clones of the output are dropped.
    opened: mpsc::UnboundedReceiver<mpsc::Receiver<Chunk>>,
    lanes: Vec<mpsc::Receiver<Chunk>>,
    /// The lane whose turn it is.
    next: usize,
}

impl Queue {
    /// Waits for the next chunk: of each lane in turn. Returns `None` once the output and all lanes
    /// have ended.
    fn next(&mut self) -> Option<Chunk> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match self.poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(chunk) => return chunk,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let is_over = loop {
            match self.opened.poll_recv(context) {
                Poll::Ready(Some(lane)) => self.lanes.push(lane),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        let mut waiting = 0;
        while waiting < self.lanes.len() {
            self.next %= self.lanes.len();
            match self.lanes[self.next].poll_recv(context) {
                Poll::Ready(Some(chunk)) => {
                    self.next += 1;
                    return Poll::Ready(Some(chunk));
                }
                // No component writes there any more. The lane after it has its place, and is next.
                Poll::Ready(None) => _ = self.lanes.remove(self.next),
                Poll::Pending => {
                    self.next += 1;
                    waiting += 1;
                }
            }
        }
        if is_over && self.lanes.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }

    fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.lanes.iter().all(mpsc::Receiver::is_empty)
    }
}

/// Wakes the thread of an output.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Writes chunks to an output that may fail.
struct Writer<W> {
    name: &'static str,
    output: W,
    registry: Registry,
    /// `true` from a chunk that was dropped until one is written.
    has_failed: bool,
}

impl<W: Write> Writer<W> {
    /// Writes a chunk. If the output fails, it retries for a bounded time and then drops the chunk.
    fn write(&mut self, chunk: &Chunk, flush: bool) {
        let (mut rest, mut delay) = (&*chunk.bytes, limits::STDIO_RETRY_DELAY);
        loop {
            let Err(error) = self.try_write(&mut rest, flush) else {
                self.has_failed = false;
                return;
            };
            // After the first chunk that was dropped, guests do not wait for retries. Each further
            // chunk is a new attempt.
            if self.has_failed || error.kind() == ErrorKind::BrokenPipe || delay > limits::MAX_STDIO_RETRY_DELAY {
                self.drop_chunk(chunk, &error);
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

    fn drop_chunk(&mut self, chunk: &Chunk, error: &io::Error) {
        match &chunk.owner {
            Some(owner) => self.registry.count_dropped(owner, SIGNAL, WRITE_FAILED, 1),
            None => self.registry.dropped(SIGNAL, WRITE_FAILED).inc(),
        }
        if !std::mem::replace(&mut self.has_failed, true) {
            let name = self.name;
            text::print_stderr(format_args!(
                "cannot write to {name}: {error}; output is dropped and counted until it can be written again"
            ));
        }
    }
}

/// One output, for the host or for a component. A clone is the same output.
#[derive(Clone)]
pub(super) struct Output {
    /// The lane of the host or of the component's tenant.
    sender: mpsc::Sender<Chunk>,
    owner: Option<Arc<Identity>>,
    lanes: Arc<Lanes>,
}

/// The lanes of one output.
struct Lanes {
    opened: mpsc::UnboundedSender<mpsc::Receiver<Chunk>>,
    /// A lane is open as long as a component has it.
    senders: Mutex<HashMap<Owner, mpsc::WeakSender<Chunk>>>,
}

impl Lanes {
    /// Returns the lane of a component's tenant. A component without one has its own.
    fn of(&self, identity: &Identity) -> mpsc::Sender<Chunk> {
        let owner = Owner::of(identity);
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(&owner).and_then(mpsc::WeakSender::upgrade) {
            return sender;
        }
        senders.retain(|_, sender| sender.strong_count() > 0);
        let (sender, lane) = mpsc::channel(limits::STDIO_LANE_CHUNKS);
        senders.insert(owner, sender.downgrade());
        // The thread runs for as long as there are lanes.
        let _ = self.opened.send(lane);
        sender
    }
}

impl Output {
    /// Returns the output for what a component's guests write, and for lines about them.
    pub(super) fn of(&self, identity: &Arc<Identity>) -> Self {
        let (sender, owner) = (self.lanes.of(identity), Some(Arc::clone(identity)));
        Self { sender, owner, lanes: Arc::clone(&self.lanes) }
    }

    /// Writes a line without waiting. Returns `false` if the queue is full.
    pub(super) fn line(&self, mut line: String) -> bool {
        line.push('\n');
        self.sender.try_send(Chunk { bytes: line.into(), owner: self.owner.clone() }).is_ok()
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
        Box::new(Stream { sender: self.sender.clone(), owner: self.owner.clone(), pending: Bytes::new() })
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // For WASI 0.3, whose components are not served.
        Box::new(tokio::io::sink())
    }
}

/// A guest's handle of an output.
struct Stream {
    sender: mpsc::Sender<Chunk>,
    owner: Option<Arc<Identity>>,
    /// A chunk for which the queue had no room. The guest cannot write before it is sent.
    pending: Bytes,
}

impl Stream {
    fn take_pending(&mut self) -> Chunk {
        Chunk { bytes: std::mem::take(&mut self.pending), owner: self.owner.clone() }
    }

    fn try_send(&mut self) -> StreamResult<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = self.take_pending();
        match self.sender.try_send(chunk) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(chunk)) => {
                self.pending = chunk.bytes;
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
        let sender = self.sender.clone();
        if let Ok(permit) = sender.reserve().await {
            permit.send(self.take_pending());
        }
    }
}

#[cfg(test)]
mod tests;
