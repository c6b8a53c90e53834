//! What a guest's bytes can do wrong, and how often it was met.

use wasmetry_abi::layout::GuestDropReason;

/// Why the host dropped, redirected or ignored what a region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum HostDropReason {
    /// The region has another format version.
    FormatVersion,
    /// There is no header where one should be.
    Header,
    /// The list of entries leaves the window, is misaligned, too long, or comes back to where it was.
    EntryList,
    /// An entry does not lie in the window as a whole, or the entries take more room than the window has.
    EntryBounds,
    /// The list of entries is not what an earlier read found, with newer entries before it.
    ListChanged,
    /// A sum or gauge is no number that could be merged.
    NotFinite,
    /// An exponential histogram has buckets that no guest can have.
    Buckets,
    /// A label's text is not UTF-8, or its length is impossible.
    LabelText,
    /// An entry has a descriptor that the binary does not declare.
    UnknownDescriptor,
    /// An entry's metric was refused because of another one of its name.
    TypeConflict,
    /// A count is smaller than what an earlier read found.
    Decrease,
    /// A series was counted in the overflow series, because its metric has as many as it may have.
    SeriesLimit,
    /// A batch cannot be decoded, is too large, or is of a region that was not opened.
    Batch,
    /// A batch came twice, or came late.
    BatchRepeated,
    /// A batch did not come.
    BatchLost,
    /// A region was not opened, because the guest has as many as it may have.
    RegionLimit,
    /// A ring is none, or has a record that makes no sense.
    Ring,
    /// A record was overwritten before it was read.
    Overwritten,
    /// A record's site is not declared, or it cannot be decoded.
    UnknownRecord,
    /// A record was held back until its request had ended, and there were too many.
    HeldBack,
    /// A span is about one that is not open, or there are too many that are.
    SpanLimit,
    /// A metric was not resolved, because its descriptor or a label breaks a rule.
    InvalidDescriptor,
    /// A metric was not resolved, because its component has as many as it may resolve.
    MetricLimit,
    /// A metric was not resolved, because its instance has as many handles as it may have.
    HandleLimit,
    /// An attribute found no room in its record.
    AttributeLimit,
    /// A parent or a link names no span.
    SpanContext,
    /// A line that a guest printed was dropped, because the guest printed too many at once.
    OutputLimit,
}

impl HostDropReason {
    pub(crate) const COUNT: usize = Self::OutputLimit as usize + 1;

    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::FormatVersion,
        Self::Header,
        Self::EntryList,
        Self::EntryBounds,
        Self::ListChanged,
        Self::NotFinite,
        Self::Buckets,
        Self::LabelText,
        Self::UnknownDescriptor,
        Self::TypeConflict,
        Self::Decrease,
        Self::SeriesLimit,
        Self::Batch,
        Self::BatchRepeated,
        Self::BatchLost,
        Self::RegionLimit,
        Self::Ring,
        Self::Overwritten,
        Self::UnknownRecord,
        Self::HeldBack,
        Self::SpanLimit,
        Self::InvalidDescriptor,
        Self::MetricLimit,
        Self::HandleLimit,
        Self::AttributeLimit,
        Self::SpanContext,
        Self::OutputLimit,
    ];

    /// The reason, as `wasmetry_dropped_total{reason}` shows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FormatVersion => "format_version",
            Self::Header => "header",
            Self::EntryList => "entry_list",
            Self::EntryBounds => "entry_bounds",
            Self::ListChanged => "list_changed",
            Self::NotFinite => "not_finite",
            Self::Buckets => "buckets",
            Self::LabelText => "label_text",
            Self::UnknownDescriptor => "unknown_descriptor",
            Self::TypeConflict => "type_conflict",
            Self::Decrease => "decrease",
            Self::SeriesLimit => "series_limit",
            Self::Batch => "batch",
            Self::BatchRepeated => "batch_repeated",
            Self::BatchLost => "batch_lost",
            Self::RegionLimit => "region_limit",
            Self::Ring => "ring",
            Self::Overwritten => "overwritten",
            Self::UnknownRecord => "unknown_record",
            Self::HeldBack => "held_back",
            Self::SpanLimit => "span_limit",
            Self::InvalidDescriptor => "invalid_descriptor",
            Self::MetricLimit => "metric_limit",
            Self::HandleLimit => "handle_limit",
            Self::AttributeLimit => "attribute_limit",
            Self::SpanContext => "span_context",
            Self::OutputLimit => "output_limit",
        }
    }

    /// The signal that is the poorer, as `wasmetry_dropped_total{signal}` shows it. `records` are logs and spans alike.
    pub(crate) const fn signal(self) -> &'static str {
        match self {
            Self::Ring | Self::Overwritten | Self::UnknownRecord | Self::HeldBack | Self::AttributeLimit => "records",
            Self::SpanLimit | Self::SpanContext => "spans",
            Self::OutputLimit => "logs",
            _ => "metrics",
        }
    }

    /// Whether it is a property of an instance, which every read finds again and which is counted once.
    const fn persists(self) -> bool {
        (self as usize) <= Self::LabelText as usize
    }
}

/// The persistent offences that one instance was charged with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReportedDrops(u16);

/// What one read has found.
#[derive(Debug, Default)]
pub(crate) struct DropCounts {
    offences: [u64; HostDropReason::COUNT],
    /// By how much the guest's own loss counters have grown.
    pub(crate) losses: [u64; GuestDropReason::ALL.len()],
}

impl DropCounts {
    pub(crate) fn add(&mut self, offence: HostDropReason, count: u64) {
        let found = &mut self.offences[offence as usize];
        *found = found.saturating_add(count);
    }

    /// The offences to count, with how often; a persistent one only the first time.
    pub(crate) fn charge(&self, reported: &mut ReportedDrops) -> impl Iterator<Item = (HostDropReason, u64)> {
        let found = HostDropReason::ALL.into_iter().zip(self.offences).filter(|(_, count)| *count > 0);
        found.filter_map(|(offence, count)| {
            if !offence.persists() {
                return Some((offence, count));
            }
            let bit = 1 << offence as u8;
            let is_new = reported.0 & bit == 0;
            reported.0 |= bit;
            is_new.then_some((offence, 1))
        })
    }
}
