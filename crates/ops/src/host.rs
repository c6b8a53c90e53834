//! The names of the host's own metrics, and their buckets.
//!
//! A test compares them with those of a running `wasmetry serve`.

/// Requests by route, method and status.
pub(crate) const REQUESTS: &str = "wasm_http_requests_total";
/// Request durations by route.
pub(crate) const DURATION: &str = "wasm_http_request_duration_seconds";
/// The buckets of request durations by route.
pub(crate) const DURATION_BUCKET: &str = "wasm_http_request_duration_seconds_bucket";
/// Requests in progress by route.
pub(crate) const IN_FLIGHT: &str = "wasm_http_requests_in_flight";
/// Instances that were started.
pub(crate) const STARTS: &str = "wasm_instance_starts_total";
/// Instances that are alive.
pub(crate) const INSTANCES: &str = "wasm_instances";
/// Instances that ended early, by reason.
pub(crate) const TRAPS: &str = "wasm_traps_total";
/// Linear memory of the live instances.
pub(crate) const MEMORY: &str = "wasm_linear_memory_bytes";
/// The linear memory that one instance may have.
pub(crate) const MEMORY_LIMIT: &str = "wasm_linear_memory_limit_bytes";
/// Time spent in guests.
pub(crate) const BUSY: &str = "wasm_guest_busy_seconds_total";
/// Telemetry that was lost, by signal and reason.
pub(crate) const DROPPED: &str = "wasmetry_dropped_total";
/// Requests to a destination of telemetry, by outcome.
pub(crate) const EXPORT_REQUESTS: &str = "wasmetry_export_requests_total";
/// Records for a destination of telemetry, by outcome.
pub(crate) const EXPORT_RECORDS: &str = "wasmetry_export_records_total";
/// 1 if the last load of the configuration was successful.
pub(crate) const RELOAD: &str = "wasmetry_config_last_reload_successful";

/// The time of the last successful load of the configuration.
pub(crate) const RELOAD_TIME: &str = "wasmetry_config_last_reload_success_timestamp_seconds";
/// Bytes of request bodies by route.
pub(crate) const REQUEST_BYTES: &str = "wasm_http_request_bytes_total";
/// Bytes of response bodies by route.
pub(crate) const RESPONSE_BYTES: &str = "wasm_http_response_bytes_total";
/// Requests without a complete response, by route and reason.
pub(crate) const ABORTED: &str = "wasm_http_aborted_requests_total";
/// Requests that no component serves.
pub(crate) const UNROUTED: &str = "wasmetry_unrouted_requests_total";
/// Connections that could not be accepted, by listener.
pub(crate) const ACCEPT_ERRORS: &str = "wasmetry_accept_errors_total";
/// Records that wait for a destination of telemetry.
pub(crate) const EXPORT_QUEUE: &str = "wasmetry_export_queue_records";
/// The records that the queue of a destination of telemetry holds.
pub(crate) const EXPORT_QUEUE_LIMIT: &str = "wasmetry_export_queue_limit_records";
/// The buckets of the durations of requests to destinations of telemetry.
pub(crate) const EXPORT_DURATION_BUCKET: &str = "wasmetry_export_request_duration_seconds_bucket";
/// The buckets of the durations of scrapes.
pub(crate) const SCRAPE_DURATION_BUCKET: &str = "wasmetry_scrape_duration_seconds_bucket";
/// CPU time of the process.
pub(crate) const PROCESS_CPU: &str = "process_cpu_seconds_total";
/// Memory of the process.
pub(crate) const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
/// Open file descriptors of the process.
pub(crate) const OPEN_FILES: &str = "process_open_fds";
/// The most file descriptors of the process.
pub(crate) const MAX_FILES: &str = "process_max_fds";

/// The bounds of request durations, in seconds.
pub(crate) const DURATION_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The families of each component, of each of its routes, and of the process, with the series of
/// each.
pub(crate) const COMPONENT_SERIES: [(&str, u64); 6] =
    [(INSTANCES, 1), (STARTS, 1), (MEMORY, 1), (MEMORY_LIMIT, 1), (BUSY, 1), (TRAPS, 6)];
pub(crate) const ROUTE_SERIES: [(&str, u64); 6] = [
    (REQUESTS, 8),
    (DURATION, DURATION_BOUNDS.len() as u64 + 3),
    (IN_FLIGHT, 1),
    ("wasm_http_request_bytes_total", 1),
    ("wasm_http_response_bytes_total", 1),
    ("wasm_http_aborted_requests_total", 5),
];
