//! The in-memory format that wasmetry's guests record in and its hosts read.
//!
//! `FORMAT.md`, beside this crate's manifest, is the specification. The guest, the macros and the
//! host share this one implementation, so they cannot disagree.
//!
//! ```
//! use wasmetry_abi::{Descriptor, Kind};
//!
//! const REQUESTS: Descriptor<'static> =
//!     Descriptor::new(Kind::CounterU64, "http_requests_total", "HTTP requests.");
//! // A guest's binary carries the encoded record in its custom section.
//! static RECORD: [u8; REQUESTS.record_len()] = REQUESTS.encode();
//! // A host decodes it.
//! let mut records = wasmetry_abi::Records::new(&RECORD);
//! let record = records.next().unwrap().unwrap();
//! assert_eq!(record.hash, wasmetry_abi::hash(&RECORD));
//! assert_eq!(record.descriptor.name, "http_requests_total");
//! assert!(records.next().is_none());
//! ```
//!
//! The crate deliberately does not allocate, hold values, depend on a runtime, or access memory. It
//! has no dependencies and forbids unsafe code.

#![no_std]
#![forbid(unsafe_code)]

pub mod batch;
mod codec;
mod descriptor;
mod error;
pub mod exponential;
mod hash;
pub mod layout;
pub mod limits;
pub mod name;
pub mod ring;
pub mod route;
mod settings;
pub mod site;
pub mod trace;

pub use codec::Strings;
pub use descriptor::{
    Bounds, ConstLabels, Descriptor, Kind, LabelShape, LabelSpec, LabelValues, Labels, Merge, Record, Records,
};
pub use error::DecodeError;
pub use hash::hash;
pub use settings::{Collection, Level, Settings, TimestampSource};

/// The version of the region format and of the descriptor records. `FORMAT.md` lists the changes
/// that raise it.
pub const VERSION: u32 = 1;

/// The name of the custom section with the descriptors. It ends in [`VERSION`].
pub const SECTION: &str = "wasmetry.v1";

/// The prefix of a section's name in every version, by which a host detects a newer one.
pub const SECTION_PREFIX: &str = "wasmetry.v";

/// The WIT package that declares the imports, without its version.
pub const WIT_PACKAGE: &str = "wasmetry:telemetry";

/// The version of [`WIT_PACKAGE`] that this release implements.
pub const WIT_VERSION: &str = "0.1.0";
