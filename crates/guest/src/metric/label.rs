//! Labels: the values that a metric's series differ in, and the position of each value.

pub(crate) mod http;
pub(crate) mod set;
pub(crate) mod text;

use wasmetry_abi::LabelShape;
use wasmetry_abi::layout::GuestDropReason;

use crate::host::count_drop;
use crate::region::words::{Pair, Words};

/// A type of label: its values, and the position of each value's series.
///
/// Derive it for an enum with [`derive(Label)`](derive@crate::Label); the crate implements it for
/// `bool`, for [`Below`] and for [`Text`](crate::Text). A derived label costs an index and no
/// look-up.
///
/// ```
/// use wasmetry::Label;
///
/// #[derive(Clone, Copy, Label)]
/// #[label(rename_all = "UPPERCASE")]
/// enum Method {
///     Get,
///     Post,
///     #[label("other")]
///     Other,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a label",
    label = "not a label",
    note = "derive `wasmetry::Label` for an enum of the values",
    note = "use `wasmetry::Text<N>` for up to N texts, `wasmetry::Below<N>` for the integers below N, `wasmetry::Status` for an HTTP status"
)]
pub trait Label: 'static {
    /// The parameter of [`with`](crate::Counter::with) for this label.
    type Value<'a>;
    /// The memory in which values are interned; `()` if there is nothing to intern.
    #[doc(hidden)]
    type Table: Sync + 'static;
    /// One `C` for each position.
    #[doc(hidden)]
    type Array<C: Words>: Words;
    /// The shape of this label, as a binary declares it.
    #[doc(hidden)]
    const SHAPE: LabelShape<'static>;
    /// The number of positions.
    #[doc(hidden)]
    const POSITIONS: usize;
    /// An empty table.
    #[doc(hidden)]
    const EMPTY_TABLE: Self::Table;
    /// The position of a value, below [`POSITIONS`](Self::POSITIONS).
    #[doc(hidden)]
    fn position(value: Self::Value<'_>, table: &'static Self::Table) -> usize;
    /// The value at a position, for tests to show.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    fn value_at(position: usize, _table: &Self::Table) -> crate::testing::capture::String {
        match Self::SHAPE {
            LabelShape::Values(values) => values.iter().nth(position).unwrap_or("overflow").into(),
            LabelShape::Below(bound) if position < bound as usize => crate::testing::capture::decimal(position),
            LabelShape::Below(_) | LabelShape::Text { .. } => "overflow".into(),
        }
    }
}

impl Label for bool {
    type Value<'a> = bool;
    type Table = ();
    type Array<C: Words> = [C; 2];
    const SHAPE: LabelShape<'static> = LabelShape::values(&["false", "true"]);
    const POSITIONS: usize = 2;
    const EMPTY_TABLE: () = ();

    #[inline]
    fn position(value: bool, _table: &'static ()) -> usize {
        usize::from(value)
    }
}

/// A label whose values are the integers below `N`, such as the number of a shard.
///
/// A greater one goes to the series with the value `overflow`, and is counted with the reason
/// `label_out_of_range`.
#[derive(Debug)]
pub enum Below<const N: usize> {}

impl<const N: usize> Label for Below<N> {
    type Value<'a> = usize;
    type Table = ();
    type Array<C: Words> = Pair<[C; N], C>;
    const SHAPE: LabelShape<'static> = LabelShape::Below(N as u32);
    const POSITIONS: usize = N + 1;
    const EMPTY_TABLE: () = ();

    #[inline]
    fn position(value: usize, _table: &'static ()) -> usize {
        if value < N {
            value
        } else {
            count_drop(GuestDropReason::LabelOutOfRange);
            N
        }
    }
}
