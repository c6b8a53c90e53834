//! The flags of the telemetry address: tokens, host names, TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use wasmetry_export::scrape::{Guard, ServerTls, Target, Token};

use crate::flag::{token, value};
use crate::process::watched_file::WatchedFile;

/// The interval at which the files are checked for changes.
const RELOAD_INTERVAL: Duration = Duration::from_millis(500);

/// The variable with the token of [`TelemetryArgs::telemetry_token_file`].
const TOKEN: &str = "WASMETRY_TELEMETRY_TOKEN";

/// The variable with the token of [`TelemetryArgs::telemetry_view_token_file`].
const VIEW_TOKEN: &str = "WASMETRY_TELEMETRY_VIEW_TOKEN";

/// The flags of the telemetry address, which `wasmetry.toml` has as keys too.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Telemetry address")]
pub(crate) struct TelemetryArgs {
    /// A file with the token that opens all of the telemetry address, such as changes of levels at
    /// /recording: at least 16 bytes (`openssl rand -hex 32`)
    ///
    /// WASMETRY_TELEMETRY_TOKEN has the same meaning. /metrics, /healthz, /readyz and /sd need no
    /// token; the page at / and /api need one from clients that are not on a loopback address.
    #[arg(long, value_name = "FILE")]
    pub(crate) telemetry_token_file: Option<PathBuf>,

    /// A file with another token, which opens what is shown and changes nothing
    ///
    /// WASMETRY_TELEMETRY_VIEW_TOKEN has the same meaning.
    #[arg(long, value_name = "FILE")]
    pub(crate) telemetry_view_token_file: Option<PathBuf>,

    /// Require one of these tokens for every path, /metrics and health checks included
    #[arg(long)]
    pub(crate) telemetry_require_token: bool,

    /// A host name by which browsers open the page of the telemetry address, beside localhost and
    /// its IP address; repeatable
    #[arg(long = "telemetry-host", value_name = "NAME", value_parser = value::host_name)]
    pub(crate) telemetry_hosts: Vec<String>,

    /// Serve the telemetry address by TLS only, with this certificate chain (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) telemetry_tls_cert: Option<PathBuf>,

    /// The private key of --telemetry-tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) telemetry_tls_key: Option<PathBuf>,
}

impl TelemetryArgs {
    /// The names of the flags' arguments.
    pub(crate) const NAMES: [&str; 6] = [
        "telemetry_token_file",
        "telemetry_view_token_file",
        "telemetry_require_token",
        "telemetry_hosts",
        "telemetry_tls_cert",
        "telemetry_tls_key",
    ];

    /// Returns these values, and for those that are not given the values of `otherwise`.
    pub(crate) fn or(&self, otherwise: Self) -> Self {
        let hosts =
            if self.telemetry_hosts.is_empty() { otherwise.telemetry_hosts } else { self.telemetry_hosts.clone() };
        // A certificate and its key belong together.
        let (cert, key) = match (&self.telemetry_tls_cert, &self.telemetry_tls_key) {
            (None, None) => (otherwise.telemetry_tls_cert, otherwise.telemetry_tls_key),
            (cert, key) => (cert.clone(), key.clone()),
        };
        Self {
            telemetry_token_file: self.telemetry_token_file.clone().or(otherwise.telemetry_token_file),
            telemetry_view_token_file: self.telemetry_view_token_file.clone().or(otherwise.telemetry_view_token_file),
            telemetry_require_token: self.telemetry_require_token || otherwise.telemetry_require_token,
            telemetry_hosts: hosts,
            telemetry_tls_cert: cert,
            telemetry_tls_key: key,
        }
    }

    /// Returns the guard of the endpoint. `advertised` is its address as others reach it.
    ///
    /// # Errors
    ///
    /// If a token cannot be used, or if one is required and there is none.
    pub(crate) fn guard(&self, advertised: Option<&Target>) -> Result<Guard> {
        let mut guard = Guard::default();
        let (control, view) = self.tokens()?;
        if self.telemetry_require_token {
            if control.is_none() && view.is_none() {
                bail!("telemetry-require-token: there is no token; give one with --telemetry-token-file or {TOKEN}");
            }
            guard = guard.with_token_for_all();
        }
        if let Some(token) = control {
            guard = guard.with_control_token(token);
        }
        if let Some(token) = view {
            guard = guard.with_view_token(token);
        }
        let own = advertised.map(ToString::to_string);
        let own = own.as_deref().and_then(|target| target.rsplit_once(':')).map(|(host, _)| host);
        Ok(self.telemetry_hosts.iter().map(String::as_str).chain(own).fold(guard, Guard::with_host))
    }

    /// Returns the tokens of control and of view.
    fn tokens(&self) -> Result<(Option<Token>, Option<Token>)> {
        let control = read_token("telemetry-token-file", self.telemetry_token_file.as_deref(), TOKEN)?;
        let view = read_token("telemetry-view-token-file", self.telemetry_view_token_file.as_deref(), VIEW_TOKEN)?;
        Ok((control, view))
    }

