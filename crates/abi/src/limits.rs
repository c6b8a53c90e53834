//! The bounds on declarations. Hosts apply them to every binary, and the macros at compile time.

/// Bytes in one help text.
pub const HELP: usize = 4096;

/// Labels of one metric, constant ones included.
pub const LABELS: usize = 32;

/// Bytes in one label value, declared or recorded.
pub const LABEL_VALUE: usize = 1024;

/// Series that one metric can have in an instance: the product of its labels' positions.
pub const SERIES_PER_ENTRY: u64 = 1 << 16;

/// 8-byte words that the series of one metric take: 8 MiB.
pub const WORDS_PER_ENTRY: u64 = 1 << 20;

/// Series of one metric with text labels in one component. Later ones are counted in the overflow
/// series.
pub const SERIES_PER_METRIC: usize = 2000;
