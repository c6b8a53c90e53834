//! Labels: how values become positions of series.

#![allow(unsafe_code, reason = "it implements `Words` for its storage")]

use core::sync::atomic::Ordering;

use wasmetry_abi::LabelShape;
use wasmetry_abi::layout::GuestDropReason;

use crate::region::{Storage, Words, lost};
use crate::sync::{AtomicU8, AtomicU32};

/// A type of label: what values it takes, and where the series of each value lies.
///
/// Derive it for an enum with [`derive(Label)`](derive@crate::Label); the crate implements it for `bool`, for
/// [`Below`] and for [`Text`]. A derived label costs an index, no lookup.
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
    note = "derive `wasmetry::Label` for an enum of the values, or use `wasmetry::Text<N>` for up to N texts"
)]
pub trait Label: 'static {
    /// What [`with`](crate::Counter::with) takes for this label.
    type Value<'a>;
    /// The memory in which values are interned; `()` where there is nothing to intern.
    #[doc(hidden)]
    type Table: Sync + 'static;
    /// One `C` for each position.
    #[doc(hidden)]
    type Array<C: Words>: Words;
    /// What a binary declares about this label.
    #[doc(hidden)]
    const SHAPE: LabelShape<'static>;
    /// The number of positions.
    #[doc(hidden)]
    const POSITIONS: usize;
    /// The table with nothing in it.
    #[doc(hidden)]
    const EMPTY_TABLE: Self::Table;
    /// The position of a value, below [`POSITIONS`](Self::POSITIONS).
    #[doc(hidden)]
    fn position(value: Self::Value<'_>, table: &'static Self::Table) -> usize;
    /// The value at a position, for tests to show.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    fn value_at(position: usize, _table: &Self::Table) -> crate::testing::String {
        match Self::SHAPE {
            LabelShape::Values(values) => values.iter().nth(position).unwrap_or("overflow").into(),
            LabelShape::Below(bound) if position < bound as usize => crate::testing::decimal(position),
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

/// A label whose values are the integers below `N`, such as a shard's number.
///
/// A greater one is counted in the series with the value `overflow`, and as lost with the reason `label_out_of_range`.
#[derive(Debug)]
pub enum Below<const N: usize> {}

/// Storage for the `N` values of a [`Below`] or [`Text`] label and one more, which `[C; N + 1]` cannot express.
#[doc(hidden)]
#[repr(C)]
pub struct WithOverflow<C, const N: usize>([C; N], C);

// SAFETY: an array of `C` and one more `C` in `repr(C)` have no padding between them, and each consists of words.
unsafe impl<C: Words, const N: usize> Words for WithOverflow<C, N> {
    const ZERO: Self = Self(<[C; N]>::ZERO, C::ZERO);
}

impl<const N: usize> Label for Below<N> {
    type Value<'a> = usize;
    type Table = ();
    type Array<C: Words> = WithOverflow<C, N>;
    const SHAPE: LabelShape<'static> = LabelShape::Below(N as u32);
    const POSITIONS: usize = N + 1;
    const EMPTY_TABLE: () = assert!(N > 0, "a Below label has at least one value");

    #[inline]
    fn position(value: usize, _table: &'static ()) -> usize {
        if value < N {
            value
        } else {
            lost(GuestDropReason::LabelOutOfRange);
            N
        }
    }
}

/// A label whose values are texts that are not known beforehand: up to `N` different ones of up to `LEN` bytes each.
///
/// The first `N` values that an instance sees have series of their own. Every other is counted in the series with the
/// value `overflow`, and as lost with the reason `label_table_full` or `label_too_long`; so no input can make the memory
/// or the number of series grow. `LEN` is a multiple of 4.
///
/// Each use hashes the text and compares it once; keep the result of [`with`](crate::Counter::with) where that matters.
///
/// ```
/// use wasmetry::{Counter, Text, counter};
///
/// static SOLD: Counter<Text<32>> = counter!("items_sold_total", "Items sold.", labels: [sku: Text<32>]);
///
/// SOLD.with("apple").add(3);
/// assert_eq!(SOLD.with("apple").get(), 3);
/// ```
#[derive(Debug)]
pub enum Text<const N: usize, const LEN: usize = 48> {}

/// The interned values of one text label: see `crates/abi/FORMAT.md`, section 2, "Table".
#[doc(hidden)]
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Table<const N: usize, const LEN: usize> {
    tags: [AtomicU32; N],
    keys: [Key<LEN>; N],
}

#[derive(Debug)]
#[repr(C)]
struct Key<const LEN: usize> {
    len: AtomicU32,
    bytes: [AtomicU8; LEN],
}

impl<const LEN: usize> Key<LEN> {
    fn is(&self, text: &[u8]) -> bool {
        // Acquire pairs with the Release in `write`: the bytes come before the length.
        self.len.load(Ordering::Acquire) == text.len() as u32 + 1
            && self.bytes.iter().zip(text).all(|(byte, expected)| byte.load(Ordering::Relaxed) == *expected)
    }

    fn write(&self, text: &[u8]) {
        for (byte, value) in self.bytes.iter().zip(text) {
            byte.store(*value, Ordering::Relaxed);
        }
        // Release pairs with the Acquire in `is` and with the host's read.
        self.len.store(text.len() as u32 + 1, Ordering::Release);
    }
}

impl<const N: usize, const LEN: usize> Table<N, LEN> {
    #[allow(clippy::declare_interior_mutable_const, reason = "it is copied into a static, and never used in place")]
    const EMPTY: Self = {
        assert!(N > 0, "a Text label has at least one value");
        assert!(LEN.is_multiple_of(4), "the longest value of a Text label is a multiple of 4 bytes");
        Self {
            tags: [const { AtomicU32::new(0) }; N],
            keys: [const { Key { len: AtomicU32::new(0), bytes: [const { AtomicU8::new(0) }; LEN] } }; N],
        }
    };

    /// The slot of a text, which is interned if it is new; `N` if there is none.
    ///
    /// It is not put into each place that records, which would cost 400 bytes there.
    #[inline(never)]
    fn slot(&self, text: &str) -> usize {
        let text = text.as_bytes();
        if text.len() > LEN {
            lost(GuestDropReason::LabelTooLong);
            return N;
        }
        let tag = wasmetry_abi::hash(text) as u32 | 1;
        let start = (tag >> 1) as usize % N;
        for slot in (start..N).chain(0..start) {
            let (Some(found), Some(key)) = (self.tags.get(slot), self.keys.get(slot)) else { return N };
            match found.compare_exchange(0, tag, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    key.write(text);
                    return slot;
                }
                Err(other) if other == tag && key.is(text) => return slot,
                Err(_) => {}
            }
        }
        lost(GuestDropReason::LabelTableFull);
        N
    }

    /// The text in a slot.
    #[cfg(feature = "testing")]
    fn text(&self, slot: usize) -> crate::testing::String {
        let Some(key) = self.keys.get(slot) else { return "overflow".into() };
        // Acquire pairs with the Release in `write`.
        let len = key.len.load(Ordering::Acquire).saturating_sub(1) as usize;
        let bytes = key.bytes.iter().take(len).map(|byte| byte.load(Ordering::Relaxed)).collect();
        crate::testing::String::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const N: usize, const LEN: usize> Label for Text<N, LEN> {
    type Value<'a> = &'a str;
    type Table = Table<N, LEN>;
    type Array<C: Words> = WithOverflow<C, N>;
    const SHAPE: LabelShape<'static> = LabelShape::Text { capacity: N as u32, max_len: LEN as u32 };
    const POSITIONS: usize = N + 1;
    const EMPTY_TABLE: Table<N, LEN> = Table::EMPTY;

    #[inline]
    fn position(value: &str, table: &'static Table<N, LEN>) -> usize {
        table.slot(value)
    }

    #[cfg(feature = "testing")]
    fn value_at(position: usize, table: &Table<N, LEN>) -> crate::testing::String {
        table.text(position)
    }
}

/// The labels of a metric: `()` for none, a [`Label`] for one, a tuple of them for up to six.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of labels",
    label = "not a label, nor a tuple of two to six labels",
    note = "write `Counter` for no label, `Counter<Route>` for one, `Counter<(Method, Route)>` for two"
)]
pub trait LabelSet: 'static {
    /// What [`with`](crate::Counter::with) takes: one value for each label.
    type Values<'a>;
    /// The tables of all labels.
    #[doc(hidden)]
    type Tables: Sync + 'static;
    /// One `C` for each series.
    #[doc(hidden)]
    type Cells<C: Words>: Words;
    /// The memory of a metric with these labels. A macro names it, rather than `Storage` itself, so that a type that is no
    /// label is one error there: what has this type then has none.
    #[doc(hidden)]
    type Storage<C: Words, S: Words>;
    /// What a binary declares about each label.
    #[doc(hidden)]
    const SHAPES: &'static [LabelShape<'static>];
    /// The tables with nothing in them.
    #[doc(hidden)]
    const EMPTY_TABLES: Self::Tables;
    /// The position of the series with these values.
    #[doc(hidden)]
    fn position(values: Self::Values<'_>, tables: &'static Self::Tables) -> usize;
    /// The values of the series at a position, for tests to show.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    fn values_at(position: usize, tables: &Self::Tables) -> crate::testing::Vec<crate::testing::String>;
}

