//! The table `[ops.telemetry]`: the access of Prometheus to a telemetry address that requires it.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{optional_text, text};

/// The table `[ops.telemetry]`. Secrets are in files, or in a `Secret` of Kubernetes, and never in
/// what is generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct TelemetryAccess {
    /// The file from which Prometheus reads the token, by its path where Prometheus runs.
    #[serde(deserialize_with = "path")]
    pub token_file: Option<String>,
    /// `true` if the address is served by TLS.
    pub tls: bool,
    /// The file with the certificates that Prometheus trusts, by its path where Prometheus runs.
    /// The default is those of its system.
    #[serde(deserialize_with = "path")]
    pub ca_file: Option<String>,
    /// The name of the certificate, if targets have other addresses.
    #[serde(deserialize_with = "optional_text")]
    pub server_name: Option<String>,
    /// The `Secret` from which the Prometheus operator reads the token (its key `token`) and the
    /// certificates (`ca.crt`). The default is the name of the service with `-telemetry`.
    #[serde(deserialize_with = "super::kubernetes::dns_label")]
    pub secret: Option<String>,
}

impl TelemetryAccess {
    /// Returns `true` if targets are scraped by TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls || self.ca_file.is_some() || self.server_name.is_some()
    }
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let path = text(deserializer)?;
    // Compose expands what begins with `$`.
    if path.starts_with('/') && !path.contains([':', '$']) {
        return Ok(Some(path));
    }
    Err(D::Error::custom(
        "expected an absolute path without `:` and `$`, such as `/etc/prometheus/secrets/wasmetry-token`",
    ))
}
