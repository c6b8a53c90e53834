//! The guests' environment in `serve` and `run`: linking, limits, outgoing requests, the records of
//! printed lines, and reports of what is dropped of them.
//!
//! In come components and their calls of the host; out go requests to other services. It does not
//! know how a guest is started or what it serves.

pub(crate) mod drop_report;
pub(crate) mod large_read;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod outgoing;
pub(crate) mod output;
pub(crate) mod resources;
pub(crate) mod share;
mod wait;
