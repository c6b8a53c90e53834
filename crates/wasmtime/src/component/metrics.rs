//! The families of the metrics that the host records itself.

use wasmetry_host::{Counter, Family, FloatCounter, Gauge, Histogram, Identity};

/// The counter of requests to other services that were refused.
pub(crate) const OUTGOING_REFUSED: &str = "wasm_outgoing_refused_total";

/// The bounds of request durations, in seconds.
const DURATION_BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.4, 0.5, 1.0, 2.5, 10.0];

/// The bounds of an instance's largest memory, in bytes: 1 MiB to 4 GiB.
const MEMORY_BOUNDS: [f64; 7] =
    [1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0, 268_435_456.0, 1_073_741_824.0, 4_294_967_296.0];

/// The bounds of an instance's largest memory as a share of its limit.
const MEMORY_RATIO_BOUNDS: [f64; 5] = [0.5, 0.7, 0.8, 0.9, 1.0];

/// The bounds of the time in which an instance starts, in seconds.
const START_BOUNDS: [f64; 5] = [0.0001, 0.001, 0.01, 0.1, 1.0];

/// The metrics that the host records itself, also for guests that do not import wasmetry.
pub(crate) struct Metrics {
    pub(crate) instances: Family<Gauge>,
    pub(crate) instances_limit: Family<Gauge>,
    pub(crate) starts: Family<Counter>,
    pub(crate) start_durations: Family<Histogram>,
    pub(crate) traps: Family<Counter>,
    pub(crate) memory: Family<Gauge>,
    pub(crate) memory_limit: Family<Gauge>,
    pub(crate) memory_peak: Family<Histogram>,
    pub(crate) memory_peak_ratio: Family<Histogram>,
    pub(crate) telemetry_memory: Family<Gauge>,
    pub(crate) busy: Family<FloatCounter>,
    pub(crate) waiting: Family<Gauge>,
    pub(crate) refused: Family<Counter>,
    pub(crate) outgoing_refused: Family<Counter>,
    pub(crate) requests: Family<Counter>,
    pub(crate) aborted: Family<Counter>,
    pub(crate) durations: Family<Histogram>,
    pub(crate) in_flight: Family<Gauge>,
    pub(crate) request_bytes: Family<Counter>,
    pub(crate) response_bytes: Family<Counter>,
}

impl Metrics {
    pub(crate) fn new(registry: &wasmetry_host::Registry) -> Self {
        let with = |more: &[&'static str]| [&Identity::KEYS, more].concat();
        Self {
            instances: registry.gauge("wasm_instances", "Instances that are alive.", &with(&[])),
            instances_limit: registry.gauge(
                "wasm_instances_limit",
                "The most instances that may be alive at a time.",
                &with(&[]),
            ),
            starts: registry.counter("wasm_instance_starts_total", "Instances that were started.", &with(&[])),
            start_durations: registry.histogram(
                "wasm_instance_start_duration_seconds",
                "Time to make an instance, until its guest can be called.",
                &with(&[]),
                &START_BOUNDS,
            ),
            traps: registry.counter(
                "wasm_traps_total",
                "Guests that ended in a trap or were ended by the host, by reason.",
                &with(&["reason", "route"]),
            ),
            memory: registry.gauge(
                "wasm_linear_memory_bytes",
                "Linear memory of the instances that are alive.",
                &with(&[]),
            ),
            memory_limit: registry.gauge(
                "wasm_linear_memory_limit_bytes",
                "The most linear memory that one instance may have.",
                &with(&[]),
            ),
            memory_peak: registry.histogram(
                "wasm_instance_memory_peak_bytes",
                "The most linear memory that an instance had, of instances that have ended.",
                &with(&[]),
                &MEMORY_BOUNDS,
            ),
            memory_peak_ratio: registry.histogram(
                "wasm_instance_memory_peak_ratio",
                "The most linear memory that an instance had as a share of its limit, of instances that have ended.",
                &with(&[]),
                &MEMORY_RATIO_BOUNDS,
            ),
            telemetry_memory: registry.gauge(
                "wasm_telemetry_memory_bytes",
                "Memory of the host that keeps what guests have recorded: copies of their cells, open spans, waiting \
                 records, and series.",
                &with(&[]),
            ),
            waiting: registry.gauge("wasm_requests_waiting", "Requests that wait for an instance.", &with(&[])),
            refused: registry.counter(
                "wasm_requests_refused_total",
                "Requests that got no instance, by reason.",
                &with(&["reason"]),
            ),
            outgoing_refused: registry.counter(
                OUTGOING_REFUSED,
                "Requests of guests to other services that the host refused, by reason.",
                &with(&["reason"]),
            ),
            busy: registry.float_counter(
                "wasm_guest_busy_seconds_total",
                "Time spent running guests, waits excluded.",
                &with(&[]),
            ),
            requests: registry.counter(
                "wasm_http_requests_total",
                "HTTP requests that the host answered, by the status it sent.",
                &with(&["route", "method", "status"]),
            ),
            aborted: registry.counter(
                "wasm_http_aborted_requests_total",
                "HTTP requests that ended before their response was complete, by reason.",
                &with(&["route", "reason"]),
            ),
            durations: registry.histogram(
                "wasm_http_request_duration_seconds",
                "Time from a request's arrival to the end of its response.",
                &with(&["route"]),
                &DURATION_BOUNDS,
            ),
            in_flight: registry.gauge(
                "wasm_http_requests_in_flight",
                "HTTP requests that are being served.",
                &with(&["route"]),
            ),
            request_bytes: registry.counter(
                "wasm_http_request_bytes_total",
                "Bytes of request bodies that were received.",
                &with(&["route"]),
            ),
            response_bytes: registry.counter(
                "wasm_http_response_bytes_total",
                "Bytes of response bodies that were sent.",
                &with(&["route"]),
            ),
        }
    }
}
