//! The parts that logs and spans share: groups by resource and scope, and attributes.

use std::collections::HashMap;

use super::proto::common::v1::{KeyValue, any_value};
use super::{Encoding, attribute};
use crate::Identity;
use crate::encode::{field, json};
use crate::record::{Entry, Field, FieldValue};

/// The entries of one component and stream, by scope.
pub(super) struct Group<'a, T> {
    pub(super) identity: &'a Identity,
    pub(super) is_audit: bool,
    pub(super) scopes: Vec<(&'a str, Vec<&'a T>)>,
}

/// Groups records by resource and scope, in their order.
pub(super) fn group<'a, T>(
    entries: &'a [Entry<T>],
    scope: fn(&T) -> &str,
    is_audit: fn(&T) -> bool,
) -> Vec<Group<'a, T>> {
    let mut groups: Vec<Group<'a, T>> = Vec::new();
    let mut places: HashMap<(&Identity, bool, &str), (usize, usize)> = HashMap::new();
    let mut resources: HashMap<(&Identity, bool), usize> = HashMap::new();
    for Entry { identity, record } in entries {
        let (identity, is_audit, scope) = (&**identity, is_audit(record), scope(record));
        let (at, inner) = *places.entry((identity, is_audit, scope)).or_insert_with(|| {
            let at = *resources.entry((identity, is_audit)).or_insert_with(|| {
                groups.push(Group { identity, is_audit, scopes: Vec::new() });
                groups.len() - 1
            });
            groups[at].scopes.push((scope, Vec::new()));
            (at, groups[at].scopes.len() - 1)
        });
        groups[at].scopes[inner].1.push(record);
    }
    groups
}

/// Converts fields to attributes with unique keys. Returns them and the number of fields that were
/// dropped.
pub(super) fn attributes(fields: &[Field], encoding: Encoding) -> (Vec<KeyValue>, u32) {
    let fields = field::unique(fields);
    let all = fields.len();
    // The protocol has no attribute without a key.
    let attributes: Vec<_> = fields
        .into_iter()
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, field)| attribute(key, value(field, encoding)))
        .collect();
    let dropped = u32::try_from(all - attributes.len()).unwrap_or(u32::MAX);
    (attributes, dropped)
}

fn value(field: &FieldValue, encoding: Encoding) -> any_value::Value {
    match field {
        FieldValue::Signed(value) => any_value::Value::IntValue(*value),
        // Source: OpenTelemetry, "Mapping Arbitrary Data to OTLP AnyValue", Integer Values: a
        // greater number is a string.
        FieldValue::Unsigned(value) => match i64::try_from(*value) {
            Ok(value) => any_value::Value::IntValue(value),
            Err(_) => any_value::Value::StringValue(value.to_string()),
        },
        FieldValue::Float(value) if encoding == Encoding::Json && !value.is_finite() => {
            any_value::Value::StringValue(json::not_finite(*value).to_owned())
        }
        FieldValue::Float(value) => any_value::Value::DoubleValue(*value),
        FieldValue::Bool(value) => any_value::Value::BoolValue(*value),
        FieldValue::Text(value) => any_value::Value::StringValue(value.as_ref().to_owned()),
    }
}
