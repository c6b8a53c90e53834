use std::fmt;

use wasmetry_host::Error as HostError;

/// Why a call from JavaScript did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// There is no such thing.
    Handle {
        /// What kind of thing it should be.
        what: &'static str,
        /// Its number.
        handle: u32,
    },
    /// The input is not what the function takes.
    Input,
    /// The input is larger than there is memory for.
    Memory {
        /// Bytes in the input.
        bytes: usize,
    },
    /// A number stands for nothing.
    Choice {
        /// What it should stand for.
        what: &'static str,
        /// The number.
        number: u32,
    },
    /// The binary cannot be read.
    Binary(HostError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle { what, handle } => {
                write!(f, "there is no {what} {handle}: it has ended, or it is of another registry")
            }
            Self::Input => f.write_str(
                "the core does not understand its input: `dist/core.wasm` and the package's JavaScript are of different versions; install the package again",
            ),
            Self::Memory { bytes } => {
                write!(f, "there is no memory for {bytes} bytes of input; give a smaller binary, or end instances that are not used")
            }
            Self::Choice { what, number } => write!(f, "there is no {what} with the number {number}"),
            Self::Binary(error) => error.fmt(f),
        }
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        Self::Binary(error)
    }
}
