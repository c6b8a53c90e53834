//! Calls of a guest's functions: parameter types and arguments.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// A parameter's type, as WIT names it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// An integer of 32 bits.
    U32,
    /// An integer of 64 bits.
    U64,
    /// A signed integer of 64 bits.
    S64,
    /// A number; in the file also `"NaN"`, `"Infinity"` and `"-Infinity"`.
    F64,
    /// A text.
    String,
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer of 32 bits.
    U32(u32),
    /// An integer of 64 bits.
    U64(u64),
    /// A signed integer of 64 bits.
    S64(i64),
    /// A number.
    F64(f64),
    /// A text.
    String(String),
}

/// A call of a guest's function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function's name, as it is exported.
    pub function: String,
    /// The arguments.
    pub arguments: Vec<Value>,
}

impl Call {
    pub(super) fn new(functions: &BTreeMap<String, Vec<Type>>, call: &[serde_json::Value]) -> Result<Self, String> {
        let [serde_json::Value::String(function), arguments @ ..] = call else {
            return Err(format!("a call is a function name and its arguments, not {call:?}"));
        };
        let types = functions.get(function).ok_or_else(|| format!("the guest has no function `{function}`"))?;
        if types.len() != arguments.len() {
            return Err(format!("`{function}` has {} parameters, not {}", types.len(), arguments.len()));
        }
        let arguments = types.iter().zip(arguments).map(|(ty, argument)| {
            ty.value(argument).ok_or_else(|| format!("`{function}`: {argument} is not a {ty:?}"))
        });
        Ok(Self { function: function.clone(), arguments: arguments.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}(", self.function)?;
        for (at, argument) in self.arguments.iter().enumerate() {
            formatter.write_str(if at == 0 { "" } else { ", " })?;
            match argument {
                Value::U32(value) => write!(formatter, "{value}")?,
                Value::U64(value) => write!(formatter, "{value}")?,
                Value::S64(value) => write!(formatter, "{value}")?,
                Value::F64(value) => write!(formatter, "{value:?}")?,
                Value::String(value) => write!(formatter, "{value:?}")?,
            }
        }
        formatter.write_str(")")
    }
}

impl Type {
    fn value(self, json: &serde_json::Value) -> Option<Value> {
        Some(match self {
            Self::U32 => Value::U32(json.as_u64()?.try_into().ok()?),
            Self::U64 => Value::U64(json.as_u64()?),
            Self::S64 => Value::S64(json.as_i64()?),
            Self::F64 => Value::F64(match json.as_str() {
                None => json.as_f64()?,
                Some("NaN") => f64::NAN,
                Some("Infinity") => f64::INFINITY,
                Some("-Infinity") => f64::NEG_INFINITY,
                Some(_) => return None,
            }),
            Self::String => Value::String(json.as_str()?.to_owned()),
        })
    }
}
