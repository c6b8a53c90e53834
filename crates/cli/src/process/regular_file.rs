//! Opening files that a command line or a configuration names.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Result, bail};

use super::system_error;

/// Opens a file. `what` is the thing that it should be, such as "a .wasm file".
///
/// # Errors
///
/// If it cannot be opened, or is no regular file: opening a pipe waits for its other end, and
/// reading a device may have no end.
pub(crate) fn open(path: &Path, what: &str) -> Result<File> {
    let shown = path.display();
    let unopened =
        |error: io::Error| system_error::explain(&error, format!("cannot open {shown}: {error}; check the path"));
    let check = |metadata: &fs::Metadata| match kind(metadata.file_type()) {
        None => Ok(()),
        Some("a directory") => bail!("{shown} is a directory; give the path of {what} in it"),
        Some(kind) => bail!("{shown} is {kind}, not a file; give the path of {what}"),
    };
    // Before it is opened, which has effects of its own for pipes and devices, and after, as the
    // path may name another file by then.
    check(&fs::metadata(path).map_err(unopened)?)?;
    let file = File::open(path).map_err(unopened)?;
    check(&file.metadata().map_err(unopened)?)?;
    Ok(file)
}

/// Returns the kind of what is no regular file.
fn kind(kind: fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        return None;
    }
    if kind.is_dir() {
        return Some("a directory");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        let kinds = [
            (kind.is_fifo(), "a pipe"),
            (kind.is_socket(), "a socket"),
            (kind.is_char_device() || kind.is_block_device(), "a device"),
        ];
        if let Some((_, name)) = kinds.into_iter().find(|(is_kind, _)| *is_kind) {
            return Some(name);
        }
    }
    Some("a special file")
}
