//! Turns the memory that wasmetry guests record in into metrics.
//!
//! ```
//! use std::time::Duration;
//! use wasmetry_host::{Declarations, Identity, Registry, encode};
//!
//! let registry = Registry::new();
//! // What the binary declares is read from it, without running it.
//! let declarations = Declarations::from_wasm(b"\0asm\x0d\0\x01\0")?;
//! let component = registry.component(Identity::new("storefront"), declarations);
//! // A runtime's adapter lends the window that a guest has attached, as often as it likes…
//! let mut instance = component.instance();
//! let (window, base, header) = (&[0u8; 64][..], 1024, 1024);
//! instance.read(window, base, header, Duration::from_secs(1));
//! // …and what was read last is kept when the instance ends.
//! instance.end(Duration::from_secs(2));
//! let text = encode::prometheus::encode(&registry.snapshot(Duration::from_secs(3)));
//! # assert!(text.contains("wasmetry_build_info"));
//! # Ok::<(), wasmetry_host::Error>(())
//! ```
//!
//! What it deliberately does not do: know a runtime, open a socket, read a clock, or trust a byte of a guest. Everything
//! that a guest can make it keep has a bound in [`limits`].

#![forbid(unsafe_code)]

mod component;
mod copied;
mod created;
mod declarations;
mod delta;
pub mod encode;
mod error;
mod exemplar;
mod exponential;
mod family;
mod filter;
mod gauge;
mod identity;
mod inbox;
mod instance;
mod instrument;
mod labels;
mod layout;
mod lease;
pub mod limits;
mod number;
mod offence;
mod part;
pub mod propagation;
pub mod record;
mod region;
mod registry;
mod ring;
mod site;
mod snapshot;
mod span;
mod total;
mod trail;
pub mod typed;

pub use component::Component;
pub use declarations::{Declarations, Label, LabelValues, Metric, Rejected};
pub use error::Error;
pub use exemplar::Exemplar;
pub use exponential::ExponentialValue;
pub use family::FamilyKind;
pub use filter::{Filter, InvalidFilter};
pub use identity::Identity;
pub use inbox::Inbox;
pub use instance::Instance;
pub use instrument::{Counter, Family, FloatCounter, Gauge, Histogram, Instrument};
pub use labels::LabelPairs;
pub use lease::Lease;
pub use number::Number;
pub use part::Place;
pub use registry::Registry;
pub use site::Site;
pub use snapshot::{FamilySnapshot, Series, Snapshot, Value};
pub use trail::{Outcome, Recording, Sink, Trail};
pub use wasmetry_abi::site::SiteKind;
pub use wasmetry_abi::{Kind, Merge};
