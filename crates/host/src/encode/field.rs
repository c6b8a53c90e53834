//! What every encoder of records does with fields.

use std::collections::HashSet;

use crate::record::{Field, Level};

/// As many fields as are compared one with another; more are looked up.
const FEW: usize = 32;

/// The fields without those whose key comes again: the last one of a key counts, as with OpenTelemetry's attributes.
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

/// The name of a level, as the text formats show it.
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

/// A key for each field that is neither reserved nor another field's: one that would be is renamed
/// `exported_<key>`, as a guest's label is that has the key of one of the host's.
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
