//! The bounds on everything that a guest can make the host keep.

use std::time::Duration;

/// Bytes of descriptor sections in one binary. Declarations beyond them are rejected.
pub const SECTION_BYTES: usize = 4 << 20;

/// Metrics that one binary can declare.
pub const METRICS: usize = 4096;

/// Declarations of one name in one binary, which differ in their constant labels.
pub const NAMESAKES: usize = 64;

/// Imports of this project's interfaces in one component that are listed.
pub const IMPORTS: usize = 64;

/// Rejected declarations of one binary that are listed.
pub const REJECTED: usize = 256;

/// Call sites of logs and spans that one binary can have.
pub const SITES: usize = 1 << 16;

/// Routes of requests that one binary can declare.
pub const ROUTES: usize = 256;

/// Routes of requests that the guests of one component can name by the handle API. Requests with
/// later ones have the route `other`.
pub const NAMED_ROUTES: usize = 64;

/// Facades that one binary can declare. Later ones are not listed.
pub const FACADES: usize = 16;

/// Call sites that one instance can define at run time. Records of later ones are dropped.
///
/// As many are kept for each component, so that the same definitions of its next instances are
/// compared only.
pub const DYNAMIC_SITES: usize = 2048;

/// Bytes of the definitions of call sites of one instance. Records of later ones are dropped.
pub const DYNAMIC_SITE_BYTES: usize = 256 << 10;

/// 8-byte words of a ring: 8 MiB.
pub const RING_WORDS: u64 = 1 << 20;

/// Bytes of the records in one tail buffer. The oldest are dropped first.
pub const TAIL_BUFFER_BYTES: usize = 256 << 10;

/// Spans of one guest that are open at a time. Later ones are not recorded.
///
/// Of spans by the handle API, those that are exported only if their request fails are counted
/// apart, here and in [`OPEN_SPAN_BYTES`].
pub const OPEN_SPANS: usize = 1024;

/// Attributes of one span, without those of its events and links.
pub const SPAN_ATTRIBUTES: usize = 128;

/// Events of one span.
pub const SPAN_EVENTS: usize = 128;

/// Links of one span.
pub const SPAN_LINKS: usize = 128;

/// Bytes of all open spans of one guest, without their names, ids and statuses. Attributes, events
/// and links beyond them are dropped and counted in each span.
pub const OPEN_SPAN_BYTES: usize = 4 << 20;

/// Metrics that one component can resolve by the handle API.
pub const RESOLVED_METRICS: usize = 1000;

/// Gauge series that one instance can resolve. Values of later ones are dropped.
pub const RESOLVED_GAUGES: usize = 4096;

/// Handles that one store can have at a time.
pub const HANDLES: usize = 1 << 16;

/// Values in one call of a histogram. More are dropped.
pub const OBSERVATIONS: usize = 1 << 16;

/// Bytes of the message about a metric that is refused.
pub const REFUSAL: usize = 512;

/// Attributes in one call of the handle API. More are dropped.
pub const ATTRIBUTES: usize = 128;

/// Bytes of the attributes in one call of the handle API. Later ones are dropped.
pub const ATTRIBUTE_BYTES: usize = 64 << 10;

/// Bytes of a message, an attribute's text or a status in a call of the handle API. A longer one is
/// truncated.
pub const RECORD_TEXT: usize = 8 << 10;

/// Bytes of a target, a key or a span's name in a call of the handle API. A longer one is
/// truncated.
pub const RECORD_NAME: usize = 256;

/// Bytes of a line that a guest prints. A longer one is truncated.
pub const OUTPUT_LINE: usize = 8 << 10;

/// Lines that a guest can print at once. More are dropped.
pub const OUTPUT_LINES: u64 = 16_384;

/// Lines that a guest can print in a second for any length of time.
pub const OUTPUT_LINES_PER_SECOND: u64 = 4096;

// The macros check these too.
pub use wasmetry_abi::limits::{HELP, LABEL_VALUE, LABELS, SERIES_PER_ENTRY, SERIES_PER_METRIC, WORDS_PER_ENTRY};

/// 8-byte words that all metrics of one binary take: 32 MiB.
pub const WORDS_PER_COMPONENT: u64 = 1 << 22;

