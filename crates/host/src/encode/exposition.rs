//! Expositions in chunks, so that no exposition is in memory as a whole.

use super::text::{self, Format};
use crate::Snapshot;

/// The exposition of a snapshot, encoded chunk by chunk. It keeps the snapshot until its last chunk
/// or until it is dropped.
///
/// The chunks together are what the encoder of the format returns at once.
///
/// ```
/// # use std::time::Duration;
/// use wasmetry_host::encode::{Exposition, prometheus};
///
/// let registry = wasmetry_host::Registry::new();
/// let jobs = registry.counter("jobs_total", "Jobs done.", &["queue"]);
/// for queue in 0..100 {
///     jobs.with(&[&queue.to_string()]).inc();
/// }
/// let snapshot = registry.snapshot(Duration::ZERO);
/// let mut exposition = Exposition::prometheus(snapshot.clone());
/// let chunks: Vec<Vec<u8>> = std::iter::from_fn(|| exposition.next_chunk(1024)).collect();
/// assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.len() < 1200));
/// assert_eq!(chunks.concat(), prometheus::encode(&snapshot).into_bytes());
/// ```
#[derive(Debug)]
pub struct Exposition {
    snapshot: Snapshot,
    encoder: Encoder,
}

/// The format, and the position in the snapshot.
#[derive(Debug)]
enum Encoder {
    Text(Format, text::Position),
    #[cfg(feature = "protobuf")]
    Protobuf(super::protobuf::Position),
}

/// The bytes that are reserved for a chunk. A longer one grows.
const MAX_CAPACITY: usize = 64 << 10;

impl Exposition {
    /// Creates an exposition in Prometheus' text format.
    pub fn prometheus(snapshot: Snapshot) -> Self {
        Self::text(snapshot, Format::Prometheus)
    }

    /// Creates an exposition in OpenMetrics, with or without the samples of [start
    /// times](crate::Series::created).
    pub fn openmetrics(snapshot: Snapshot, with_created: bool) -> Self {
        Self::text(snapshot, Format::OpenMetrics { with_created })
    }

    fn text(snapshot: Snapshot, format: Format) -> Self {
        Self { snapshot, encoder: Encoder::Text(format, text::Position::default()) }
    }

    /// Creates an exposition in Prometheus' Protocol Buffers.
    #[cfg(feature = "protobuf")]
    pub fn protobuf(snapshot: Snapshot) -> Self {
        Self { snapshot, encoder: Encoder::Protobuf(super::protobuf::Position::default()) }
    }

    /// Returns the next chunk, which has at least `size` bytes unless it is the last one. Returns
    /// `None` behind the last one.
    ///
    /// A chunk is longer by up to one line of the text, or by up to one series in Protocol Buffers.
    pub fn next_chunk(&mut self, size: usize) -> Option<Vec<u8>> {
        let (chunk, is_end) = match &mut self.encoder {
            Encoder::Text(format, position) => {
                let mut out = String::with_capacity(size.min(MAX_CAPACITY));
                text::write(&self.snapshot, *format, position, &mut out, size.max(1));
                (out.into_bytes(), position.is_end())
            }
            #[cfg(feature = "protobuf")]
            Encoder::Protobuf(position) => {
                let mut out = Vec::new();
                super::protobuf::write(&self.snapshot, position, &mut out, size.max(1));
                (out, position.is_end(&self.snapshot))
            }
        };
        if is_end {
            self.snapshot = Snapshot::default();
        }
        (!chunk.is_empty()).then_some(chunk)
    }
}
