//! The bounds on everything that a guest can make the host keep.

mod guest;
mod share;

use std::time::Duration;

pub use guest::{GuestLimits, LimitUnit, ReadLimits};
pub use share::is_fair_share;

/// Bytes of descriptor sections in one binary. Declarations beyond them are rejected.
pub const SECTION_BYTES: usize = 4 << 20;

/// Metrics of one component, by all binaries that are registered for it and by the handle API: two
/// versions of a binary with [`METRICS`] at a time. Later ones are not exported.
pub const METRICS_PER_COMPONENT: u64 = 8192;

/// Metrics of all components of one tenant: 2,000 components with [`METRICS`] each. Later ones are
/// not exported.
pub const METRICS_PER_TENANT: u64 = 1 << 23;

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

/// Spans of one guest that are open at a time, by its rings and by the handle API together. Later
/// ones are not recorded.
pub const OPEN_SPANS: usize = 1024;

/// Attributes of one span, without those of its events and links.
pub const SPAN_ATTRIBUTES: usize = 128;

/// Events of one span.
pub const SPAN_EVENTS: usize = 128;

/// Links of one span.
pub const SPAN_LINKS: usize = 128;

/// Bytes of all open spans of one guest. Attributes, events, links and the descriptions of statuses
/// beyond them are dropped and counted in each span.
pub const OPEN_SPAN_BYTES: usize = 4 << 20;

/// Metrics that one component can resolve by the handle API.
pub const RESOLVED_METRICS: usize = 1000;

/// Metrics that one instance was refused and that are remembered. Later ones are checked again each
/// time.
pub const REFUSALS: usize = 64;

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

/// Bytes of a line that a guest prints. A longer one is truncated; `serve` and `run` make several
/// of it before.
pub const OUTPUT_LINE: usize = 8 << 10;

/// Lines that the guests of one component can print at once. More are dropped.
pub const OUTPUT_LINES: u64 = 16_384;

/// Lines that the guests of one component can print in a second for any length of time.
pub const OUTPUT_LINES_PER_SECOND: u64 = 4096;

/// Lines that the guests of all components of one tenant can print at once: those of four
/// components at their bounds. Components without a tenant have only their own.
pub const OUTPUT_LINES_PER_TENANT: u64 = 4 * OUTPUT_LINES;

/// Lines that the guests of all components of one tenant can print in a second for any length of
/// time.
pub const OUTPUT_LINES_PER_TENANT_AND_SECOND: u64 = 4 * OUTPUT_LINES_PER_SECOND;

/// Requests of one component in the access log at once. Records of more are dropped: a refused
/// request costs its client less than its record costs the host.
pub const ACCESS_RECORDS: u64 = 65_536;

/// Requests of one component in the access log in a second for any length of time.
pub const ACCESS_RECORDS_PER_SECOND: u64 = 8192;

/// Requests of all components of one tenant in the access log at once: those of four components at
/// their bounds. Components without a tenant have only their own.
pub const ACCESS_RECORDS_PER_TENANT: u64 = 4 * ACCESS_RECORDS;

/// Requests of all components of one tenant in the access log in a second for any length of time.
pub const ACCESS_RECORDS_PER_TENANT_AND_SECOND: u64 = 4 * ACCESS_RECORDS_PER_SECOND;

/// Records of logs and spans that the guests of one component can record in a second for any length
/// of time: 100 for each of 10,000 requests. More are dropped.
///
/// A record is one of a ring, or a call of the handle API that records a log or starts a span. A
/// read is bounded by [`READ_RECORDS`], but a guest can have itself read without end. Those that a
/// read takes are counted when it ends, so that reads at the same time may exceed the number once.
pub const RECORDS_PER_SECOND: u64 = 1_000_000;

/// Records of logs and spans that the guests of one component can record at once: those of four
/// seconds.
pub const RECORDS: u64 = 4 * RECORDS_PER_SECOND;

/// Records of logs and spans that the guests of all components of one tenant can record at once:
/// those of four components at their bounds. Components without a tenant have only their own.
pub const RECORDS_PER_TENANT: u64 = 4 * RECORDS;

/// Records of logs and spans that the guests of all components of one tenant can record in a second
/// for any length of time.
pub const RECORDS_PER_TENANT_AND_SECOND: u64 = 4 * RECORDS_PER_SECOND;

/// Audit records that the guests of one component can record at once: the 64 MiB that the audit
/// file grows by for it, in records of 64 bytes.
///
/// They have a rate of their own: a flood of other records takes none of them, and a flood of them
/// does not pass the bound of the others.
pub const AUDIT_RECORDS: u64 = 1 << 20;

/// Audit records that the guests of one component can record in a second for any length of time:
/// the 1 MiB that the audit file grows by, in records of 64 bytes.
pub const AUDIT_RECORDS_PER_SECOND: u64 = 1 << 14;

