//! The values of a span or event.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::ops::Range;

use tracing_core::Metadata;
use tracing_core::field::{Field, Visit};
use wasmetry::dynamic::{ARGUMENTS, Arg};

/// Bytes that are kept of a text: more than a record takes, so that the record shows that it was
/// cut.
const TEXT_BYTES: usize = 1032;

/// Bytes that are kept of all texts of a record.
const ALL_TEXT_BYTES: usize = 4096;

thread_local! {
    /// Memory for texts. It is empty while it is in use.
    static TEXTS: Cell<String> = const { Cell::new(String::new()) };
}

/// A value of a field, by the field's index.
#[derive(Clone, Debug)]
enum Value {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    /// Its place in the texts.
    Text(Range<usize>),
}

/// The values of one span or event.
#[derive(Debug)]
pub(crate) struct Values {
    values: [Option<Value>; ARGUMENTS],
    texts: String,
}

/// Collects the values that `record` passes to its visitor, and passes them to `write`.
///
/// Values are formatted in here, so that nothing which traces itself runs in `write`.
pub(crate) fn collect<R>(record: impl FnOnce(&mut dyn Visit), write: impl FnOnce(&Values) -> R) -> R {
    let mut texts = TEXTS.take();
    texts.clear();
    let mut values = Values { values: [const { None }; ARGUMENTS], texts };
    record(&mut values);
    let result = write(&values);
    TEXTS.set(values.texts);
    result
}

impl Visit for Values {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, |texts| texts.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set_text(field, |texts| write!(texts, "{value:?}"));
    }
}

/// The texts, at whose end one is written.
struct Texts<'a> {
    texts: &'a mut String,
    room: usize,
}

impl fmt::Write for Texts<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(self.room);
        self.room -= fits;
        self.texts.push_str(text.get(..fits).unwrap_or_default());
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Values {
    fn set(&mut self, field: &Field, value: Value) {
        if let Some(place) = self.values.get_mut(field.index()) {
            *place = Some(value);
        }
    }

    fn set_text(&mut self, field: &Field, write: impl FnOnce(&mut Texts<'_>) -> fmt::Result) {
        let start = self.texts.len();
        let room = TEXT_BYTES.min(ALL_TEXT_BYTES.saturating_sub(start));
        // An error means that the text was cut, or that the value cannot be formatted.
        let _ = write(&mut Texts { texts: &mut self.texts, room });
        let end = self.texts.len();
        self.set(field, Value::Text(start..end));
    }

    fn argument(&self, index: usize) -> Option<Arg<'_>> {
        Some(match self.values.get(index)?.as_ref()? {
            Value::Signed(value) => Arg::Signed(*value),
            Value::Unsigned(value) => Arg::Unsigned(*value),
            Value::Float(value) => Arg::Float(*value),
            Value::Bool(value) => Arg::Bool(*value),
            Value::Text(range) => Arg::Text(self.texts.get(range.clone()).unwrap_or_default()),
        })
    }

    /// A bit for each field that has a value.
    pub(crate) fn mask(&self) -> u32 {
        self.values.iter().rev().fold(0, |mask, value| mask << 1 | u32::from(value.is_some()))
    }

    /// Returns `true` if there is a message.
    pub(crate) fn has_message(&self, metadata: &'static Metadata<'static>) -> bool {
        message(metadata).is_some_and(|index| self.argument(index).is_some())
    }

    /// The keys and the values of the fields other than the message, in their order.
    pub(crate) fn pairs(&self, metadata: &'static Metadata<'static>) -> impl Iterator<Item = (&'static str, Arg<'_>)> {
        let message = message(metadata);
        let fields = metadata.fields().iter().filter(move |field| Some(field.index()) != message);
        fields.filter_map(|field| Some((field.name(), self.argument(field.index())?)))
    }

    /// The arguments of a record: the message, if there is one, then the fields.
    pub(crate) fn arguments(&self, metadata: &'static Metadata<'static>) -> Arguments<'_> {
        let message = message(metadata).and_then(|index| self.argument(index));
        let mut all = Arguments { arguments: [Arg::Bool(false); ARGUMENTS], len: 0 };
        for argument in message.into_iter().chain(self.pairs(metadata).map(|(_, value)| value)) {
            if let Some(place) = all.arguments.get_mut(all.len) {
                *place = argument;
                all.len += 1;
            }
        }
        all
    }

    /// The message, or else the first text.
    pub(crate) fn text(&self, metadata: &'static Metadata<'static>) -> Arg<'_> {
        let message = message(metadata).and_then(|index| self.argument(index));
        let texts = || self.pairs(metadata).map(|(_, value)| value).find(|value| matches!(value, Arg::Text(_)));
        message.or_else(texts).unwrap_or(Arg::Text(""))
    }
}

/// The index of the message of an event.
fn message(metadata: &'static Metadata<'static>) -> Option<usize> {
    if !metadata.is_event() {
        return None;
    }
    metadata.fields().iter().position(|field| field.name() == "message")
}

/// The arguments of a record.
pub(crate) struct Arguments<'a> {
    arguments: [Arg<'a>; ARGUMENTS],
    len: usize,
}

impl<'a> Arguments<'a> {
    pub(crate) fn get(&self) -> &[Arg<'a>] {
        self.arguments.get(..self.len).unwrap_or_default()
    }
}
