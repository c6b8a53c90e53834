//! Flags whose values may be secret: errors do not show them.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::{Error, ErrorKind};
use clap::{Arg, Command};

/// A parser whose errors do not show the value, as clap's own do.
#[derive(Clone)]
pub(crate) struct Secret<T: 'static> {
    parse: fn(&str) -> Result<T, String>,
}

/// Makes the value of a flag secret. The errors of `parse` must not show it either.
pub(crate) fn secret<T>(parse: fn(&str) -> Result<T, String>) -> Secret<T> {
    Secret { parse }
}

impl<T: Clone + Send + Sync> TypedValueParser for Secret<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let parsed = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(self.parse);
        parsed.map_err(|cause| {
            let flag = flag.map_or_else(|| "a flag".to_owned(), |flag| format!("'{flag}'"));
            // The second line is that of clap's own errors.
            let message = format!("invalid value for {flag}: {cause}\n\nFor more information, try '--help'.\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_show_the_value() {
        let parse = |text: &str| if text == "good" { Ok(text.len()) } else { Err("expected `good`".to_owned()) };
        let flag = Arg::new("header").long("header").value_name("KEY=VALUE").value_parser(secret(parse));
        let command = Command::new("x").arg(flag);
        let parsed = command.clone().try_get_matches_from(["x", "--header", "good"]).unwrap();
        assert_eq!(parsed.get_one::<usize>("header"), Some(&4));
        let error = command.try_get_matches_from(["x", "--header", "secret"]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("invalid value for '--header <KEY=VALUE>': expected `good`"), "{message}");
        assert!(!message.contains("secret"), "{message}");
        assert_eq!(error.exit_code(), 2);
    }
}
