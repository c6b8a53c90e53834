//! The table of dynamic sites: call sites that a guest defines at run time.
//!
//! A facade's call site comes in with a number that identifies it in this instance; its hash, by
//! which records refer to it, goes out. The definition is written once, into memory that the host
//! reads before it reads records, and is never overwritten. So no record loses its site. The folder
//! does not know the facades.

use wasmetry_abi::ring::{self, DEFINITION_BYTES, DEFINITION_HEAD, RecordKind};
use wasmetry_abi::site::{Site, SiteKind, SpanKind};
use wasmetry_abi::{Level, hash};

use crate::host::count_drop;
use crate::region::header::HEADER;
use crate::region::ring::{self as region, Memory, Ring, State};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, Publish as _};
use wasmetry_abi::layout::GuestDropReason;

/// Words of the table: 64 KiB, for about 400 sites. A page of memory that no definition has reached
/// is not touched.
const WORDS: usize = 8192;

/// Words that are left for [`overflow_site`]s.
const RESERVED_WORDS: usize = 256;

/// Sites that are found by their number.
const SLOTS: usize = 1024;

/// The slots that are used at most, so that a search is short.
const MOST_SITES: u32 = 896;

/// Numbers below this one identify [`overflow_site`]s.
const FIRST_NUMBER: u64 = 64;

/// Bytes of a target and of a file's path. Of a longer path, the end is kept.
const PLACE_BYTES: usize = 256;

/// Bytes of a site's text.
const SITE_TEXT_BYTES: usize = 512;

static MEMORY: Memory<WORDS> = Memory::new();
static STATE: State = State::new();
static TABLE: Ring = Ring::new(&MEMORY, &STATE, &HEADER.sites, region::SITES);

/// The defined sites: for each the number that identifies it, or 0, and its hash.
static SITES: [[AtomicU64; 2]; SLOTS] = [const { [const { AtomicU64::new(0) }; 2] }; SLOTS];

/// The number of sites in [`SITES`].
static COUNT: AtomicU32 = AtomicU32::new(0);

/// `true` while a site is being defined.
static DEFINING: AtomicBool = AtomicBool::new(false);

/// Returns the hash of the site with this number, if it is defined.
#[inline]
pub fn find(number: u64) -> Option<u64> {
    #[cfg(feature = "testing")]
    if crate::testing::capture::level().is_some() {
        // Each capture has sites of its own.
        return None;
    }
    match slot(number)? {
        // Another thread may have stored the number, and the hash not yet.
        [found, hash] if found.load(Ordering::Relaxed) == number => Some(hash.load(Ordering::Acquire)),
        _ => None,
    }
    .filter(|hash| *hash != 0)
}

/// Returns the slot of a number: the one that has it, or a free one. Returns `None` if all are in
/// use.
#[inline]
fn slot(number: u64) -> Option<&'static [AtomicU64; 2]> {
    // Numbers are addresses or hashes; the high bits of the product depend on all of their bits.
    let start = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize;
    let (behind, before) = (SITES.iter().skip(start), SITES.iter().take(start));
    behind.chain(before).find(|[found, _]| {
        let found = found.load(Ordering::Relaxed);
        found == number || found == 0
    })
}

/// Defines a site and returns its hash. Texts that are too long are cut; keys that do not fit are
/// left out.
///
/// Returns `None` if the table is full.
#[cold]
pub fn define(number: u64, site: Site<'_>, message_arguments: u8, keys: &[&str]) -> Option<u64> {
    let mut site = site;
    site.target = start_of(site.target, PLACE_BYTES);
    site.text = start_of(site.text, SITE_TEXT_BYTES);
    site.file = end_of(site.file, PLACE_BYTES);
    let mut room = DEFINITION_BYTES - site.record_len();
    let fitting = keys.iter().take(ring::ARGUMENTS).take_while(|key| {
        let is_fitting = key.len() + 2 <= room;
        room = room.saturating_sub(key.len() + 2);
        is_fitting
    });
    let keys = keys.get(..fitting.count()).unwrap_or_default();
    let mut buffer = [0; DEFINITION_BYTES];
    let declaration = site.with_arguments(message_arguments, keys).encode_into(&mut buffer)?;
    let hash = hash(declaration);
    #[cfg(feature = "testing")]
    if crate::testing::capture::dynamic_site(hash, declaration) {
        return Some(hash);
    }
    // Acquire pairs with the Release below.
    if DEFINING.swap(true, Ordering::Acquire) {
        return None;
    }
    let is_kept = keep(number, hash, declaration);
    // Release pairs with the Acquire above.
    DEFINING.store(false, Ordering::Release);
    is_kept.then_some(hash)
}

