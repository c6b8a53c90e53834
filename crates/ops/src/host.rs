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
/// The instances that may be alive at a time.
pub(crate) const INSTANCES_LIMIT: &str = "wasm_instances_limit";
/// The buckets of the time to make an instance.
pub(crate) const START_DURATION: &str = "wasm_instance_start_duration_seconds";
/// Requests that wait for an instance.
pub(crate) const WAITING: &str = "wasm_requests_waiting";
/// Requests that got no instance, by reason.
pub(crate) const REFUSED: &str = "wasm_requests_refused_total";
/// Logs that guests have recorded, by level.
pub(crate) const LOG_RECORDS: &str = "wasm_log_records_total";
/// Instances that ended early, by reason.
pub(crate) const TRAPS: &str = "wasm_traps_total";
/// Linear memory of the live instances.
pub(crate) const MEMORY: &str = "wasm_linear_memory_bytes";
/// The linear memory that one instance may have.
pub(crate) const MEMORY_LIMIT: &str = "wasm_linear_memory_limit_bytes";
/// The largest memory of ended instances.
pub(crate) const MEMORY_PEAK: &str = "wasm_instance_memory_peak_bytes";
/// The buckets of the largest memory of ended instances.
pub(crate) const MEMORY_PEAK_BUCKET: &str = "wasm_instance_memory_peak_bytes_bucket";
/// The largest memory of ended instances as a share of its limit.
pub(crate) const MEMORY_PEAK_RATIO: &str = "wasm_instance_memory_peak_ratio";
/// The buckets of the largest memory of ended instances as a share of its limit.
pub(crate) const MEMORY_PEAK_RATIO_BUCKET: &str = "wasm_instance_memory_peak_ratio_bucket";
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
pub(crate) const DURATION_BOUNDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.4, 0.5, 1.0, 2.5, 10.0];

/// The bounds of the largest memory as a share of its limit.
pub(crate) const MEMORY_RATIO_BOUNDS: [f64; 5] = [0.5, 0.7, 0.8, 0.9, 1.0];

/// The families of each component, of each of its routes, and of the process, with the series of
/// each.
pub(crate) const COMPONENT_SERIES: [(&str, u64); 13] = [
    (INSTANCES, 1),
    (INSTANCES_LIMIT, 1),
    (STARTS, 1),
    (START_DURATION, 8),
    (MEMORY, 1),
    (MEMORY_LIMIT, 1),
    (MEMORY_PEAK, 10),
    (MEMORY_PEAK_RATIO, MEMORY_RATIO_BOUNDS.len() as u64 + 3),
    (BUSY, 1),
    (TRAPS, 6),
    (WAITING, 1),
    (REFUSED, 3),
    (LOG_RECORDS, 5),
];
pub(crate) const ROUTE_SERIES: [(&str, u64); 6] = [
    (REQUESTS, 8),
    (DURATION, DURATION_BOUNDS.len() as u64 + 3),
    (IN_FLIGHT, 1),
    (REQUEST_BYTES, 1),
    (RESPONSE_BYTES, 1),
    (ABORTED, 5),
];
