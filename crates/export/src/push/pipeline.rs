//! The pipelines of logs and spans: each has a bounded queue, and a task that sends its batches to
//! a destination ([`batch_processor`]) or writes them as lines ([`line_writer`]).
//!
//! A pipeline has no part in the encoding of records, which `wasmetry_host::encode` does, nor in
//! the protocol of the destination.

pub(super) mod batch_processor;
pub(super) mod line_writer;
pub(super) mod queue;
