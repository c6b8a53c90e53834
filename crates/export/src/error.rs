//! The errors of starting an exporter and of pushing to a Pushgateway.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::push::VariableError;

/// The reason why an exporter could not be started, or metrics could not be pushed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Environment variables are invalid: all that are, at least one.
    Variables(Vec<VariableError>),
    /// A PEM file cannot be used.
    Pem {
        /// The file.
        path: PathBuf,
        /// The fault.
        cause: String,
    },
    /// The file for audit records cannot be opened.
    Audit {
        /// The file.
        path: PathBuf,
        /// The error of opening it.
        error: io::Error,
    },
    /// TLS cannot be set up.
    Tls(String),
    /// A setting is out of range.
    Setting {
        /// The setting.
        name: &'static str,
        /// The fault, and the remedy.
        cause: String,
    },
    /// The URL of a Pushgateway cannot be used.
    Url {
        /// The URL, without a password.
        url: String,
        /// The fault, and the remedy.
        cause: String,
    },
    /// A Pushgateway did not accept the metrics.
    Push {
        /// The URL of the group, without a password.
        url: String,
        /// The response or the failure, and the remedy.
        cause: String,
    },
    /// No thread or runtime could be started.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variables(errors) => {
                let errors: Vec<String> = errors.iter().map(VariableError::to_string).collect();
                f.write_str(&errors.join("; and "))
            }
            Self::Pem { path, cause } => {
                write!(f, "{} cannot be used for TLS: {cause}; give a file in PEM format", path.display())
            }
            Self::Audit { path, error } => write!(
                f,
                "audit records cannot be written to {}: {error}; name a file in a directory that this process may write to",
                path.display()
            ),
            Self::Tls(cause) => write!(f, "TLS cannot be set up: {cause}"),
            Self::Setting { name, cause } => write!(f, "{name}: {cause}"),
            Self::Url { url, cause } => write!(f, "{url:?}: {cause}"),
            Self::Push { url, cause } => write!(f, "the metrics could not be pushed to {url}: {cause}"),
            Self::Thread(error) => {
                write!(f, "no thread can be started for exporting: {error}; raise the limit of threads (`ulimit -u`)")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(error) | Self::Audit { error, .. } => Some(error),
            _ => None,
        }
    }
}
