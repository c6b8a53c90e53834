//! Whether a file has changed.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// What tells one state of a file from another; nothing where it cannot be read.
pub(super) type Stamp = Option<(u64, SystemTime, u64)>;

/// A file, as it was before it was read.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    pub(super) stamp: Stamp,
}

impl File {
    /// Remembers how the file is, which is about to be read.
    pub(super) fn new(path: PathBuf) -> Self {
        let mut file = Self { path, stamp: None };
        file.stamp = file.look();
        file
    }

    /// How the file is now.
    pub(super) fn look(&self) -> Stamp {
        let metadata = fs::metadata(&self.path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some((metadata.len(), metadata.modified().ok()?, inode))
    }
}
