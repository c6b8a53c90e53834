//! The host crate as WebAssembly, for the npm package `@wasmetry/node`: JavaScript hosts run the
//! registry and the encoders of all other hosts instead of a second implementation.
//!
//! ```js
//! // hosts/node/src/core.js does this for its users.
//! const { instance } = await WebAssembly.instantiate(bytes, { guest: { copy } });
//! const { input, component, memory } = instance.exports;
//! ```
//!
//! The functions of [`export`] are the whole interface. JavaScript writes texts and bytes to the
//! address that `input` returns, and reads them from the address that `output` returns; all other
//! values are numbers. A function that fails returns 0 and outputs the reason. One instance of this
//! module is one registry.
//!
//! It deliberately reads no clock, knows nothing of a component's imports in JavaScript, and serves
//! no HTTP.

#![deny(clippy::panic, clippy::indexing_slicing, clippy::expect_used, clippy::arithmetic_side_effects)]

#[cfg(target_family = "wasm")]
mod export;

mod error;
mod guest;
mod handle;
mod message;
mod state;
