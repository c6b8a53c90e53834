//! A WebAssembly binary: reading it from a file, and errors for files of any other kind.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::process::{regular_file, system_error};
use crate::text;

/// Bytes of the largest file that is read. The largest known components, interpreters included,
/// have about 40 MiB. Compiling takes some ten times as much memory.
const MAX_FILE: u64 = 128 << 20;

/// Components in components. Composing nests two or three; the time to compile grows with the
/// square of the depth.
const MAX_NESTING: usize = 100;

/// Hexadecimal digits of a binary's SHA-256 in its default version.
const VERSION_DIGITS: usize = 12;

/// The kind of a binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Component,
    Module,
}

/// The SHA-256 of a binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the default version of a binary: the first digits of its SHA-256.
    pub(crate) fn version(&self) -> String {
        let mut digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.truncate(VERSION_DIGITS);
        digits
    }
}

/// A WebAssembly binary and its path.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
}

impl Binary {
    /// Reads a file and checks that it is a complete binary of a known kind. It is not validated.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = regular_file::open(path, "a .wasm file")?;
        let unreadable = |error: io::Error| system_error::explain(&error, format!("cannot read {shown}: {error}"));
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE {
            bail!("{shown} is larger than {}; check that it is a WebAssembly binary", text::size(MAX_FILE));
        }
        let kind = kind(&bytes).with_context(|| shown.to_string())?;
        Ok(Self { path: path.to_owned(), bytes, kind })
    }

    /// The file's name without its extension.
    pub(crate) fn stem(&self) -> String {
        stem(&self.path)
    }

    /// Returns the SHA-256 of its bytes.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Returns an error if this is a core module; `what` is the word for what is to be built, such
    /// as "service".
    pub(crate) fn require_component(&self, what: &str) -> Result<()> {
        if self.kind == Kind::Module {
            bail!(
                "{} is a core module, not a component: build the {what} for wasm32-wasip2, \
                 or make a component of it with `wasm-tools component new`",
                self.path.display()
            );
        }
        Ok(())
    }

    /// Returns `true` if the component exports an interface of this name, in any version.
    pub(crate) fn exports(&self, interface: &str) -> bool {
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(&self.bytes).map_while(Result::ok) {
            match payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentExportSection(section) if depth == 1 => {
                    let is_it = |name: &str| name.split('@').next() == Some(interface);
                    if section.into_iter().flatten().any(|export| is_it(export.name.name)) {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// Counts the linear memories and the tables that its modules define.
    pub(crate) fn count_memories_and_tables(&self) -> (u32, u32) {
        let (mut memories, mut tables) = (0, 0);
        for payload in Parser::new(0).parse_all(&self.bytes).map_while(Result::ok) {
            match payload {
                Payload::MemorySection(section) => memories += section.count(),
                Payload::TableSection(section) => tables += section.count(),
                _ => {}
            }
        }
        (memories, tables)
    }
}

/// Returns a file's name without its extension.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn kind(bytes: &[u8]) -> Result<Kind> {
    if bytes.is_empty() {
        bail!("the file is empty; build the service again");
    }
    if !bytes.starts_with(b"\0asm") {
        if bytes.trim_ascii_start().starts_with(b"(") {
            bail!("this is WebAssembly text, not a binary; translate it with `wasm-tools parse IN.wat -o OUT.wasm`");
        }
        bail!(
            "this is not a WebAssembly binary (it does not begin with `\\0asm`); \
             give a component, as `cargo build --target wasm32-wasip2` makes it"
        );
    }
    let (mut kind, mut depth) = (None, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { encoding, .. }) => {
                kind.get_or_insert(match encoding {
                    Encoding::Component => Kind::Component,
                    Encoding::Module => Kind::Module,
                });
                depth += 1;
                if depth > MAX_NESTING {
                    bail!("its components are nested more than {MAX_NESTING} deep; compose them side by side");
                }
            }
            Ok(Payload::End(_)) => depth -= 1,
            Ok(_) => {}
            Err(error) => {
                bail!(
                    "the binary is cut off or damaged at byte {}: {}; build or copy it again",
                    error.offset(),
                    error.message()
                )
            }
        }
    }
    kind.context("the binary has no header; build or copy it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(wat: &str) -> Binary {
        let bytes = wat::parse_str(wat).unwrap();
        let kind = kind(&bytes).unwrap();
        Binary { path: "dir/shop.front.wasm".into(), bytes, kind }
    }

    #[test]
    fn kinds() {
        assert_eq!(binary("(module)").kind, Kind::Module);
        assert_eq!(binary("(component)").kind, Kind::Component);
        assert_eq!(binary("(component (core module))").kind, Kind::Component);
    }

    #[test]
    fn identity() {
        let binary = binary("(component)");
        assert_eq!(binary.stem(), "shop.front");
        let version = binary.digest().version();
        assert_eq!(version.len(), VERSION_DIGITS);
        assert!(version.bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn nested_memories_and_tables_are_counted() {
        let wat = "(component
            (core module (memory 1) (table 1 funcref))
            (component (core module (memory 1) (table 1 funcref) (table 2 funcref))))";
        assert_eq!(binary(wat).count_memories_and_tables(), (2, 3));
    }

    #[test]
    fn truncated_binary_is_refused() {
        let bytes = wat::parse_str("(component (core module (memory 1) (func)))").unwrap();
        for end in 0..8 {
            assert!(kind(&bytes[..end]).is_err(), "{end}");
        }
        assert!(kind(&bytes[..bytes.len() - 1]).is_err());
        assert!(kind(&bytes).is_ok());
    }
}
