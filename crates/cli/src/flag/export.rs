//! The flags of logs and spans: their format, levels and selection. OpenTelemetry's environment
//! variables set their destinations.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wasmetry_export::push::{Config, LineFormat};
use wasmetry_host::record::Level;
use wasmetry_host::{Filter, Recording};

use crate::flag::value;
use crate::text;

/// The flags about logs and spans.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs and traces")]
pub(crate) struct ExportArgs {
    /// The format of log records on stdout [default: pretty on a terminal, otherwise json]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// The finest level of log records and spans that is exported, also by target:
    /// `warn,shop::cart=debug`, `off` [default: info]
    #[arg(long, value_name = "LEVELS", value_parser = value::filter)]
    log_level: Option<Filter>,

    /// The finest level that is recorded; levels finer than --log-level are exported for requests
    /// that are kept [default: debug]
    #[arg(long, value_name = "LEVEL", value_parser = value::level)]
    record_level: Option<Level>,

    /// Do not keep requests that failed, trapped or were ended: export only the levels of
    /// --log-level
    #[arg(long)]
    no_keep_failed: bool,

    /// Keep requests that took longer than this: export all levels of --record-level
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    keep_slow: Option<Duration>,

    /// A query parameter whose value is exported as REDACTED in the URLs of spans, beside those of
    /// signed URLs (AWS, Azure, Google); repeatable
    #[arg(long, value_name = "NAME")]
    redact_query_parameter: Vec<String>,

    /// The form of what guests print to stdout and stderr [default: records]
    ///
    /// Records go where log records go, whatever their level. `--log-level info,stdout=off` drops
    /// those of stdout, and `stderr=off` those of stderr.
    #[arg(long, value_name = "FORM")]
    guest_output: Option<GuestOutputForm>,

    /// A file with the token of clients that change these levels at /recording on --telemetry-addr
    #[arg(long, value_name = "FILE")]
    control_token_file: Option<PathBuf>,
}

/// The format of log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Pretty,
    /// One JSON object per line, for log shippers
    Json,
    /// No log records
    Off,
}

/// The form of what guests print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum GuestOutputForm {
    /// A log record for each line, with its stream, component, tenant and trace
    Records,
    /// The bytes as they are, never in an output that has log records
    Raw,
}

impl ExportArgs {
    /// Returns `true` if guests' output is to be written as it is.
    pub(crate) fn is_guest_output_raw(&self) -> bool {
        self.guest_output == Some(GuestOutputForm::Raw)
    }

    /// Returns `true` if the format of log records is given, and is one.
    pub(crate) fn has_log_format(&self) -> bool {
        self.log_format.is_some_and(|format| format != LogFormat::Off)
    }

    /// Returns the recording of a component: the values of the flags, and those of `otherwise` for
    /// flags that are not given.
    pub(crate) fn recording(&self, otherwise: Recording) -> Recording {
        Recording {
            export: self.log_level.clone().unwrap_or(otherwise.export),
            record: self.record_level.unwrap_or(otherwise.record),
            keep_failed: otherwise.keep_failed && !self.no_keep_failed,
            keep_slow: self.keep_slow.or(otherwise.keep_slow),
            redaction: otherwise.redaction.with_parameters(self.redact_query_parameter.iter().cloned()),
            access_log: otherwise.access_log,
        }
    }

    /// Returns the format of log records on an output, which is `default` if the flag is not given.
    pub(crate) fn lines(&self, output: &impl IsTerminal, default: LogFormat) -> Option<LineFormat> {
        match self.log_format.unwrap_or(default) {
            LogFormat::Pretty => Some(LineFormat::pretty_on(output)),
            LogFormat::Json => Some(LineFormat::Json),
            LogFormat::Off => None,
        }
    }

    /// Reads the token of `/recording`, if its flag is given.
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

/// Prints warnings about environment variables.
pub(crate) fn print_warnings(config: &Config) {
    for warning in &config.warnings {
        text::print_stderr(format_args!("warning: {warning}"));
    }
}
