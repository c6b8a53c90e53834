//! Whether a file has changed.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// What tells one state of a file from another; nothing where it cannot be read.
pub(super) type FileVersion = Option<(u64, SystemTime, u64)>;

/// A file, as it was before it was read.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    pub(super) version: FileVersion,
}

impl WatchedFile {
    /// Remembers how the file is, which is about to be read.
    pub(super) fn new(path: PathBuf) -> Self {
        let mut file = Self { path, version: None };
        file.version = file.look();
        file
    }

    /// How the file is now.
    pub(super) fn look(&self) -> FileVersion {
        let metadata = fs::metadata(&self.path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some((metadata.len(), metadata.modified().ok()?, inode))
    }
}