/// Audit records that the guests of all components of one tenant can record at once. Components
/// without a tenant have only their own.
pub const AUDIT_RECORDS_PER_TENANT: u64 = 4 * AUDIT_RECORDS;

/// Audit records that the guests of all components of one tenant can record in a second for any
/// length of time.
pub const AUDIT_RECORDS_PER_TENANT_AND_SECOND: u64 = 4 * AUDIT_RECORDS_PER_SECOND;

// The macros check these too.
pub use wasmetry_abi::limits::{HELP, LABEL_VALUE, LABELS, SERIES_PER_ENTRY, SERIES_PER_METRIC, WORDS_PER_ENTRY};

/// Series with text labels of one component: those of 130 metrics with [`SERIES_PER_METRIC`]. Later
/// ones are counted in overflow series.
pub const SERIES_PER_COMPONENT: u64 = 1 << 18;

/// Series with text labels of all components of one tenant, which take about [`TENANT_MEMORY`].
/// Later ones are counted in overflow series.
pub const SERIES_PER_TENANT: u64 = 1 << 20;

/// 8-byte words that all metrics of one binary take: 32 MiB.
pub const WORDS_PER_COMPONENT: u64 = 1 << 22;

/// Bytes of values that a metric may have from its declaration on without room in the memory of its
/// tenant: a histogram of 30 buckets. [`METRICS_PER_COMPONENT`] bounds such metrics. A larger one
/// is not exported if there is no room for it.
pub const SMALL_METRIC: usize = 256;

/// Bytes of labels that one component can have, as the text formats have them: 64 MiB.
pub const LABEL_TEXT_PER_COMPONENT: u64 = 64 << 20;

/// Bytes that the series and the metadata of one component can have in an exposition: 32 MiB. A
/// series beyond them is not shown; without room for its metadata, nor is a family.
///
/// It is an upper bound in either text format, with start times and without exemplars. What is not
/// shown is in no other output either. The names and help texts of families have room without
/// series, since the text formats have them. 100,000
/// counters with labels of 100 bytes fit; a large service has 10,000. Prometheus gives up after
/// 10 s, in which it has to read those of all components.
pub const EXPOSITION_BYTES_PER_COMPONENT: u64 = 32 << 20;

/// Bytes that the series and the metadata of all components of one tenant can have in an
/// exposition: 128 MiB.
/// Components without a tenant have no common bound but [`EXPOSITION_BYTES`].
pub const EXPOSITION_BYTES_PER_TENANT: u64 = 128 << 20;

/// Bytes that the series and the metadata of all components can have in an exposition: 1 GiB.
///
/// Each tenant gets a [fair share](is_fair_share) of it: five can be at their bounds, and three
/// eighths are left. It bounds a snapshot too: a number of 8 bytes is a line of at least 16.
pub const EXPOSITION_BYTES: u64 = 1 << 30;

/// Components with series that are not shown which wait to be reported, once for each bound. Those
/// beyond are counted only: an embedder need not take any.
pub const HIDDEN_SERIES: usize = 1024;

/// Series of one family of the host that is not about components. Later ones are counted in one
/// overflow series.
pub const SERIES_PER_HOST_FAMILY: usize = 20_000;

/// Series of one component in one family of the host. Later ones are counted in an overflow series
/// of the component.
///
/// The 2,000 series of requests that a component has by route, method and status fit, and a few
/// more.
pub const SERIES_PER_COMPONENT_AND_HOST_FAMILY: usize = 2048;

/// Series of the components of one tenant in one family of the host. Later ones are counted in an
/// overflow series of their component. 1,000 components with 100 series each fit. Components
/// without a tenant have no common limit.
pub const SERIES_PER_TENANT_AND_HOST_FAMILY: usize = 100_000;

/// Series of one family of the host that were removed before their memory is freed, unless more
/// series are left.
pub const REMOVED_SERIES: usize = 1024;

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

/// Bytes of entries and rings in one read of a store: a region of the largest metrics, and two of
/// the largest rings. See [`ReadBudget`](crate::ReadBudget).
pub const READ_BYTES: u64 = 32 << 20;

/// Series in one read of a store, as many as a region of [`WORDS_PER_REGION`] can have. To merge
/// them takes some ten milliseconds.
pub const READ_CELLS: u64 = 1 << 21;

/// Bytes of label texts that are looked up in one read of a store, which takes some milliseconds.
/// Series whose texts do not fit wait for the next read, and the last one counts them in the
/// overflow series.
pub const READ_LABEL_BYTES: u64 = 4 << 20;

/// Records of rings in one read of a store. Guests flush a ring before it overflows, so that an
/// honest one of a default size has fewer.
pub const READ_RECORDS: u64 = 1 << 14;