/// Writes a definition into the table. Returns `false` if the table is full.
fn keep(number: u64, hash: u64, declaration: &[u8]) -> bool {
    let is_reserved = number < FIRST_NUMBER;
    let limit = if is_reserved { WORDS } else { WORDS - RESERVED_WORDS };
    if !is_reserved && COUNT.load(Ordering::Relaxed) >= MOST_SITES {
        return false;
    }
    let start = TABLE.head.head.load(Ordering::Relaxed) as usize;
    let len = DEFINITION_HEAD + declaration.len().div_ceil(8);
    let (Some([found, known]), true) = (slot(number), start + len <= limit) else { return false };
    if TABLE.link.load(Ordering::Relaxed).is_null() {
        TABLE.begin();
    }
    let sequence = STATE.sequence.load(Ordering::Relaxed);
    let head = [ring::head(len, RecordKind::Site, 0, sequence), 0, 0, hash];
    let words = declaration.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    });
    for (place, word) in TABLE.words.iter().skip(start).zip(head.into_iter().chain(words)) {
        place.publish(word);
    }
    STATE.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
    // The definition's words come before it.
    TABLE.head.head.publish((start + len) as u64);
    if found.load(Ordering::Relaxed) == 0 {
        COUNT.store(COUNT.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    // Release pairs with the Acquire in `find`.
    known.store(hash, Ordering::Release);
    found.store(number, Ordering::Release);
    true
}

/// Returns the hash of the site that stands for all that the table has no room for, and counts the
/// loss. A log has its message, then the field `target`; a span has the fields `name` and `target`.
#[cold]
pub(crate) fn overflow_site(is_span: bool, level: Level, is_audit: bool) -> u64 {
    count_drop(GuestDropReason::SiteTableFull);
    let number = 1 + level as u64 + 8 * u64::from(is_span) + 16 * u64::from(is_audit);
    find(number)
        .or_else(|| {
            let (kind, text, arguments, keys) = if is_span {
                (SiteKind::Span(SpanKind::Internal), "overflow", 0, &["name", "target"][..])
            } else {
                (SiteKind::Log { is_audit }, "{}", 1, &["target"][..])
            };
            define(number, Site::new(kind, level.max(Level::Error), "overflow", text), arguments, keys)
        })
        .unwrap_or(0)
}

fn start_of(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

fn end_of(text: &str, most: usize) -> &str {
    text.get(text.ceil_char_boundary(text.len().saturating_sub(most))..).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    use std::string::ToString as _;
    use std::vec::Vec;

    use wasmetry_abi::site::Sites;

    fn log(text: &str) -> Site<'_> {
        Site::new(SiteKind::Log { is_audit: false }, Level::Info, "shop", text)
    }

    /// The definitions in the table, in their order.
    fn definitions() -> Vec<(u64, Vec<u8>)> {
        let head = TABLE.head.head.load(Ordering::Relaxed) as usize;
        let mut at = 0;
        let mut found = Vec::new();
        while at < head {
            let len = ring::record_words(TABLE.words[at].load(Ordering::Relaxed));
            let words = &TABLE.words[at..at + len];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
            let (hash, declaration) = ring::definition(&bytes).unwrap();
            found.push((hash, declaration.to_vec()));
            at += len;
        }
        found
    }

    /// One test, because all share the table.
    #[test]
    fn table_keeps_sites_until_full() {
        let long = "ä".repeat(2000);
        let keys: Vec<&str> = (0..40).map(|i| if i == 20 { &long } else { "key" }).collect();
        let site = Site::new(SiteKind::Span(SpanKind::Internal), Level::Debug, &long, &long).with_source(&long, 7);
        let cut = define(FIRST_NUMBER, site, 0, &keys).unwrap();
        let found = definitions();
        let record = Sites::new(&found[0].1).next().unwrap().unwrap();
        assert_eq!((record.hash, found[0].0), (cut, cut));
        assert_eq!((record.site.target.len(), record.site.file.len()), (PLACE_BYTES, PLACE_BYTES));
        assert_eq!((record.site.text.len(), record.site.keys().count()), (SITE_TEXT_BYTES, 20));

        let mut defined = Vec::new();
        for number in FIRST_NUMBER + 1.. {
            let text = std::format!("{number} {}", "x".repeat(100));
            let Some(hash) = define(number, log(&text), 0, &["user"]) else { break };
            defined.push((number, hash));
        }
        assert!((300..MOST_SITES as usize).contains(&defined.len()), "{}", defined.len());
        assert!(defined.iter().all(|(number, hash)| find(*number) == Some(*hash)));
        assert_eq!(find(1 << 40), None);
        let found = definitions();
        assert_eq!(found.len(), 1 + defined.len());
        assert!(found.iter().skip(1).zip(&defined).all(|(found, defined)| found.0 == defined.1));

        // What has no room left is recorded at one site for each level.
        let mut hashes: Vec<u64> = Vec::new();
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
            for (is_span, is_audit) in [(false, false), (true, false), (false, true)] {
                let hash = overflow_site(is_span, level, is_audit);
                assert_eq!(overflow_site(is_span, level, is_audit), hash);
                hashes.push(hash);
            }
        }
        let texts: Vec<_> = definitions()
            .iter()
            .filter(|(hash, _)| hashes.contains(hash))
            .map(|(_, bytes)| Sites::new(bytes).next().unwrap().unwrap().site.target.to_string())
            .collect();
        assert_eq!(texts, ["overflow"; 15]);
        assert_eq!(HEADER.dropped(GuestDropReason::SiteTableFull), 30);
        assert_eq!(define(u64::MAX, log("late"), 0, &[]), None);
    }
}