    /// Reads the files of tokens, certificate and key again when they change, as long as the
    /// process runs. `report` receives a line about one that cannot be used; what it had before
    /// stays in use then.
    pub(crate) fn watch(&self, guard: Guard, tls: Option<ServerTls>, report: impl Fn(String) + Clone + Send + 'static) {
        // They were read before their versions are noted, so the first check reads them again. A
        // pipe has no second content.
        let unread = |path: &PathBuf| {
            let mut file = WatchedFile::new(path.clone());
            file.version = None;
            file
        };
        let files = |paths: [&Option<PathBuf>; 2]| -> Vec<_> {
            paths.into_iter().flatten().filter(|path| path.is_file()).map(unread).collect()
        };
        let mut tokens = files([&self.telemetry_token_file, &self.telemetry_view_token_file]);
        let mut pem = files([&self.telemetry_tls_cert, &self.telemetry_tls_key]);
        if tokens.is_empty() && pem.is_empty() {
            return;
        }
        let (settings, report_failure) = (self.clone(), report.clone());
        let watching = std::thread::Builder::new().name("telemetry-files".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(RELOAD_INTERVAL);
                if have_changed(&mut tokens) {
                    match settings.tokens() {
                        Ok((control, view)) => guard.replace_tokens(control, view),
                        Err(error) => report(format!("{error:#}; the former token stays in use")),
                    }
                }
                if let (true, Some(tls)) = (have_changed(&mut pem), &tls)
                    && let Err(error) = tls.reload()
                {
                    report(format!("telemetry-tls-cert: {error}; the former certificate stays in use"));
                }
            }
        });
        if let Err(error) = watching {
            report_failure(format!(
                "the files of the telemetry address are not watched: {error}; restart when they change"
            ));
        }
    }

    /// Returns the scheme of the endpoint's URLs.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.telemetry_tls_cert.is_some() { "https" } else { "http" }
    }

    /// Returns the certificate of the endpoint, if it is served by TLS.
    ///
    /// # Errors
    ///
    /// If only one of certificate and key is given, or one cannot be used.
    pub(crate) fn tls(&self) -> Result<Option<ServerTls>> {
        match (&self.telemetry_tls_cert, &self.telemetry_tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => {
                let tls =
                    ServerTls::from_pem_files(cert, key).map_err(|error| anyhow!("telemetry-tls-cert: {error}"))?;
                Ok(Some(tls))
            }
            (Some(_), None) => {
                bail!("telemetry-tls-cert: the private key is missing; give it with --telemetry-tls-key")
            }
            (None, Some(_)) => {
                bail!("telemetry-tls-key: the certificate is missing; give it with --telemetry-tls-cert")
            }
        }
    }
}

/// Returns `true` if one of these files has another version than at the last call. A file is
/// changed when two calls find the same version, so that it is not read while it is written.
fn have_changed(files: &mut [WatchedFile]) -> bool {
    // Each of them is looked at.
    let settled = files.iter_mut().map(WatchedFile::has_settled);
    settled.fold(false, |any, settled| any | settled)
}

/// Reads a token from the file of a flag, or from a variable. Errors do not show it.
fn read_token(flag: &str, path: Option<&Path>, variable: &str) -> Result<Option<Token>> {
    match path {
        Some(path) => token::read(flag, path).map(Some),
        None => token::from_variable(variable),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn token_errors_hide_the_token() {
        for (text, cause) in [
            ("s3cr3t\n", "it needs at least 16"),
            ("s3cr3t s3cr3t s3cr3t", "has a space"),
            ("", "there is no token"),
            (&"s3cr3t".repeat(10_000), "more than 4096 bytes"),
        ] {
            let file = file(text);
            let args = TelemetryArgs { telemetry_token_file: Some(file.path().to_owned()), ..TelemetryArgs::default() };
            let error = format!("{:#}", args.guard(None).unwrap_err());
            assert!(error.starts_with("telemetry-token-file: ") && error.contains(cause), "{error}");
            assert!(!error.contains("s3cr3t") && error.contains("openssl rand -hex 32"), "{error}");
        }
        let args = TelemetryArgs { telemetry_token_file: Some("/nowhere".into()), ..TelemetryArgs::default() };
        let error = format!("{:#}", args.guard(None).unwrap_err());
        assert!(error.starts_with("telemetry-token-file: cannot read /nowhere: "), "{error}");
    }

    #[test]
    fn incomplete_settings_are_refused() {
        let args = TelemetryArgs { telemetry_require_token: true, ..TelemetryArgs::default() };
        assert!(args.guard(None).unwrap_err().to_string().contains("give one with --telemetry-token-file"));
        let cert = TelemetryArgs { telemetry_tls_cert: Some("a".into()), ..TelemetryArgs::default() };
        assert!(cert.tls().unwrap_err().to_string().contains("--telemetry-tls-key"));
        let key = TelemetryArgs { telemetry_tls_key: Some("a".into()), ..TelemetryArgs::default() };
        assert!(key.tls().unwrap_err().to_string().contains("--telemetry-tls-cert"));
        let both = TelemetryArgs { telemetry_tls_key: Some("/nowhere".into()), ..cert };
        assert!(both.tls().unwrap_err().to_string().starts_with("telemetry-tls-cert: a cannot be used for TLS: "));
    }

    #[test]
    fn flags_override_the_configuration() {
        let flags = TelemetryArgs { telemetry_tls_cert: Some("a".into()), ..TelemetryArgs::default() };
        let config = TelemetryArgs {
            telemetry_hosts: vec!["b".to_owned()],
            telemetry_require_token: true,
            telemetry_tls_key: Some("b".into()),
            ..TelemetryArgs::default()
        };
        let merged = flags.or(config);
        assert_eq!((merged.telemetry_tls_cert, merged.telemetry_tls_key), (Some("a".into()), None));
        assert_eq!((merged.telemetry_hosts, merged.telemetry_require_token), (vec!["b".to_owned()], true));
    }
}
