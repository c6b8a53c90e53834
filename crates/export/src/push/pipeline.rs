//! The way of logs and spans from [`Exporter`](super::Exporter) to one output: a bounded queue, and a task that empties it by
//! requests to a destination ([`batch_processor`]) or by lines ([`line_writer`]).

pub(super) mod batch_processor;
pub(super) mod line_writer;
pub(super) mod queue;
