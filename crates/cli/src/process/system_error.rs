//! Errors that may pass by themselves: of the operating system, such as a lack of file descriptors,
//! or of a resource of our own that others have.

use std::fmt;
use std::io::{self, ErrorKind};

/// An error of the operating system, or a lack of a resource, that may pass without a change of any
/// file.
///
/// An action that failed with it is retried; any other error waits until its cause is changed.
#[derive(Debug)]
pub(crate) struct SystemError(String);

impl SystemError {
    /// Returns an error with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SystemError {}

/// Returns an error with this text, which is a [`SystemError`] if its cause may pass by itself.
pub(crate) fn explain(cause: &io::Error, text: String) -> anyhow::Error {
    // These depend on the path and what is there. A permission may change without a new version of
    // the file, so it is not among them.
    let is_of_path = matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory);
    if is_of_path { anyhow::anyhow!(text) } else { SystemError::new(text).into() }
}

/// Returns `true` if an error, or one that it adds context to, may pass by itself.
pub(crate) fn is_system_error(error: &anyhow::Error) -> bool {
    error.downcast_ref::<SystemError>().is_some()
}

/// Returns an error with the same text and of the same kind.
pub(crate) fn duplicate(error: &anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if is_system_error(error) { SystemError::new(text).into() } else { anyhow::anyhow!(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn context_keeps_the_kind() {
        let of = |cause: io::Error| Err::<(), _>(explain(&cause, "cannot open x".to_owned())).context("w.toml:1:1");
        let descriptors = of(io::Error::from_raw_os_error(24)).unwrap_err();
        assert!(is_system_error(&descriptors));
        assert_eq!(format!("{descriptors:#}"), "w.toml:1:1: cannot open x");
        let copy = duplicate(&descriptors);
        assert!(is_system_error(&copy));
        assert_eq!(copy.to_string(), "w.toml:1:1: cannot open x");
        assert!(!is_system_error(&duplicate(&anyhow::anyhow!("unknown field"))));
        assert!(is_system_error(&of(ErrorKind::PermissionDenied.into()).unwrap_err()));
        assert!(!is_system_error(&of(ErrorKind::NotFound.into()).unwrap_err()));
        assert!(!is_system_error(&anyhow::anyhow!("w.toml:1:1: unknown field")));
    }
}