/// Bytes of rendered labels that one component can have: 64 MiB.
pub const LABEL_TEXT_PER_COMPONENT: u64 = 64 << 20;

/// Series of one family of the host. Later ones are counted in one overflow series.
pub const SERIES_PER_HOST_FAMILY: usize = 20_000;

/// Series of a counter or histogram that are exported as soon as the component is registered, if
/// all of them are known in advance.
///
/// Source: Prometheus, "Instrumentation", "Avoid missing metrics": `increase()` does not include
/// the event that creates a series.
pub const DECLARED_SERIES: u64 = 1000;

/// Entries that one region can register.
pub const ENTRIES: usize = 4096;

/// 8-byte words in the entries of one region: 16 MiB.
pub const WORDS_PER_REGION: usize = 1 << 21;

/// Bytes from the lowest to the highest address of a region of which the host has a copy: its guest
/// sends batches, or its memory can only be copied.
pub const REGION_BYTES: u64 = 8 << 20;

/// Regions of one store whose memory is read: one for each copy of the recording code in its
/// components.
pub const REGIONS: usize = 64;

/// Regions that a guest can open if it sends batches: one for each copy of the recording code in
/// it.
pub const PUSHED_REGIONS: usize = 8;

/// Consecutive batches that can be lost. With a greater gap, a batch is invalid.
pub const BATCH_GAP: u64 = 1 << 32;

/// Exemplars of the histograms of one component, one for each bucket of a series. Later buckets
/// have none.
pub const EXEMPLARS_PER_COMPONENT: usize = 1 << 16;

/// Exemplars of one request that wait until it is known whether its trace is exported. Later ones
/// are dropped.
pub const PENDING_EXEMPLARS: usize = 1024;

/// Layouts that are kept for one component.
pub const LAYOUTS: usize = 64;

/// Buffers of ended instances that one component keeps for the next ones.
pub const SPARE_BUFFERS: usize = 16;

/// The time for which a gauge that merges by `max` or `min` keeps the value of an instance that has
/// ended. One that merges by `last` keeps it until a later one, or until the component is removed.
pub const GAUGE_RETENTION: Duration = Duration::from_secs(300);

/// The time for which series are exported after their owner is gone, such as a component that was
/// replaced.
///
/// Source: Prometheus looks back for five minutes, and scrapes more often than that.
pub const RETENTION: Duration = Duration::from_secs(300);

/// Retired owners whose series are still exported. Of more, the series of the oldest are removed.
pub const RETIRED_OWNERS: usize = 256;

/// Values of ended instances that one gauge series keeps, so that a smaller maximum is left when a
/// greater one expires.
pub const RETAINED_VALUES: usize = 8;

/// The duration from which a request is slow for the access log, unless slow requests are kept with
/// another one.
pub const SLOW_REQUEST: Duration = Duration::from_secs(1);

/// Bytes of the message of a panic that a guest prints. More is cut.
pub const EXCEPTION_TEXT: usize = 1024;

/// Causes of a handler's error that are kept.
pub const EXCEPTION_CAUSES: usize = 16;

/// Bytes of a JSON line, unless a single series is longer.
///
/// Source: POSIX, `PIPE_BUF` (Linux: 4096), up to which a write to a pipe is atomic; and
/// `wasi:io/streams`, `blocking-write-and-flush`, which has the same limit.
pub const LINE_BYTES: usize = 4096;

/// Bytes of a text in a JSON line beside its metrics, such as a request's path.
pub const LINE_TEXT: usize = 1024;

/// Streams of one Loki whose timestamps are kept, so that none repeats.
pub const LOKI_STREAMS: usize = 1024;

/// Ranges of timestamps that are kept of one stream in Loki. A line that is older than all of them
/// gets a later timestamp.
pub const LOKI_TIMESTAMP_RANGES: usize = 512;

/// Pairs in the structured metadata of a line in Loki, which rejects lines with more than 128. One
/// pair counts the dropped ones.
///
/// Source: Loki's configuration, `max_structured_metadata_entries_count`.
pub const LOKI_METADATA: usize = 127;

/// Bytes in the structured metadata of a line in Loki, which rejects lines with more than 64 KiB.
///
/// Source: Loki's configuration, `max_structured_metadata_size`.
pub const LOKI_METADATA_BYTES: usize = 63 << 10;
