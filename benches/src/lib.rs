//! What the benchmarks, and the workloads whose instructions CI counts, have in common: inputs.
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
//! It deliberately knows no runtime and no peer: those are the benches' own dependencies, so that the workloads build
//! without them.

#![forbid(unsafe_code)]

mod image;
mod random;

pub use image::{Image, METHODS, ROUTES};
pub use random::Random;