/// Bytes of the logs and spans that are made of records in one read of a store: a record of some
/// words may have a message of 64 KiB.
pub const READ_RECORD_BYTES: u64 = 8 << 20;

/// The time of one read while its guest runs, where the host has a clock for it.
///
/// The other limits of reads end them much earlier on an idle machine. This bounds the time for
/// which a large read occupies a thread of a machine that is slow or busy.
pub const READ_TIME: Duration = Duration::from_millis(200);

/// Bytes of a window that the host reads on the thread that has run its guest. Static data of most
/// guests is smaller, and reading all of it takes about a millisecond.
pub const SMALL_WINDOW: usize = 1 << 20;

/// Series that are merged before a snapshot of the component gets a turn.
pub const CELLS_PER_TURN: u64 = 1 << 17;

/// Bytes that the host keeps for the guest of one store: the words of the largest region, and as
/// much for everything else. See [`StoreMemory`](crate::StoreMemory).
pub const STORE_MEMORY: u64 = 32 << 20;

/// New kinds of drops that wait to be reported. Beyond them, drops are counted only.
pub const NEW_DROPS: usize = 4096;

/// Bytes of a store's memory limit that the host may use for it however large the guest is, so that
/// a guest close to its limit is still shown while it runs.
pub const RESERVED_STORE_MEMORY: u64 = 1 << 20;

/// Bytes that the host keeps for the guests of one tenant, at most: an eighth of a small server's
/// memory.
///
/// An embedder sets it by [`Registry::set_memory_limits`](crate::Registry::set_memory_limits).
pub const TENANT_MEMORY: u64 = 256 << 20;

/// Bytes that the host keeps for the guests of all tenants, of which each gets a
/// [fair share](is_fair_share): two can be at their limits, and half is left. An eighth is for
/// those that have [little](SMALL_SHARE).
///
/// An embedder sets it by [`Registry::set_memory_limits`](crate::Registry::set_memory_limits).
pub const TELEMETRY_MEMORY: u64 = 1 << 30;

/// The factor of [fair shares](is_fair_share): with 2, one tenant alone gets half of what all
/// share. A greater one leaves less to those that come later, a smaller one more is unused.
pub const FAIR_SHARE: u64 = 2;

/// The part of [`TELEMETRY_MEMORY`] and of [`EXPOSITION_BYTES`] that is not shared by
/// [fair shares](is_fair_share): an eighth.
/// It is for tenants that have no more than a [small share](SMALL_SHARE), so that those that come
/// after greedy ones have what an honest service needs.
pub const KEPT_FOR_SMALL: u64 = 8;

/// The part of each that every tenant is granted while any is left: a 1,024th, which is 1 MiB. A
/// service with 1,000 series and some requests in progress takes less.
pub const SMALL_SHARE: u64 = 1024;

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

/// Entries of all layouts that are kept for one component, which take about a megabyte.
pub const LAYOUT_ENTRIES: usize = 16 << 10;

/// Buffers of ended instances that one component keeps for the next ones.
pub const SPARE_BUFFERS: usize = 16;

/// Bytes of a buffer that is kept. A larger one is given back when its instance ends: to make it
/// again costs less than the first read of such a region.
pub const SPARE_BUFFER_BYTES: usize = 64 << 10;

/// The time for which a gauge that merges by `max` or `min` keeps the value of an instance that has
/// ended. One that merges by `last` keeps it until a later one, or until the component is removed.
pub const GAUGE_RETENTION: Duration = Duration::from_secs(300);

/// The time for which series are exported after their owner is gone, such as a component that was
/// replaced.
///
/// Source: Prometheus looks back for five minutes, and scrapes more often than that.
pub const RETENTION: Duration = Duration::from_secs(300);

/// Retired owners of one tenant whose series are still exported. Of more, the series of the oldest
/// are removed.
pub const RETIRED_OWNERS: usize = 256;

/// Values of ended instances that one gauge series keeps, so that a smaller maximum is left when a
/// greater one expires.
pub const RETAINED_VALUES: usize = 8;

/// Call sites that the facts of one request name, and as many logs and spans of the handle API.
/// More are counted only: a branch that fails is among the first, or its error is.
pub const REACHED_SITES: usize = 128;

/// Bytes of the message or name of a record of the handle API in the facts of its request.
pub const HANDLE_SITE_TEXT: usize = 120;

/// Series that the facts of one request name. More are counted only, so that a guest that touches
/// all of its series does not make its host copy a list of them.
pub const TOUCHED_SERIES: usize = 256;

/// Cells of an instance that are searched for series that it has touched: thirty metrics with
/// [`SERIES_PER_METRIC`]. A metric that does not fit is left out as a whole.
pub const TOUCHED_CELLS: u64 = 1 << 16;

/// The duration beyond which a request is slow, in the access log and the console, unless slow
/// requests are kept with another one.
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
