//! Flags that several commands share, and the types of flags' values.

pub(crate) mod export;
pub(crate) mod identity;
pub(crate) mod secret;
pub(crate) mod value;
