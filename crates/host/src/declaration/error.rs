//! The error of a binary that cannot be read.

use std::fmt;

use wasmparser::BinaryReaderError;

/// The error of a binary that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not start with the magic number of WebAssembly.
    NotWasm,
    /// The binary cannot be parsed to its end.
    Malformed {
        /// The offset in the binary at which the parser stopped.
        offset: usize,
        /// The parser's error.
        source: ParseError,
    },
}

/// The error of the WebAssembly parser.
#[derive(Clone, Debug)]
pub struct ParseError(BinaryReaderError);

impl ParseError {
    pub(super) fn new(error: BinaryReaderError) -> Self {
        Self(error)
    }
}

impl PartialEq for ParseError {
    fn eq(&self, other: &Self) -> bool {
        (self.0.offset(), self.0.message()) == (other.0.offset(), other.0.message())
    }
}

impl Eq for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message().trim_end_matches('.'))
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWasm => f.write_str(
                "the binary is not WebAssembly: it does not start with `\\0asm`; give a component or core module in binary form",
            ),
            Self::Malformed { offset, source } => {
                write!(f, "the binary cannot be read at offset {offset:#x}: {source}; build it again or copy it again")
            }
        }
    }
}

impl std::error::Error for Error {}
