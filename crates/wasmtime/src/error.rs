//! The error of this crate.

use std::fmt;

/// The error of a component that cannot be observed, or of a deadline that cannot be kept.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The declarations in the binary cannot be read.
    Declarations(wasmetry_host::Error),
    /// The component imports a version of `wasmetry:telemetry` that this host does not have.
    Version {
        /// The import's full name.
        import: String,
        /// The version that the host has.
        host: &'static str,
    },
    /// The component imports an interface or a function of `wasmetry:telemetry` that this host does
    /// not have.
    Missing {
        /// The import's full name.
        import: String,
        /// The missing function; `None` if the whole interface is missing.
        function: Option<String>,
        /// The version that the host has.
        host: &'static str,
    },
    /// The engine's code does not check the epoch, so a deadline would have no effect.
    NoEpochInterruption,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let package = wasmetry_abi::WIT_PACKAGE;
        match self {
            Self::Declarations(error) => write!(f, "{error}"),
            Self::Version { import, host } => write!(
                f,
                "the component imports `{import}`, but this host has `{package}@{host}`: rebuild the component with the \
                 wasmetry crate for {host}, or use a host that has the component's version"
            ),
            Self::Missing { import, function: None, host } => write!(
                f,
                "the component imports `{import}`, an interface that this host's `{package}@{host}` does not have: \
                 use a newer host"
            ),
            Self::Missing { import, function: Some(function), host } => write!(
                f,
                "the component imports the function `{function}` of `{import}`, which this host's `{package}@{host}` does \
                 not have: use a newer host"
            ),
            Self::NoEpochInterruption => f.write_str(
                "the engine does not check deadlines: call `epoch_interruption(true)` on its `Config`, and start a `Ticker`",
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Declarations(error) => Some(error),
            Self::Version { .. } | Self::Missing { .. } | Self::NoEpochInterruption => None,
        }
    }
}

impl From<wasmetry_host::Error> for Error {
    fn from(error: wasmetry_host::Error) -> Self {
        Self::Declarations(error)
    }
}
