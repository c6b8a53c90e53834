//! Flags that several commands share, and the types of flags' values.

pub(crate) mod export;
pub(crate) mod header;
pub(crate) mod identity;
pub(crate) mod limit;
pub(crate) mod outgoing;
pub(crate) mod secret;
pub(crate) mod telemetry;
pub(crate) mod token;
pub(crate) mod value;
