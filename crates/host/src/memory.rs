//! Guest memory: windows that guests lend, copies of memory, and batches that guests send.
//!
//! In come bytes of a guest, which nothing here trusts. Out come the entries and records that the bytes hold, merged by
//! [`Instance`](instance::Instance) into the aggregates of its component. It does not know what a metric's values mean, nor where
//! they are exported.

pub(crate) mod batch;
pub(crate) mod copy;
pub(crate) mod instance;
pub(crate) mod layout;
pub(crate) mod region;
pub(crate) mod ring;
pub(crate) mod view;
