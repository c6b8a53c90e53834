//! Metrics of one name, or of names that the exposition formats cannot tell apart, in one crate.
//!
//! The compiler expands all macros of a crate in one process, so each of them can be compared with
//! those before it. Where that is not so, and between crates, `wasmetry inspect` finds the same
//! mistakes in the binary.

use std::sync::Mutex;

use proc_macro2::Span;
use quote::ToTokens as _;
use syn::{Error, Result};
use wasmetry_abi::name;

use crate::declaration::{Declaration, LabelSource};
use crate::metric::Type;

/// The metrics that were declared before, in this crate.
static DECLARED: Mutex<Vec<Declared>> = Mutex::new(Vec::new());

/// A part of the name of the file in which rustdoc unites the examples of a crate. Each of them is
/// a program of its own.
const BUNDLE: &str = "doctest_bundle";

/// The properties that all metrics of one name share.
#[derive(Debug)]
struct Declared {
    ty: Type,
    name: String,
    unit: String,
    value: String,
    merge: Option<String>,
    /// The keys of all labels, sorted; `None` if they are those of a struct.
    keys: Option<Vec<String>>,
    buckets: String,
    /// Its file and line.
    place: String,
}

/// Compares a metric with those that the crate has declared before, and remembers it.
///
/// # Errors
///
/// Returns an error if one of them has its name and differs, or needs a name of its own.
pub(crate) fn check(ty: Type, declaration: &Declaration) -> Result<()> {
    if !is_compiler() {
        return Ok(());
    }
    let declared = Declared::new(ty, declaration);
    if declared.place.contains(BUNDLE) {
        return Ok(());
    }
    let Ok(mut all) = DECLARED.lock() else { return Ok(()) };
    let error = |message: String| Err(Error::new(declaration.name.span(), message));
    let Declared { name, .. } = &declared;
    for other in all.iter() {
        if other.name != *name {
            if let Some((stem, suffix)) = name::shared((ty.kind(), name), (other.ty.kind(), &other.name)) {
                return error(format!(
                    "`{name}`: the exposition formats need the name `{stem}{suffix}` for this metric and for `{}` at {}: rename one of the two",
                    other.name, other.place
                ));
            }
        } else if let Some(difference) = declared.difference(other) {
            return error(format!(
                "`{name}`: the metric is declared {difference} at {}: declare it in the same way, or rename one of the two",
                other.place
            ));
        }
    }
    all.push(declared);
    Ok(())
}

impl Declared {
    fn new(ty: Type, declaration: &Declaration) -> Self {
        let own = match &declaration.labels {
            LabelSource::Listed(labels) => Some(labels.iter().map(|label| label.key.to_string())),
            LabelSource::Struct(_) => None,
        };
        let keys = own.map(|own| {
            let constant = declaration.const_labels.iter().map(|label| label.key.to_string());
            let mut keys: Vec<String> = own.chain(constant).collect();
            keys.sort_unstable();
            keys
        });
        let buckets = declaration.buckets.as_ref().map(|buckets| format!("{:?}", buckets.bounds));
        let max_buckets = declaration.max_buckets.as_ref().map(|number| number.base10_digits().to_owned());
        Self {
            ty,
            name: declaration.name.value(),
            unit: declaration.unit.as_ref().map(ToString::to_string).unwrap_or_default(),
            value: declaration
                .value
                .as_ref()
                .map_or_else(|| ty.default_value().to_owned(), |value| value.to_token_stream().to_string()),
            merge: declaration.merge.as_ref().map(ToString::to_string),
            keys,
            buckets: buckets.or(max_buckets).unwrap_or_default(),
            place: place(declaration.name.span()),
        }
    }

    /// The way in which another metric of the same name differs, for a sentence.
    fn difference(&self, other: &Self) -> Option<String> {
        if self.ty.kind() != other.ty.kind() {
            return Some(format!("by `{}!`", other.ty.macro_name()));
        }
        if self.unit != other.unit {
            let unit = &other.unit;
            return Some(if unit.is_empty() { "without a unit".to_owned() } else { format!("with the unit `{unit}`") });
        }
        if let (Some(keys), Some(others)) = (&self.keys, &other.keys)
            && keys != others
        {
            let list: Vec<String> = others.iter().map(|key| format!("`{key}`")).collect();
            return Some(match list.as_slice() {
                [] => "without labels".to_owned(),
                [one] => format!("with the label {one}"),
                all => format!("with the labels {}", all.join(", ")),
            });
        }
        // The values' types are types, which may have several names.
        let is_number = |value: &str| matches!(value, "u64" | "i64" | "f64");
        if self.value != other.value && is_number(&self.value) && is_number(&other.value) {
            return Some(format!("with values of the type `{}`", other.value));
        }
        if let (Some(merge), Some(others)) = (&self.merge, &other.merge)
            && merge != others
        {
            return Some(format!("with the merge rule `{others}`"));
        }
        (self.buckets != other.buckets).then(|| "with other buckets".to_owned())
    }
}

/// Returns `true` if the compiler runs this, and runs it once.
///
/// An editor expands the macros of a file again after each change, and of many crates in one
/// process.
fn is_compiler() -> bool {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(|program| program.file_stem()).and_then(|name| name.to_str());
    proc_macro::is_available() && name.is_some_and(|name| ["rustc", "rustdoc", "clippy-driver", "miri"].contains(&name))
}

/// The file and the line of a span.
fn place(span: Span) -> String {
    let span = span.unwrap();
    format!("{}:{}", span.file(), span.line())
}
