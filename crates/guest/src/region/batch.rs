//! Batches: copies of the region, for a host that cannot read the guest's memory.
//!
//! The format is specified in `crates/abi/FORMAT.md`, section 5.

#![allow(unsafe_code, reason = "it copies the region's memory")]

use core::mem::MaybeUninit;

use wasmetry_abi::batch::{HEAD_WORDS, Head, PIECE_WORDS};

/// 8-byte words in a batch, at most: 8 KiB, so that most services send one batch for each request.
const WORDS: usize = 1024;

const HEAD: usize = 8 * HEAD_WORDS;
const PIECE: usize = 8 * PIECE_WORDS;

/// A part of the region's memory. Its length is a multiple of 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    start: *const MaybeUninit<u8>,
    len: usize,
}

impl Piece {
    /// The `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// The memory is that of a static, and nothing writes to it while [`Buffer::push`] copies it.
    pub(crate) const unsafe fn new(start: *const u8, len: usize) -> Self {
        Self { start: start.cast(), len }
    }
}

/// The memory that batches are written into, of `N` bytes.
#[repr(C, align(8))]
pub(crate) struct Buffer<const N: usize = { 8 * WORDS }>([MaybeUninit<u8>; N]);

impl<const N: usize> Buffer<N> {
    pub(crate) const fn new() -> Self {
        const { assert!(N >= HEAD + PIECE + 8 && N.is_multiple_of(8)) };
        Self([MaybeUninit::zeroed(); N])
    }

    /// Copies the pieces into as many batches as they need and gives each batch to `send`. The
    /// first piece is the header. Returns the sequence number of the next push's first batch.
    pub(crate) fn push(
        &mut self,
        region: u32,
        sequence: u64,
        pieces: impl Iterator<Item = Piece> + Clone,
        mut send: impl FnMut(&[MaybeUninit<u8>]),
    ) -> u64 {
        let Some(header) = pieces.clone().next() else { return sequence };
        let base = pieces.clone().map(|piece| piece.start.addr()).min().unwrap_or(0);
        let end = pieces.clone().map(|piece| piece.start.addr() + piece.len).max().unwrap_or(0);
        let mut head = Head {
            first: true,
            last: false,
            region,
            sequence,
            base: base as u64,
            len: (end - base) as u64,
            header: header.start.addr() as u64,
        };
        let mut used = HEAD;
        for mut piece in pieces {
            while piece.len > 0 {
                if N - used <= PIECE {
                    self.send(&mut head, used, &mut send);
                    used = HEAD;
                }
                let len = piece.len.min(N - used - PIECE);
                self.words(used, &[piece.start.addr() as u64, len as u64]);
                // SAFETY: by `Piece::new`, the piece is part of a static that nothing writes to; by
                // the lines above, the buffer has room for it.
                unsafe {
                    core::ptr::copy_nonoverlapping(piece.start, self.0.as_mut_ptr().wrapping_add(used + PIECE), len)
                };
                used += PIECE + len;
                piece = Piece { start: piece.start.wrapping_add(len), len: piece.len - len };
            }
        }
        head.last = true;
        self.send(&mut head, used, &mut send);
        head.sequence
    }

    fn send(&mut self, head: &mut Head, used: usize, send: &mut impl FnMut(&[MaybeUninit<u8>])) {
        self.words(0, &head.words());
        if let Some(batch) = self.0.get(..used) {
            send(batch);
        }
        head.sequence = head.sequence.wrapping_add(1);
        head.first = false;
    }

    fn words(&mut self, at: usize, words: &[u64]) {
        let places = self.0.iter_mut().skip(at);
        for (place, byte) in places.zip(words.iter().flat_map(|word| word.to_le_bytes())) {
            place.write(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;
    use wasmetry_abi::batch::Batch;

    /// The pieces are parts of one array, and the second one lies in front of the others.
    #[test]
    fn small_batches_carry_all_pieces() {
        static MEMORY: [u64; 40] = {
            let mut words = [0; 40];
            let mut i = 0;
            while i < 40 {
                words[i] = 1000 + i as u64;
                i += 1;
            }
            words
        };
        let piece = |first: usize, words: usize| {
            let start = (&raw const MEMORY).cast::<u8>().wrapping_add(8 * first);
            // SAFETY: it is part of a static that nothing writes to.
            unsafe { Piece::new(start, 8 * words) }
        };
        let pieces = [piece(10, 3), piece(0, 9), piece(20, 20)];
        let mut batches: Vec<Vec<u8>> = Vec::new();
        let mut buffer = Buffer::<96>::new();
        let next = buffer.push(5, 7, pieces.into_iter(), |batch| {
            // SAFETY: a batch of pieces that are initialized is.
            batches.push(batch.iter().map(|byte| unsafe { byte.assume_init() }).collect());
        });

        assert!(batches.len() > 8, "{}", batches.len());
        assert_eq!(next, 7 + batches.len() as u64);
        let base = (&raw const MEMORY).addr() as u64;
        let mut found = [0u64; 40];
        for (i, bytes) in batches.iter().enumerate() {
            let batch = Batch::decode(bytes).unwrap();
            let expected = Head {
                first: i == 0,
                last: i == batches.len() - 1,
                region: 5,
                sequence: 7 + i as u64,
                base,
                len: 320,
                header: base + 80,
            };
            assert_eq!(batch.head, expected);
            for (address, bytes) in batch.pieces() {
                let at = (address - base) as usize / 8;
                for (word, bytes) in found[at..].iter_mut().zip(bytes.as_chunks().0) {
                    assert_eq!(*word, 0, "every word is sent once");
                    *word = u64::from_le_bytes(*bytes);
                }
            }
        }
        for (i, word) in found.iter().enumerate() {
            let is_sent = !(9..20).contains(&i) || (10..13).contains(&i);
            assert_eq!(*word, if is_sent { MEMORY[i] } else { 0 }, "{i}");
        }
    }
}
