//! Regions that no crate has written. `crates/abi/FORMAT.md` has their form.

use std::cell::UnsafeCell;

use wasmetry_abi::layout::{HEADER_VERSION, HEADER_WIDTH, MAGIC, Offsets, table_key, table_size};
use wasmetry_abi::ring::{CAPACITY, HEAD, HEADER_SIZE};
use wasmetry_abi::{VERSION, hash};

use crate::declared::{
    BUCKET_ROWS, BUCKET_WORDS, BUCKETS, CELL_METRICS, CELL_SERIES, CELLS, LABELS, LOG, ROW_TEXT, TEXT_LABELS,
};
use crate::wasmetry::telemetry::region;

pub(crate) const OFFSETS: Offsets = Offsets::WIDTH_4;

/// Words of a log without arguments: the head, the time, the context, the site, and the tags.
const RECORD_WORDS: u64 = 7;

/// Memory of the guest's image, of which only the pages that it writes exist.
#[repr(C, align(8))]
struct Arena(UnsafeCell<[u8; 20 << 20]>);

// SAFETY: the guest has one thread.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; 20 << 20]));

/// A region in the arena, whose header is at its beginning.
pub(crate) struct Forged {
    bytes: &'static mut [u8],
    pub(crate) len: usize,
}

/// An entry: the offsets of its head, its tables and its cells.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) at: usize,
    pub(crate) tables: usize,
    pub(crate) cells: usize,
}

impl Forged {
    /// Writes a header without entries.
    pub(crate) fn new() -> Self {
        // SAFETY: each request has an instance of its own, which makes one region.
        let bytes = unsafe { &mut *ARENA.0.get() };
        let mut region = Self { bytes, len: OFFSETS.header_size };
        region.put(0, &MAGIC.to_le_bytes());
        region.put(HEADER_VERSION, &(VERSION as u16).to_le_bytes());
        region.put(HEADER_WIDTH, &[4]);
        region
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn put_u32(&mut self, at: usize, number: u32) {
        self.put(at, &number.to_le_bytes());
    }

    pub(crate) fn put_u64(&mut self, at: usize, number: u64) {
        self.put(at, &number.to_le_bytes());
    }

    pub(crate) fn address(&self, at: usize) -> u32 {
        self.bytes.as_ptr() as u32 + at as u32
    }

    /// Adds an entry of a declared metric, with so many bytes of tables and of cells.
    pub(crate) fn entry(&mut self, record: &[u8], tables: usize, cells: usize) -> Entry {
        let at = self.len.next_multiple_of(8);
        let newest = self.bytes[OFFSETS.header_metrics..][..4].to_vec();
        self.put(at + OFFSETS.entry_next, &newest);
        self.put_u64(at + OFFSETS.entry_hash, hash(record));
        self.put_u32(OFFSETS.header_metrics, self.address(at));
        let entry = Entry { at, tables: at + OFFSETS.entry_size, cells: at + OFFSETS.entry_size + tables };
        self.len = entry.cells + cells;
        entry
    }

    /// Adds copies of the header. Returns the offsets of all headers.
    pub(crate) fn headers(&mut self, count: usize) -> Vec<usize> {
        let start = self.len.next_multiple_of(8);
        let copies: Vec<usize> = (0..count - 1).map(|index| start + index * OFFSETS.header_size).collect();
        for copy in &copies {
            self.bytes.copy_within(..OFFSETS.header_size, *copy);
        }
        self.len = start + (count - 1) * OFFSETS.header_size;
        [0].into_iter().chain(copies).collect()
    }

    /// Adds a ring of this many words, whose address is stored at an offset of the header. Returns
    /// its offset.
    pub(crate) fn ring(&mut self, place: usize, words: u32) -> usize {
        let at = self.len.next_multiple_of(8);
        self.put_u32(place, self.address(at));
        self.put_u32(at + CAPACITY, words);
        self.len = at + HEADER_SIZE + 8 * words as usize;
        at
    }

    /// Interns a text in a slot of a table.
    pub(crate) fn text(&mut self, table: usize, (capacity, max_len): (u32, u32), slot: u32, text: &[u8]) {
        self.put_u32(table + 4 * slot as usize, hash(text) as u32 | 1);
        let key = table + table_key(capacity, max_len, slot) as usize;
        self.put_u32(key, text.len() as u32 + 1);
        self.put(key + 4, text);
    }
}

/// Lends the region to the host, as often as `times`.
pub(crate) fn attach(region: &Forged, times: u64) {
    region::open(VERSION);
    for _ in 0..times {
        attach_header(region, 0);
    }
}

/// Lends the region to the host by so many headers, which all have its list.
pub(crate) fn attach_headers(mut region: Forged, count: u64) {
    region::open(VERSION);
    for header in region.headers(count as usize) {
        attach_header(&region, header);
    }
}

/// Lends the region to the host as that of the header at an offset.
pub(crate) fn attach_header(region: &Forged, header: usize) {
    let base = u64::from(region.address(0));
    region::attach(&region.bytes[..region.len], base, base + header as u64);
}

/// Makes the host collect.
pub(crate) fn flush() {
    region::flush(&[]);
}

/// A region of 16 MiB of counters, of which one page of each counter is written.
pub(crate) fn cells() -> Forged {
    let mut region = Forged::new();
    for record in CELLS.iter().take(CELL_METRICS) {
        region.entry(record, 0, 8 * CELL_SERIES);
    }
    region
}

/// A region of 65,536 series with 16 labels of 1 KiB, each of which is one quote or `overflow`.
pub(crate) fn labels() -> Forged {
    let mut region = Forged::new();
    let table = table_size(1, 1024).unwrap_or_default() as usize;
    let Entry { tables, cells, .. } = region.entry(&LABELS, TEXT_LABELS * table, 8 << TEXT_LABELS);
    for label in 0..TEXT_LABELS {
        region.text(tables + label * table, (1, 1024), 0, &[b'"'; 1024]);
    }
    for cell in region.bytes[cells..][..8 << TEXT_LABELS].chunks_exact_mut(8) {
        cell[0] = 1;
    }
    region
}

/// A region of a histogram of 201 buckets with this number of series.
pub(crate) fn buckets(rows: usize) -> Forged {
    let mut region = Forged::new();
    let table = table_size(BUCKET_ROWS, ROW_TEXT).unwrap_or_default() as usize;
    let Entry { tables, cells, .. } = region.entry(&BUCKETS, table, (BUCKET_ROWS as usize + 1) * BUCKET_WORDS * 8);
    for row in 0..rows.min(BUCKET_ROWS as usize) {
        region.text(tables, (BUCKET_ROWS, ROW_TEXT), row as u32, format!("{row:08}").as_bytes());
        // The count of the first bucket.
        region.put_u64(cells + 8 * (row * BUCKET_WORDS + 1), 1);
    }
    region
}

/// A region with a ring of this many words, which is its audit ring too, full of the shortest
/// records of the longest log.
pub(crate) fn ring(words: u32) -> Forged {
    let mut region = Forged::new();
    let at = region.ring(OFFSETS.header_ring, words);
    region.put_u32(OFFSETS.header_audit, region.address(at));
    let records = u64::from(words) / RECORD_WORDS;
    let site = hash(&LOG);
    region.put_u64(at + HEAD, records * RECORD_WORDS);
    for sequence in 0..records {
        let record = at + HEADER_SIZE + (8 * RECORD_WORDS * sequence) as usize;
        region.put_u64(record, RECORD_WORDS | 1 << 16 | sequence << 32);
        region.put_u64(record + 40, site);
    }
    region
}
