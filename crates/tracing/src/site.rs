//! The call site of a span or event.

use tracing_core::Metadata;
use wasmetry::dynamic::{self, ARGUMENTS, Site, SiteKind, SpanKind};

use crate::subscriber::level;
use crate::values::Values;

/// Returns the hash of a call site, which is defined at its first record. Returns `None` if there
/// is no room for it.
///
/// Records of one call site that have other fields have another site, since the values of a record
/// stand in the order of its site's keys.
pub(crate) fn of(metadata: &'static Metadata<'static>, values: &Values) -> Option<u64> {
    let address = core::ptr::from_ref(metadata).addr() as u64;
    let number = mix(mix(0x7472_6163, address), u64::from(values.mask())) | 1 << 63;
    if let Some(site) = dynamic::find(number) {
        return Some(site);
    }
    let (kind, text, message_arguments) = if metadata.is_span() {
        (SiteKind::Span(SpanKind::Internal), metadata.name(), 0)
    } else {
        let kind = SiteKind::Log { is_audit: dynamic::is_audit(metadata.target()) };
        if values.has_message(metadata) { (kind, "{}", 1) } else { (kind, "", 0) }
    };
    let site = Site::new(kind, level(metadata), metadata.target(), text)
        .with_source(metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
    let mut keys = [""; ARGUMENTS];
    let mut count = 0;
    for (place, (key, _)) in keys.iter_mut().zip(values.pairs(metadata)) {
        *place = key;
        count += 1;
    }
    dynamic::define(number, site, message_arguments, keys.get(..count).unwrap_or_default())
}

fn mix(number: u64, word: u64) -> u64 {
    (number ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
