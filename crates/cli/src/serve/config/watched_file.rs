//! Whether a file has changed.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// What tells one state of a file from another; nothing where it cannot be read.
pub(in crate::serve) type FileVersion = Option<(u64, SystemTime, u64)>;

/// A file, as it was before it was read.
#[derive(Debug)]
pub(in crate::serve) struct WatchedFile {
    path: PathBuf,
    pub(in crate::serve) version: FileVersion,
}

impl WatchedFile {
    /// Remembers how the file is, which is about to be read.
    pub(in crate::serve) fn new(path: PathBuf) -> Self {
        let mut file = Self { path, version: None };
        file.version = file.look();
        file
    }

    /// How the file is now.
    pub(in crate::serve) fn look(&self) -> FileVersion {
        let metadata = fs::metadata(&self.path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some((metadata.len(), metadata.modified().ok()?, inode))
    }
}
