use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind};

use super::*;
use crate::encode::text::{Format, write_all};
use crate::snapshot::{FamilySnapshot, Snapshot};
use crate::{Component, Declarations, Identity, Registry};

const HELP: &str = match std::str::from_utf8(&[b'\\'; 4096]) {
    Ok(text) => text,
    Err(_) => "",
};
const BOUNDS: [f64; 3] = [0.1, 1.0, 123_456.789];

/// Encodes a descriptor as the macros do.
macro_rules! record {
    ($descriptor:expr) => {{
        const DESCRIPTOR: Descriptor<'static> = $descriptor;
        static RECORD: [u8; DESCRIPTOR.record_len()] = DESCRIPTOR.encode();
        &RECORD[..]
    }};
}

/// Returns the declarations of a component: metrics of all types with this help text, and one that
/// is contested.
macro_rules! metrics {
    ($contested:expr, $help:expr) => {
        [
            record!($contested),
            record!(Descriptor::new(Kind::CounterU64, "c_total", $help)),
            record!(Descriptor::new(Kind::CounterU64, "long_total", HELP)),
            record!(Descriptor::new(Kind::Info, "i_info", "")),
            record!(Descriptor::new(Kind::UpDownI64, "u", "x")),
            record!(Descriptor::new(Kind::HistogramF64, "h_seconds", $help).with_unit("seconds").with_bounds(&BOUNDS)),
        ]
    };
}

fn component(registry: &Registry, tenant: &str, metrics: [&[u8]; 6]) -> Component {
    let declarations = Declarations::from_sections(metrics);
    assert_eq!((declarations.metrics().len(), declarations.rejected()), (metrics.len(), &[][..]));
    registry.component(Identity::new("shop").with_tenant(tenant), declarations)
}

/// The bytes that the families of a name take.
fn charged(families: &[&FamilySnapshot]) -> u64 {
    let of_family = |family: &&FamilySnapshot| {
        let series = family.blocks.iter().flat_map(|block| {
            block.rows.indices(block.labels.len()).map(|row| series_size(&family.info, &block.labels, row))
        });
        metadata_size(&family.info) + series.sum::<u64>()
    };
    families.iter().map(of_family).sum()
}

/// The text of each name has at most the bytes that its families take: escaped, of tenants with
/// different help texts, and split because another tenant has the name.
#[test]
fn text_is_no_longer_than_size() {
    let registry = Registry::with_clock(|| 1_700_000_000_500_000_000);
    const HISTOGRAM: Descriptor<'static> = Descriptor::new(Kind::HistogramF64, "contested", HELP).with_bounds(&BOUNDS);
    // Each character of a help text may be escaped.
    let quoted = metrics!(HISTOGRAM, "\"\\\n\"");
    let broken = metrics!(Descriptor::new(Kind::GaugeI64, "contested", HELP), "\n\n");
    let plain = metrics!(HISTOGRAM, "Help.");
    let _components = [("", quoted), ("a", broken), ("b\"\\", plain), ("c", broken), ("d", quoted)]
        .map(|(tenant, metrics)| component(&registry, tenant, metrics));
    let snapshot = registry.snapshot(Duration::ZERO);
    let mut names: Vec<&str> = snapshot.families().map(FamilySnapshot::name).collect();
    names.dedup();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let families: Vec<&FamilySnapshot> = snapshot.families().filter(|family| family.name() == name).collect();
        let charged = charged(&families);
        let only = Snapshot { families: families.into_iter().cloned().collect() };
        for format in [Format::Prometheus, Format::OpenMetrics { with_created: true }] {
            let mut text = String::new();
            write_all(&only, format, &mut text);
            let len = text.strip_suffix("# EOF\n").unwrap_or(&text).len() as u64;
            assert!(len > 0 && len <= charged, "{name}: {len} bytes, and {charged} are taken");
        }
    }
    let is_split = |family: &FamilySnapshot| family.place.is_split(place::TextFormat::Prometheus);
    assert!(snapshot.families().any(is_split), "a histogram is split");
}
