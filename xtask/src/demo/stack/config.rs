//! The configurations of the stack's programs. Each function takes the addresses and the folder for
//! data.

use super::Addresses;
use crate::demo::GUEST;

/// Jaeger: traces on disk.
pub(super) fn jaeger(addresses: &Addresses, folder: &str) -> String {
    let Addresses { jaeger, jaeger_grpc, jaeger_otlp, .. } = addresses;
    format!(
        "\
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
extensions:
  jaeger_query:
    storage: {{traces: spans}}
    http: {{endpoint: '{jaeger}'}}
    grpc: {{endpoint: '{jaeger_grpc}'}}
  jaeger_storage:
    backends:
      spans:
        badger: {{directories: {{keys: '{folder}/jaeger/keys', values: '{folder}/jaeger/values'}}, ephemeral: false}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '{jaeger_otlp}'}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: spans}}
"
    )
}

/// The Collector: traces to Jaeger, logs to a file.
pub(super) fn collector(addresses: &Addresses, folder: &str) -> String {
    let Addresses { jaeger_otlp, collector_grpc, collector_http, .. } = addresses;
    format!(
        "\
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '{collector_grpc}'}}, http: {{endpoint: '{collector_http}'}}}}}}
processors:
  memory_limiter: {{check_interval: 1s, limit_mib: 512}}
  batch: {{timeout: 200ms}}
exporters:
  otlp: {{endpoint: '{jaeger_otlp}', tls: {{insecure: true}}}}
  jsonlines: {{path: '{folder}/logs.jsonl'}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp]}}
    logs: {{receivers: [otlp], processors: [memory_limiter], exporters: [jsonlines]}}
"
    )
}

/// Alertmanager: one receiver without notifications.
pub(super) fn alertmanager(_: &Addresses, _: &str) -> String {
    "route: {receiver: none, group_wait: 0s}\nreceivers: [{name: none}]\n".to_owned()
}

/// Prometheus: a scrape of the storefront every second, and the rules.
pub(super) fn prometheus(addresses: &Addresses, folder: &str) -> String {
    let Addresses { storefront, alertmanager, .. } = addresses;
    let telemetry = storefront.telemetry;
    format!(
        "\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ['{folder}/rules.yml']
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}
scrape_configs:
  - job_name: {GUEST}
    scrape_native_histograms: true
    always_scrape_classic_histograms: true
    static_configs: [{{targets: ['{telemetry}']}}]
"
    )
}

/// An alert for guests that trapped.
pub(super) fn rules(_: &Addresses, _: &str) -> String {
    "\
groups:
  - name: wasmetry
    rules:
      - alert: GuestTraps
        expr: sum by (component, reason) (increase(wasm_traps_total[5m])) > 0
        annotations: {summary: 'Requests of {{ $labels.component }} trapped: {{ $labels.reason }}.'}
"
    .to_owned()
}
