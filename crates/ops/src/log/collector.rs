//! The OpenTelemetry Collector.

use std::collections::BTreeMap;

use super::Place;
use crate::File;
use crate::format::Head;
use crate::format::collector::{
    Authenticator, Batch, ClientAuth, Config, Enabled, Exporter, Extension, FileLog, Operator, OtlpHttp, ParseFrom,
    Pipeline, Processor, Queue, Receiver, Service, literal,
};
use crate::settings::LogShipping;

/// The names of components.
const LIMITER: &str = "memory_limiter";
const LOKI: &str = "otlp_http/loki";
const STORAGE: &str = "file_storage";
const AUTH: &str = "basicauth/loki";

const FILES_NOTE: [&str; 4] = [
    "",
    "An OpenTelemetry Collector for the JSON lines of `wasmetry serve` in files, to Loki by OTLP. Its fields become",
    "structured metadata there, and `service_name` is the label: queries need no `| json`. A process that exports by",
    "OTLP itself (`serve --otlp URL`) needs no files.",
];

const PODS_NOTE: [&str; 4] = [
    "",
    "An OpenTelemetry Collector for the JSON lines of pods, on each node (a DaemonSet with /var/log/pods of the node), to",
    "Loki by OTLP. Pods are found by the name of their container, since paths have no labels. Fields become structured",
    "metadata in Loki, and `service_name` is a label: queries need no `| json`.",
];

/// Returns the configuration for a place.
pub(super) fn file(settings: &LogShipping, place: Place, head: &Head) -> File {
    let (receiver, note) = match place {
        Place::Files => ("file_log/lines", &FILES_NOTE[..]),
        Place::Pods => ("file_log/pods", &PODS_NOTE[..]),
    };
    let mut extensions = BTreeMap::from([(
        STORAGE,
        Extension::FileStorage { directory: "/var/lib/otelcol/file_storage", create_directory: true },
    )]);
    if let Some(user) = &settings.loki_user {
        let client_auth = ClientAuth { username: literal(user), password_file: literal(&settings.loki_password_file) };
        extensions.insert(AUTH, Extension::BasicAuth { client_auth });
    }
    let tenant = settings.loki_tenant.as_ref().map(|tenant| ("X-Scope-OrgID", literal(tenant)));
    let loki = OtlpHttp {
        endpoint: Some(literal(&format!("{}/otlp", settings.loki_url))),
        headers: tenant.into_iter().collect(),
        auth: settings.loki_user.as_ref().map(|_| Authenticator { authenticator: AUTH }),
        // Records wait in files, so that a restart loses none.
        sending_queue: Some(Queue { storage: STORAGE, batch: Batch { flush_timeout: "1s", min_size: 1000 } }),
        ..OtlpHttp::default()
    };
    let pipeline = Pipeline { receivers: vec![receiver], processors: vec![LIMITER], exporters: vec![LOKI] };
    let config = Config {
        service: Service {
            extensions: extensions.keys().copied().collect(),
            pipelines: BTreeMap::from([("logs", pipeline)]),
        },
        extensions,
        receivers: BTreeMap::from([(receiver, Receiver::FileLog(file_log(settings, place)))]),
        processors: BTreeMap::from([(LIMITER, Processor::LIMITER)]),
        exporters: BTreeMap::from([(LOKI, Exporter::OtlpHttp(loki))]),
        ..Config::default()
    };
    head.noted_file(&format!("logs/collector-{}.yml", place.name()), note, &config)
}

fn file_log(settings: &LogShipping, place: Place) -> FileLog {
    let (include, mut operators) = match place {
        Place::Files => (settings.files.iter().map(|path| literal(path)).collect(), Vec::new()),
        Place::Pods => (vec![format!("/var/log/pods/*/{}/*.log", settings.container)], vec![Operator::Container]),
    };
    operators.extend(self::operators());
    FileLog {
        include,
        start_at: "beginning",
        include_file_path: place == Place::Pods,
        storage: STORAGE,
        retry_on_failure: Enabled { enabled: true },
        operators,
    }
}

/// Returns the steps that make a record of a line, with the fields that OTLP has for them. A line
/// that is not JSON stays the record's body.
fn operators() -> Vec<Operator> {
    let key = |name: &str| format!("attributes.{name}");
    let exists = |name: &str| format!("attributes.{name} != nil");
    let from = |name: &str| ParseFrom { parse_from: key(name) };
    let moved = |name: &str, to| Operator::Move { condition: exists(name), from: key(name), to };
    let removed = |name: &str| Operator::Remove { condition: exists(name), field: key(name) };
    vec![
        Operator::JsonParser { condition: "body matches \"^{\"".to_owned(), parse_ints: true },
        Operator::TimeParser {
            condition: exists("timestamp"),
            parse_from: key("timestamp"),
            layout_type: "gotime",
            layout: "2006-01-02T15:04:05.000000000Z",
        },
        // `level` stays an attribute, for queries.
        Operator::SeverityParser { condition: exists("level"), parse_from: key("level") },
        Operator::TraceParser { condition: exists("trace_id"), trace_id: from("trace_id"), span_id: from("span_id") },
        // The message of a record, or the line that a guest printed.
        moved("message", "body"),
        moved("log", "body"),
        moved("service", "resource[\"service.name\"]"),
        moved("version", "resource[\"service.version\"]"),
        moved("tenant", "resource.tenant"),
        removed("timestamp"),
        removed("trace_id"),
        removed("span_id"),
    ]
}
