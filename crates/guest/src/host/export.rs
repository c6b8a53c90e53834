//! The export by which the host of a core module finds the region.

#![allow(unsafe_code, reason = "an export has a name of its own")]

use crate::host::observer::observe;
use crate::region::header::{HEADER, Header};

/// Runs the observers, and returns the address of the region's header.
///
/// A host calls it before anything else, and again before it reads. `build.rs` makes the name; see
/// `crates/abi/FORMAT.md`, section 4.
// SAFETY: no other crate defines a symbol of this name; a release that may be linked beside this
// one has another.
#[unsafe(export_name = env!("WASMETRY_REGION_EXPORT"))]
pub(crate) extern "C" fn region_header() -> *const Header {
    observe();
    &raw const HEADER
}
