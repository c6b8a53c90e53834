//! The file for audit records.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::LineOutput;
use crate::Error;

/// A file to which lines are appended, and which may be rotated.
///
/// It is opened again when its path leads to another file or to none, which is checked before each
/// batch. After each batch, a file that has no name any more is noticed, and the batch is written
/// again to the new one.
pub(in crate::push) struct AuditFile {
    path: PathBuf,
    file: File,
}

impl AuditFile {
    pub(in crate::push) fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        match append(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Error::Audit { path, error }),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

impl LineOutput for AuditFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.file.sync_data() {
            // A pipe or a terminal cannot be synchronised.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        Ok(())
    }

    #[cfg(unix)]
    fn reopen_if_moved(&mut self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;

        let current = self.file.metadata()?;
        let is_same = match std::fs::metadata(&self.path) {
            Ok(named) => (named.dev(), named.ino()) == (current.dev(), current.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !is_same {
            self.reopen()?;
        }
        Ok(!is_same)
    }

    #[cfg(unix)]
    fn was_removed(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;

        let current = self.file.metadata()?;
        Ok(current.is_file() && current.nlink() == 0)
    }
}
