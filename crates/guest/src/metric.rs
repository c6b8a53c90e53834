//! Metrics: the types that the macros make, their labels, and their memory.
//!
//! Values come in; words of the metric's static memory go out, for the host to read. Nothing here
//! knows other instances, names or formats: a metric has its descriptor's hash only.

mod cell;
mod constructor;
pub(crate) mod counter;
pub(crate) mod gauge;
pub(crate) mod histogram;
pub(crate) mod label;
pub(crate) mod merge;
pub(crate) mod number;
pub(crate) mod observable;
pub(crate) mod storage;
pub(crate) mod up_down_counter;
