//! Names of metrics, and better ones for messages.

use wasmetry_abi::name::{self, Problem};

use super::Type;

/// Checks a metric's name by the rules of its type.
pub(super) fn check(ty: Type, name: &str) -> std::result::Result<(), Problem> {
    match ty {
        Type::Counter | Type::ObservableCounter => name::counter(name),
        Type::Info => name::info(name),
        _ => name::gauge_or_histogram(name),
    }
}

/// A name with the same words that follows the rules, if there is one.
pub(super) fn better(ty: Type, name: &str) -> Option<String> {
    let mut words = String::new();
    for char in name.chars() {
        if char.is_ascii_alphanumeric() {
            if char.is_ascii_uppercase() && words.ends_with(|last: char| last.is_ascii_lowercase()) {
                words.push('_');
            }
            words.push(char.to_ascii_lowercase());
        } else if !words.is_empty() && !words.ends_with('_') {
            words.push('_');
        }
    }
    let suffix = match ty {
        Type::Counter | Type::ObservableCounter => "_total",
        Type::Info => "_info",
        _ => "",
    };
    let mut stem = words.trim_end_matches('_');
    while let Some(shorter) = name::SUFFIXES.iter().find_map(|end| stem.strip_suffix(end)) {
        stem = shorter;
    }
    let better = format!("{stem}{suffix}");
    let is_only_suffix = name::SUFFIXES.iter().any(|end| end.trim_start_matches('_') == stem);
    (!is_only_suffix && check(ty, &better).is_ok()).then_some(better)
}

/// The name with its unit at the end, if nothing else is wrong with it.
pub(super) fn with_unit(ty: Type, name: &str, unit: &str) -> Option<String> {
    let (stem, suffix) = match name.strip_suffix("_total") {
        Some(stem) => (stem, "_total"),
        None => (name, ""),
    };
    // The unit replaces one that Prometheus does not use.
    let stem = match stem.rsplit_once('_') {
        Some((rest, last)) if name::unit(last, stem).is_err() => rest,
        _ => stem,
    };
    let better = format!("{stem}_{unit}{suffix}");
    (stem != unit && check(ty, name).is_ok() && name::unit(unit, &better).is_ok()).then_some(better)
}
