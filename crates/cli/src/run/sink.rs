//! Where a program's logs, spans and metrics go.

use std::io;
use std::sync::Arc;

use anyhow::Result;
use wasmetry_export::push::{Config, Exporter};
use wasmetry_host::Registry;
use wasmetry_wasmtime::Telemetry;

use super::limits;
use crate::export::{self, ExportArgs, LogFormat};
use crate::text;

/// What sends a program's logs, spans and metrics on, as long as it lives.
pub(super) struct Sink(Arc<Exporter>);

impl Sink {
    /// Starts it: log records as lines on stderr, as stdout is the program's own, and what OpenTelemetry's variables say.
    pub(super) fn start(args: &ExportArgs, registry: &Registry) -> Result<Self> {
        let mut config = Config::from_env(|name| std::env::var_os(name))?;
        export::warn(&config);
        config.stdout = args.lines(&io::stderr(), LogFormat::Pretty);
        let report = |line: &str| text::complain(format_args!("{}", text::line(line)));
        let exporter = Exporter::start_with(config, registry, Arc::new(report), Box::new(io::stderr()))?;
        Ok(Self(Arc::new(exporter)))
    }

    /// What takes the records; nothing if they would go nowhere, so that the program records none.
    pub(super) fn records(&self) -> Option<Arc<Exporter>> {
        (self.0.wants_logs() || self.0.wants_spans()).then(|| Arc::clone(&self.0))
    }

    /// Pushes the program's metrics from now on, if a variable says where to.
    pub(super) fn push_metrics(&self, telemetry: Telemetry) -> Result<()> {
        Ok(self.0.push_metrics(Arc::new(move || telemetry.snapshot()))?)
    }

    /// Sends what waits, and the metrics as they are now. It blocks for that time.
    pub(super) fn stop(&self) {
        let lost = self.0.stop(limits::EXPORT_TIMEOUT);
        if lost > 0 {
            text::complain(format_args!(
                "logs, spans and points of metrics that were lost: {lost}; wasmetry_dropped_total in the metrics says why"
            ));
        }
    }
}
