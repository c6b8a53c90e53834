#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use http::HeaderValue;
use wasmetry_host::propagation::Sampler;

use super::unsupported::UNSUPPORTED;
use super::*;
use crate::limits;
use crate::push::config::{Compression, LokiFormat, Protocol, Retry, Temporality};

fn read(variables: &[(&str, &str)]) -> Result<Config, Error> {
    Config::from_env(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
}

#[test]
fn nothing_is_sent_by_default() {
    for variables in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")],
    ] {
        let config = read(variables).unwrap();
        assert!(config.logs.is_none() && config.spans.is_none(), "{variables:?}");
    }
    let config = read(&[("OTEL_LOGS_EXPORTER", "otlp")]).unwrap();
    assert_eq!(config.logs.unwrap().endpoint, "http://localhost:4318/v1/logs");
    assert!(config.spans.is_none());
}

#[test]
fn signal_variable_takes_precedence() {
    let config = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a:1/otlp"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://b/logs"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key = a%20b , x=y"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "z=1"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
    ])
    .unwrap();
    let (logs, spans) = (config.logs.unwrap(), config.spans.unwrap());
    assert_eq!((logs.endpoint.to_string(), logs.compression), ("http://b/logs".to_owned(), Compression::None));
    assert_eq!(spans.endpoint, "https://a:1/otlp/v1/traces");
    assert_eq!((spans.compression, spans.protocol), (Compression::Gzip, Protocol::HttpJson));
    assert_eq!(spans.timeout, Duration::from_millis(250));
    assert_eq!(
        (&spans.headers["api-key"], &spans.headers["x"]),
        (&HeaderValue::from_static("a b"), &HeaderValue::from_static("y"))
    );
    assert!(spans.headers["api-key"].is_sensitive());
    assert_eq!(logs.headers.keys().collect::<Vec<_>>(), ["z"]);
    assert_eq!(spans.tls.certificates, Some("ca.pem".into()));
    let grpc = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    assert_eq!(read(&grpc).unwrap().spans.unwrap().endpoint, "http://a:4317/");
}

#[test]
fn metrics_share_base_endpoint() {
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
    let metrics = read(&[base]).unwrap().metrics.unwrap();
    assert_eq!(metrics.otlp.endpoint, "http://a:1/v1/metrics");
    assert_eq!((metrics.temporality, metrics.interval.as_secs()), (Temporality::Cumulative, 60));
    assert_eq!(metrics.retry.give_up_after.as_secs(), 30);
    for (exporter, is_pushed) in
        [("none", false), ("prometheus", false), ("otlp", true), ("prometheus, otlp", true), ("OTLP", true)]
    {
        let config = read(&[base, ("OTEL_METRICS_EXPORTER", exporter)]).unwrap();
        assert_eq!((config.metrics.is_some(), config.logs.is_some()), (is_pushed, true), "{exporter}");
    }
    let own = read(&[
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://b/otlp/metrics"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=x"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "ca.pem"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "2000"),
    ])
    .unwrap();
    assert!(own.logs.is_none() && own.spans.is_none());
    let metrics = own.metrics.unwrap();
    assert_eq!((metrics.otlp.endpoint.path(), metrics.otlp.protocol), ("/otlp/metrics", Protocol::HttpJson));
    assert_eq!(
        (&metrics.otlp.headers["api-key"], metrics.otlp.compression),
        (&"x".parse().unwrap(), Compression::Gzip)
    );
    assert_eq!((metrics.otlp.timeout.as_millis(), metrics.otlp.tls.certificates), (250, Some("ca.pem".into())));
    assert_eq!((metrics.temporality, metrics.interval.as_secs()), (Temporality::Delta, 5));
    assert_eq!((metrics.retry.give_up_after.as_secs(), metrics.retry.cancel_after.as_secs()), (2, 2));
}

