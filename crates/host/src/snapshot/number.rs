//! Numbers: the value of a sample.

/// The value of a sample, in the type in which it was counted, so that no encoder has to round it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Number {
    /// A count.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// A duration in nanoseconds, which is exported in seconds.
    Nanos(u64),
}

impl Number {
    /// Returns the nearest `f64`; a duration in seconds.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => value,
            Self::Nanos(value) => value as f64 / 1e9,
        }
    }
}
