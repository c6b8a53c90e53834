//! The imports of a component: `wasmetry:telemetry/region` and the monotonic clock of WASI.
//!
//! They are raw, because generated bindings need an allocator. Beside them stand the bytes that
//! give the component's linker their types; `cargo xtask wit` makes those bytes from `wit/`.

#![allow(unsafe_code, reason = "it calls the host")]

use core::mem::MaybeUninit;

use wasmetry_abi::Settings;

use crate::region::header::Header;

// The name carries this crate's version, so that two versions linked into one module keep their
// bytes apart. The bytes stand in the module of `open`, so that both are in one object file, also
// of a debug build: the linker leaves out a file of which nothing is used. SAFETY: the section's
// name is one that the component's linker reads, and the bytes are of the form it expects: a test
// makes them again from `wit/` and compares.
#[unsafe(link_section = concat!("component-type:wasmetry:", env!("CARGO_PKG_VERSION"), ":sdk-guest"))]
#[allow(dead_code, reason = "the component's linker reads it")]
static COMPONENT_TYPE: [u8; include_bytes!("../../component-type.bin").len()] =
    *include_bytes!("../../component-type.bin");

mod raw {
    use wasmetry_abi::Settings;

    // The signatures are the canonical ABI's lowering of the WIT functions: a list is a pointer and
    // a length, a record of several fields is returned through a pointer.
    #[link(wasm_import_module = "wasmetry:telemetry/region@0.1.0")]
    unsafe extern "C" {
        #[link_name = "open"]
        pub(super) fn open(abi: u32, settings: *mut Settings);
        #[link_name = "attach"]
        pub(super) fn attach(window: *const u8, len: usize, base: u64, header: u64);
        #[link_name = "flush"]
        pub(super) fn flush(batch: *const u8, len: usize, settings: *mut Settings);
        #[link_name = "refresh"]
        pub(super) fn refresh(settings: *mut Settings);
    }

    #[link(wasm_import_module = "wasi:clocks/monotonic-clock@0.2.0")]
    unsafe extern "C" {
        #[link_name = "now"]
        pub(super) safe fn now() -> u64;
    }

    // The ends of the static data, as the linker defines them. Only their addresses have a meaning.
    unsafe extern "C" {
        pub(super) static __global_base: u8;
        pub(super) static __heap_base: u8;
    }
}

/// Opens a region; returns the host's settings.
pub(crate) fn open() -> Settings {
    let mut settings = Settings::UNKNOWN;
    // SAFETY: the host writes one `Settings` to the pointer, which is valid for that.
    unsafe { raw::open(wasmetry_abi::VERSION, &raw mut settings) };
    settings
}

/// Lends the host the window on the static data, in which `header` lies.
pub(crate) fn attach(header: &'static Header) {
    let start = &raw const raw::__global_base;
    let end = &raw const raw::__heap_base;
    let base = start as usize;
    // SAFETY: the host reads the memory of all statics, none of which Rust holds a unique reference
    // to while the guest is in the host; it is passed as an address and a length, never as a slice.
    unsafe { raw::attach(start, end as usize - base, base as u64, core::ptr::from_ref(header) as u64) };
}

/// Asks the host to collect, with a batch if it cannot read memory; returns its settings.
pub(crate) fn flush(batch: &[MaybeUninit<u8>]) -> Settings {
    let mut settings = Settings::UNKNOWN;
    // SAFETY: the host reads the batch, all of which was written, and writes one `Settings` to the
    // other pointer.
    unsafe { raw::flush(batch.as_ptr().cast(), batch.len(), &raw mut settings) };
    settings
}

/// Returns the host's settings as they are now.
pub(crate) fn refresh() -> Settings {
    let mut settings = Settings::UNKNOWN;
    // SAFETY: the host writes one `Settings` to the pointer, which is valid for that.
    unsafe { raw::refresh(&raw mut settings) };
    settings
}

/// The host's monotonic clock, in nanoseconds.
pub(crate) fn monotonic_now() -> u64 {
    raw::now()
}
