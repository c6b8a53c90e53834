//! The limits of guests that an embedder can set.

use std::time::Duration;

use super as limits;

/// The unit in which a limit is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitUnit {
    /// A number of things.
    Number,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
}

/// Defines [`GuestLimits`] by one table: field, name, unit and default. The documentation of a
/// field is its constant's.
macro_rules! guest_limits {
    ($($field:ident, $name:literal, $unit:ident, $default:expr, $constant:ident;)+) => {
        /// The limits of the guests of one registry that an embedder can set. The defaults are the
        /// constants of [`limits`](crate::limits).
        ///
        /// ```
        /// use wasmetry_host::{GuestLimits, Registry};
        ///
        /// let mut limits = GuestLimits::default();
        /// limits.series_per_metric = 10_000;
        /// assert!(limits.set("open-spans", 64));
        /// let registry = Registry::new();
        /// registry.set_limits(limits);
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct GuestLimits {
            $(
                #[doc = concat!("See [`", stringify!($constant), "`](crate::limits::", stringify!($constant), ").")]
                pub $field: u64,
            )+
        }

        impl Default for GuestLimits {
            fn default() -> Self {
                Self { $($field: $default as u64,)+ }
            }
        }

        impl GuestLimits {
            /// The names of the limits, each with its unit.
            pub const NAMES: &[(&str, LimitUnit)] = &[$(($name, LimitUnit::$unit),)+];

            /// Sets the limit of this name. Returns `false` if there is none.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $($name => self.$field = value,)+
                    _ => return false,
                }
                true
            }

            /// Returns the limits by name, in the order of [`NAMES`](Self::NAMES).
            pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($name, self.$field),)+].into_iter()
            }
        }
    };
}

guest_limits! {
    read_bytes, "read-bytes", Bytes, limits::READ_BYTES, READ_BYTES;
    read_series, "read-series", Number, limits::READ_CELLS, READ_CELLS;
    read_label_bytes, "read-label-bytes", Bytes, limits::READ_LABEL_BYTES, READ_LABEL_BYTES;
    read_records, "read-records", Number, limits::READ_RECORDS, READ_RECORDS;
    read_record_bytes, "read-record-bytes", Bytes, limits::READ_RECORD_BYTES, READ_RECORD_BYTES;
    read_time, "read-time", Nanoseconds, limits::READ_TIME.as_nanos(), READ_TIME;
    region_bytes, "region-bytes", Bytes, limits::REGION_BYTES, REGION_BYTES;
    regions, "regions", Number, limits::REGIONS, REGIONS;
    store_memory, "store-memory", Bytes, limits::STORE_MEMORY, STORE_MEMORY;
    tenant_memory, "tenant-memory", Bytes, limits::TENANT_MEMORY, TENANT_MEMORY;
    telemetry_memory, "telemetry-memory", Bytes, limits::TELEMETRY_MEMORY, TELEMETRY_MEMORY;
    metrics, "metrics", Number, limits::METRICS_PER_COMPONENT, METRICS_PER_COMPONENT;
    tenant_metrics, "tenant-metrics", Number, limits::METRICS_PER_TENANT, METRICS_PER_TENANT;
    resolved_metrics, "resolved-metrics", Number, limits::RESOLVED_METRICS, RESOLVED_METRICS;
    series_per_metric, "series-per-metric", Number, limits::SERIES_PER_METRIC, SERIES_PER_METRIC;
    series, "series", Number, limits::SERIES_PER_COMPONENT, SERIES_PER_COMPONENT;
    tenant_series, "tenant-series", Number, limits::SERIES_PER_TENANT, SERIES_PER_TENANT;
    host_series, "host-series", Number, limits::SERIES_PER_COMPONENT_AND_HOST_FAMILY, SERIES_PER_COMPONENT_AND_HOST_FAMILY;
    tenant_host_series, "tenant-host-series", Number, limits::SERIES_PER_TENANT_AND_HOST_FAMILY, SERIES_PER_TENANT_AND_HOST_FAMILY;
    label_value, "label-value", Bytes, limits::LABEL_VALUE, LABEL_VALUE;
    label_text, "label-text", Bytes, limits::LABEL_TEXT_PER_COMPONENT, LABEL_TEXT_PER_COMPONENT;
    open_spans, "open-spans", Number, limits::OPEN_SPANS, OPEN_SPANS;
    open_span_bytes, "open-span-bytes", Bytes, limits::OPEN_SPAN_BYTES, OPEN_SPAN_BYTES;
    tail_buffer_bytes, "tail-buffer-bytes", Bytes, limits::TAIL_BUFFER_BYTES, TAIL_BUFFER_BYTES;
    output_lines, "output-lines", Number, limits::OUTPUT_LINES, OUTPUT_LINES;
    output_lines_per_second, "output-lines-per-second", Number, limits::OUTPUT_LINES_PER_SECOND, OUTPUT_LINES_PER_SECOND;
    tenant_output_lines, "tenant-output-lines", Number, limits::OUTPUT_LINES_PER_TENANT, OUTPUT_LINES_PER_TENANT;
    tenant_output_lines_per_second, "tenant-output-lines-per-second", Number, limits::OUTPUT_LINES_PER_TENANT_AND_SECOND, OUTPUT_LINES_PER_TENANT_AND_SECOND;
    access_records, "access-records", Number, limits::ACCESS_RECORDS, ACCESS_RECORDS;
    access_records_per_second, "access-records-per-second", Number, limits::ACCESS_RECORDS_PER_SECOND, ACCESS_RECORDS_PER_SECOND;
    tenant_access_records, "tenant-access-records", Number, limits::ACCESS_RECORDS_PER_TENANT, ACCESS_RECORDS_PER_TENANT;
    tenant_access_records_per_second, "tenant-access-records-per-second", Number, limits::ACCESS_RECORDS_PER_TENANT_AND_SECOND, ACCESS_RECORDS_PER_TENANT_AND_SECOND;
    records, "records", Number, limits::RECORDS, RECORDS;
    records_per_second, "records-per-second", Number, limits::RECORDS_PER_SECOND, RECORDS_PER_SECOND;
    tenant_records, "tenant-records", Number, limits::RECORDS_PER_TENANT, RECORDS_PER_TENANT;
    tenant_records_per_second, "tenant-records-per-second", Number, limits::RECORDS_PER_TENANT_AND_SECOND, RECORDS_PER_TENANT_AND_SECOND;
    audit_records, "audit-records", Number, limits::AUDIT_RECORDS, AUDIT_RECORDS;
    audit_records_per_second, "audit-records-per-second", Number, limits::AUDIT_RECORDS_PER_SECOND, AUDIT_RECORDS_PER_SECOND;
    tenant_audit_records, "tenant-audit-records", Number, limits::AUDIT_RECORDS_PER_TENANT, AUDIT_RECORDS_PER_TENANT;
    tenant_audit_records_per_second, "tenant-audit-records-per-second", Number, limits::AUDIT_RECORDS_PER_TENANT_AND_SECOND, AUDIT_RECORDS_PER_TENANT_AND_SECOND;
}

