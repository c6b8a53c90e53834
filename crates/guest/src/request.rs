//! Requests that the guest handles, and the headers of those that it sends.
//!
//! A request's headers come in. Its route goes out to the region, its response's status as
//! attributes of the current span, and its panic or error as a record. Nothing here knows a server
//! or a client: types of requests are recognised by traits.

pub(crate) mod exception;
pub(crate) mod handler;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod propagation;
pub(crate) mod route;
pub(crate) mod status;
pub mod structural;
