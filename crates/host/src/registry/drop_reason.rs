//! The reasons for which the host drops telemetry of a guest, and their counts.

use wasmetry_abi::layout::GuestDropReason;

/// Defines [`HostDropReason`] by one table: variant, label, signal, and `once` for a property of an
/// instance that every read finds again and that is counted once.
macro_rules! host_drop_reasons {
    ($($(#[$doc:meta])* $variant:ident, $label:literal, $signal:literal $(, $once:ident)?;)+) => {
        /// A reason for which the host drops, redirects or ignores telemetry of a guest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum HostDropReason {
            $($(#[$doc])* $variant,)+
        }

        impl HostDropReason {
            pub(crate) const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            pub(crate) const COUNT: usize = [$($label),+].len();

            /// The reason in `wasmetry_dropped_total{reason}`.
            pub(crate) const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// The signal in `wasmetry_dropped_total{signal}`; `records` are logs and spans.
            pub(crate) const fn signal(self) -> &'static str {
                match self {
                    $(Self::$variant => $signal,)+
                }
            }

            /// The bit that stands for the reason in a set of them.
            const fn bit(self) -> u64 {
                1 << self as u8
            }

            /// Returns `true` if the reason is counted once for each instance.
            const fn is_counted_once(self) -> bool {
                match self {
                    $(Self::$variant => host_drop_reasons!(@once $($once)?),)+
                }
            }
        }
    };
    (@once once) => { true };
    (@once) => { false };
}

host_drop_reasons! {
    /// The region has another format version.
    FormatVersion, "format_version", "metrics", once;
    /// There is no header where one should be.
    Header, "header", "metrics", once;
    /// The list of entries leaves the window, is misaligned, too long, or circular.
    EntryList, "entry_list", "metrics", once;
    /// An entry is not in the window as a whole, or the entries are larger than the window.
    EntryBounds, "entry_bounds", "metrics", once;
    /// The list of entries is not that of an earlier read with newer entries before it.
    ListChanged, "list_changed", "metrics", once;
    /// A sum or gauge is NaN.
    NotANumber, "not_a_number", "metrics", once;
    /// An exponential histogram has buckets that no guest can have.
    Buckets, "buckets", "metrics", once;
    /// A label's text is not UTF-8, or has an impossible length.
    LabelText, "label_text", "metrics", once;
    /// An entry lies in memory that was merged for another region.
    Overlap, "overlap", "metrics", once;
    /// An entry was not merged because the read had cost as much as it may.
    ReadBudget, "read_budget", "metrics";
    /// A region waits for the end of its instance, a batch was dropped, or a declared metric with
    /// large values was refused, because the host keeps as much memory as it may.
    MemoryLimit, "memory_limit", "metrics";
    /// An entry has a descriptor that the binary does not declare.
    UnknownDescriptor, "unknown_descriptor", "metrics";
    /// A declaration of a metric or a route was rejected: it breaks a rule or exceeds a limit.
    InvalidDeclaration, "invalid_declaration", "metrics";
    /// A declaration of a call site was rejected.
    InvalidSite, "invalid_declaration", "records";
    /// The metric was refused because another one has its name.
    TypeConflict, "type_conflict", "metrics";
    /// A count is smaller than at the last read.
    Decrease, "decrease", "metrics";
    /// A count has increased by more than 2⁶³ since the last read.
    OutOfRange, "out_of_range", "metrics";
    /// A series was counted in the overflow series because its metric has no room for more.
    SeriesLimit, "series_limit", "metrics";
    /// A series, or a family as a whole, is not shown because its component, its tenant or all
    /// components together have as many bytes of exposition as they may.
    ExpositionLimit, "exposition_limit", "metrics";
    /// A batch cannot be decoded, is too large, or is of a region that was not opened.
    Batch, "batch", "metrics";
    /// A batch came twice or late.
    BatchRepeated, "batch_repeated", "metrics";
    /// A batch did not come.
    BatchLost, "batch_lost", "metrics";
    /// A region was not opened because the guest has as many as it may have.
    RegionLimit, "region_limit", "metrics";
    /// A region was opened twice.
    RegionRepeated, "region_repeated", "metrics";
    /// A ring, or a record in it, is invalid.
    Ring, "ring", "records";
    /// A record was overwritten before it was read.
    Overwritten, "overwritten", "records";
    /// A record was dropped because the host keeps as much memory as it may.
    RecordMemory, "memory_limit", "records";
    /// A record was not read because the read had cost as much as it may.
    RecordBudget, "read_budget", "records";
    /// A record cannot be decoded, or its site is not declared.
    UnknownRecord, "unknown_record", "records";
    /// The definition of a call site was invalid, or its hash is not that of its bytes.
    SiteDefinition, "site_definition", "records";
    /// A call site was not defined because its instance has defined as many as it may.
    SiteLimit, "site_limit", "records";
    /// A record was dropped because the tail buffer of its request was full.
    HeldBack, "held_back", "records";
    /// A span is not open, or too many are.
    SpanLimit, "span_limit", "spans";
    /// A metric was not resolved because its descriptor or a label breaks a rule.
    InvalidDescriptor, "invalid_descriptor", "metrics";
    /// A metric was not resolved because its component has resolved as many as it may.
    MetricLimit, "metric_limit", "metrics";
    /// A metric was not resolved because its instance has as many handles as it may have.
    HandleLimit, "handle_limit", "metrics";
    /// An attribute did not fit in its record.
    AttributeLimit, "attribute_limit", "records";
    /// The context of a parent or a link is invalid.
    SpanContext, "span_context", "spans";
    /// A route that the binary does not declare; the request has the route `other`.
    UndeclaredRoute, "undeclared_route", "metrics";
    /// A route of the handle API that breaks a rule; the request has the route `other`.
    InvalidRoute, "invalid_route", "metrics";
    /// A route of the handle API, of which the component has as many as it may have; the request
    /// has the route `other`.
    RouteLimit, "route_limit", "metrics";
    /// A printed line was dropped because the guest had printed too many.
    OutputLimit, "output_limit", "logs";
    /// The record of a request was dropped because its component had too many of them.
    AccessLimit, "access_limit", "logs";
    /// A record was dropped because its component or tenant had recorded too many.
    RecordLimit, "record_limit", "records";
}

const _: () = assert!(HostDropReason::COUNT <= 64, "a set of reasons is a word");

/// The reasons that were counted for one instance, of those that are counted once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReportedDrops(u64);

/// The drops that one read has found.
#[derive(Debug)]
pub(crate) struct DropCounts {
    host: [u64; HostDropReason::COUNT],
    /// The increases of the counters in which the guest counts its own drops.
    pub(crate) guest: [u64; GuestDropReason::ALL.len()],
}

impl Default for DropCounts {
    fn default() -> Self {
        Self { host: [0; HostDropReason::COUNT], guest: [0; GuestDropReason::ALL.len()] }
    }
}

impl DropCounts {
    #[cold]
    pub(crate) fn add(&mut self, reason: HostDropReason, count: u64) {
        let found = &mut self.host[reason as usize];
        *found = found.saturating_add(count);
    }

    /// Returns the reasons to count and how often, without those that were counted for the
    /// instance.
    pub(crate) fn to_report(&self, reported: &mut ReportedDrops) -> impl Iterator<Item = (HostDropReason, u64)> {
        let found = HostDropReason::ALL.into_iter().zip(self.host).filter(|(_, count)| *count > 0);
        found.filter_map(|(reason, count)| {
            if !reason.is_counted_once() {
                return Some((reason, count));
            }
            let bit = reason.bit();
            let is_new = reported.0 & bit == 0;
            reported.0 |= bit;
            is_new.then_some((reason, 1))
        })
    }
}
