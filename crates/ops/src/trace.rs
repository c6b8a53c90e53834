//! The configuration of an OpenTelemetry Collector between the processes and Jaeger, Zipkin and
//! Prometheus.
//!
//! In come the addresses of the stores, out come two files: the Collector's configuration, and an
//! addition to it for Zipkin. The module does not know spans.

use std::collections::BTreeMap;

use crate::File;
use crate::format::Head;
use crate::format::collector::{
    Config, Connector, Dimension, Enabled, Endpoint, Exporter, OtlpHttp, Pipeline, Processor, Protocols, Receiver,
    Service, SpanHistogram, Tls, address, literal,
};
use crate::settings::TraceShipping;

/// The names of components.
const OTLP: &str = "otlp";
const LIMITER: &str = "memory_limiter";
const BATCH: &str = "batch";
const JAEGER: &str = "otlp_grpc/jaeger";
const PROMETHEUS: &str = "prometheus";
const SPAN_METRICS: &str = "span_metrics";

/// The path of Zipkin's own format.
const ZIPKIN_FORMAT: &str = "/api/v2/spans";

const NOTE: [&str; 8] = [
    "",
    "An OpenTelemetry Collector (0.165) for `wasmetry serve --otlp http://HOST:4317`: traces to Jaeger, metrics to",
    "Prometheus.",
    "There is no tail sampling: the host has done it. It keeps the traces that its sampler selects",
    "(OTEL_TRACES_SAMPLER), and of all others the requests that failed or were slow (--keep-slow). A tail sampler here",
    "would hold every trace in memory to decide what has been decided.",
    "Metrics are those that processes push. Let Prometheus scrape either the processes or port 8889, not both: each",
    "value would count twice.",
];

const SPAN_METRICS_NOTE: [&str; 2] = [
    "The connector `span_metrics` counts spans. It sees sampled traces only, so its rates are too low and its errors too",
    "many; the host's wasm_http_requests_total counts every request.",
];

/// Returns the files of the folder `traces`.
pub(crate) fn files(settings: &TraceShipping, head: &Head) -> Vec<File> {
    let mut note = NOTE.to_vec();
    if settings.span_metrics {
        note.extend(SPAN_METRICS_NOTE);
    }
    vec![
        head.noted_file("traces/collector.yml", &note, &collector(settings)),
        head.noted_file("traces/zipkin.yml", &zipkin_note(settings), &zipkin(settings)),
    ]
}

fn collector(settings: &TraceShipping) -> Config {
    let endpoint = |port| Endpoint { endpoint: address(&settings.listen, port) };
    let processors = || vec![LIMITER, BATCH];
    let mut metrics = vec![OTLP];
    let mut connectors = BTreeMap::new();
    if settings.span_metrics {
        metrics.push(SPAN_METRICS);
        connectors.insert(SPAN_METRICS, span_metrics());
    }
    let prometheus = Exporter::Prometheus {
        endpoint: address(&settings.listen, 8889),
        resource_to_telemetry_conversion: Enabled { enabled: true },
        enable_open_metrics: true,
    };
    let jaeger =
        Exporter::OtlpGrpc { endpoint: literal(&settings.jaeger), tls: Tls { insecure: !settings.jaeger_tls } };
    Config {
        receivers: BTreeMap::from([(
            OTLP,
            Receiver::Otlp { protocols: Protocols { grpc: endpoint(4317), http: endpoint(4318) } },
        )]),
        processors: BTreeMap::from([(LIMITER, Processor::LIMITER), (BATCH, Processor::Batch { timeout: "1s" })]),
        exporters: BTreeMap::from([(JAEGER, jaeger), (PROMETHEUS, prometheus)]),
        service: Service {
            pipelines: BTreeMap::from([
                (
                    "traces",
                    Pipeline { receivers: vec![OTLP], processors: processors(), exporters: traces(settings, None) },
                ),
                ("metrics", Pipeline { receivers: metrics, processors: processors(), exporters: vec![PROMETHEUS] }),
            ]),
            ..Service::default()
        },
        connectors,
        ..Config::default()
    }
}

/// Returns the exporters of traces.
fn traces(settings: &TraceShipping, zipkin: Option<&'static str>) -> Vec<&'static str> {
    let connector = settings.span_metrics.then_some(SPAN_METRICS);
    [JAEGER].into_iter().chain(zipkin).chain(connector).collect()
}

fn span_metrics() -> Connector {
    let dimensions = ["http.route", "http.request.method", "http.response.status_code", "error.type"];
    Connector::SpanMetrics {
        histogram: SpanHistogram { unit: "s" },
        dimensions: dimensions.map(|name| Dimension { name }).to_vec(),
        exemplars: Enabled { enabled: true },
    }
}

fn is_zipkin_format(settings: &TraceShipping) -> bool {
    settings.zipkin_url.ends_with(ZIPKIN_FORMAT)
}

fn zipkin_note(settings: &TraceShipping) -> Vec<&'static str> {
    let mut note =
        vec!["", "An addition for Zipkin: `otelcol --config traces/collector.yml --config traces/zipkin.yml`."];
    if is_zipkin_format(settings) {
        note.extend([
            "The exporter `zipkin` left the Collector's distributions after 0.148; a later one needs a build that has it.",
            "Without this path in `zipkin-url`, Zipkin is sent OTLP, which it reads with its module zipkin-otel.",
        ]);
    } else {
        note.extend([
            "Zipkin reads OTLP with its module zipkin-otel. For one without it, let `zipkin-url` end in /api/v2/spans: it is",
            "then sent Zipkin's format, for which the Collector needs the exporter `zipkin` (in distributions up to 0.148).",
        ]);
    }
    note
}

/// Returns what the configuration for Zipkin adds. The Collector merges maps, and replaces lists.
fn zipkin(settings: &TraceShipping) -> Config {
    let url = literal(&settings.zipkin_url);
    let (name, exporter) = if is_zipkin_format(settings) {
        ("zipkin", Exporter::Zipkin { endpoint: url })
    } else {
        ("otlp_http/zipkin", Exporter::OtlpHttp(OtlpHttp { traces_endpoint: Some(url), ..OtlpHttp::default() }))
    };
    let pipeline = Pipeline { exporters: traces(settings, Some(name)), ..Pipeline::default() };
    Config {
        exporters: BTreeMap::from([(name, exporter)]),
        service: Service { pipelines: BTreeMap::from([("traces", pipeline)]), ..Service::default() },
        ..Config::default()
    }
}
