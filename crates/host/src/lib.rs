//! The core of a host for wasmetry guests: reads the memory in which they record, and turns it into
//! metrics, logs and spans.
//!
//! A value passes the rooms of this crate in this order: `memory` finds the entries of a region,
//! `aggregate` merges their values, `registry` collects all aggregates, `snapshot` has the values
//! of one moment, and [`encode`] writes them. `declaration` names the metrics, `request` and
//! [`record`] have the logs and spans, and [`handle_api`] serves guests without such a memory.
//!
//! ```
//! use std::time::Duration;
//! use wasmetry_host::{Declarations, Identity, RegionView, Registry, encode};
//!
//! let registry = Registry::new();
//! // The declarations are read from the binary, without running it.
//! let declarations = Declarations::from_wasm(b"\0asm\x0d\0\x01\0")?;
//! let component = registry.component(Identity::new("storefront"), declarations);
//! // A runtime's adapter reads the window that a guest has attached, any number of times.
//! let mut instance = component.instance();
//! let view = RegionView { memory: &[0; 64], base: 1024, header: 1024 };
//! instance.read(view, Duration::from_secs(1).into(), None);
//! // The values of the last read are kept when the instance ends.
//! instance.end(Duration::from_secs(2));
//! let text = encode::prometheus::encode(&registry.snapshot(Duration::from_secs(3)));
//! # assert!(text.contains("wasmetry_build_info"));
//! # Ok::<(), wasmetry_host::Error>(())
//! ```
//!
//! It deliberately does not know a runtime, open a socket, read a clock, or trust a byte of a
//! guest. Everything that a guest can make it keep has a bound in [`limits`].

#![forbid(unsafe_code)]

mod aggregate;
pub mod alert_name;
mod declaration;
pub mod encode;
pub mod handle_api;
mod ledger;
pub mod limits;
mod memory;
mod order;
pub mod record;
mod registry;
mod request;
mod snapshot;

pub use aggregate::SeriesKey;
pub use aggregate::exemplar::Exemplar;
pub use aggregate::exponential::counts::ExponentialValue;
pub use declaration::error::{Error, ParseError};
pub use declaration::site::Site;
pub use declaration::{Declarations, Label, LabelValues, Metric, Rejected};
pub use ledger::StoreMemory;
pub use limits::{GuestLimits, LimitUnit, ReadLimits};
pub use memory::batch::BatchReceiver;
pub use memory::budget::ReadBudget;
pub use memory::copy::MemoryCopy;
pub use memory::instance::Instance;
pub use memory::route::RequestKey;
pub use memory::view::{RegionView, Timestamp};
pub use registry::Registry;
pub use registry::component::{Component, RegionRefusal};
pub use registry::drop_log::NewDrop;
pub use registry::exposition::{ExpositionLimit, ExpositionLimits, HiddenSeries};
pub use registry::family::FamilyKind;
pub use registry::identity::Identity;
pub use registry::instrument::family::Family;
pub use registry::instrument::{Counter, FloatCounter, Gauge, Histogram, Instrument};
pub use registry::owner::SeriesOwner;
pub use request::filter::{Filter, InvalidFilter};
pub use request::propagation;
pub use request::{
    AccessLog, HandleSite, HttpSummary, InvalidAccessLog, Outcome, PrintedLines, Recording, RequestAttributes,
    RequestFacts, RequestTelemetry, SeriesLabels, Sink,
};
pub use snapshot::chunk::Cursor;
pub use snapshot::labels::LabelPairs;
pub use snapshot::number::Number;
pub use snapshot::{FamilySnapshot, Series, Snapshot, Value};
pub use wasmetry_abi::site::SiteKind;
pub use wasmetry_abi::{Kind, Merge};
