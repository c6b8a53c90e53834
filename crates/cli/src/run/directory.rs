//! The host directories of a program.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// A directory and its name in the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    host: PathBuf,
    guest: String,
}

impl Directory {
    /// Parses `HOST::GUEST`, or `HOST` alone for the same name in the program.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        let (host, guest) = value.split_once("::").unwrap_or((value, value));
        if host.is_empty() || guest.is_empty() {
            return Err("expected `HOST` or `HOST::GUEST`, two paths such as `./data::/data`".to_owned());
        }
        Ok(Self { host: host.into(), guest: guest.to_owned() })
    }

    /// Opens the directory for reading and writing by the program.
    pub(super) fn open(&self, wasi: &mut WasiCtxBuilder) -> Result<()> {
        let shown = self.host.display();
        wasi.preopened_dir(&self.host, &self.guest, FsPerms::ReadWrite).map_err(|error| {
            anyhow!(
                "cannot open the directory {shown}: {}; give a directory that exists and can be read with --dir",
                error.root_cause()
            )
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let directory = |host: &str, guest: &str| Directory { host: host.into(), guest: guest.to_owned() };
        assert_eq!(Directory::parse("data"), Ok(directory("data", "data")));
        assert_eq!(Directory::parse("."), Ok(directory(".", ".")));
        assert_eq!(Directory::parse("/srv/in::/data"), Ok(directory("/srv/in", "/data")));
        assert_eq!(Directory::parse("a::b::c"), Ok(directory("a", "b::c")));
        for wrong in ["", "::", "a::", "::b"] {
            assert!(Directory::parse(wrong).is_err(), "{wrong}");
        }
    }
}