impl LabelSet for () {
    type Values<'a> = ();
    type Tables = ();
    type Cells<C: Words> = C;
    type Storage<C: Words, S: Words> = Storage<(), C, S>;
    const SHAPES: &'static [LabelShape<'static>] = &[];
    const EMPTY_TABLES: () = ();

    #[inline]
    fn position((): (), (): &'static ()) -> usize {
        0
    }

    #[cfg(feature = "testing")]
    fn values_at(_position: usize, (): &()) -> crate::testing::Vec<crate::testing::String> {
        crate::testing::Vec::new()
    }
}

impl<A: Label> LabelSet for A {
    type Values<'a> = A::Value<'a>;
    type Tables = A::Table;
    type Cells<C: Words> = A::Array<C>;
    type Storage<C: Words, S: Words> = Storage<A, C, S>;
    const SHAPES: &'static [LabelShape<'static>] = &[A::SHAPE];
    const EMPTY_TABLES: A::Table = A::EMPTY_TABLE;

    #[inline]
    fn position(values: A::Value<'_>, tables: &'static A::Table) -> usize {
        A::position(values, tables)
    }

    #[cfg(feature = "testing")]
    fn values_at(position: usize, tables: &A::Table) -> crate::testing::Vec<crate::testing::String> {
        [A::value_at(position, tables)].into()
    }
}

