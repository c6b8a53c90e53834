use std::fmt;

use wasmetry_host::Error as HostError;

/// The reason why a call from JavaScript failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// A handle refers to nothing.
    Handle {
        /// The kind that it should refer to.
        what: &'static str,
        /// Its number.
        handle: u32,
    },
    /// The input is malformed.
    Input,
    /// The core has no memory for the input.
    Memory {
        /// The bytes of the input.
        bytes: usize,
    },
    /// A number has no meaning.
    Choice {
        /// The kind of choice.
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