#[test]
fn resource_processor_and_sampler_variables() {
    let config = read(&[
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,deployment.environment.name=test%2C1"),
        ("OTEL_SERVICE_NAME", "shop"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "7"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "30"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "4000"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ])
    .unwrap();
    assert_eq!(config.process.service_name.as_deref(), Some("shop"));
    assert_eq!(config.process.attributes, [("deployment.environment.name".to_owned(), "test,1".to_owned())]);
    assert_eq!((config.span_limits.records, config.span_batch.records), (100, 100));
    assert_eq!((config.log_batch.records, config.log_batch.schedule_delay), (7, Duration::from_millis(30)));
    let export = |retry: Retry| (retry.give_up_after, retry.cancel_after);
    assert_eq!(export(config.span_retry), (Duration::from_secs(4), Duration::from_secs(4)));
    assert_eq!(export(config.log_retry), (limits::RETRY_GIVE_UP_AFTER, Duration::MAX));
    assert_eq!(config.sampler, Sampler { ratio: 0.25, is_parent_based: true });
    let never = read(&[("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_TRACES_SAMPLER_ARG", "1")]).unwrap();
    assert_eq!(never.sampler, Sampler { ratio: 0.0, is_parent_based: false });
}

#[test]
fn loki_and_audit_file_variables() {
    let config = read(&[
        ("WASMETRY_LOKI_ENDPOINT", "http://loki:3100/"),
        ("WASMETRY_LOKI_FORMAT", "json+gzip"),
        ("WASMETRY_LOKI_HEADERS", "authorization=Basic%20eDp5"),
        ("WASMETRY_LOKI_TIMEOUT", "2000"),
        ("WASMETRY_LOKI_CLIENT_CERTIFICATE", "chain.pem"),
        ("WASMETRY_LOKI_CLIENT_KEY", "key.pem"),
        ("WASMETRY_AUDIT_FILE", "/var/log/audit.jsonl"),
        ("WASMETRY_AUDIT_TENANT_GROWTH", "1000, 10"),
        ("WASMETRY_AUDIT_GROWTH", "0,0"),
    ])
    .unwrap();
    let growth = config.audit_growth;
    assert_eq!((growth.component, growth.tenant), (AuditGrowth::default().component, Growth::new(1000, 10)));
    assert_eq!(growth.total, Growth::new(0, 0));
    for wrong in ["1000", "1000,", "1MiB,1", "1,2,3", "-1,1"] {
        let error = read(&[("WASMETRY_AUDIT_COMPONENT_GROWTH", wrong)]).unwrap_err().to_string();
        assert!(error.contains("WASMETRY_AUDIT_COMPONENT_GROWTH") && error.contains("67108864,1048576"), "{error}");
    }
    let loki = config.loki.unwrap();
    assert_eq!(loki.endpoint, "http://loki:3100/loki/api/v1/push");
    assert_eq!((loki.format, loki.timeout), (LokiFormat::Json(Compression::Gzip), Duration::from_secs(2)));
    assert_eq!(loki.headers["authorization"], "Basic eDp5");
    assert_eq!(loki.tls.client, Some(("chain.pem".into(), "key.pem".into())));
    assert_eq!(config.audit, Some("/var/log/audit.jsonl".into()));
    let disabled = [("WASMETRY_LOKI_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")];
    assert!(read(&disabled).unwrap().loki.is_none());
}

#[test]
fn errors_name_variable_and_remedy() {
    for (name, value, cause) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "http or https"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://a", "http or https"),
        ("OTEL_LOGS_EXPORTER", "console", "`otlp`, `none`"),
        ("OTEL_METRICS_EXPORTER", "otlp,console", "`otlp`, `none`, `prometheus`"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "at least 1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000", "more than the queue holds, 65536"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "1s", "milliseconds"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "-1", "milliseconds"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1.5", "milliseconds"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", "`c` is not of the form `key=value`"),
        ("WASMETRY_LOKI_ENDPOINT", "loki:3100", "http or https"),
    ] {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}={value:?}: ")) && error.contains(cause), "{error}");
    }
    for (name, value, cause) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http", "`http/json`"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c", "no name of a header"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem", "CLIENT_CERTIFICATE too"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "`cumulative`, `delta`, `lowmemory`"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "milliseconds"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "at least 1"),
    ] {
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), (name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(name) && error.contains(cause), "{error}");
    }
}

#[test]
fn invalid_sampler_becomes_default_with_warning() {
    for name in ["sometimes", "jaeger_remote", "xray"] {
        let config = read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0")]).unwrap();
        assert_eq!(config.sampler, Sampler::default());
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        assert!(warning.starts_with(&format!("OTEL_TRACES_SAMPLER={name:?}: it is none of `always_on`")), "{warning}");
        assert!(warning.ends_with("; it is read as `parentbased_always_on`"), "{warning}");
    }
    for value in ["1.5", "-0.1", "NaN", "a half"] {
        let variables = [("OTEL_TRACES_SAMPLER", "TraceIDRatio"), ("OTEL_TRACES_SAMPLER_ARG", value)];
        let config = read(&variables).unwrap();
        assert_eq!(config.sampler, Sampler { ratio: 1.0, is_parent_based: false });
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        let expected = "set it to a share from 0 to 1, such as 0.25; it is read as 1";
        assert_eq!(*warning, format!("OTEL_TRACES_SAMPLER_ARG={value:?}: {expected}"));
    }
    // An argument that is not used is not checked.
    let config = read(&[("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_TRACES_SAMPLER_ARG", "x")]).unwrap();
    assert_eq!((config.sampler.ratio, config.warnings.len()), (0.0, 0));
    assert!(read(&[("OTEL_TRACES_SAMPLER_ARG", "x")]).unwrap().warnings.is_empty());
}

