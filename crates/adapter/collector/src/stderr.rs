//! Standard error.

use crate::bindings::wasi::cli::stderr::get_stderr;

/// What `blocking-write-and-flush` takes at once.
const CHUNK: usize = 4096;

/// Writes lines, each in one piece if it is no longer than [`CHUNK`].
///
/// A host that does not take them has them no more; there is nobody else to tell.
pub(crate) fn write(lines: &[String]) {
    let stream = get_stderr();
    for chunk in lines.iter().flat_map(|line| line.as_bytes().chunks(CHUNK)) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
}
