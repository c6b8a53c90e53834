//! Upper bounds of the sizes of texts, from what they are made of.

use super::label;
use crate::registry::family::{FamilyInfo, FamilyKind};
use crate::snapshot::labels::LabelTable;
use crate::snapshot::place;

/// The longest suffix of a name, `_created`, and the end of labels.
const NAME_END: usize = 8 + 2;

/// The longest value and the line feed. The shortest text of an `f64` has up to 24 characters.
const VALUE: usize = 24 + 1;

/// The label `le` with the longest bound, a comma included.
const BOUND: usize = 6 + 24;

/// Returns the greatest number of bytes that a series has in either text format, without exemplars.
pub(crate) fn series_size(family: &FamilyInfo, labels: &LabelTable, row: usize) -> u64 {
    let line = family.name().len() + NAME_END + label::rendered_len(labels, row) + VALUE;
    let bytes = match family.kind() {
        // A bucket for each bound and one more; sum, count and start time.
        FamilyKind::Histogram => (family.bounds().len() + 1) * (line + BOUND) + 3 * line,
        FamilyKind::Counter => 2 * line,
        FamilyKind::UpDownCounter | FamilyKind::Gauge | FamilyKind::Info => line,
    };
    bytes as u64
}

/// The longest line of metadata beside its name and its text: the longest keyword and type, three
/// spaces, the line feed, and the suffix of a sample.
const METADATA_LINE: usize = 6 + 9 + 3 + 1 + NAME_END;

/// The bytes of a help text beside itself and its tenant if those of two tenants are shown: the end
/// of its own, and that of all, which has the number of the others.
const HELPS_OF_TENANTS: usize = "; ".len() + " (no tenant)".len() + "; and  more".len() + 20;

/// Returns the greatest number of bytes that the metadata of a family has in either text format,
/// where each family of one name is shown in the metadata of the first.
pub(crate) fn metadata_size(family: &FamilyInfo) -> u64 {
    let lines = 3 * (METADATA_LINE + family.name().len()) + family.unit().len();
    // Each character may be escaped.
    let help = 2 * (family.help().len() + family.tenant.len()) + HELPS_OF_TENANTS;
    // The samples of a histogram whose name a gauge has are families of their own.
    let families = place::sample_suffixes(family.kind()).len();
    (families * (lines + help)) as u64
}

#[cfg(test)]
mod tests;
