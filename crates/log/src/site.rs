//! The call site of a log record.

use log::Record;
use wasmetry::dynamic::{self, Site, SiteKind};

/// Returns the hash of a record's call site, which is defined at its first record. Returns `None`
/// if there is no room for it.
pub(crate) fn of(record: &Record<'_>, literal: Option<&'static str>, is_audit: bool, keys: &[&str]) -> Option<u64> {
    let number = number(record, literal, keys);
    if let Some(site) = dynamic::find(number) {
        return Some(site);
    }
    let text = literal.unwrap_or("{}");
    let site = Site::new(SiteKind::Log { is_audit }, crate::level(record.level()), record.target(), text)
        .with_source(record.file().unwrap_or_default(), record.line().unwrap_or_default());
    dynamic::define(number, site, u8::from(literal.is_none()), keys)
}

/// Returns the number that identifies a record's call site in this instance.
///
/// Texts of the program are identified by their address, all others by their contents.
fn number(record: &Record<'_>, literal: Option<&'static str>, keys: &[&str]) -> u64 {
    // Each is mixed in by itself: lines and levels differ in the same few bits.
    let mut number = mix(mix(0, u64::from(record.line().unwrap_or_default())), record.level() as u64);
    number = match record.file_static() {
        Some(file) => mix(number, file.as_ptr().addr() as u64),
        None => mix_text(number, record.file().unwrap_or_default()),
    };
    // The target is the module unless the log names another one.
    let module = record.module_path_static().unwrap_or_default();
    number = if core::ptr::eq(module, record.target()) {
        mix(number, module.as_ptr().addr() as u64)
    } else {
        mix_text(number, record.target())
    };
    if let Some(literal) = literal {
        number = mix(mix(number, literal.as_ptr().addr() as u64), literal.len() as u64);
    }
    for key in keys {
        number = mix_text(number, key);
    }
    // Small numbers have another meaning.
    number | 1 << 63
}

fn mix(number: u64, word: u64) -> u64 {
    (number ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn mix_text(number: u64, text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let number = words.iter().fold(number, |number, word| mix(number, u64::from_le_bytes(*word)));
    rest.iter().fold(mix(number, text.len() as u64), |number, byte| mix(number, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use log::{Level, Record};

    use super::number;

    /// Neighbouring lines log at different levels.
    #[test]
    fn lines_and_levels_have_numbers() {
        let mut numbers = std::collections::HashSet::new();
        for line in 0..2000 {
            for level in Level::iter() {
                let record = Record::builder().line(Some(line)).level(level).build();
                assert!(numbers.insert(number(&record, None, &[])), "line {line}, {level}");
            }
        }
    }
}
