//! The rules that combine a gauge's values of several instances, as types.

mod sealed {
    pub trait Sealed {}
}

/// The rule of a [`Gauge`](crate::Gauge) as a type: [`Set`] or [`Sum`].
pub trait MergeRule: sealed::Sealed + 'static {}

/// The type of the rules `last`, `max` and `min`: the gauge is set.
#[derive(Debug)]
pub enum Set {}

/// The type of the rule `sum`: the gauge is set, or changed by differences.
#[derive(Debug)]
pub enum Sum {}

impl sealed::Sealed for Set {}
impl sealed::Sealed for Sum {}
impl MergeRule for Set {}
impl MergeRule for Sum {}

/// A [`MergeRule`] by which differences add up over instances: [`Sum`].
#[diagnostic::on_unimplemented(
    message = "`inc`, `dec`, `add` and `sub` need a sum over instances, and this gauge is only set",
    label = "not a sum",
    note = "each instance begins at 0, so with the rules `last`, `max` and `min` a difference is lost; write one of:",
    note = "`.set(…)`, for a value that one instance knows",
    note = "`up_down_counter!(…)`, which keeps the differences of ended instances: for one instance per request",
    note = "`gauge!(…, merge: sum)` of the type `Gauge<L, V, Sum>`, the sum over the live instances"
)]
pub trait Summed: MergeRule {}

impl Summed for Sum {}
