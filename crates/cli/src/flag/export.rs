//! The flags of logs and spans: their format, levels and selection, and a collector.
//! OpenTelemetry's environment variables set further destinations.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use wasmetry_export::push::{Config, LineFormat};
use wasmetry_host::record::Level;
use wasmetry_host::{Filter, Recording};

use crate::flag::value;
use crate::text;

/// The port of collectors for OTLP with gRPC.
const GRPC_PORT: u16 = 4317;

/// The flags about logs and spans.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs and traces")]
pub(crate) struct ExportArgs {
    /// Send logs, traces and metrics to this OpenTelemetry collector (`http://127.0.0.1:4318`)
    ///
    /// It has precedence over OTEL_EXPORTER_OTLP_ENDPOINT and the endpoints of the single signals.
    /// The port 4317 is that of gRPC, unless OTEL_EXPORTER_OTLP_PROTOCOL is set.
    #[arg(long, value_name = "URL", value_parser = value::collector)]
    otlp: Option<String>,

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
    ///
    /// They are the slow ones of the access log and the console too, which are those of more than
    /// 1s where nothing is given.
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
    /// Returns the configuration of the exporter: the environment's, with --otlp. Prints its
    /// warnings.
    pub(crate) fn config(&self) -> Result<Config> {
        let config = Config::from_env(|name| self.variable(name, std::env::var_os(name)))?;
        for warning in &config.warnings {
            text::print_stderr(format_args!("warning: {warning}"));
        }
        Ok(config)
    }

    /// Returns the value of a variable, which is `set` in the environment.
    fn variable(&self, name: &str, set: Option<OsString>) -> Option<OsString> {
        let Some(url) = &self.otlp else { return set };
        let is_grpc = || url.parse::<http::Uri>().is_ok_and(|url| url.port_u16() == Some(GRPC_PORT));
        match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(url.into()),
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
            | "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
            | "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" => None,
            "OTEL_EXPORTER_OTLP_PROTOCOL" => set.or_else(|| is_grpc().then(|| "grpc".into())),
            _ => set,
        }
    }

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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        export: ExportArgs,
    }

    /// The variables with `--otlp`, or without it if `url` is empty.
    fn variable(url: &str, name: &str, set: Option<&str>) -> Option<OsString> {
        let arguments = ["serve", "--otlp", url];
        let arguments = if url.is_empty() { &arguments[..1] } else { &arguments };
        Flags::try_parse_from(arguments).unwrap().export.variable(name, set.map(Into::into))
    }

    #[test]
    fn otlp_flag_overrides_endpoints() {
        let (url, grpc) = ("http://collector:4318", "https://collector:4317");
        let (all, logs) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT");
        let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
        assert_eq!(variable(url, all, Some("http://other")), Some(url.into()));
        assert_eq!(variable(url, logs, Some("http://other")), None);
        assert_eq!(variable("", logs, Some("http://other")), Some("http://other".into()));
        assert_eq!(variable(url, protocol, None), None);
        assert_eq!(variable(grpc, protocol, None), Some("grpc".into()));
        assert_eq!(variable(grpc, protocol, Some("http/json")), Some("http/json".into()));
        assert_eq!(variable(url, "OTEL_LOGS_EXPORTER", Some("none")), Some("none".into()));
    }
}
