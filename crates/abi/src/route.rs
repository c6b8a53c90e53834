//! Routes: their declarations, and the entry in which a guest keeps the routes of its requests. See
//! `FORMAT.md`, sections 1 and 2.

use crate::codec::{Reader, Writer};
use crate::descriptor::{RECORD_HEAD, RawRecords};
use crate::{DecodeError, Kind, VERSION, hash};

/// The hash of the entry with the routes of an instance's requests: that of a record of the kind
/// [`Kind::Route`] without a payload, which no section needs to have.
pub const ENTRY_HASH: u64 = hash(&[VERSION as u8, Kind::Route as u8, 0, 0, 0, 0, 0, 0]);

/// The slots of that entry: the requests whose routes an instance keeps.
pub const SLOTS: usize = 16;

/// The 8-byte words of a slot: its stamp, the request's key, the hash of the route's record.
pub const SLOT_WORDS: usize = 3;

/// The bytes of the slots.
pub const SLOTS_SIZE: usize = 8 * SLOTS * SLOT_WORDS;

/// Returns the key by which a guest and its host name a request: 48 bits of the id of the span that
/// the request has brought in its header `traceparent`. A request without one has the key 0.
pub const fn request_key(span_id: u64) -> u64 {
    span_id & (u64::MAX >> 16)
}

/// The declaration of one route.
///
/// ```
/// use wasmetry_abi::route::{Route, Routes};
///
/// const USER: Route<'static> = Route::new("/users/{id}");
/// static RECORD: [u8; USER.record_len()] = USER.encode();
/// let record = Routes::new(&RECORD).next().unwrap().unwrap();
/// assert_eq!((record.hash, record.route.template), (wasmetry_abi::hash(&RECORD), "/users/{id}"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route<'a> {
    /// The route, such as `/users/{id}`.
    pub template: &'a str,
}

impl<'a> Route<'a> {
    /// A route.
    pub const fn new(template: &'a str) -> Self {
        Self { template }
    }

    /// The number of bytes that [`encode`](Self::encode) returns.
    pub const fn record_len(&self) -> usize {
        RECORD_HEAD + self.payload_len()
    }

    const fn payload_len(&self) -> usize {
        2 + self.template.len()
    }

    /// Encodes the route as a record. `N` is [`record_len`](Self::record_len).
    ///
    /// # Panics
    ///
    /// Panics (at compile time, in a constant) if `N` is another number, or if the route is longer
    /// than 65,535 bytes.
    pub const fn encode<const N: usize>(&self) -> [u8; N] {
        let mut out = Writer::<N>::new();
        out.u8(VERSION as u8);
        out.u8(Kind::Route as u8);
        out.u16(0);
        out.u32(self.payload_len() as u32);
        out.text(self.template);
        out.finish()
    }

    fn decode(flags: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        if flags != 0 {
            return Err(DecodeError::Field("flags"));
        }
        let template = reader.text()?;
        if !reader.is_empty() {
            return Err(DecodeError::Trailing);
        }
        Ok(Self { template })
    }
}

/// The record of one route.
#[derive(Clone, Copy, Debug)]
pub struct RouteRecord<'a> {
    /// The hash of the record's bytes. The slots of a guest refer to the route by it.
    pub hash: u64,
    /// The decoded declaration.
    pub route: Route<'a>,
}

/// An iterator over the routes of a section. It skips metrics and call sites.
#[derive(Clone, Debug)]
pub struct Routes<'a> {
    records: RawRecords<'a>,
}

impl<'a> Routes<'a> {
    /// Creates an iterator over a section's bytes.
    pub const fn new(section: &'a [u8]) -> Self {
        Self { records: RawRecords::new(section) }
    }
}

impl<'a> Iterator for Routes<'a> {
    type Item = Result<RouteRecord<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // `Records` reports the records that cannot be read.
            let Ok(record) = self.records.next()? else { continue };
            if record.kind == Kind::Route as u8 {
                let route = Route::decode(record.flags, record.payload);
                return Some(route.map(|route| RouteRecord { hash: hash(record.bytes), route }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::{Descriptor, Records};
    use std::vec::Vec;

    const USER: Route<'static> = Route::new("/users/{id}");
    static RECORD: [u8; USER.record_len()] = USER.encode();
    const HITS: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "hits_total", "Hits.");
    static METRIC: [u8; HITS.record_len()] = HITS.encode();

    #[test]
    fn routes_and_metrics_share_sections() {
        let section = [&METRIC[..], &RECORD, &METRIC].concat();
        let routes: Vec<_> = Routes::new(&section).map(Result::unwrap).collect();
        assert_eq!(routes.len(), 1);
        assert_eq!((routes[0].hash, routes[0].route), (hash(&RECORD), USER));
        assert_eq!(Records::new(&section).filter(Result::is_ok).count(), 2);
        assert_eq!(crate::site::Sites::new(&section).count(), 0);
    }

    #[test]
    fn truncated_or_flipped_bytes_never_panic() {
        for end in 0..RECORD.len() {
            assert!(Routes::new(&RECORD[..end]).next().is_none(), "{end}");
        }
        for at in 0..RECORD.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = RECORD;
                bytes[at] ^= flip;
                for route in Routes::new(&bytes).flatten() {
                    assert!(route.route.template.len() <= RECORD.len());
                }
            }
        }
    }
}
