//! The error of all decoders.

use core::fmt;

/// An error in the bytes of a descriptor section or of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes ended inside a record.
    Truncated,
    /// A record names a format version that this release cannot read.
    Version(u8),
    /// A record has a kind that this release does not support.
    Kind(u8),
    /// A text is not UTF-8.
    Utf8,
    /// A field has a value outside its range; the text names the field.
    Field(&'static str),
    /// A record has bytes left after its last field.
    Trailing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end inside a record"),
            Self::Version(found) => {
                write!(f, "a record has format version {found}, this release reads version {}", crate::VERSION)
            }
            Self::Kind(kind) => write!(f, "a record has the unknown kind {kind}"),
            Self::Utf8 => f.write_str("a text is not UTF-8"),
            Self::Field(name) => write!(f, "the field `{name}` is out of range"),
            Self::Trailing => f.write_str("a record has bytes after its last field"),
        }
    }
}

impl core::error::Error for DecodeError {}
