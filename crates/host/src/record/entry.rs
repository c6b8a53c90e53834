//! A record on its way to a destination.

use std::sync::Arc;

use super::{Field, FieldValue, LogRecord, SpanRecord};
use crate::Identity;

/// A record and its component. A clone shares the record, so that several destinations use one.
#[derive(Debug)]
pub struct Entry<T> {
    /// The component that recorded it.
    pub identity: Arc<Identity>,
    /// The record.
    pub record: Arc<T>,
}

impl<T> Entry<T> {
    /// Creates the entry of a component's record.
    pub fn new(identity: Arc<Identity>, record: T) -> Self {
        Self { identity, record: Arc::new(record) }
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { identity: self.identity.clone(), record: self.record.clone() }
    }
}

impl LogRecord {
    /// The approximate memory of the record in bytes. The bounds of queues use it.
    ///
    /// Texts that records may share (keys, targets, files) count in each of them.
    pub fn size(&self) -> usize {
        let source = self.source.as_ref().map_or(0, |source| source.file.len());
        size_of::<Self>() + self.target.len() + self.message.len() + fields(&self.fields) + source
    }
}

impl SpanRecord {
    /// The approximate memory of the record in bytes; see [`LogRecord::size`].
    pub fn size(&self) -> usize {
        let event = |event: &super::SpanEvent| size_of_val(event) + event.name.len() + fields(&event.attributes);
        let link = |link: &super::SpanLink| size_of_val(link) + fields(&link.attributes);
        let status = match &self.status {
            super::SpanStatus::Error(reason) => reason.len(),
            _ => 0,
        };
        size_of::<Self>()
            + self.trace_state.len()
            + self.name.len()
            + self.target.len()
            + status
            + fields(&self.attributes)
            + self.events.iter().map(event).sum::<usize>()
            + self.links.iter().map(link).sum::<usize>()
    }
}

fn fields(fields: &[Field]) -> usize {
    let text = |value: &FieldValue| match value {
        FieldValue::Text(text) => text.len(),
        _ => 0,
    };
    fields.iter().map(|field| size_of_val(field) + field.0.len() + text(&field.1)).sum()
}
