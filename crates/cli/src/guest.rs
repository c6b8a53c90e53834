//! The guests' environment in `serve` and `run`: linking, limits, outgoing requests, and
//! the records of printed lines.
//!
//! In come components and their calls of the host; out go requests to other services. It does not
//! know how a guest is started or what it serves.

pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod outgoing;
pub(crate) mod output;
mod wait;
