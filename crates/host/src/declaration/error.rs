use std::fmt;

/// Why the host could not read a binary.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not start as WebAssembly does.
    NotWasm,
    /// The binary starts as WebAssembly but cannot be walked to its end.
    Malformed {
        /// The offset in the binary where the walk ended.
        offset: usize,
        /// What the parser found there.
        cause: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWasm => f.write_str(
                "the binary is not WebAssembly: it does not start with `\\0asm`; give a component or core module in binary form",
            ),
            Self::Malformed { offset, cause } => {
                write!(f, "the binary cannot be read at offset {offset:#x}: {cause}; build it again or copy it again")
            }
        }
    }
}

impl std::error::Error for Error {}
