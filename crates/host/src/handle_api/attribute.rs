//! Attributes of one call.

use std::borrow::Cow;

use crate::limits;
use crate::record::{Field, FieldValue};

/// The value of an attribute, as a guest gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Double(f64),
}

/// The attributes of one call, up to [`limits::ATTRIBUTES`].
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    pub(crate) fields: Vec<Field>,
    bytes: usize,
    /// The number of attributes that were dropped.
    pub(crate) dropped: u32,
}

impl Attributes {
    /// Adds an attribute, or drops it if there are too many or they have too many bytes.
    pub fn push(&mut self, key: &str, value: Value<'_>) {
        let key = text_of(key, limits::RECORD_NAME);
        let value = match value {
            Value::Text(text) => FieldValue::Text(text_of(text, limits::RECORD_TEXT).into()),
            Value::Bool(value) => FieldValue::Bool(value),
            Value::Int(value) => FieldValue::Signed(value),
            Value::Double(value) => FieldValue::Float(value),
        };
        let text = if let FieldValue::Text(text) = &value { text.len() } else { 0 };
        let size = size_of::<Field>() + key.len() + text;
        if self.is_full() || self.bytes + size > limits::ATTRIBUTE_BYTES {
            return self.drop_more(1);
        }
        self.bytes += size;
        self.fields.push((key.into(), value));
    }

    /// Returns `true` if all further attributes will be dropped, so that they need not be read.
    pub fn is_full(&self) -> bool {
        self.fields.len() >= limits::ATTRIBUTES
    }

    /// Counts attributes that were dropped.
    pub fn drop_more(&mut self, count: usize) {
        self.dropped = self.dropped.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// Returns a guest's text, cut to a number of bytes. A text that is cut ends in an ellipsis.
pub(crate) fn text_of(text: &str, most: usize) -> Cow<'_, str> {
    const ELLIPSIS: char = '\u{2026}';
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let mut cut = text[..text.floor_char_boundary(most - ELLIPSIS.len_utf8())].to_owned();
    cut.push(ELLIPSIS);
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(text_of("grüße", 7), "grüße");
        assert_eq!(text_of("grüße", 6), "gr\u{2026}");
        assert_eq!(text_of(&"é".repeat(1000), 256).len(), 255);
    }

    #[test]
    fn attributes_are_few_and_small() {
        let mut many = Attributes::default();
        for _ in 0..limits::ATTRIBUTES + 5 {
            many.push("key", Value::Int(1));
        }
        assert!(many.is_full());
        assert_eq!((many.fields.len(), many.dropped), (limits::ATTRIBUTES, 5));
        let mut large = Attributes::default();
        let text = "x".repeat(1 << 20);
        for _ in 0..20 {
            large.push(&text, Value::Text(&text));
        }
        assert_eq!((large.fields.len(), large.dropped), (7, 13));
        let FieldValue::Text(value) = &large.fields[0].1 else { panic!("a text") };
        assert_eq!((large.fields[0].0.len(), value.len()), (limits::RECORD_NAME, limits::RECORD_TEXT));
    }
}
