//! Inputs of the benchmarks, and of the workloads whose instructions CI counts.
//!
//! ```
//! use wasmetry_benches::{Image, Random};
//! use wasmetry_host::Registry;
//!
//! let mut image = Image::new(10);
//! image.grow(&mut Random::new(1));
//! let registry = Registry::new();
//! image.read_last(image.declare(&registry).instance());
//! image.assert_shown(&registry);
//! ```
//!
//! It deliberately depends on no runtime and no rival: those are dependencies of the benches only,
//! so that the workloads build without them.

#![forbid(unsafe_code)]

pub mod console;
mod image;
mod random;

pub use image::{Image, METHODS, ROUTES};
pub use random::Random;