macro_rules! tuple {
    ($tables:ident: $($label:ident $value:ident),+) => {
        /// The tables of a tuple's labels, in memory in their order.
        #[doc(hidden)]
        #[repr(C)]
        pub struct $tables<$($label: Label),+> { $($value: $label::Table),+ }

        impl<$($label: Label),+> LabelSet for ($($label,)+) {
            type Values<'a> = ($($label::Value<'a>,)+);
            type Tables = $tables<$($label),+>;
            type Cells<Cell: Words> = tuple!(@cells Cell $($label)+);
            type Storage<Cell: Words, Scratch: Words> = Storage<($($label,)+), Cell, Scratch>;
            const SHAPES: &'static [LabelShape<'static>] = &[$($label::SHAPE),+];
            const EMPTY_TABLES: Self::Tables = $tables { $($value: $label::EMPTY_TABLE),+ };

            #[inline]
            fn position(($($value,)+): Self::Values<'_>, tables: &'static Self::Tables) -> usize {
                let mut position = 0;
                $(position = position * $label::POSITIONS + $label::position($value, &tables.$value);)+
                position
            }

            #[cfg(feature = "testing")]
            fn values_at(position: usize, tables: &Self::Tables) -> crate::testing::Vec<crate::testing::String> {
                // The last label's position changes fastest.
                let series = 1 $(* $label::POSITIONS)+;
                let (mut rest, mut series) = (position, series);
                let mut values = crate::testing::Vec::new();
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
