//! The number types that metrics hold.

use wasmetry_abi::Kind;
use wasmetry_abi::layout::GuestDropReason;

use crate::host::count_drop;
use crate::sync::{AtomicU64, Publish as _, add, add_f64};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for i64 {}
    impl Sealed for u64 {}
}

/// A number in one word.
#[doc(hidden)]
pub trait Number: sealed::Sealed + Copy + 'static {
    const ONE: Self;
    fn to_bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

impl Number for u64 {
    const ONE: Self = 1;

    #[inline]
    fn to_bits(self) -> u64 {
        self
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        bits
    }
}

impl Number for i64 {
    const ONE: Self = 1;

    #[inline]
    fn to_bits(self) -> u64 {
        self.cast_unsigned()
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        bits.cast_signed()
    }
}

impl Number for f64 {
    const ONE: Self = 1.0;

    #[inline]
    fn to_bits(self) -> u64 {
        Self::to_bits(self)
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }
}

/// The number types that a [`Counter`](crate::Counter) can hold: `u64` and `f64`.
#[diagnostic::on_unimplemented(
    message = "a counter cannot hold `{Self}`",
    label = "not `u64` or `f64`",
    note = "a counter holds `u64`, or `f64` with `value: f64`"
)]
pub trait CounterValue: Number {
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    fn add_to(self, word: &AtomicU64);
    #[doc(hidden)]
    fn store_in(self, word: &AtomicU64);
}

impl CounterValue for u64 {
    const KIND: Kind = Kind::CounterU64;

    #[inline]
    fn add_to(self, word: &AtomicU64) {
        add(word, self);
    }

    #[inline]
    fn store_in(self, word: &AtomicU64) {
        word.publish(self);
    }
}

impl CounterValue for f64 {
    const KIND: Kind = Kind::CounterF64;

    #[inline]
    fn add_to(self, word: &AtomicU64) {
        if self >= 0.0 && self.is_finite() {
            add_f64(word, self);
        } else {
            count_drop(GuestDropReason::InvalidValue);
        }
    }

    #[inline]
    fn store_in(self, word: &AtomicU64) {
        if self >= 0.0 && self.is_finite() {
            word.publish(self.to_bits());
        } else {
            count_drop(GuestDropReason::InvalidValue);
        }
    }
}

/// The number types that a [`Gauge`](crate::Gauge) and an [`UpDownCounter`](crate::UpDownCounter)
/// can hold: `f64` and `i64`.
#[diagnostic::on_unimplemented(
    message = "a gauge or an up/down counter cannot hold `{Self}`",
    label = "not `i64` or `f64`",
    note = "they hold `i64` or `f64`, which `value: …` chooses"
)]
pub trait GaugeValue: Number {
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    const UP_DOWN_KIND: Kind;
    #[doc(hidden)]
    fn plus(self, other: Self) -> Self;
    #[doc(hidden)]
    fn negated(self) -> Self;
    #[doc(hidden)]
    fn is_finite(self) -> bool;
}

impl GaugeValue for f64 {
    const KIND: Kind = Kind::GaugeF64;
    const UP_DOWN_KIND: Kind = Kind::UpDownF64;

    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline]
    fn negated(self) -> Self {
        -self
    }

    #[inline]
    fn is_finite(self) -> bool {
        Self::is_finite(self)
    }
}

impl GaugeValue for i64 {
    const KIND: Kind = Kind::GaugeI64;
    const UP_DOWN_KIND: Kind = Kind::UpDownI64;

    #[inline]
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    #[inline]
    fn negated(self) -> Self {
        self.saturating_neg()
    }

    #[inline]
    fn is_finite(self) -> bool {
        true
    }
}