#[test]
fn base_url_keeps_its_query() {
    for (base, logs) in [
        ("http://a/otlp?token=abc", "http://a/otlp/v1/logs?token=abc"),
        ("http://a?token=abc", "http://a/v1/logs?token=abc"),
        ("http://a/otlp//", "http://a/otlp/v1/logs"),
    ] {
        let config = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", base)]).unwrap();
        assert_eq!(config.logs.unwrap().endpoint.to_string(), logs);
        let loki = read(&[("WASMETRY_LOKI_ENDPOINT", base)]).unwrap().loki.unwrap().endpoint;
        assert_eq!(loki.to_string(), logs.replace("v1/logs", "loki/api/v1/push"));
    }
    let whole = read(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://a/x?k=v")]).unwrap();
    assert_eq!(whole.logs.unwrap().endpoint, "http://a/x?k=v");
}

#[test]
fn unsendable_parts_of_urls_are_refused() {
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "WASMETRY_LOKI_ENDPOINT"] {
        for url in ["http://a/otlp#frag", "http://a/#f", "http://a?x=1#f"] {
            let error = read(&[(name, url)]).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains("fragment"), "{error}");
        }
    }
    let grpc = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1/?x=1"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let error = read(&grpc).unwrap_err().to_string();
    assert!(error.contains("gRPC has no query"), "{error}");
}

#[test]
fn errors_show_no_secret() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@a"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://me:secret@a?token=secret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a?token=secret#f"),
        ("WASMETRY_LOKI_ENDPOINT", "me:secret@loki:3100"),
    ] {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(name) && !error.contains("secret"), "{error}");
    }
    for headers in ["authorization=Bearer secret%", "a b=secret", "x-ok=secret,secret", "content-length=secret"] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_EXPORTER_OTLP_HEADERS", headers)];
        let error = read(&variables).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_HEADERS=") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn protocol_headers_are_refused() {
    for header in
        ["content-length", "Transfer-Encoding", "connection", "TE", "expect", "content-encoding", "grpc-timeout"]
    {
        for (endpoint, name) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("WASMETRY_LOKI_ENDPOINT", "WASMETRY_LOKI_HEADERS"),
        ] {
            let error = read(&[(endpoint, "http://a"), (name, &format!("{header}=5"))]).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains("belongs to the protocol"), "{header}: {error}");
        }
    }
}

#[test]
fn pairs_are_percent_decoded_strictly() {
    let attributes = |value| read(&[("OTEL_RESOURCE_ATTRIBUTES", value)]).map(|config| config.process.attributes);
    let expected = [("a,b".to_owned(), "c=d".to_owned()), ("plain".to_owned(), "x=y".to_owned())];
    assert_eq!(attributes("a%2Cb=c%3Dd, plain = x=y ").unwrap(), expected);
    let service = read(&[("OTEL_RESOURCE_ATTRIBUTES", "service%2Ename=shop")]).unwrap();
    assert_eq!(service.process.service_name.as_deref(), Some("shop"));
    for value in ["a=%ZZ", "a=%4", "a=%", "%ZZ=b", "a=%FF", "%FF=b", "a=100%25,b=%"] {
        let error = attributes(value).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_RESOURCE_ATTRIBUTES="), "{error}");
    }
}

#[test]
fn every_invalid_variable_is_reported() {
    let error = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "x"),
        ("WASMETRY_LOKI_ENDPOINT", "loki"),
    ])
    .unwrap_err();
    let Error::Variables(errors) = error else { panic!("{error}") };
    let mut names: Vec<_> = errors.iter().map(VariableError::name).collect();
    names.sort_unstable();
    let expected =
        ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_RESOURCE_ATTRIBUTES", "WASMETRY_LOKI_ENDPOINT"];
    assert_eq!(names, expected, "each once, though three signals read the timeout");
}

#[test]
fn durations_follow_the_specification() {
    let config = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "18446744073709551615"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "18446744073709551615"),
    ])
    .unwrap();
    assert_eq!(config.span_retry.give_up_after, Duration::MAX);
    assert_eq!(config.log_retry.give_up_after.as_millis(), u64::MAX.into());
    assert_eq!(config.logs.unwrap().timeout, Duration::MAX);
    assert_eq!(config.metrics.unwrap().retry.give_up_after, Duration::MAX);
    assert_eq!(
        (config.span_batch.schedule_delay, config.log_batch.schedule_delay.as_millis()),
        (Duration::ZERO, u64::MAX.into())
    );
}

