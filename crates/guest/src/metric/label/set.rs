//! Sets of labels: the positions of a metric's series.

use wasmetry_abi::LabelShape;

use crate::metric::label::Label;
use crate::region::words::Words;

/// The labels of a metric: `()` for none, a [`Label`] for one, a tuple of them for up to six.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a label, nor a set of labels",
    label = "not a label, nor a tuple of two to six labels",
    note = "derive `wasmetry::Label` for an enum of the values, or use `wasmetry::Text<N>` for up to N texts",
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
    ) -> crate::testing::capture::Vec<crate::testing::capture::String>;
}

impl LabelSet for () {
    type Values<'a> = ();
    type Tables = ();
    type Cells<C: Words> = C;
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
