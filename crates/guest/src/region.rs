//! The memory that a host reads, in the layout of `crates/abi/FORMAT.md`, section 2.
//!
//! Metrics and rings of records come in as statics and are linked to the header; memory goes out,
//! as it is or as copies in batches. Nothing here calls the host or knows the meaning of a word.

#[cfg(any(wasmetry_component, test))]
pub(crate) mod batch;
pub(crate) mod entry;
pub(crate) mod header;
pub(crate) mod ring;
pub(crate) mod words;
