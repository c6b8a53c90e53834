//! The host crate as WebAssembly: what `@wasmetry/node` runs, so that JavaScript hosts have the registry and the encoders of
//! every other host instead of a second implementation.
//!
//! ```js
//! // hosts/node/src/core.js does this for its users.
//! const { instance } = await WebAssembly.instantiate(bytes, { guest: { copy } });
//! const { input, component, memory } = instance.exports;
//! ```
//!
//! The functions of [`export`] are the whole interface. JavaScript writes texts and bytes where `input` says and reads them
//! where `output` says; everything else is numbers. A function that fails returns 0 and leaves the reason as output. One
//! instance of this module is one registry.
//!
//! What it deliberately does not do: read a clock, know what a component's imports look like in JavaScript, or serve HTTP.

#![deny(clippy::panic, clippy::indexing_slicing, clippy::expect_used, clippy::arithmetic_side_effects)]

#[cfg(target_family = "wasm")]
mod export;

mod error;
mod guest;
mod handle;
mod message;
mod state;
