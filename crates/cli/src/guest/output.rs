//! The standard output and error of guests, as log records: one for each line that a guest prints.
//!
//! In come the bytes that a guest writes, in pieces of any size; out go records with the guest's
//! identity and trace. Printed text cannot pass for a record, because it is a value of one.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmetry_host::PrintedLines;
use wasmetry_host::limits::OUTPUT_LINE;
use wasmetry_host::record::OutputStream as Stream;
use wasmetry_wasmtime::wall_clock;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::limits;

/// Returns the stdout and stderr of a guest whose lines are recorded.
pub(crate) fn streams(lines: PrintedLines) -> [PrintedStream; 2] {
    let lines = Arc::new(Mutex::new(lines));
    [Stream::Stdout, Stream::Stderr].map(|stream| {
        let splitter = LineSplitter { lines: Arc::clone(&lines), stream, line: Vec::new() };
        PrintedStream { splitter: Arc::new(Mutex::new(splitter)) }
    })
}

/// The stdout or stderr of one guest. A clone is the same stream.
#[derive(Clone)]
pub(crate) struct PrintedStream {
    splitter: Arc<Mutex<LineSplitter>>,
}

/// Splits what a guest writes to a stream into lines.
struct LineSplitter {
    lines: Arc<Mutex<PrintedLines>>,
    stream: Stream,
    /// The beginning of a line whose end has not been written.
    line: Vec<u8>,
}

impl LineSplitter {
    fn write(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// Adds to the line, which becomes several lines if it is too long for one.
    fn extend(&mut self, mut bytes: &[u8]) {
        while self.line.len() + bytes.len() > OUTPUT_LINE {
            let (fitting, rest) = bytes.split_at(OUTPUT_LINE - self.line.len());
            self.line.extend_from_slice(fitting);
            self.end_line();
            bytes = rest;
        }
        self.line.extend_from_slice(bytes);
    }

    /// Records the line, unless it is empty.
    fn end_line(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if !line.is_empty() {
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).record(self.stream, line, wall_clock());
        }
        self.line.clear();
    }
}

impl Drop for LineSplitter {
    /// Records a last line without an end. The guest has ended.
    fn drop(&mut self) {
        self.end_line();
    }
}

impl PrintedStream {
    fn print(&self, bytes: &[u8]) {
        self.splitter.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }
}

impl IsTerminal for PrintedStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for PrintedStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for PrintedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // The beginning of a line waits for its end, which may come in another write.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::OUTPUT_WRITE)
    }
}

#[async_trait]
impl Pollable for PrintedStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for PrintedStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmetry_host::record::{LogRecord, SpanRecord};
    use wasmetry_host::{Declarations, Filter, Identity, Recording, Registry, Sink};

    #[derive(Default)]
    struct Printed(Mutex<Vec<(Stream, String)>>);

    impl Sink for Printed {
        fn log(&self, identity: &Arc<Identity>, log: LogRecord) {
            assert_eq!(identity.component(), "shop");
            self.0.lock().unwrap().push((log.stream.unwrap(), log.message.into()));
        }

        fn span(&self, _: &Arc<Identity>, _: SpanRecord) {}
    }

    /// Writes pieces to both streams of a guest and ends it. Returns the records.
    fn printed(filter: &str, pieces: &[&[u8]]) -> Vec<(Stream, String)> {
        let sink = Arc::<Printed>::default();
        let component = Registry::new().component(Identity::new("shop"), Declarations::default());
        let recording = Recording { export: filter.parse::<Filter>().unwrap(), ..Recording::default() };
        let telemetry = component.request_telemetry(Arc::<Printed>::clone(&sink), Arc::new(recording));
        for stream in streams(telemetry.printed_lines(None)) {
            for piece in pieces {
                stream.p2_stream().write(Bytes::copy_from_slice(piece)).unwrap();
            }
        }
        std::mem::take(&mut *sink.0.lock().unwrap())
    }

    fn stdout(pieces: &[&[u8]]) -> Vec<String> {
        printed("info,stderr=off", pieces).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn lines_become_records() {
        assert_eq!(stdout(&[b"a", b"b\nc\r\n\n", b"", b"\xff\x1b[31m"]), ["ab", "c", "\u{fffd}\u{1b}[31m"]);
    }

    #[test]
    fn long_lines_are_split() {
        let long = vec![b'x'; OUTPUT_LINE + 1];
        assert_eq!(stdout(&[&long, b"y\n"]).iter().map(String::len).collect::<Vec<_>>(), [OUTPUT_LINE, 2]);
    }

    #[test]
    fn streams_are_targets_of_filters() {
        // A line has no level, so that it is exported at all levels but `off`.
        let both = [(Stream::Stdout, "text".to_owned()), (Stream::Stderr, "text".to_owned())];
        assert_eq!(printed("error", &[b"text\n"]), both);
        assert_eq!(printed("info,stdout=off", &[b"text\n"]), both[1..]);
    }
}
