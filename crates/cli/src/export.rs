//! Where logs and spans go, and which: flags, beside OpenTelemetry's environment variables.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wasmetry_export::push::{Config, LineFormat};
use wasmetry_export::scrape::Recordings;
use wasmetry_host::record::Level;
use wasmetry_host::{Filter, Identity, Recording};
use wasmetry_wasmtime::ObservedComponent;

use crate::{quantity, text};

/// The flags about logs and spans.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs and traces")]
pub(crate) struct ExportArgs {
    /// How log records are written to stdout [default: pretty on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// Which log records and spans are exported, by target: `warn,shop::cart=debug`, `off` [default: info]
    #[arg(long, value_name = "LEVELS", value_parser = quantity::filter)]
    log_level: Option<Filter>,

    /// The finest level that is recorded; what is finer than --log-level is exported for requests that are kept
    /// [default: debug]
    #[arg(long, value_name = "LEVEL", value_parser = quantity::level)]
    record_level: Option<Level>,

    /// Do not export everything that was recorded of a request that failed, trapped or was ended
    #[arg(long)]
    no_keep_failed: bool,

    /// Export everything that was recorded of a request that took longer than this
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    keep_slow: Option<Duration>,

    /// A file with the token by which clients of /recording on --telemetry-addr may change these levels
    #[arg(long, value_name = "FILE")]
    control_token_file: Option<PathBuf>,
}

/// How log records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For a person
    Pretty,
    /// One JSON object a line, for a log shipper
    Json,
    /// Not at all
    Off,
}

impl ExportArgs {
    /// What of a component's logs and spans is recorded, exported and kept: what the flags say, else what `otherwise` does.
    pub(crate) fn recording(&self, otherwise: Recording) -> Recording {
        Recording {
            export: self.log_level.clone().unwrap_or(otherwise.export),
            record: self.record_level.unwrap_or(otherwise.record),
            keep_failed: otherwise.keep_failed && !self.no_keep_failed,
            keep_slow: self.keep_slow.or(otherwise.keep_slow),
        }
    }

    /// How log records are written to an output, by `default` if no flag says it.
    pub(crate) fn lines(&self, output: &impl IsTerminal, default: LogFormat) -> Option<LineFormat> {
        match self.log_format.unwrap_or(default) {
            LogFormat::Pretty => Some(LineFormat::pretty_on(output)),
            LogFormat::Json => Some(LineFormat::Json),
            LogFormat::Off => None,
        }
    }

    /// The token that clients have to know, if there are to be any.
    pub(crate) fn control_token(&self) -> Result<Option<String>> {
        let Some(path) = &self.control_token_file else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token for --control-token-file from {}", path.display()))?;
        let token = text.trim();
        if token.is_empty() {
            bail!(
                "{} has no token for --control-token-file; write one to it, such as the output of `openssl rand -hex 32`",
                path.display()
            );
        }
        Ok(Some(token.to_owned()))
    }
}

/// Says which environment variables are not taken as they are.
pub(crate) fn warn(config: &Config) {
    for warning in &config.warnings {
        text::complain(format_args!("warning: {warning}"));
    }
}

/// The components that are served now, whose recording can be changed.
#[derive(Clone, Default)]
pub(crate) struct Components(Arc<Mutex<Vec<ObservedComponent>>>);

impl Components {
    /// These are served from now on.
    pub(crate) fn set(&self, components: Vec<ObservedComponent>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = components;
    }

    fn get(&self) -> Vec<ObservedComponent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Recordings for Components {
    fn all(&self) -> Vec<(Identity, Recording)> {
        let all = self.get();
        all.iter().map(|component| (component.identity().clone(), (*component.recording()).clone())).collect()
    }

    fn update(&self, change: &dyn Fn(&Identity, &Recording) -> Option<Recording>) {
        for component in self.get() {
            if let Some(recording) = change(component.identity(), &component.recording()) {
                component.set_recording(recording);
            }
        }
    }
}
