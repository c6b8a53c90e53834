//! The in-memory format that wasmetry's guests record in and its hosts read.
//!
//! `FORMAT.md`, beside this crate's manifest, is the specification; this crate is its one
//! implementation, shared by the guest, the macros and the host, so that the three cannot differ.
//!
//! ```
//! use wasmetry_abi::{Descriptor, Kind};
//!
//! const REQUESTS: Descriptor<'static> =
//!     Descriptor::new(Kind::CounterU64, "http_requests_total", "HTTP requests.");
//! // What a guest's binary carries, in its custom section…
//! static RECORD: [u8; REQUESTS.record_len()] = REQUESTS.encode();
//! // …and what a host makes of it.
//! let mut records = wasmetry_abi::Records::new(&RECORD);
//! let record = records.next().unwrap().unwrap();
//! assert_eq!(record.hash, wasmetry_abi::hash(&RECORD));
//! assert_eq!(record.descriptor.name, "http_requests_total");
//! assert!(records.next().is_none());
//! ```
//!
//! What it deliberately does not do: allocate, hold values, know a runtime, or touch memory. It has no
//! dependencies and forbids unsafe code.

#![no_std]
#![forbid(unsafe_code)]

pub mod batch;
mod codec;
mod descriptor;
mod error;
pub mod exponential;
mod hash;
pub mod layout;
pub mod name;
pub mod ring;
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

/// The version of the region format and of the descriptor records; `FORMAT.md` lists what raises it.
pub const VERSION: u32 = 1;

/// The name of the custom section that descriptors are stored in.
///
/// It ends in [`VERSION`], so that a tool never has to guess how a section is encoded.
pub const SECTION: &str = "wasmetry.v1";

/// What every section of any version starts with, so that a newer one is noticed rather than ignored.
pub const SECTION_PREFIX: &str = "wasmetry.v";

/// The WIT package that declares the imports, without its version.
pub const WIT_PACKAGE: &str = "wasmetry:telemetry";

/// The version of [`WIT_PACKAGE`] that this release implements.
pub const WIT_VERSION: &str = "0.1.0";
