//! The variables of the specification that have no effect here. One that is set is named in a
//! warning, unless it asks for what is done anyway.

use std::ffi::OsString;

use super::Env;

/// A variable that has no effect.
pub(super) struct Unsupported {
    pub(super) name: &'static str,
    /// The value, or list of values, that describes what is done.
    agrees: &'static str,
    /// The reason, and what to do instead.
    reason: &'static str,
}

const fn unsupported(name: &'static str, agrees: &'static str, reason: &'static str) -> Unsupported {
    Unsupported { name, agrees, reason }
}

const COUNT: &str = "a record has at most 128 attributes, events and links each";
const LENGTH: &str = "texts of the crate `wasmetry` are cut at 1 KiB, those of the handle API at 8 KiB";
const ZIPKIN: &str = "there is no exporter for Zipkin; send OTLP to a collector that exports to it";
const PROMETHEUS: &str = "set --telemetry-addr";
const FILE: &str = "the file is not read; set the other variables";

/// Every variable of the specification that has no effect.
pub(super) const UNSUPPORTED: [Unsupported; 21] = [
    unsupported("OTEL_LOG_LEVEL", "info", "problems with the telemetry are always reported on stderr"),
    unsupported("OTEL_PROPAGATORS", "tracecontext,baggage", "`tracecontext` and `baggage` are propagated, no others"),
    unsupported("OTEL_METRICS_EXEMPLAR_FILTER", "trace_based", "exemplars are always of traces that are exported"),
    unsupported(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "explicit_bucket_histogram",
        "the buckets of a histogram are declared with it",
    ),
    unsupported("OTEL_ATTRIBUTE_COUNT_LIMIT", "128", COUNT),
    unsupported("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "128", COUNT),
    unsupported("OTEL_SPAN_EVENT_COUNT_LIMIT", "128", COUNT),
    unsupported("OTEL_SPAN_LINK_COUNT_LIMIT", "128", COUNT),
    unsupported("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "128", COUNT),
    unsupported("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "128", COUNT),
    unsupported("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "128", COUNT),
    unsupported("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "", LENGTH),
    unsupported("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "", LENGTH),
    unsupported("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "", LENGTH),
    unsupported("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "", ZIPKIN),
    unsupported("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "", ZIPKIN),
    unsupported("OTEL_EXPORTER_ZIPKIN_PROTOCOL", "", ZIPKIN),
    unsupported("OTEL_EXPORTER_PROMETHEUS_HOST", "", PROMETHEUS),
    unsupported("OTEL_EXPORTER_PROMETHEUS_PORT", "", PROMETHEUS),
    unsupported("OTEL_CONFIG_FILE", "", FILE),
    unsupported("OTEL_EXPERIMENTAL_CONFIG_FILE", "", FILE),
];

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    /// Warns of each variable that is set and has no effect.
    pub(super) fn warn_of_unsupported(&self) {
        for Unsupported { name, agrees, reason } in &UNSUPPORTED {
            if let Some(variable) = self.raw(name)
                && !variable.is_list_of(agrees)
            {
                self.warn(variable.error(format!("it has no effect: {reason}")).to_string());
            }
        }
    }
}
