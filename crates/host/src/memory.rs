//! Guest memory: windows that guests lend, copies of memory, and batches that guests send.
//!
//! In come bytes of a guest, none of which is trusted. Out come entries and records; an
//! [`Instance`](instance::Instance) merges them into the aggregates of its component. The folder
//! does not know what a value means, nor where it is exported.

pub(crate) mod batch;
pub(crate) mod budget;
pub(crate) mod copy;
pub(crate) mod instance;
pub(crate) mod layout;
pub(crate) mod region;
pub(crate) mod ring;
pub(crate) mod route;
pub(crate) mod site_table;
pub(crate) mod view;
