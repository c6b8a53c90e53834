//! The structured fields of a log record.

use log::Record;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use wasmetry::dynamic::{ARGUMENTS, Arg};

/// The fields of a record that fit beside its message.
struct Fields<'a> {
    pairs: [Option<(Key<'a>, Value<'a>)>; ARGUMENTS - 1],
    len: usize,
}

impl<'a> VisitSource<'a> for Fields<'a> {
    fn visit_pair(&mut self, key: Key<'a>, value: Value<'a>) -> Result<(), Error> {
        if let Some(place) = self.pairs.get_mut(self.len) {
            *place = Some((key, value));
            self.len += 1;
        }
        Ok(())
    }
}

/// Passes the keys and the values of a record's fields to `write`.
pub(crate) fn with(record: &Record<'_>, write: impl FnOnce(&[&str], &[Arg<'_>])) {
    let source = record.key_values();
    let mut fields = Fields { pairs: [const { None }; ARGUMENTS - 1], len: 0 };
    // The visitor returns no error; a source that fails has passed the fields before.
    let _ = source.visit(&mut fields);
    let mut keys = [""; ARGUMENTS - 1];
    let mut values = [Arg::Bool(false); ARGUMENTS - 1];
    for ((key, value), pair) in keys.iter_mut().zip(&mut values).zip(&fields.pairs) {
        let Some((name, given)) = pair else { break };
        (*key, *value) = (name.as_str(), argument(given));
    }
    write(keys.get(..fields.len).unwrap_or_default(), values.get(..fields.len).unwrap_or_default());
}

/// A value by its type, or else by its text.
fn argument<'a>(value: &'a Value<'a>) -> Arg<'a> {
    struct Typed<'a>(Option<Arg<'a>>);

    impl<'v> VisitValue<'v> for Typed<'v> {
        fn visit_any(&mut self, _: Value<'_>) -> Result<(), Error> {
            Ok(())
        }

        fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
            self.0 = Some(Arg::Unsigned(value));
            Ok(())
        }

        fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
            self.0 = Some(Arg::Signed(value));
            Ok(())
        }

        fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
            self.0 = Some(Arg::Float(value));
            Ok(())
        }

        fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
            self.0 = Some(Arg::Bool(value));
            Ok(())
        }

        fn visit_borrowed_str(&mut self, value: &'v str) -> Result<(), Error> {
            self.0 = Some(Arg::Text(value));
            Ok(())
        }
    }

    let mut typed = Typed(None);
    // The visitor returns no error.
    let _ = value.visit(&mut typed);
    typed.0.unwrap_or(Arg::Display(value))
}
