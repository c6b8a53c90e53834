//! Expositions while they are delivered: each is encoded and compressed chunk by chunk, as its
//! client reads.
//!
//! An exposition that is being delivered has a snapshot, and a [`Permit`] for it. Its delivery ends
//! after [`Config::delivery_timeout`](super::Config), and after
//! [`Config::delivery_patience`](super::Config) if another scrape waits for a permit. Its client
//! then has an incomplete response, as the connection is closed.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame};
use wasmetry_host::encode::Exposition;

use super::connection_set::{Activity, Closure};
use super::content_encoding::Encoding;
use super::permit::Permit;
use super::route::Source;
use crate::limits;

/// The chunks between which the endpoint's thread serves other connections.
const CHUNKS_PER_TURN: usize = 4;

/// The part of a body that is not encoded yet. It is `None` behind the last chunk, or if the
/// delivery was ended.
type Shared = Mutex<Option<Rest>>;

/// An exposition that is being delivered. A clone is of the same.
#[derive(Clone)]
pub(super) struct OpenDelivery {
    rest: Weak<Shared>,
    /// The chunks that the client's connection has taken.
    chunks: Arc<AtomicU64>,
    activity: Activity,
}

impl OpenDelivery {
    /// Returns the number of chunks that the client's connection has taken.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks.load(Ordering::Relaxed)
    }

    /// Ends the delivery: drops its snapshot, whether its client reads or not, and has the
    /// connection closed.
    pub(super) fn end(&self) {
        let rest = self.rest.upgrade().and_then(|rest| lock(&rest).take());
        if let Some(rest) = rest {
            rest.source.closed(Closure::SlowReader);
            self.activity.cut();
        }
    }
}

fn lock(rest: &Shared) -> MutexGuard<'_, Option<Rest>> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of an exposition that is not encoded yet, with its snapshot.
pub(super) struct Rest {
    exposition: Exposition,
    gzip: Option<GzEncoder<Vec<u8>>>,
    source: Arc<dyn Source>,
    /// The time that collecting and encoding took up to now.
    busy: Duration,
    permit: Permit,
}

/// The beginning of an exposition.
pub(super) enum Start {
    /// All of it, and the encoding that was used.
    Whole(Vec<u8>, Encoding),
    /// The first chunk, and the rest.
    First(Vec<u8>, Box<Rest>),
}

impl Rest {
    /// Encodes the beginning of an exposition. `begin` is the time at which its snapshot was
    /// requested.
    ///
    /// It may take a while if the snapshot is large, and runs on a thread of its own.
    pub(super) fn start(
        mut exposition: Exposition,
        encoding: Encoding,
        source: Arc<dyn Source>,
        begin: Instant,
        permit: Permit,
    ) -> Start {
        let first = exposition.next_chunk(limits::CHUNK_BYTES).unwrap_or_default();
        if first.len() < limits::CHUNK_BYTES {
            let (body, encoding) = encoding.encode(first);
            source.scraped(begin.elapsed());
            return Start::Whole(body, encoding);
        }
        let gzip = (encoding == Encoding::Gzip).then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        let mut rest = Self { exposition, gzip, source, busy: Duration::ZERO, permit };
        let first = rest.compress(first);
        rest.busy = begin.elapsed();
        Start::First(first, Box::new(rest))
    }

    /// Begins to deliver an exposition by a connection. `first` was encoded before.
    pub(super) fn deliver(self, first: Vec<u8>, activity: &Activity) -> StreamedBody {
        let rest = Arc::new(Mutex::new(Some(self)));
        let chunks = Arc::<AtomicU64>::default();
        let delivery =
            OpenDelivery { rest: Arc::downgrade(&rest), chunks: Arc::clone(&chunks), activity: activity.clone() };
        if let Some(rest) = &*lock(&rest) {
            rest.permit.set_delivery(delivery);
        }
        StreamedBody { first: Some(first.into()), rest, chunks, turn: 0, is_ended: false }
    }

    /// Returns the next chunk, which may be empty, or `None` at the end.
    fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let begin = Instant::now();
        let chunk = match self.exposition.next_chunk(limits::CHUNK_BYTES) {
            Some(chunk) => Some(self.compress(chunk)),
            // Writing to memory does not fail.
            None => self.gzip.take().and_then(|gzip| gzip.finish().ok()),
        };
        self.busy += begin.elapsed();
        chunk
    }

    fn compress(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        let Some(gzip) = &mut self.gzip else { return chunk };
        // As above.
        let _ = gzip.write_all(&chunk);
        std::mem::take(gzip.get_mut())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.source.scraped(self.busy);
    }
}

/// The body of a response that is encoded as the client reads it.
pub(super) struct StreamedBody {
    first: Option<Bytes>,
    rest: Arc<Shared>,
    chunks: Arc<AtomicU64>,
    /// The chunks since other connections were served.
    turn: usize,
    is_ended: bool,
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take().filter(|first| !first.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if this.is_ended {
            return Poll::Ready(None);
        }
        loop {
            if this.turn == CHUNKS_PER_TURN {
                this.turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.turn += 1;
            this.chunks.fetch_add(1, Ordering::Relaxed);
            let mut rest = lock(&this.rest);
            let Some(encoder) = &mut *rest else {
                this.is_ended = true;
                let error = io::Error::new(io::ErrorKind::TimedOut, "the client was too slow");
                return Poll::Ready(Some(Err(error)));
            };
            match encoder.next_chunk() {
                // The compressor has kept it.
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => return Poll::Ready(Some(Ok(Frame::data(chunk.into())))),
                None => {
                    *rest = None;
                    this.is_ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}