#[test]
fn boolean_other_than_true_is_false() {
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a");
    for (value, is_disabled, warnings) in [("TRUE", true, 0), ("false", false, 0), ("1", false, 1), ("yes", false, 1)] {
        let config = read(&[base, ("OTEL_SDK_DISABLED", value)]).unwrap();
        assert_eq!((config.logs.is_none(), config.warnings.len()), (is_disabled, warnings), "{value}");
    }
}

#[cfg(unix)]
#[test]
fn only_paths_may_be_any_bytes() {
    use std::os::unix::ffi::OsStringExt;

    let not_utf8 = std::ffi::OsString::from_vec(b"caf\xe9".to_vec());
    for name in [
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_LOGS_EXPORTER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_TRACES_SAMPLER",
        "OTEL_SDK_DISABLED",
        "OTEL_BSP_SCHEDULE_DELAY",
        "WASMETRY_LOKI_ENDPOINT",
    ] {
        let error = Config::from_env(|asked| (asked == name).then(|| not_utf8.clone())).unwrap_err().to_string();
        assert!(error.starts_with(name) && error.contains("not UTF-8"), "{error}");
    }
    let config = Config::from_env(|asked| (asked == "WASMETRY_AUDIT_FILE").then(|| not_utf8.clone())).unwrap();
    assert_eq!(config.audit, Some(not_utf8.into()));
}

/// The variables of OpenTelemetry's "Environment Variable Specification" and "OpenTelemetry
/// Protocol Exporter". A variable of the exporter also has a form for each signal.
const SPECIFIED: [&str; 49] = [
    "OTEL_SDK_DISABLED",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_LOG_LEVEL",
    "OTEL_PROPAGATORS",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_BLRP_EXPORT_TIMEOUT",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
    "OTEL_EXPORTER_ZIPKIN_PROTOCOL",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
];

/// Returns every variable that is looked up if an endpoint is set.
fn looked_up() -> std::collections::BTreeSet<String> {
    let names = RefCell::default();
    let lookup = |name: &str| {
        let _: &RefCell<std::collections::BTreeSet<String>> = &names;
        names.borrow_mut().insert(name.to_owned());
        match name {
            "OTEL_TRACES_SAMPLER" => Some("traceidratio".into()),
            "OTEL_EXPORTER_OTLP_ENDPOINT" | "WASMETRY_LOKI_ENDPOINT" => Some("http://a".into()),
            _ => None,
        }
    };
    Config::from_env(lookup).unwrap();
    names.into_inner()
}

/// Each specified variable is read, or is named as having no effect, and the list for users has
/// every variable.
#[test]
fn specified_variables_are_accounted_for() {
    let looked_up = looked_up();
    for name in SPECIFIED {
        // The scheme of the URL takes precedence.
        let is_known = looked_up.contains(name) || name == "OTEL_EXPORTER_OTLP_INSECURE";
        assert!(is_known, "{name} is neither read nor named as unsupported");
    }
    let list = include_str!("../../../../VARIABLES.md");
    let (supported, unsupported) = list.split_once("## Not supported").unwrap();
    for name in looked_up {
        // The list has one form of the exporter's variables.
        let one = ["LOGS", "TRACES", "METRICS"].iter().fold(name.clone(), |name, signal| {
            name.replace(&format!("OTEL_EXPORTER_OTLP_{signal}_"), "OTEL_EXPORTER_OTLP_")
        });
        let is_unsupported = UNSUPPORTED.iter().any(|variable| variable.name == name);
        let part = if is_unsupported { unsupported } else { supported };
        let is_listed = [&name, &one].iter().any(|name| part.contains(&format!("`{name}`")));
        assert!(is_listed, "{name} is not in VARIABLES.md");
    }
}

#[test]
fn unsupported_variables_are_named() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a");
    for (name, value, reason) in [
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "5", "at most 128"),
        ("OTEL_PROPAGATORS", "tracecontext,b3", "no others"),
        ("OTEL_PROPAGATORS", "none", "no others"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "9090", "--telemetry-addr"),
        ("OTEL_EXPERIMENTAL_CONFIG_FILE", "otel.yaml", "not read"),
    ] {
        let config = read(&[endpoint, (name, value)]).unwrap();
        let [warning] = &config.warnings[..] else { panic!("{name}: {:?}", config.warnings) };
        assert!(warning.starts_with(&format!("{name}={value:?}: it has no effect: ")), "{warning}");
        assert!(warning.contains(reason), "{warning}");
    }
    let agreeing = [
        endpoint,
        ("OTEL_PROPAGATORS", "baggage, TraceContext"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "128"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "trace_based"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", " "),
    ];
    assert!(read(&agreeing).unwrap().warnings.is_empty());
    let disabled = [("OTEL_SDK_DISABLED", "true"), ("OTEL_PROPAGATORS", "b3")];
    assert!(read(&disabled).unwrap().warnings.is_empty());
}
