//! The one place that calls the host.
//!
//! A component built for `wasm32-wasip2` imports `wasmetry:telemetry/region` by raw imports, because generated bindings need
//! an allocator. The bytes that tell the component's linker what those imports mean stand beside them and are made
//! from `wit/` by `cargo xtask wit`. With the feature `component`, so does a core module that is made a component later.
//! Every other core module exports the header's address, and imports nothing, or from WASI's first release what time it is.
//! `build.rs` sets the conditions.

#![allow(unsafe_code, reason = "it calls the host")]

use crate::region::Header;

// The name carries this crate's version, so that two versions linked into one module keep their bytes apart.
// It stands in the module of `open`, so that both are in one object file, also of a debug build: the linker takes no file of
// which nothing is used.
// SAFETY: the section's name is one that the component's linker reads, and the bytes are of the form it expects: a
// test makes them anew from `wit/` and compares.
#[cfg(wasmetry_component)]
#[unsafe(link_section = concat!("component-type:wasmetry:", env!("CARGO_PKG_VERSION"), ":sdk-guest"))]
#[allow(dead_code, reason = "it is read by the component's linker")]
static COMPONENT_TYPE: [u8; include_bytes!("component-type.bin").len()] = *include_bytes!("component-type.bin");

#[cfg(wasmetry_component)]
mod imports {
    use wasmetry_abi::Settings;

    // The signatures are the canonical ABI's lowering of the WIT functions: a list is a pointer and a length, a record of
    // several fields is returned through a pointer.
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

    // Where the linker put the static data. Only their addresses mean anything.
    unsafe extern "C" {
        pub(super) static __global_base: u8;
        pub(super) static __heap_base: u8;
    }
}

/// Opens the region and lends the host the window on the static data, if the host wants it.
#[cfg(wasmetry_component)]
pub(crate) fn open(header: &'static Header) {
    use wasmetry_abi::{Collection, Settings};

    let mut settings = Settings::UNKNOWN;
    // SAFETY: the host writes one `Settings` to the pointer, which is valid for that.
    unsafe { imports::open(wasmetry_abi::VERSION, &raw mut settings) };
    pushed::configure(&settings);
    configure(&settings);
    if settings.collection == Collection::Mapped as u8 {
        let start = &raw const imports::__global_base;
        let end = &raw const imports::__heap_base;
        let base = start as usize;
        // SAFETY: the host reads the memory of all statics, none of which Rust holds a unique reference to while the guest is
        // in the host; it is passed as an address and a length, never as a slice.
        unsafe { imports::attach(start, end as usize - base, base as u64, core::ptr::from_ref(header) as u64) };
    }
}

/// Tells the host that now is a good time to collect.
#[cfg(wasmetry_component)]
pub(crate) fn flush() {
    if !pushed::push() {
        let mut settings = wasmetry_abi::Settings::UNKNOWN;
        // SAFETY: the batch is empty, so its pointer is not read, and the host writes one `Settings` to the other one.
        unsafe { imports::flush(core::ptr::dangling(), 0, &raw mut settings) };
        configure(&settings);
    }
}

/// Asks the host for its settings anew; returns its time of day.
#[cfg(wasmetry_component)]
pub(crate) fn refresh() -> u64 {
    let mut settings = wasmetry_abi::Settings::UNKNOWN;
    // SAFETY: the host writes one `Settings` to the pointer, which is valid for that.
    unsafe { imports::refresh(&raw mut settings) };
    configure(&settings);
    settings.time
}

/// The host's time of day, in nanoseconds since 1970-01-01 00:00 UTC; 0 where there is none.
#[cfg(wasmetry_component)]
pub(crate) fn wall_time() -> u64 {
    refresh()
}

/// Does as the host has answered.
fn configure(settings: &wasmetry_abi::Settings) {
    crate::clock::set_wall(settings.time);
    crate::id::seed(settings.seed);
    crate::record::configure(settings);
}

/// Sends a host that does not look by itself what was recorded.
#[cfg(wasmetry_component)]
pub(crate) fn end_request() {
    pushed::push();
}

/// What a guest does whose host cannot read its memory.
#[cfg(wasmetry_component)]
mod pushed {
    use core::cell::UnsafeCell;

    use wasmetry_abi::{Collection, Settings};

    use super::imports;
    use crate::batch::Buffer;
    use crate::region;
    use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    /// Whether the host asks for batches.
    static ASKED: AtomicBool = AtomicBool::new(false);

    /// The number by which the host knows the region.
    static REGION: AtomicU32 = AtomicU32::new(0);

