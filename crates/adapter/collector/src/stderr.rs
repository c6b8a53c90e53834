//! Standard error.

use crate::bindings::wasi::cli::stderr::get_stderr;
use crate::bindings::wasi::io::streams::{OutputStream, StreamError};

/// The limit of `blocking-write-and-flush` in bytes.
const CHUNK: usize = 4096;

/// Writes lines, each in one piece if the host has room for it, so that lines of instances that run
/// at the same time do not mix.
///
/// A host that does not take them loses them; there is no other place for them.
pub(crate) fn write(lines: &[String]) {
    let stream = get_stderr();
    for line in lines {
        if write_line(&stream, line.as_bytes()).is_err() {
            return;
        }
    }
}

fn write_line(stream: &OutputStream, line: &[u8]) -> Result<(), StreamError> {
    if line.len() > CHUNK && stream.check_write()? >= line.len() as u64 {
        stream.write(line)?;
        return stream.blocking_flush();
    }
    line.chunks(CHUNK).try_for_each(|chunk| stream.blocking_write_and_flush(chunk))
}
