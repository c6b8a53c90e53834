//! The variables of the OTLP exporter, and of metrics.

use std::ffi::OsString;

use http::Uri;

use super::{Env, endpoint, header};
use crate::push::config::{Compression, Metrics, Otlp, Protocol, Temporality};

/// A signal.
#[derive(Clone, Copy)]
pub(super) enum Signal {
    Logs,
    Traces,
    Metrics,
}

impl Signal {
    /// Returns its name in the names of variables.
    fn name(self) -> &'static str {
        match self {
            Self::Logs => "LOGS",
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// Returns the path that is appended to the base URL.
    fn path(self) -> &'static str {
        match self {
            Self::Logs => "v1/logs",
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }

    /// Returns the known exporters, with `true` for OTLP. Metrics are served to Prometheus in any
    /// case.
    fn exporters(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Logs | Self::Traces => &[("otlp", true), ("none", false)],
            Self::Metrics => &[("otlp", true), ("none", false), ("prometheus", false)],
        }
    }
}

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    /// Reads the OTLP endpoint of a signal, if there is one.
    pub(super) fn otlp(&self, signal: Signal) -> Option<Otlp> {
        let exporters = self
            .parse(&format!("OTEL_{}_EXPORTER", signal.name()), |variable| variable.choose_list(signal.exporters()));
        let is_requested = exporters.map(|exporters| exporters.contains(&true));
        if is_requested == Some(false) {
            return None;
        }
        // The variable of the signal takes precedence.
        let name = |what: &str| {
            let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name());
            if self.raw(&own).is_some() { own } else { format!("OTEL_EXPORTER_OTLP_{what}") }
        };
        let protocol = self.parse(&name("PROTOCOL"), |variable| {
            variable.choose(&[
                ("grpc", Protocol::Grpc),
                ("http/protobuf", Protocol::HttpProtobuf),
                ("http/json", Protocol::HttpJson),
            ])
        });
        let protocol = protocol.unwrap_or(Protocol::HttpProtobuf);
        let mut otlp = Otlp::new(self.endpoint(signal, protocol, &name("ENDPOINT"), is_requested)?, protocol);
        otlp.headers = self.parse(&name("HEADERS"), header::parse).unwrap_or_default();
        let compression = self.parse(&name("COMPRESSION"), |variable| {
            variable.choose(&[("gzip", Compression::Gzip), ("none", Compression::None)])
        });
        otlp.compression = compression.unwrap_or(otlp.compression);
        otlp.timeout = self.parse(&name("TIMEOUT"), |variable| variable.timeout()).unwrap_or(otlp.timeout);
        otlp.tls = self.tls(name);
        Some(otlp)
    }

    fn endpoint(&self, signal: Signal, protocol: Protocol, name: &str, is_requested: Option<bool>) -> Option<Uri> {
        let is_base = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
        let path = if is_base && protocol != Protocol::Grpc { signal.path() } else { "" };
        let Some(variable) = self.raw(name) else {
            is_requested?;
            return Some(match (protocol, signal) {
                (Protocol::Grpc, _) => Uri::from_static("http://localhost:4317"),
                (_, Signal::Logs) => Uri::from_static("http://localhost:4318/v1/logs"),
                (_, Signal::Traces) => Uri::from_static("http://localhost:4318/v1/traces"),
                (_, Signal::Metrics) => Uri::from_static("http://localhost:4318/v1/metrics"),
            });
        };
        let variable = self.accept(variable.text())?;
        let uri = self.accept(endpoint::parse(&variable, path))?;
        if protocol == Protocol::Grpc && uri.query().is_some() {
            return self.accept(Err(variable.error("gRPC has no query; remove `?` and what follows it")));
        }
        Some(uri)
    }

    /// Reads the export of metrics, if there is one.
    pub(super) fn metrics(&self) -> Option<Metrics> {
        let mut metrics = Metrics::new(self.otlp(Signal::Metrics)?);
        let temporality = self.parse("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", |variable| {
            variable.choose(&[
                ("cumulative", Temporality::Cumulative),
                ("delta", Temporality::Delta),
                // It differs from `delta` for asynchronous counters only, and there are none.
                ("lowmemory", Temporality::Delta),
            ])
        });
        metrics.temporality = temporality.unwrap_or(metrics.temporality);
        let interval = self.parse("OTEL_METRIC_EXPORT_INTERVAL", |variable| match variable.duration()? {
            interval if interval.is_zero() => Err(variable.error("set it to a number of milliseconds, at least 1")),
            interval => Ok(interval),
        });
        metrics.interval = interval.unwrap_or(metrics.interval);
        if let Some(timeout) = self.parse("OTEL_METRIC_EXPORT_TIMEOUT", |variable| variable.timeout()) {
            metrics.retry.set_export_timeout(timeout);
        }
        Some(metrics)
    }
}