    /// The next batch's sequence number.
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);

    /// Whether a push is under way, which has the buffer.
    static PUSHING: AtomicBool = AtomicBool::new(false);

    struct Shared(UnsafeCell<Buffer>);

    // SAFETY: only the one that has set `PUSHING` uses it.
    unsafe impl Sync for Shared {}

    static BUFFER: Shared = Shared(UnsafeCell::new(Buffer::new()));

    /// Does as the host has answered.
    pub(super) fn configure(settings: &Settings) {
        ASKED.store(settings.collection == Collection::Pushed as u8, Ordering::Relaxed);
        REGION.store(settings.region, Ordering::Relaxed);
    }

    /// Sends the region, if the host asks for that. Returns whether it does.
    pub(super) fn push() -> bool {
        if !ASKED.load(Ordering::Relaxed) {
            return false;
        }
        // Acquire pairs with the Release below.
        if PUSHING.swap(true, Ordering::Acquire) {
            return true;
        }
        let mut settings = Settings::UNKNOWN;
        // SAFETY: a component has one thread, which is here and records nothing before this function returns.
        let pieces = unsafe { region::pieces() };
        // SAFETY: by `PUSHING`, this is the only reference.
        let buffer = unsafe { &mut *BUFFER.0.get() };
        let (number, sequence) = (REGION.load(Ordering::Relaxed), SEQUENCE.load(Ordering::Relaxed));
        let next = buffer.push(number, sequence, pieces, |batch| {
            // SAFETY: the host reads the batch and writes one `Settings` to the other pointer.
            unsafe { imports::flush(batch.as_ptr().cast(), batch.len(), &raw mut settings) };
        });
        SEQUENCE.store(next, Ordering::Relaxed);
        super::configure(&settings);
        ASKED.store(settings.collection == Collection::Pushed as u8, Ordering::Relaxed);
        // Release pairs with the Acquire above.
        PUSHING.store(false, Ordering::Release);
        true
    }
}

/// The monotonic clock of the host, in nanoseconds.
#[cfg(wasmetry_component)]
pub(crate) fn monotonic_now() -> u64 {
    imports::now()
}

/// The address of the region's header, for a host to call before anything else, and again when it is about to look.
///
/// The name is made in `build.rs`. See `crates/abi/FORMAT.md`, section 4.
// SAFETY: no other crate defines a symbol of this name; a release that may be linked beside this one has another.
#[cfg(wasmetry_module)]
#[unsafe(export_name = env!("WASMETRY_REGION_EXPORT"))]
pub(crate) extern "C" fn region_header() -> *const Header {
    crate::observer::observe();
    &raw const crate::region::HEADER
}

/// There is nobody to tell: natively the metrics are read in the process itself, and a core module's host looks. What a host
/// would ask for is what most would.
#[cfg(not(wasmetry_component))]
pub(crate) fn open(_header: &'static Header) {
    use wasmetry_abi::{Level, Settings};

    configure(&Settings { record_level: Level::Debug as u8, ..Settings::UNKNOWN });
}

/// There is nobody to tell.
#[cfg(not(wasmetry_component))]
pub(crate) fn flush() {}

/// There is nobody to tell.
#[cfg(not(wasmetry_component))]
pub(crate) fn end_request() {}

/// There is nobody to ask.
#[cfg(not(wasmetry_component))]
pub(crate) fn refresh() {}

/// A core module without WASI has no time of day but the clock that it is given.
#[cfg(all(wasmetry_module, not(wasmetry_wasip1)))]
pub(crate) fn wall_time() -> u64 {
    0
}

#[cfg(wasmetry_wasip1)]
pub(crate) use wasip1::wall_time;

/// What a module for `wasm32-wasip1` asks its host, as the standard library in it does.
///
/// Where the host refuses, the module is as one without WASI. Source: the witx files of `wasi_snapshot_preview1`.
#[cfg(wasmetry_wasip1)]
pub(crate) mod wasip1 {
    const REALTIME: u32 = 0;
    const MONOTONIC: u32 = 1;

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
        fn random_get(bytes: *mut u8, len: usize) -> u32;
    }

    /// The monotonic clock, in nanoseconds.
    pub(crate) fn monotonic_now() -> Option<u64> {
        read(MONOTONIC)
    }

    /// The time of day, in nanoseconds since 1970-01-01 00:00 UTC; 0 where there is none.
    pub(crate) fn wall_time() -> u64 {
        read(REALTIME).unwrap_or(0)
    }

    /// A random number.
    pub(crate) fn seed() -> Option<u64> {
        let mut bytes = [0; 8];
        // SAFETY: the host writes as many bytes to the pointer as it is told, and they are there.
        let error = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
        (error == 0).then_some(u64::from_le_bytes(bytes))
    }

    fn read(clock: u32) -> Option<u64> {
        let mut time = 0;
        // SAFETY: the host writes one `u64` to the pointer, which is valid for that.
        let error = unsafe { clock_time_get(clock, 1, &raw mut time) };
        (error == 0).then_some(time)
    }
}

/// The time of day, in nanoseconds since 1970-01-01 00:00 UTC.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn wall_time() -> u64 {
    extern crate std;

    use std::time::{SystemTime, UNIX_EPOCH};

    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(0)
}

/// A number that other instances are unlikely to have, where the host has given none.
#[cfg(wasmetry_component)]
pub(crate) fn seed() -> u64 {
    imports::now()
}

/// A number that other instances are unlikely to have: a random one of WASI's, or the time of the clock that the author has given by
/// now.
#[cfg(wasmetry_module)]
pub(crate) fn seed() -> u64 {
    #[cfg(wasmetry_wasip1)]
    if let Some(seed) = wasip1::seed() {
        return seed;
    }
    crate::clock::now().unwrap_or(0)
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn seed() -> u64 {
    extern crate std;

    use std::hash::{BuildHasher, Hasher, RandomState};

    RandomState::new().build_hasher().finish()
}