impl GuestLimits {
    /// Returns the limits of a read.
    pub fn read(&self) -> ReadLimits {
        ReadLimits {
            bytes: self.read_bytes,
            cells: self.read_series,
            label_bytes: self.read_label_bytes,
            records: self.read_records,
            record_bytes: self.read_record_bytes,
            time: Duration::from_nanos(self.read_time),
        }
    }
}

/// The limits of one read of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// Bytes of entries and rings; see [`READ_BYTES`](limits::READ_BYTES).
    pub bytes: u64,
    /// Cells, each a series of an instance; see [`READ_CELLS`](limits::READ_CELLS).
    pub cells: u64,
    /// Bytes of label texts; see [`READ_LABEL_BYTES`](limits::READ_LABEL_BYTES).
    pub label_bytes: u64,
    /// Records of rings; see [`READ_RECORDS`](limits::READ_RECORDS).
    pub records: u64,
    /// Bytes of the logs and spans that are made of records; see
    /// [`READ_RECORD_BYTES`](limits::READ_RECORD_BYTES). The last record may exceed them.
    pub record_bytes: u64,
    /// The time of a read while its guest runs, for a host that has a clock; see
    /// [`READ_TIME`](limits::READ_TIME).
    pub time: Duration,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            bytes: limits::READ_BYTES,
            cells: limits::READ_CELLS,
            label_bytes: limits::READ_LABEL_BYTES,
            records: limits::READ_RECORDS,
            record_bytes: limits::READ_RECORD_BYTES,
            time: limits::READ_TIME,
        }
    }
}

impl ReadLimits {
    /// The limits of a read that merges nothing, and counts all of it.
    pub const NOTHING: Self =
        Self { bytes: 0, cells: 0, label_bytes: 0, records: 0, record_bytes: 0, time: Duration::ZERO };

    /// Sets the bytes of entries and rings.
    #[must_use]
    pub fn with_bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Sets the cells.
    #[must_use]
    pub fn with_cells(self, cells: u64) -> Self {
        Self { cells, ..self }
    }

    /// Sets the bytes of label texts.
    #[must_use]
    pub fn with_label_bytes(self, label_bytes: u64) -> Self {
        Self { label_bytes, ..self }
    }

    /// Sets the records of rings.
    #[must_use]
    pub fn with_records(self, records: u64) -> Self {
        Self { records, ..self }
    }

    /// Sets the bytes of the logs and spans that are made of records.
    #[must_use]
    pub fn with_record_bytes(self, record_bytes: u64) -> Self {
        Self { record_bytes, ..self }
    }

    /// Sets the time.
    #[must_use]
    pub fn with_time(self, time: Duration) -> Self {
        Self { time, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_its_limit() {
        for (name, _) in GuestLimits::NAMES {
            let mut limits = GuestLimits::default();
            assert!(limits.set(name, u64::MAX), "{name}");
            assert_ne!(limits, GuestLimits::default(), "{name}");
        }
        assert!(!GuestLimits::default().set("spans", 1));
        assert_eq!(GuestLimits::default().read(), ReadLimits::default());
    }
}
