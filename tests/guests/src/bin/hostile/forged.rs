//! Regions that break a rule of the format, each in one way. `tests/hostile/forged.rs` has what the
//! host counts for each.

use wasmetry_abi::exponential::STATE;
use wasmetry_abi::layout::{HEADER_VERSION, HEADER_WIDTH, cell_words, scratch_words, table_key, table_size};
use wasmetry_abi::{Kind, VERSION};

use crate::declared::{
    CELLS, HITS, LEVEL, MISSES, NAMES, NAMES_CAPACITY, NAMES_TEXT, SPENT, WAIT, WIDTH, WIDTH_BUCKETS,
};
use crate::region::{Entry, Forged, OFFSETS, attach, attach_header, attach_headers, cells, flush};
use crate::wasmetry::telemetry::region;

#[link(wasm_import_module = "wasmetry:telemetry/region@0.1.0")]
unsafe extern "C" {
    /// Lends any addresses, which need not be memory.
    #[link_name = "attach"]
    fn attach_addresses(start: u32, len: u32, base: u64, header: u64);
}

/// Bytes that the guest uses so that its host may keep little for it.
const BALLAST: usize = 40 << 20;

/// A region with one counter that is 1.
fn hits() -> (Forged, Entry) {
    let mut region = Forged::new();
    let hits = region.entry(&HITS, 0, 8);
    region.put_u64(hits.cells, 1);
    (region, hits)
}

/// Lends the region by other addresses than its own.
fn lend(region: &Forged, len: usize, base: u64, header: u64) {
    region::open(VERSION);
    // SAFETY: the host reads what is memory, and refuses the rest.
    unsafe { attach_addresses(region.address(0), len as u32, base, header) };
}

/// Lends addresses that are not memory.
fn lend_nothing(start: u32, len: u32) {
    region::open(VERSION);
    // SAFETY: as in `lend`.
    unsafe { attach_addresses(start, len, u64::from(start), u64::from(start)) };
}

/// Lends a region whose header differs in one byte.
fn header(at: usize, byte: u8) {
    let (mut region, _) = hits();
    region.put(at, &[byte]);
    attach(&region, 1);
}

/// Lends a region whose list goes on at an address.
fn list(next: impl FnOnce(&Forged, Entry) -> u32) {
    let (mut region, hits) = hits();
    let next = next(&region, hits);
    region.put_u32(hits.at + OFFSETS.entry_next, next);
    attach(&region, 1);
}

/// Lends a region with one metric of these words.
fn metric(record: &[u8], words: &[u64]) -> (Forged, Entry) {
    let mut region = Forged::new();
    let entry = region.entry(record, 0, 8 * words.len());
    for (index, word) in words.iter().enumerate() {
        region.put_u64(entry.cells + 8 * index, *word);
    }
    attach(&region, 1);
    (region, entry)
}

/// Lends a region with a text of these bytes and this length.
fn name(text: &[u8], len: u32) {
    let mut region = Forged::new();
    let tables = table_size(NAMES_CAPACITY, NAMES_TEXT).unwrap_or_default() as usize;
    let entry = region.entry(&NAMES, tables, 8 * (NAMES_CAPACITY as usize + 1));
    region.text(entry.tables, (NAMES_CAPACITY, NAMES_TEXT), 0, text);
    region.put_u32(entry.tables + table_key(NAMES_CAPACITY, NAMES_TEXT, 0) as usize, len + 1);
    region.put_u64(entry.cells, 1);
    attach(&region, 1);
}

/// Makes the host collect a counter of one value, then of another one.
fn counts(first: u64, second: u64) {
    let (mut region, entry) = metric(&HITS, &[first]);
    flush();
    region.put_u64(entry.cells, second);
}

