//! The values of a record.

use core::fmt;

/// A value of a record: an argument of a message, a field, or an attribute.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// An integer.
    Signed(i64),
    /// An integer that is not negative.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// A value that the guest formats by `Display`.
    Display(&'a dyn fmt::Display),
    /// A value that the guest formats by `Debug`.
    Debug(&'a dyn fmt::Debug),
}
