use core::fmt;

/// An argument of a record.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A whole number.
    Signed(i64),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// Something that is made a text in the guest.
    Display(&'a dyn fmt::Display),
    /// The same, for its author.
    Debug(&'a dyn fmt::Debug),
}
