//! The number types that metrics hold.

use wasmetry_abi::Kind;
use wasmetry_abi::layout::GuestDropReason;

use crate::region::lost;
use crate::sync::{AtomicU64, Ordering, add, update};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for i64 {}
    impl Sealed for u64 {}
}

/// The number types that a [`Counter`](crate::Counter) can hold: `u64` and `f64`.
#[diagnostic::on_unimplemented(
    message = "a counter cannot hold `{Self}`",
    label = "not `u64` or `f64`",
    note = "a counter holds `u64`, or `f64` with `value: f64`"
)]
pub trait CounterValue: sealed::Sealed + Copy + 'static {
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    const ONE: Self;
    #[doc(hidden)]
    fn add_to(self, word: &AtomicU64);
    #[doc(hidden)]
    fn store_in(self, word: &AtomicU64);
    #[doc(hidden)]
    fn from_bits(bits: u64) -> Self;
}

impl CounterValue for u64 {
    const KIND: Kind = Kind::CounterU64;
    const ONE: Self = 1;

    #[inline]
    fn add_to(self, word: &AtomicU64) {
        add(word, self);
    }

    #[inline]
    fn store_in(self, word: &AtomicU64) {
        word.store(self, Ordering::Relaxed);
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        bits
    }
}

impl CounterValue for f64 {
    const KIND: Kind = Kind::CounterF64;
    const ONE: Self = 1.0;

    #[inline]
    fn add_to(self, word: &AtomicU64) {
        if self >= 0.0 && self.is_finite() {
            update(word, |bits| (f64::from_bits(bits) + self).to_bits());
        } else {
            lost(GuestDropReason::InvalidValue);
        }
    }

    #[inline]
    fn store_in(self, word: &AtomicU64) {
        if self >= 0.0 && self.is_finite() {
            word.store(self.to_bits(), Ordering::Relaxed);
        } else {
            lost(GuestDropReason::InvalidValue);
        }
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }
}

/// The number types that a [`Gauge`](crate::Gauge) and an [`UpDownCounter`](crate::UpDownCounter) can hold: `f64` and
/// `i64`.
#[diagnostic::on_unimplemented(
    message = "a gauge or an up/down counter cannot hold `{Self}`",
    label = "not `i64` or `f64`",
    note = "they hold `i64` or `f64`, which `value: …` chooses"
)]
pub trait GaugeValue: sealed::Sealed + Copy + 'static {
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    const UP_DOWN_KIND: Kind;
    #[doc(hidden)]
    const ONE: Self;
    #[doc(hidden)]
    fn to_bits(self) -> u64;
    #[doc(hidden)]
    fn from_bits(bits: u64) -> Self;
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
    const ONE: Self = 1.0;

    #[inline]
    fn to_bits(self) -> u64 {
        f64::to_bits(self)
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }

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
        f64::is_finite(self)
    }
}

impl GaugeValue for i64 {
    const KIND: Kind = Kind::GaugeI64;
    const UP_DOWN_KIND: Kind = Kind::UpDownI64;
    const ONE: Self = 1;

    #[inline]
    fn to_bits(self) -> u64 {
        self.cast_unsigned()
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        bits.cast_signed()
    }

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
