//! Random numbers, for the ids of new traces and spans.

use crate::sync::{AtomicU64, Ordering};

/// The state of the generator; 0 before it has a seed.
static STATE: AtomicU64 = AtomicU64::new(0);

/// Seeds the generator, unless it has a seed.
pub(crate) fn seed(seed: u64) {
    let _ = STATE.compare_exchange(0, seed, Ordering::Relaxed, Ordering::Relaxed);
}

/// A random number that is not 0.
///
/// The generator is SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
/// Generators", 2014): two instances with random seeds make the same number about as often as two
/// random numbers are equal.
pub(crate) fn next() -> u64 {
    if STATE.load(Ordering::Relaxed) == 0 {
        seed(entropy());
    }
    loop {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = STATE.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = mixed ^ (mixed >> 31);
        if number != 0 {
            return number;
        }
    }
}

/// A number that other instances are unlikely to have, for a host that has sent no seed.
#[cfg(wasmetry_component)]
fn entropy() -> u64 {
    crate::host::import::component::monotonic_now()
}

/// A number that other instances are unlikely to have: WASI's random one, or the time of the clock
/// that the author has set.
#[cfg(wasmetry_module)]
fn entropy() -> u64 {
    #[cfg(wasmetry_wasip1)]
    if let Some(number) = crate::host::import::wasip1::random() {
        return number;
    }
    crate::host::clock::now().unwrap_or(0)
}

/// A number that other processes are unlikely to have.
#[cfg(not(target_family = "wasm"))]
fn entropy() -> u64 {
    extern crate std;

    use std::hash::{BuildHasher, Hasher, RandomState};

    RandomState::new().build_hasher().finish()
}
