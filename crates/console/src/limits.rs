//! The bounds of everything that the console keeps and answers, each with its reason.

use std::time::Duration;

/// Bytes of everything that is kept, by default.
pub const MEMORY: usize = 64 << 20;

/// The least number of bytes that can be configured. Less holds no minute of a small service.
pub const MIN_MEMORY: usize = 1 << 20;

/// The most bytes that can be configured.
pub const MAX_MEMORY: usize = 4 << 30;

/// The seconds between two snapshots.
pub(crate) const STEP_SECONDS: u64 = 5;

/// Seconds over which a rate is at least: that of a host that began just now would be none.
pub(crate) const LEAST_AGE: f64 = 1.0;

/// Steps that are kept: an hour.
pub(crate) const STEPS: u32 = 720;

/// Steps by which the clock may be set back without the past being forgotten: a minute.
pub(crate) const STEPS_BACK: u32 = 12;

/// Steps between two removals of series that have ended: a minute.
pub(crate) const STEPS_BETWEEN_SWEEPS: u32 = 12;

/// The part of the memory of series, as a fraction, that labels, metrics and current values may
/// have. The rest is for their past. Each owner gets a fair share of the part.
pub(crate) const FIXED_PARTS: (usize, usize) = (3, 5);

/// The beginnings of names that guests' metrics cannot have. Metrics with them are stored first.
///
/// Source: `RESERVED_PREFIXES` of `wasmetry_abi::name`.
pub(crate) const HOST_PREFIXES: [&str; 3] = ["wasm_", "wasmetry_", "process_"];

/// Exemplars that are kept of one metric.
pub(crate) const EXEMPLARS: usize = 256;

/// Normal requests a second that are kept, of which each tenant has a part. With about 2 KiB for
/// each, an hour of them does not displace the failed ones, and a page is full within seconds.
pub const NORMAL_REQUESTS_PER_SECOND: u64 = 20;

/// Normal requests a second of which there are fingerprints. They are small, and a comparison needs
/// many.
pub(crate) const FINGERPRINTS_PER_SECOND: u64 = 200;

/// Bytes of a text in a log or span that is kept. The host's own bound is the same.
pub(crate) const TEXT_BYTES: usize = 8 << 10;

/// Bytes of the fields of a log that is kept.
pub(crate) const LOG_BYTES: usize = 16 << 10;

/// Bytes of the segments of an owner's logs, at first and at most. An owner loses a segment at a
/// time.
pub(crate) const FIRST_SEGMENT_BYTES: usize = 1 << 10;
pub(crate) const SEGMENT_BYTES: usize = 64 << 10;

/// Bytes before the body of a log: its id, number, time, level, identity and trace.
pub(crate) const LOG_HEADER: usize = 64;

/// Bytes of a span that is kept. More of its attributes and events are counted as dropped.
pub(crate) const SPAN_BYTES: usize = 64 << 10;

/// Bytes of the spans of one request that are kept.
pub(crate) const TRACE_BYTES: usize = 512 << 10;

/// Bytes of a request besides its spans: its entry in the tree, whose nodes are half full at worst,
/// in the map of traces, and in a queue or among those that are dropped last.
pub(crate) const PART_OVERHEAD: usize = 400;

/// Bytes of a request that has not ended besides its spans.
pub(crate) const PENDING_OVERHEAD: usize = 200;

/// Bytes of the lists of a route, and of the places of its requests among those that are dropped
/// last.
pub(crate) const ROUTE_OVERHEAD: usize = 600;

/// Slowest requests of a route that are dropped last.
pub(crate) const PROTECTED_SLOWEST: usize = 5;

/// Latest failed requests of a route that are dropped last.
pub(crate) const PROTECTED_FAILED: usize = 5;

/// Routes that have such lists, of which each owner gets a fair share.
pub(crate) const PROTECTED_ROUTES: usize = 512;

/// Events between two sweeps of the names that no record has any more: a sweep reads all records,
/// which takes some milliseconds.
pub(crate) const EVENTS_BETWEEN_SWEEPS: u64 = 4096;

/// Identities of records. Those of later ones are shown as `other`.
pub(crate) const IDENTITIES: usize = 1024;

/// Identities of the latest records, whose numbers are found without a look at their texts.
pub(crate) const RECENT_IDENTITIES: usize = 16;

/// The share of the memory of names that identities have. Routes have the rest, of which each owner
/// gets a fair share.
pub(crate) const IDENTITIES_DIVISOR: usize = 2;

