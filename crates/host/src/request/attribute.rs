//! Attributes that a guest sets on the request's own span.

use wasmetry_abi::ring::{Argument, Arguments};
use wasmetry_abi::route::request_key;

use super::RequestTelemetry;
use crate::declaration::site;
use crate::handle_api::Attributes;
use crate::limits;
use crate::record::{Field, FieldValue, SpanRecord};
use crate::registry::drop_reason::HostDropReason;

/// The attributes of one request's span that its guest has set.
#[derive(Debug, Default)]
pub struct RequestAttributes {
    fields: Vec<Field>,
    bytes: usize,
    dropped: u32,
}

impl RequestAttributes {
    /// The attributes, each key once.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Adds an attribute. It replaces one with its key. One that does not fit is counted as
    /// dropped.
    fn set(&mut self, (key, value): Field) {
        let size = |value: &FieldValue| if let FieldValue::Text(text) = value { text.len() } else { 0 };
        let known = self.fields.iter().position(|(known, _)| *known == key);
        let before = known.map_or(0, |at| size_of::<Field>() + key.len() + size(&self.fields[at].1));
        let bytes = self.bytes - before + size_of::<Field>() + key.len() + size(&value);
        let is_room = known.is_some() || self.fields.len() < limits::SPAN_ATTRIBUTES;
        if bytes > limits::ATTRIBUTE_BYTES || !is_room {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.bytes = bytes;
        match known {
            Some(at) => self.fields[at].1 = value,
            None => self.fields.push((key, value)),
        }
    }

    /// Adds the attributes to the request's span. Those that the host has set stay as they are.
    pub fn add_to(self, span: &mut SpanRecord) {
        span.dropped = span.dropped.saturating_add(self.dropped);
        for (key, value) in self.fields {
            if span.attributes.iter().any(|(known, _)| *known == key) {
                span.dropped = span.dropped.saturating_add(1);
            } else {
                span.attributes.push((key, value));
            }
        }
    }
}

impl RequestTelemetry {
    /// Sets an attribute of a record in a ring, if the record is one of this request. `request` is
    /// the key by which the guest names its request.
    pub(super) fn set_recorded_attribute(&mut self, request: u64, mut arguments: Arguments<'_>) {
        let Some(context) = self.exemplars.context() else { return };
        // A guest without a handler does not know its request.
        if request != 0 && request != request_key(context.span_id.number()) {
            return self.component.count(HostDropReason::SpanLimit, 1);
        }
        match (arguments.next(), arguments.next()) {
            (Some(Argument::Text { bytes, is_cut }), Some(value)) => {
                self.attributes.set((site::text(bytes, is_cut).into(), site::value(value)));
            }
            _ => self.component.count(HostDropReason::UnknownRecord, 1),
        }
    }

    /// Sets attributes of the request's own span, by the handle API.
    pub fn set_request_attributes(&mut self, attributes: Attributes) {
        self.attributes.dropped = self.attributes.dropped.saturating_add(attributes.dropped);
        if self.exemplars.context().is_some() {
            attributes.fields.into_iter().for_each(|field| self.attributes.set(field));
        }
    }

    /// Takes the attributes that the guest has set on the request's own span.
    pub fn take_request_attributes(&mut self) -> RequestAttributes {
        std::mem::take(&mut self.attributes)
    }
}
