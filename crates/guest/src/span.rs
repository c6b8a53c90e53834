//! Spans: operations with a beginning and an end, below a current span.
//!
//! Names and attributes come in; records of spans go out. Nothing here knows how the host puts a
//! span's records together, or which spans it exports.

pub(crate) mod current;
pub(crate) mod future;
pub(crate) mod handle;