/// Bytes of an owner (a tenant, or a component without one) besides its name: its places in the
/// stores.
pub(crate) const OWNER_OVERHEAD: usize = 320;

/// Routes of records, of which each owner gets a fair share. Later ones are shown as `other`.
pub(crate) const ROUTES: usize = 4096;

/// Bytes of a route, a reason or a place.
pub(crate) const ROUTE_BYTES: usize = 256;

/// Bytes of an identity or a route besides its text.
pub(crate) const NAME_OVERHEAD: usize = 160;

/// Groups of traps. Of more, the owner that has most loses the one that was seen last the longest
/// time ago.
pub(crate) const TRAP_GROUPS: usize = 256;

/// Bytes of a text in a list.
pub(crate) const LIST_TEXT: usize = 512;

/// Bytes of a query.
pub(crate) const QUERY_BYTES: usize = 4096;

/// Entries of a page, by default and at most.
pub(crate) const PAGE: usize = 100;
pub(crate) const MAX_PAGE: usize = 500;

/// Logs that a search reads for one page, so that a text which no log has is found out in bounded
/// time.
pub(crate) const SEARCHED_LOGS: usize = 200_000;

/// Routes of one component in the overview, and of all components in one answer.
pub(crate) const COMPONENT_ROUTES: usize = 100;
pub(crate) const OVERVIEW_ROUTES: usize = 1000;

/// Points of a sparkline.
pub(crate) const SPARKLINE: usize = 60;

/// Groups of series in one answer, by default and at most.
pub(crate) const GROUPS: usize = 10;
pub(crate) const MAX_GROUPS: usize = 50;

/// Groups of series that are compared for one answer. Later ones are added to the others.
pub(crate) const COMPARED_GROUPS: usize = 20_000;

/// Numbers that the groups of one answer may have, of all steps and buckets: 4 MiB for counters.
/// With more, the largest groups are found in a pass of its own.
pub(crate) const CELLS: usize = 1 << 20;

/// Slices of a range whose exemplars are listed: a point of a plot each minute of an hour.
pub(crate) const EXEMPLAR_SLICES: usize = 60;

/// Slowest requests of such a slice: with those of all slices, about as many as a page has entries.
pub(crate) const SLICE_REQUESTS: usize = 8;

/// Filters by labels in one query.
pub(crate) const LABEL_FILTERS: usize = 8;

/// Requests of one trace that an answer reads, the latest ones. A client that gives all of its
/// requests one trace makes no answer slow.
pub(crate) const TRACE_PARTS: usize = 64;

/// Logs that are read to count those of one request in a list: 50 microseconds, and some tens of
/// milliseconds for the largest page.
pub(crate) const NEAR_LOGS: usize = 2_000;

/// Spans and logs in the answer for one trace.
pub(crate) const SHOWN_SPANS: usize = 2000;
pub(crate) const SHOWN_LOGS: usize = 1000;

/// Changes of versions, configuration and limits that are kept.
pub(crate) const CHANGES: usize = 256;

/// Event streams that may be open.
pub const STREAMS: usize = 16;

/// Bytes of events that a stream writes at once.
pub(crate) const EVENT_BYTES: usize = 64 << 10;

/// Records that a stream reads at once.
pub(crate) const EVENTS: usize = 2000;

/// The sixteenths of the memory that series, logs and traces have. A flood of one of them takes
/// nothing from the others.
pub(crate) const SERIES_PART: usize = 8;
pub(crate) const LOGS_PART: usize = 3;
pub(crate) const TRACES_PART: usize = 4;

/// The share of the memory that fingerprints of requests have: half of the last sixteenth.
pub(crate) const FINGERPRINTS_DIVISOR: usize = 32;

/// The shares of the memory that names, groups of traps and changes have: together the other half
/// of the last sixteenth.
pub(crate) const NAMES_DIVISOR: usize = 64;
pub(crate) const TRAPS_DIVISOR: usize = 128;
pub(crate) const CHANGES_DIVISOR: usize = 128;

/// The interval in which readers of events are woken. A person sees no shorter one.
pub(crate) const EVENT_INTERVAL: Duration = Duration::from_millis(200);

/// The time after which a stream that ends with events unread was cut because its client is slow:
/// half of that after which the endpoint ends a connection that makes no progress (10 s, its
/// `WRITE_TIMEOUT`), because the last bytes before it may be buffered later.
pub(crate) const SLOW_READER: Duration = Duration::from_secs(5);