/// Forges what the case has. Returns `false` if there is none of that name.
pub(crate) fn forge(case: &str) -> bool {
    let nan = f64::NAN.to_bits();
    match case {
        "magic" => header(0, b'x'),
        "version" => header(HEADER_VERSION, 9),
        "width" => header(HEADER_WIDTH, 5),
        "abi" => _ = region::open(VERSION + 1),
        "empty" => {
            let (region, _) = hits();
            let base = u64::from(region.address(0));
            lend(&region, 0, base, base);
        }
        "unaligned" => attach_header(&hits().0, 4),
        "outside" => {
            let (region, _) = hits();
            attach_header(&region, region.len);
        }
        "below" => {
            let (region, _) = hits();
            lend(&region, region.len, 1 << 16, (1 << 16) - 8);
        }
        "wrapped" => {
            let (region, _) = hits();
            lend(&region, region.len, u64::MAX - 7, u64::MAX - 7);
        }
        "gigabytes" => lend_nothing(0, u32::MAX),
        "beyond" => lend_nothing((core::arch::wasm32::memory_size(0) as u32) * 65_536 - 8, 4096),
        "list-outside" => list(|region, _| region.address(region.len)),
        "list-unaligned" => list(|region, hits| region.address(hits.at + 4)),
        "list-circular" => list(|region, hits| region.address(hits.at)),
        "list-endless" => {
            let mut region = Forged::new();
            (0..1_000_000).for_each(|_| _ = region.entry(b"", 0, 0));
            attach(&region, 1);
        }
        "undeclared" => {
            let (mut region, hits) = hits();
            region.put_u64(hits.at + OFFSETS.entry_hash, 1);
            attach(&region, 1);
        }
        // The entry of 512 KiB in a window of some hundred bytes.
        "larger" => {
            let mut region = Forged::new();
            region.entry(CELLS[0], 0, 8);
            attach(&region, 1);
        }
        "replaced" => {
            let (mut region, hits) = hits();
            let misses = region.entry(&MISSES, 0, 8);
            region.put_u64(misses.cells, 1);
            attach(&region, 1);
            flush();
            region.put_u32(OFFSETS.header_metrics, region.address(hits.at));
            region.put_u64(hits.cells, 1000);
        }
        "overlapping" | "many" => {
            attach_headers(hits().0, if case == "many" { 70 } else { 64 });
        }
        // Regions of 512 KiB each, of which none overlaps another, beside much memory of its own.
        "ballast" => {
            let ballast = vec![1_u8; BALLAST];
            attach(&cells(), 1);
            flush();
            drop(core::hint::black_box(ballast));
        }
        "text" => name(b"\xff\xfe\xfd", 3),
        "text-length" => name(b"long", 1 << 20),
        "text-overflow" => name(b"long", u32::MAX - 1),
        "fallen" => counts(5, 3),
        "risen" => counts(5, 5 | 1 << 63),
        "largest" => _ = metric(&HITS, &[u64::MAX]),
        "nan" => _ = metric(&SPENT, &[nan]),
        "nan-level" => _ = metric(&LEVEL, &[nan, 1]),
        "nan-sum" => _ = metric(&WAIT, &[nan, 1, 0]),
        "negative" => _ = metric(&SPENT, &[(-1.0_f64).to_bits()]),
        "subnormal" => _ = metric(&SPENT, &[5e-324_f64.to_bits()]),
        "infinite" => _ = metric(&SPENT, &[f64::INFINITY.to_bits()]),
        "infinite-sum" => _ = metric(&WAIT, &[f64::NEG_INFINITY.to_bits(), 0, 1]),
        "buckets" => {
            let mut region = Forged::new();
            let scratch = 8 * scratch_words(Kind::ExponentialF64, WIDTH_BUCKETS);
            let entry = region.entry(&WIDTH, scratch, 8 * cell_words(Kind::ExponentialF64, WIDTH_BUCKETS.into()));
            region.put_u64(entry.cells + 8 * STATE, u64::MAX);
            attach(&region, 1);
        }
        "losses" => {
            let (mut region, _) = hits();
            region.put_u64(OFFSETS.header_losses, 7);
            region.put_u64(OFFSETS.header_losses + 8, u64::MAX);
            attach(&region, 1);
        }
        _ => return false,
    }
    true
}
