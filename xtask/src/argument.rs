//! The command line, parsed without a parser crate.

use std::{ffi::OsString, fmt};

use anyhow::Result;

/// The arguments after `cargo xtask`. Each command removes those that it knows, then calls
/// [`Arguments::finish`].
#[derive(Debug)]
pub(crate) struct Arguments {
    own: Vec<String>,
    passed_on: Vec<String>,
}

impl Arguments {
    /// Reads this process's arguments.
    pub(crate) fn from_env() -> Result<Self> {
        Self::new(std::env::args_os().skip(1))
    }

    /// Splits `arguments` at the first `--`.
    fn new(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut own = arguments
            .map(|argument| {
                argument
                    .into_string()
                    .map_err(|argument| Usage::error(format!("argument {argument:?} is not valid UTF-8")))
            })
            .collect::<Result<Vec<_>>>()?;
        let passed_on = match own.iter().position(|argument| argument == "--") {
            Some(at) => own.split_off(at).split_off(1),
            None => Vec::new(),
        };
        Ok(Self { own, passed_on })
    }

    /// Removes the command's name: the first argument that is not an option.
    pub(crate) fn command(&mut self) -> Option<String> {
        match self.own.first() {
            Some(first) if !first.starts_with('-') => Some(self.own.remove(0)),
            _ => None,
        }
    }

    /// Removes the flag `name`; returns `true` if it was given.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.own.len();
        self.own.retain(|argument| argument != name);
        self.own.len() != before
    }

    /// Removes the option `name` and returns its value, written `name VALUE` or `name=VALUE`.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>> {
        if let Some(at) = self.own.iter().position(|argument| argument == name) {
            if at + 1 == self.own.len() {
                return Err(Usage::error(format!("`{name}` needs a value after it")));
            }
            self.own.remove(at);
            return Ok(Some(self.own.remove(at)));
        }
        let prefix = format!("{name}=");
        let at = self.own.iter().position(|argument| argument.starts_with(&prefix));
        Ok(at.map(|at| self.own.remove(at).split_off(prefix.len())))
    }

    /// Removes and returns the arguments after `--`.
    pub(crate) fn passed_on(&mut self) -> Vec<String> {
        std::mem::take(&mut self.passed_on)
    }

    /// Fails if an argument is left that the command does not know.
    pub(crate) fn finish(self) -> Result<()> {
        match self.own.first().or(self.passed_on.first()) {
            None => Ok(()),
            Some(left) => Err(Usage::error(format!(
                "this command does not know `{left}`; `cargo xtask help` lists what each takes"
            ))),
        }
    }
}

/// A wrong command line: exit code 2, as shells expect.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// Makes the error with this message.
    pub(crate) fn error(message: impl Into<String>) -> anyhow::Error {
        Self(message.into()).into()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::new(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn takes_command_flags_and_options() -> Result<()> {
        let mut arguments = parse("demo --once --addr 127.0.0.1:1 --telemetry-addr=127.0.0.1:2")?;
        assert_eq!(arguments.command().as_deref(), Some("demo"));
        assert!(arguments.flag("--once"));
        assert!(!arguments.flag("--once"));
        assert_eq!(arguments.option("--addr")?.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(arguments.option("--telemetry-addr")?.as_deref(), Some("127.0.0.1:2"));
        arguments.finish()
    }

    #[test]
    fn arguments_after_dashes_are_passed_on() -> Result<()> {
        let mut arguments = parse("test -- -p wasmetry-abi -- --nocapture")?;
        assert_eq!(arguments.command().as_deref(), Some("test"));
        assert_eq!(arguments.passed_on(), ["-p", "wasmetry-abi", "--", "--nocapture"]);
        arguments.finish()
    }

    #[test]
    fn unknown_arguments_are_refused() -> Result<()> {
        for line in ["setup --fast", "setup now", "setup -- --fast"] {
            let mut arguments = parse(line)?;
            arguments.command();
            let error = arguments.finish().expect_err("the rest is unknown");
            assert!(error.is::<Usage>(), "{error}");
        }
        let missing = parse("--addr")?.option("--addr").expect_err("no value follows");
        assert_eq!(missing.to_string(), "`--addr` needs a value after it");
        Ok(())
    }
}
