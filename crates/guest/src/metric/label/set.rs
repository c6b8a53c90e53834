//! Sets of labels: the positions of a metric's series.

use wasmetry_abi::LabelShape;

use crate::metric::label::Label;
use crate::region::words::Words;

/// The labels of a metric: `()` for none, a [`Label`] for one, a tuple of them for up to six, or a
/// struct of labels.
///
/// [`derive(Label)`](derive@crate::Label) implements it for a struct, whose fields are the labels:
///
/// ```
/// use wasmetry::{Counter, Label, Method, StatusClass, counter};
///
/// #[derive(Label)]
/// struct Answer<'a> {
///     method: Method,
///     status: StatusClass,
///     #[label(text = 32)]
///     shop: &'a str,
/// }
///
/// static ANSWERS: Counter<Answer> = counter!("answers_total", "Answers.", labels: Answer);
///
/// let answer = Answer { method: Method::Get, status: StatusClass::from(204), shop: "north" };
/// ANSWERS.with(answer).inc();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a label, nor a set of labels",
    label = "not a label, nor a tuple of two to six labels",
    note = "derive `wasmetry::Label` for an enum of the values",
    note = "use `wasmetry::Text<N>` for up to N texts, `wasmetry::Below<N>` for the integers below N, `wasmetry::Status` for an HTTP status",
    note = "write `Counter` for no label, `Counter<Route>` for one, `Counter<(Method, Route)>` for two"
)]
pub trait LabelSet: 'static {
    /// The parameter of [`with`](crate::Counter::with): one value for each label.
    type Values<'a>;
    /// The tables of all labels.
    #[doc(hidden)]
    type Tables: Sync + 'static;
    /// One `C` for each series.
    #[doc(hidden)]
    type Cells<C: Words>: Words;
    /// The set itself, or the tuple of a struct's labels.
    #[doc(hidden)]
    type Set: LabelSet<Tables = Self::Tables>;
    /// The shapes of the labels, as a binary declares them.
    #[doc(hidden)]
    const SHAPES: &'static [LabelShape<'static>];
    /// Empty tables.
    #[doc(hidden)]
    const EMPTY_TABLES: Self::Tables;
    /// The position of the series with these values.
    #[doc(hidden)]
    fn position(values: Self::Values<'_>, tables: &'static Self::Tables) -> usize;
    /// The values of the series at a position, for tests to show.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    fn values_at(
        position: usize,
        tables: &Self::Tables,
    ) -> crate::testing::capture::Vec<crate::testing::capture::String> {
        Self::Set::values_at(position, tables)
    }
}

/// A struct of labels, for a declaration with `labels: TheStruct`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of labels",
    label = "a label needs a key: write `labels: [key: {Self}]`",
    note = "derive `wasmetry::Label` for a struct, whose fields are the labels"
)]
pub trait LabelStruct: LabelSet {
    /// The keys, in the order of the shapes.
    const KEYS: &'static [&'static str];
}

/// The type of a field in a struct of labels.
///
/// A type that is no label is one error then: the field's label is unknown, so everything that uses
/// it stays silent.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a label",
    label = "not a label",
    note = "derive `wasmetry::Label` for an enum of the values",
    note = "write `#[label(text = 64)] name: &'a str` for up to 64 texts, `#[label(below = 16)] name: usize` for the integers below 16"
)]
pub trait FieldLabel: Sized {
    /// The label, whose values are of this type.
    type Label: for<'a> Label<Value<'a> = Self>;
}

impl<T> FieldLabel for T
where
    T: for<'a> Label<Value<'a> = T>,
{
    type Label = T;
}

impl LabelSet for () {
    type Values<'a> = ();
    type Tables = ();
    type Cells<C: Words> = C;
    type Set = Self;
    const SHAPES: &'static [LabelShape<'static>] = &[];
    const EMPTY_TABLES: () = ();

    #[inline]
    fn position((): (), (): &'static ()) -> usize {
        0
    }

    #[cfg(feature = "testing")]
    fn values_at(_position: usize, (): &()) -> crate::testing::capture::Vec<crate::testing::capture::String> {
        crate::testing::capture::Vec::new()
    }
}

impl<A: Label> LabelSet for A {
    type Values<'a> = A::Value<'a>;
    type Tables = A::Table;
    type Cells<C: Words> = A::Array<C>;
    type Set = Self;
    const SHAPES: &'static [LabelShape<'static>] = &[A::SHAPE];
    const EMPTY_TABLES: A::Table = A::EMPTY_TABLE;

    #[inline]
    fn position(values: A::Value<'_>, tables: &'static A::Table) -> usize {
        A::position(values, tables)
    }

    #[cfg(feature = "testing")]
    fn values_at(position: usize, tables: &A::Table) -> crate::testing::capture::Vec<crate::testing::capture::String> {
        [A::value_at(position, tables)].into()
    }
}

macro_rules! tuple {
    ($tables:ident: $($label:ident $value:ident),+) => {
        /// The tables of a tuple's labels, in their order in memory.
        #[doc(hidden)]
        #[repr(C)]
        pub struct $tables<$($label: Label),+> { $($value: $label::Table),+ }

        impl<$($label: Label),+> LabelSet for ($($label,)+) {
            type Values<'a> = ($($label::Value<'a>,)+);
            type Tables = $tables<$($label),+>;
            type Cells<Cell: Words> = tuple!(@cells Cell $($label)+);
            type Set = Self;
            const SHAPES: &'static [LabelShape<'static>] = &[$($label::SHAPE),+];
            const EMPTY_TABLES: Self::Tables = $tables { $($value: $label::EMPTY_TABLE),+ };

            #[inline]
            fn position(($($value,)+): Self::Values<'_>, tables: &'static Self::Tables) -> usize {
                let mut position = 0;
                $(position = position * $label::POSITIONS + $label::position($value, &tables.$value);)+
                position
            }

            #[cfg(feature = "testing")]
            fn values_at(position: usize, tables: &Self::Tables) -> crate::testing::capture::Vec<crate::testing::capture::String> {
                // The last label's position changes fastest.
                let series = 1 $(* $label::POSITIONS)+;
                let (mut rest, mut series) = (position, series);
                let mut values = crate::testing::capture::Vec::new();
                $(
                    series /= $label::POSITIONS;
                    values.push($label::value_at(rest / series, &tables.$value));
                    rest %= series;
                )+
                let _ = rest;
                values
            }
        }
    };
    (@cells $cell:ident $label:ident) => { $label::Array<$cell> };
    (@cells $cell:ident $label:ident $($rest:ident)+) => { $label::Array<tuple!(@cells $cell $($rest)+)> };
}

tuple!(Tables2: A a, B b);
tuple!(Tables3: A a, B b, C c);
tuple!(Tables4: A a, B b, C c, D d);
tuple!(Tables5: A a, B b, C c, D d, E e);
tuple!(Tables6: A a, B b, C c, D d, E e, F f);
