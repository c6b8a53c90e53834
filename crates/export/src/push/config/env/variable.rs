//! One environment variable, and the ways to parse it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use wasmetry_host::record::destination;

/// An environment variable that is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableError {
    name: String,
    value: String,
    cause: String,
}

impl VariableError {
    /// The variable's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fault of its value, and what to set it to.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl fmt::Display for VariableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, cause } = self;
        write!(f, "{name}={value:?}: {cause}")
    }
}

/// A variable whose value may be no text.
pub(super) struct RawVariable {
    name: String,
    value: OsString,
}

impl RawVariable {
    /// Returns a variable, or `None` if its value is empty.
    pub(super) fn new(name: &str, value: OsString) -> Option<Self> {
        // White space around a value is no part of it.
        let value = match value.to_str() {
            Some(text) => text.trim().into(),
            None => value,
        };
        (!value.is_empty()).then(|| Self { name: name.to_owned(), value })
    }

    pub(super) fn text(self) -> Result<Variable, VariableError> {
        match self.value.to_str() {
            Some(text) => Ok(Variable { value: text.to_owned(), name: self.name }),
            None => Err(self.error("it is not UTF-8")),
        }
    }

    /// Returns `true` if the variable has the words of a list, in any order and any case.
    pub(super) fn is_list_of(&self, list: &str) -> bool {
        let words =
            |list: &str| -> BTreeSet<String> { list.split(',').map(|word| word.trim().to_lowercase()).collect() };
        self.value.to_str().is_some_and(|value| words(value) == words(list))
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.value.into()
    }

    pub(super) fn error(&self, cause: impl Into<String>) -> VariableError {
        error(&self.name, &self.value.to_string_lossy(), cause)
    }
}

/// A variable that is set to a text.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

impl Variable {
    pub(super) fn error(&self, cause: impl Into<String>) -> VariableError {
        error(&self.name, &self.value, cause)
    }

    pub(super) fn parse<T: FromStr>(&self, expected: &str) -> Result<T, VariableError> {
        self.value.parse().map_err(|_| self.error(format!("set it to {expected}")))
    }

    /// Parses a number that is at least 1.
    pub(super) fn positive(&self, expected: &str) -> Result<usize, VariableError> {
        match self.parse(expected)? {
            0 => Err(self.error(format!("set it to {expected}"))),
            number => Ok(number),
        }
    }

    /// Parses two numbers with a comma between them.
    pub(super) fn pair(&self, expected: &str) -> Result<[u64; 2], VariableError> {
        let numbers = self.value.split_once(',').map(|(one, other)| (one.trim().parse(), other.trim().parse()));
        match numbers {
            Some((Ok(one), Ok(other))) => Ok([one, other]),
            _ => Err(self.error(format!("set it to {expected}"))),
        }
    }

    /// Parses a duration in milliseconds.
    pub(super) fn duration(&self) -> Result<Duration, VariableError> {
        self.parse("a number of milliseconds").map(Duration::from_millis)
    }

    /// Parses a timeout in milliseconds. As the specification has it, 0 means no limit.
    pub(super) fn timeout(&self) -> Result<Duration, VariableError> {
        let timeout = self.duration()?;
        Ok(if timeout.is_zero() { Duration::MAX } else { timeout })
    }

    /// Parses one of some words, in any case.
    pub(super) fn choose<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, VariableError> {
        self.choose_word(&self.value, choices)
    }

    /// Parses a list of some words, separated by commas.
    pub(super) fn choose_list<T: Copy>(&self, choices: &[(&str, T)]) -> Result<Vec<T>, VariableError> {
        self.value.split(',').map(|word| self.choose_word(word.trim(), choices)).collect()
    }

    fn choose_word<T: Copy>(&self, text: &str, choices: &[(&str, T)]) -> Result<T, VariableError> {
        let chosen = choices.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.error(format!("it is none of {}", words.join(", ")))
        })
    }

    /// Parses `key=value,key=value`, without decoding either.
    pub(super) fn pairs(&self) -> Result<Vec<(&str, &str)>, VariableError> {
        let pairs = self.value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let split = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty());
                let shown = if is_secret(&self.name) { "an item".to_owned() } else { format!("`{pair}`") };
                let cause = || format!("{shown} is not of the form `key=value`; separate pairs by commas");
                split.map(|(key, value)| (key.trim(), value.trim())).ok_or_else(|| self.error(cause()))
            })
            .collect()
    }

    /// Decodes the percent-encoding of a part of the value. `what` names the part in an error.
    pub(super) fn percent_decode<'a>(&self, text: &'a str, what: &str) -> Result<Cow<'a, str>, VariableError> {
        let is_encoded = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
        if text.split('%').skip(1).any(|rest| !is_encoded(rest)) {
            let cause = format!("{what} has a `%` without two hexadecimal digits; write `%25` for `%`");
            return Err(self.error(cause));
        }
        percent_decode_str(text).decode_utf8().map_err(|_| self.error(format!("{what} is not UTF-8")))
    }
}

/// Returns `true` if a variable may hold a password.
fn is_secret(name: &str) -> bool {
    name.ends_with("_HEADERS")
}

/// Returns an error that shows no secret.
fn error(name: &str, value: &str, cause: impl Into<String>) -> VariableError {
    let value = match name {
        name if is_secret(name) => "…".to_owned(),
        name if name.ends_with("_ENDPOINT") => destination(value),
        _ => value.to_owned(),
    };
    VariableError { name: name.to_owned(), value, cause: cause.into() }
}
