use core::mem::{offset_of, size_of};

use wasmetry_abi::ring::{CAPACITY, HEAD, HEADER_SIZE, RECORD_WORDS, TAIL};

use crate::sync::{AtomicU32, AtomicU64};

/// The start of a ring.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Head {
    pub(super) capacity: AtomicU32,
    reserved: AtomicU32,
    pub(super) tail: AtomicU64,
    pub(super) head: AtomicU64,
}

const _: () = assert!(
    offset_of!(Head, capacity) == CAPACITY
        && offset_of!(Head, tail) == TAIL
        && offset_of!(Head, head) == HEAD
        && size_of::<Head>() == HEADER_SIZE
);

/// A ring's memory.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Memory<const N: usize> {
    pub(super) head: Head,
    pub(super) words: [AtomicU64; N],
}

impl<const N: usize> Memory<N> {
    pub(super) const fn new() -> Self {
        assert!(N.is_power_of_two() && N >= 2 * RECORD_WORDS);
        Self {
            head: Head {
                capacity: AtomicU32::new(0),
                reserved: AtomicU32::new(0),
                tail: AtomicU64::new(0),
                head: AtomicU64::new(0),
            },
            words: [const { AtomicU64::new(0) }; N],
        }
    }
}
