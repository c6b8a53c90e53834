//! A file that is read again when it changes.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// The version of a file: its length, modification time and inode. `None` if it cannot be read.
pub(crate) type FileVersion = Option<(u64, SystemTime, u64)>;

/// A file and its version before it was read.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    pub(crate) version: FileVersion,
    /// The version at the last call of [`has_settled`](Self::has_settled).
    last_polled: FileVersion,
}

impl WatchedFile {
    /// Notes the version of a file that is about to be read.
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut file = Self { path, version: None, last_polled: None };
        file.version = file.current_version();
        file.last_polled = file.version;
        file
    }

    /// Returns the version that the file has now.
    pub(crate) fn current_version(&self) -> FileVersion {
        let metadata = fs::metadata(&self.path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some((metadata.len(), metadata.modified().ok()?, inode))
    }

    /// Returns `true` if the file has changed, and has the same version as at the last call, so
    /// that it is not read while it is written. The change is returned once.
    pub(crate) fn has_settled(&mut self) -> bool {
        let current = self.current_version();
        let is_settled = current != self.version && current == self.last_polled;
        self.last_polled = current;
        if is_settled {
            self.version = current;
        }
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_returned_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watched = WatchedFile::new(file.path().to_owned());
        assert!(!watched.has_settled());
        fs::write(file.path(), "changed").unwrap();
        assert!(!watched.has_settled(), "it may still be written");
        assert!(watched.has_settled());
        assert!(!watched.has_settled());
        fs::write(file.path(), "changed again").unwrap();
        assert!(!watched.has_settled());
        fs::write(file.path(), "while it was looked at").unwrap();
        assert!(!watched.has_settled());
        assert!(watched.has_settled());
    }
}
