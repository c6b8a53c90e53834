//! The routes that a guest has set, in an entry of its region. No byte here is trusted.

use wasmetry_abi::route::{ENTRY_HASH, SLOT_WORDS, SLOTS_SIZE};

use crate::memory::region::{Region, words};
use crate::memory::view::RegionView;

/// The request whose route is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKey {
    /// The request whose header `traceparent` named this span, by the number of the span's id; 0 if
    /// it had no such header.
    Span(u64),
    /// Any request: the one whose route was set last.
    Any,
}

/// A route that was set since the last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The number of the setting in its instance; a later one has a greater one.
    pub(crate) stamp: u64,
    /// The hash of the route's declaration.
    pub(crate) hash: u64,
}

/// Returns the route that a request has set after the setting with the number `last`.
///
/// A guest that knows no request, because it has no handler, sets the route of the request with the
/// key 0: it counts if the request itself has none.
pub(crate) fn read(view: RegionView<'_>, key: RequestKey, last: u64) -> Option<Found> {
    let region = Region::open(view).ok()?;
    let address = region.find(ENTRY_HASH)?;
    let start = address.checked_add(region.offsets.entry_size as u64)?;
    let slots = region.window.slice(start, SLOTS_SIZE)?;
    let mut best: Option<(bool, Found)> = None;
    for slot in slots.chunks_exact(8 * SLOT_WORDS) {
        let mut words = words(slot);
        let (stamp, request, hash) = (words.next()?, words.next()?, words.next()?);
        let is_own = match key {
            RequestKey::Any => true,
            RequestKey::Span(span) => request == wasmetry_abi::route::request_key(span),
        };
        if stamp <= last || !(is_own || request == 0) {
            continue;
        }
        let found = (is_own, Found { stamp, hash });
        if best.is_none_or(|(was_own, best)| (is_own, stamp) > (was_own, best.stamp)) {
            best = Some(found);
        }
    }
    best.map(|(_, found)| found)
}
