//! The handling of fields that all encoders of records share: unique keys, reserved keys, levels.

use std::collections::HashSet;

use crate::record::{Field, Level};

/// The number of fields up to which each is compared with each. More are looked up in a set.
const FEW: usize = 32;

/// Returns the fields with unique keys. The last field of a key counts, as with OpenTelemetry's
/// attributes.
pub(super) fn unique(fields: &[Field]) -> Vec<&Field> {
    if fields.len() <= FEW {
        let later = |at: usize| fields[at + 1..].iter();
        let is_last = |at: usize| later(at).all(|(key, _)| *key != fields[at].0);
        return fields.iter().enumerate().filter(|(at, _)| is_last(*at)).map(|(_, field)| field).collect();
    }
    let mut seen = HashSet::with_capacity(fields.len());
    let mut unique: Vec<_> = fields.iter().rev().filter(|(key, _)| seen.insert(&**key)).collect();
    unique.reverse();
    unique
}

/// The name of a level in the text formats.
pub(super) const fn level(level: Level) -> &'static str {
    match level {
        Level::Off => "off",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Returns the exported key of each field. A reserved key becomes `exported_<key>`, as a guest's
/// label with a key of the host's does.
pub(super) fn keys<'a>(fields: &[&'a Field], is_reserved: impl Fn(&str) -> bool) -> Vec<std::borrow::Cow<'a, str>> {
    fields
        .iter()
        .map(|(key, _)| {
            if !is_reserved(key) {
                return key.as_ref().into();
            }
            let mut renamed = format!("exported_{key}");
            while fields.iter().any(|(other, _)| **other == *renamed) {
                renamed.insert_str(0, "exported_");
            }
            renamed.into()
        })
        .collect()
}
