//! The file for audit records.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::Error;

/// The file to which audit records are appended.
pub(crate) struct AuditFile(File);

impl AuditFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::options().append(true).create(true).open(path);
        opened.map(Self).map_err(|error| Error::Audit { path: path.to_owned(), error })
    }
}

impl Write for AuditFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Returns when everything is on the disk.
    fn flush(&mut self) -> io::Result<()> {
        match self.0.sync_data() {
            // A pipe or a terminal has nothing to wait for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}
