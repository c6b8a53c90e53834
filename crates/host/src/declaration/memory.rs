//! The memory of declarations.

use std::sync::Arc;

use super::site::Site;
use super::{Label, LabelValues, Metric};

impl Metric {
    /// Returns the approximate bytes of the declaration.
    pub(crate) fn memory(&self) -> usize {
        let label = |label: &Label| {
            let values = match &label.values {
                LabelValues::Listed(values) => values.iter().map(|value| size_of::<String>() + value.len()).sum(),
                LabelValues::Below(_) | LabelValues::Text { .. } => 0,
            };
            size_of::<Label>() + label.key.len() + values
        };
        let constant = |(key, value): &(String, String)| size_of::<(String, String)>() + key.len() + value.len();
        size_of::<Self>()
            + self.name.len()
            + self.help.len()
            + self.unit.len()
            + self.labels.iter().map(label).sum::<usize>()
            + self.const_labels.iter().map(constant).sum::<usize>()
            + size_of_val(&self.buckets[..])
    }
}

impl Site {
    /// Returns the approximate bytes of the site.
    pub(crate) fn memory(&self) -> usize {
        let keys: usize = self.keys.iter().map(|key| size_of::<Arc<str>>() + key.len()).sum();
        size_of::<Self>() + self.target.len() + self.source.file.len() + self.text.len() + keys
    }
}

/// Returns a holder's share of the bytes of a value that all holders of it keep together. `own` of
/// its references do not count: they are further ones of the holder, or of a table.
pub(crate) fn share<T>(value: &Arc<T>, bytes: usize, own: usize) -> usize {
    bytes / Arc::strong_count(value).saturating_sub(own).max(1)
}
