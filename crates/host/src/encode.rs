//! From a snapshot to what a collector of metrics reads.

pub mod lines;
pub mod openmetrics;
pub mod prometheus;
pub(crate) mod text;
