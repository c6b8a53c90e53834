//! The moments at which a host collects: observers run first, then the host is called or reads.
//!
//! Requests that end and calls of `publish` come in. This module knows the observers and the host,
//! but no metric.

#![cfg_attr(wasmetry_module, allow(unsafe_code, reason = "it exports a function"))]

use crate::host;
use crate::metric::observable::observer::observe;

/// Runs the observers and asks the host to collect.
pub(crate) fn publish() {
    observe();
    host::flush();
}

/// Ends a request: runs the observers, and sends the region to a host that cannot read memory.
pub(crate) fn end_request() {
    observe();
    host::send();
}

/// Runs the observers, and returns the address of the region's header.
///
/// A host calls this export of a core module before anything else, and again before it reads.
/// `build.rs` makes the name; see `crates/abi/FORMAT.md`, section 4.
// SAFETY: no other crate defines a symbol of this name; a release that may be linked beside this
// one has another.
#[cfg(wasmetry_module)]
#[unsafe(export_name = env!("WASMETRY_REGION_EXPORT"))]
pub(crate) extern "C" fn region_header() -> *const crate::region::header::Header {
    observe();
    &raw const crate::region::header::HEADER
}
