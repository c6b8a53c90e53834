use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why an exporter could not be started, or metrics could not be pushed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An environment variable says what is not understood.
    Variable {
        /// The variable's name.
        name: String,
        /// What it was set to.
        value: String,
        /// What is wrong with that, and what to set it to.
        cause: String,
    },
    /// A PEM file cannot be used.
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The file for audit records cannot be opened.
    Audit {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// TLS cannot be set up.
    Tls(String),
    /// A setting makes no sense.
    Setting {
        /// Which one.
        name: &'static str,
        /// What is wrong with it, and what to do.
        cause: String,
    },
    /// A Pushgateway's URL cannot be used.
    Url {
        /// The URL, without a password.
        url: String,
        /// What is wrong with it, and what to write.
        cause: String,
    },
    /// A Pushgateway did not take the metrics.
    Push {
        /// Where they were sent, without a password.
        url: String,
        /// What it said, or why it could not be asked, and what to do.
        cause: String,
    },
    /// No thread or runtime could be started.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable { name, value, cause } => write!(f, "{name}={value:?}: {cause}"),
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
