//! The types that a field's value can have.

use core::fmt;

use crate::record::argument::Arg;

/// A value of a log's field or a span's attribute: a number, a boolean or a text.
///
/// Backends get the type as well, so they can compare and add up numbers. For a value of another
/// type, write `%value` for its `Display` text or `?value` for its `Debug` text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a field",
    label = "not a number, a boolean or a text",
    note = "write `%value` for its `Display` text, or `?value` for its `Debug` text"
)]
pub trait Value {
    #[doc(hidden)]
    fn arg(&self) -> Arg<'_>;
}

macro_rules! whole {
    ($variant:ident, $as:ident: $($ty:ident)+) => {
        $(impl Value for $ty {
            #[inline]
            fn arg(&self) -> Arg<'_> {
                Arg::$variant(*self as $as)
            }
        })+
    };
}

whole!(Signed, i64: i8 i16 i32 i64 isize);
whole!(Unsigned, u64: u8 u16 u32 u64 usize);
whole!(Float, f64: f32 f64);

impl Value for bool {
    #[inline]
    fn arg(&self) -> Arg<'_> {
        Arg::Bool(*self)
    }
}

impl Value for str {
    #[inline]
    fn arg(&self) -> Arg<'_> {
        Arg::Text(self)
    }
}

impl Value for char {
    #[inline]
    fn arg(&self) -> Arg<'_> {
        Arg::Display(self)
    }
}

impl Value for fmt::Arguments<'_> {
    #[inline]
    fn arg(&self) -> Arg<'_> {
        Arg::Display(self)
    }
}

impl<T: Value + ?Sized> Value for &T {
    #[inline]
    fn arg(&self) -> Arg<'_> {
        T::arg(self)
    }
}

/// A value in a macro. Of the traits below that its type implements, the compiler picks the one
/// that needs the fewest references.
#[doc(hidden)]
#[derive(Debug)]
pub struct Wrap<'a, T: ?Sized>(pub &'a T);

/// A value that is recorded by its type.
#[doc(hidden)]
pub trait ByType<'a> {
    fn field(&self) -> Arg<'a>;
    fn message(&self) -> Arg<'a>;
    fn parameter(&self) -> Arg<'a>;
}

impl<'a, T: Value + ?Sized> ByType<'a> for &&Wrap<'a, T> {
    #[inline]
    fn field(&self) -> Arg<'a> {
        self.0.arg()
    }

    #[inline]
    fn message(&self) -> Arg<'a> {
        self.0.arg()
    }

    #[inline]
    fn parameter(&self) -> Arg<'a> {
        self.0.arg()
    }
}

/// A value that is a text, such as a `String`.
#[doc(hidden)]
pub trait ByText<'a> {
    fn field(&self) -> Arg<'a>;
    fn message(&self) -> Arg<'a>;
    fn parameter(&self) -> Arg<'a>;
}

impl<'a, T: AsRef<str> + ?Sized> ByText<'a> for &Wrap<'a, T> {
    #[inline]
    fn field(&self) -> Arg<'a> {
        Arg::Text(self.0.as_ref())
    }

    #[inline]
    fn message(&self) -> Arg<'a> {
        Arg::Text(self.0.as_ref())
    }

    #[inline]
    fn parameter(&self) -> Arg<'a> {
        Arg::Text(self.0.as_ref())
    }
}

/// Any other value: an argument of a message or a function's parameter if it has a text, but no
/// field.
#[doc(hidden)]
pub trait Other<'a> {
    type Inner: ?Sized;
    fn field(&self) -> Arg<'a>
    where
        Self::Inner: Value;
    fn message(&self) -> Arg<'a>
    where
        Self::Inner: fmt::Display + Sized;
    fn parameter(&self) -> Arg<'a>
    where
        Self::Inner: fmt::Debug + Sized;
}

impl<'a, T: ?Sized> Other<'a> for Wrap<'a, T> {
    type Inner = T;

    #[inline]
    fn field(&self) -> Arg<'a>
    where
        T: Value,
    {
        self.0.arg()
    }

    #[inline]
    fn message(&self) -> Arg<'a>
    where
        T: fmt::Display + Sized,
    {
        Arg::Display(self.0)
    }

    #[inline]
    fn parameter(&self) -> Arg<'a>
    where
        T: fmt::Debug + Sized,
    {
        Arg::Debug(self.0)
    }
}
