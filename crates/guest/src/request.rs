//! Requests that the guest handles, and the headers of those that it sends.
//!
//! A request's headers come in, and its response's status goes out as attributes of the current
//! span. Nothing here knows a server or a client: types of requests are recognised by traits.

pub(crate) mod handler;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod propagation;
pub(crate) mod status;
pub mod structural;
