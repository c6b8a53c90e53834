//! The functions that JavaScript calls.
//!
//! Two buffers of this module pass data: JavaScript reserves room by `input` and writes there, and
//! reads the bytes of `output`. No function takes a pointer, so none has to trust one.

#![allow(unsafe_code, reason = "a module's exports have names of their own, and its import is a foreign function")]

use std::cell::RefCell;
use std::time::Duration;

use crate::error::Error;
use crate::message::{self, Message};
use crate::state::State;

#[derive(Default)]
struct Core {
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
}

thread_local! {
    // The module is built without threads.
    static CORE: RefCell<Core> = RefCell::default();
}

/// The bytes of the input buffer that are kept after a call.
const SPARE_INPUT: usize = 1 << 16;

mod import {
    #[link(wasm_import_module = "guest")]
    unsafe extern "C" {
        /// Copies `len` bytes of the guest's memory at `address` to `into`; returns 0 if the memory
        /// ends before.
        ///
        /// The address is a JavaScript number, which is exact for the size of any memory.
        pub(super) fn copy(address: f64, into: *mut u8, len: usize) -> u32;
    }
}

/// Copies from the memory of the guest that JavaScript has selected.
fn copy(address: u64, into: &mut [u8]) -> bool {
    // SAFETY: JavaScript writes `into.len()` bytes from `into` on, or none.
    unsafe { import::copy(address as f64, into.as_mut_ptr(), into.len()) != 0 }
}

/// Runs a function with the core. On failure the output is the error's message.
fn call<R: Default>(f: impl FnOnce(&mut State, &[u8], &mut Vec<u8>) -> Result<R, Error>) -> R {
    CORE.with(|core| {
        // It is borrowed during a call from within the import, and for ever after a trap of this
        // module.
        let Ok(mut core) = core.try_borrow_mut() else { return R::default() };
        let Core { state, input, output } = &mut *core;
        output.clear();
        let result = f(state, input, output);
        input.clear();
        input.shrink_to(SPARE_INPUT);
        result.unwrap_or_else(|error| {
            output.clear();
            output.extend(error.to_string().into_bytes());
            R::default()
        })
    })
}

fn time(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default()
}

/// Exports functions of the module under their own names.
macro_rules! export {
    ($($(#[$doc:meta])* fn $name:ident($($parameter:ident: $type:ty),*) -> $result:ty $body:block)*) => {
        $(
            $(#[$doc])*
            // SAFETY: no other symbol of this module has one of these names.
            #[unsafe(no_mangle)]
            extern "C" fn $name($($parameter: $type),*) -> $result $body
        )*
    };
}

export! {
    /// Reserves `len` bytes for input; returns their address, or 0 without memory for them.
    fn input(len: usize) -> *mut u8 {
        CORE.with(|core| {
            let Ok(mut core) = core.try_borrow_mut() else { return std::ptr::null_mut() };
            let Core { input, output, .. } = &mut *core;
            input.clear();
            if input.try_reserve_exact(len).is_err() {
                output.clear();
                output.extend(Error::Memory { bytes: len }.to_string().into_bytes());
                return std::ptr::null_mut();
            }
            input.resize(len, 0);
            input.as_mut_ptr()
        })
    }

    /// Returns the address of the last call's output.
    fn output() -> *const u8 {
        CORE.with(|core| core.try_borrow().map_or(std::ptr::null(), |core| core.output.as_ptr()))
    }

    /// Returns the length of the last call's output in bytes.
    fn output_len() -> usize {
        CORE.with(|core| core.try_borrow().map_or(0, |core| core.output.len()))
    }

    /// Registers a component; returns its handle. Input: name, version, tenant, and the descriptor
    /// sections, or the binary if `sections` is 0.
    fn register(sections: u32) -> u32 {
        call(|state, input, _| state.component(input, sections))
    }

    /// Outputs the warnings about a component.
    fn warnings(component: u32) -> bool {
        call(|state, _, output| {
            message::write(output, state.warnings(component)?);
            Ok(true)
        })
    }

    /// Starts an instance of a component; returns its handle.
    fn start_instance(component: u32) -> u32 {
        call(|state, _, _| state.start(component))
    }

    /// Returns `true` if regions of this version can be read.
    fn admit_version(abi: u32) -> bool {
        call(|state, _, _| Ok(state.admit(abi)))
    }

    /// Opens a region of an instance that sends batches; returns its number, or 0 if the instance
    /// has too many.
    fn open_region(instance: u32) -> u32 {
        call(|state, _, _| state.open(instance))
    }

    /// Receives a batch, the input, at a time in milliseconds.
    fn push_batch(instance: u32, now: f64) -> bool {
        call(|state, input, _| state.push(instance, input, time(now)).map(|()| true))
    }

    /// Attaches a region in the instance's memory, with its header at an address.
    fn attach_region(instance: u32, header: u64) -> bool {
        call(|state, _, _| state.attach(instance, header).map(|()| true))
    }

    /// Reads the regions in the instance's memory through the import, at a time in milliseconds.
    fn read_regions(instance: u32, now: f64) -> bool {
        call(|state, _, _| state.read(instance, copy, time(now)).map(|()| true))
    }

    /// Sets the size of the instance's linear memory, in pages of 64 KiB.
    fn set_memory(instance: u32, pages: u32) -> bool {
        call(|state, _, _| state.set_memory(instance, pages).map(|()| true))
    }

    /// Counts a trap of the instance's guest. Input: the reason.
    fn count_trap(instance: u32) -> bool {
        call(|state, input, _| state.trapped(instance, Message::new(input).text()?).map(|()| true))
    }

    /// Reads the instance's memory for the last time and ends the instance, at a time in
    /// milliseconds.
    fn end_instance(instance: u32, now: f64) -> bool {
        call(|state, _, _| state.end(instance, copy, time(now)).map(|()| true))
    }

    /// Records in a metric of the host. Input: name, help, the keys of its labels, their
    /// values, and a histogram's bounds. Operations: 0 adds to a counter, 1 sets a gauge, 2 adds a
    /// whole number to a gauge, 3 observes.
    ///
    /// Returns 0 on failure, else 1. Returns 2 if the metric is rejected, and outputs the reason.
    fn record(operation: u32, labels: u32, value: f64) -> u32 {
        call(|state, input, output| {
            let Some(reason) = state.record(input, operation, labels, value)? else { return Ok(1) };
            output.extend(reason.into_bytes());
            Ok(2)
        })
    }

    /// Returns the format for an `Accept` header, the input.
    fn negotiate() -> u32 {
        call(|_, input, _| Ok(State::negotiate(input)))
    }

    /// Outputs the media type of a format, for an `Accept` header, the input.
    fn content_type(format: u32) -> bool {
        call(|_, input, output| {
            output.extend(State::content_type(format, input)?.as_bytes());
            Ok(true)
        })
    }

    /// Outputs the values of all series in a format, at a time in milliseconds.
    fn encode(format: u32, now: f64) -> bool {
        call(|state, _, output| {
            *output = state.encode(format, time(now))?.into_bytes();
            Ok(true)
        })
    }
}
