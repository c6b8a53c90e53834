//! Sums: cumulative numbers of many instances, added up.
//!
//! The first read of an instance adds its whole number. Each later read adds the increase since the
//! read before, whose number the instance keeps as *last seen*.

pub(super) mod count;
mod float;

pub(crate) use float::FloatSum;
