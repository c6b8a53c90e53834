//! The records of a descriptor section.

use super::{Descriptor, Kind, consumed};
use crate::codec::Reader;
use crate::{DecodeError, VERSION, hash};

/// Bytes before a record's payload: version, kind, flags, a reserved byte, the payload's length.
pub(crate) const RECORD_HEAD: usize = 8;

/// One metric's record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The hash of [`bytes`](Self::bytes). An entry in a region refers to its descriptor by it.
    pub hash: u64,
    /// The record's bytes, its head included.
    pub bytes: &'a [u8],
    /// The decoded declaration.
    pub descriptor: Descriptor<'a>,
}

/// One record of any kind, its payload not decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: &'a [u8],
    /// The whole record, its head included.
    pub(crate) bytes: &'a [u8],
}

/// An iterator over the records of a section.
#[derive(Clone, Debug)]
pub(crate) struct RawRecords<'a> {
    rest: &'a [u8],
}

impl<'a> RawRecords<'a> {
    pub(crate) const fn new(section: &'a [u8]) -> Self {
        Self { rest: section }
    }

    fn read(&mut self) -> Result<RawRecord<'a>, DecodeError> {
        // An error before the length is known ends the iteration.
        let all = core::mem::take(&mut self.rest);
        let mut reader = Reader::new(all);
        let version = reader.u8()?;
        let kind = reader.u8()?;
        let (flags, reserved) = (reader.u8()?, reader.u8()?);
        let len = reader.u32()? as usize;
        if u32::from(version) != VERSION {
            return Err(DecodeError::Version(version));
        }
        let payload = reader.bytes(len)?;
        self.rest = reader.rest();
        if reserved != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        Ok(RawRecord { kind, flags, payload, bytes: consumed(all, reader.rest()) })
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.read())
    }
}

/// An iterator over the metrics' records of a section.
///
/// It skips call sites, facades and routes, which [`Sites`](crate::site::Sites),
/// [`Facades`](crate::site::Facades) and [`Routes`](crate::route::Routes) read. A record that
/// cannot be decoded gives an error. The iteration continues behind it if its length could be read,
/// so that a kind from a newer guest does not hide the records that follow.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    records: RawRecords<'a>,
}

impl<'a> Records<'a> {
    /// Creates an iterator over a section's bytes.
    pub const fn new(section: &'a [u8]) -> Self {
        Self { records: RawRecords::new(section) }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.records.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            let kind = match Kind::from_u8(record.kind) {
                Some(Kind::LogSite | Kind::SpanSite | Kind::Facade | Kind::Route) => continue,
                Some(kind) => kind,
                None => return Some(Err(DecodeError::Kind(record.kind))),
            };
            let descriptor = Descriptor::decode(kind, record.flags, record.payload);
            return Some(descriptor.map(|descriptor| Record {
                hash: hash(record.bytes),
                bytes: record.bytes,
                descriptor,
            }));
        }
    }
}
