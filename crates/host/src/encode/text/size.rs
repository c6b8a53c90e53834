//! Upper bounds of the sizes of texts, from what they are made of.

use super::label;
use crate::registry::family::{FamilyInfo, FamilyKind};
use crate::snapshot::labels::LabelTable;

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

/// Returns the greatest number of bytes that the metadata of a family has in either text format.
pub(crate) fn metadata_size(family: &FamilyInfo) -> u64 {
    // Three lines, each with a keyword and a name. Each character of the help may be escaped, and
    // the tenant is shown behind it.
    let lines =
        3 * (family.name().len() + NAME_END + 16) + 2 * family.help().len() + family.tenant.len() + family.unit().len();
    // The samples of a histogram whose name a gauge has are three families.
    let families = if family.kind() == FamilyKind::Histogram { 3 } else { 1 };
    (families * lines) as u64
}
