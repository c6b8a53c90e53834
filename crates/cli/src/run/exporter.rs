//! The export of a program's logs, spans and metrics.

use std::io;
use std::sync::Arc;

use anyhow::{Result, bail};
use wasmetry_export::push::Exporter;
use wasmetry_host::Registry;
use wasmetry_host::propagation::Sampler;
use wasmetry_wasmtime::Telemetry;

use super::limits;
use crate::flag::export::{ExportArgs, LogFormat};
use crate::text;

/// The exporter of a program's logs, spans and metrics.
pub(super) struct ProgramExporter {
    exporter: Arc<Exporter>,
    sampler: Sampler,
}

impl ProgramExporter {
    /// Starts the exporter. Log records are lines on stderr, since stdout is the program's own;
    /// OpenTelemetry's variables set further destinations.
    pub(super) fn start(args: &ExportArgs, registry: &Registry) -> Result<Self> {
        let mut config = args.config()?;
        let is_raw = args.is_guest_output_raw();
        if is_raw && args.has_log_format() {
            bail!("with --guest-output raw the program has stderr for itself; add --log-format off");
        }
        let default = if is_raw { LogFormat::Off } else { LogFormat::Pretty };
        config.stdout = args.lines(&io::stderr(), default);
        let sampler = config.sampler;
        let report = |line: &str| text::print_stderr(format_args!("{}", text::line(line)));
        let exporter = Exporter::start_with(config, registry, Arc::new(report), Box::new(io::stderr()))?;
        Ok(Self { exporter: Arc::new(exporter), sampler })
    }

    /// Returns the sink of log records and spans, or `None` if they have no destination, so that
    /// the program records none.
    pub(super) fn records(&self) -> Option<Arc<Exporter>> {
        (self.exporter.wants_logs() || self.exporter.wants_spans()).then(|| Arc::clone(&self.exporter))
    }

    /// Returns the sampler of the program's traces.
    pub(super) fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// Pushes the program's metrics from now on, if a variable sets a destination.
    pub(super) fn push_metrics(&self, telemetry: Telemetry) -> Result<()> {
        Ok(self.exporter.push_metrics(Arc::new(move || telemetry.snapshot()))?)
    }

    /// Exports queued records and the current metrics. This blocks.
    pub(super) fn stop(&self) {
        let lost = self.exporter.stop(limits::EXPORT_TIMEOUT);
        if lost > 0 {
            text::print_stderr(format_args!(
                "lost logs, spans and metric points: {lost}; wasmetry_dropped_total in the metrics has the reasons"
            ));
        }
    }
}
