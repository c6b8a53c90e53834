//! The members of answers, compared with those of the fixtures.

use std::collections::BTreeSet;

use serde_json::Value;

/// Adds the paths of all members, such as `components[].routes[].p99`.
pub(crate) fn members(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                out.insert(format!("{path}.{key}"));
                members(value, &format!("{path}.{key}"), out);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| members(value, &format!("{path}[]"), out)),
        _ => {}
    }
}

#[track_caller]
pub(crate) fn assert_has_members(answer: &Value, fixture: &str) {
    let path = format!("{}/tests/fixtures/{fixture}", env!("CARGO_MANIFEST_DIR"));
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut has, mut wants) = (BTreeSet::new(), BTreeSet::new());
    members(answer, "", &mut has);
    members(&expected, "", &mut wants);
    // The keys of these are labels.
    wants.retain(|path| !path.contains(".labels."));
    let missing: Vec<_> = wants.difference(&has).collect();
    assert!(missing.is_empty(), "{fixture} has {missing:?}, and the answer has {answer}");
}
