//! A file whose changes cause a reload.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// The version of a file: its length, modification time and inode. `None` if it cannot be read.
pub(in crate::serve) type FileVersion = Option<(u64, SystemTime, u64)>;

/// A file and its version before it was read.
#[derive(Debug)]
pub(in crate::serve) struct WatchedFile {
    path: PathBuf,
    pub(in crate::serve) version: FileVersion,
}

impl WatchedFile {
    /// Notes the version of a file that is about to be read.
    pub(in crate::serve) fn new(path: PathBuf) -> Self {
        let mut file = Self { path, version: None };
        file.version = file.current_version();
        file
    }

    /// Returns the version that the file has now.
    pub(in crate::serve) fn current_version(&self) -> FileVersion {
        let metadata = fs::metadata(&self.path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some((metadata.len(), metadata.modified().ok()?, inode))
    }
}
