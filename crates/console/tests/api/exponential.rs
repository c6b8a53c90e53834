//! Exponential histograms, which only guests record: the memory of one, read after each change.

use std::time::Duration;

use serde_json::Value;
use wasmetry_abi::exponential::{BUCKETS, STATE, SUM, State, index};
use wasmetry_abi::layout::{EntryLayout, HEADER_VERSION, HEADER_WIDTH, MAGIC, Offsets, state};
use wasmetry_abi::{Descriptor, Kind, VERSION};
use wasmetry_host::{Declarations, Identity, RegionView};

use crate::planted::Planted;

/// Buckets of a series.
const MAX: u16 = 20;

const SIZES: Descriptor<'static> =
    Descriptor::new(Kind::ExponentialF64, "size_bytes", "Sizes.").with_unit("bytes").with_max_buckets(MAX);

static RECORD: [u8; SIZES.record_len()] = SIZES.encode();

/// The address of the first byte, and of the header.
const PLACE: (usize, usize) = (1024, 1088);

/// Returns the memory of a guest that has recorded these values, at the scale 0: a bucket is an
/// octave.
fn memory(values: &[f64]) -> Vec<u8> {
    let offsets = Offsets::for_width(4).unwrap();
    let layout = EntryLayout::of(&SIZES, &offsets).unwrap();
    let entry = PLACE.1 + offsets.header_size;
    let mut memory = vec![0; entry + layout.size as usize - PLACE.0];
    let mut put = |address: usize, bytes: &[u8]| {
        memory[address - PLACE.0..address - PLACE.0 + bytes.len()].copy_from_slice(bytes);
    };
    put(PLACE.1, &MAGIC.to_le_bytes());
    put(PLACE.1 + HEADER_VERSION, &(VERSION as u16).to_le_bytes());
    put(PLACE.1 + HEADER_WIDTH, &[4]);
    put(PLACE.1 + offsets.header_metrics, &(entry as u32).to_le_bytes());
    put(entry + offsets.entry_hash, &wasmetry_abi::hash(&RECORD).to_le_bytes());
    put(entry + offsets.entry_state, &state::READY.to_le_bytes());
    let mut set = |word: usize, value: u64| put(entry + layout.cells as usize + 8 * word, &value.to_le_bytes());
    set(SUM, values.iter().sum::<f64>().to_bits());
    let indices = || values.iter().map(|value| index(*value, 0));
    let (Some(low), Some(high)) = (indices().min(), indices().max()) else { return memory };
    let state = State { base: low, below: 0, len: (high - low + 1) as u8, scale: 0, in_scratch: false };
    set(STATE, state.to_word());
    for bucket in low..=high {
        let count = indices().filter(|index| *index == bucket).count();
        set(BUCKETS + state.slot(bucket, MAX), count as u64);
    }
    memory
}

/// The steps of an exponential histogram have the observations of each, in buckets whose bounds are
/// powers of four.
#[test]
fn exponential_histogram_has_series() {
    let mut shop = Planted::new();
    let declarations = Declarations::from_sections([&RECORD[..]]);
    assert_eq!(declarations.rejected(), []);
    let component = shop.registry.component(Identity::new("shop"), declarations);
    let mut instance = component.instance();
    let mut values = Vec::new();
    let mut series = |shop: &mut Planted, more: &[f64]| {
        values.extend_from_slice(more);
        let memory = memory(&values);
        let view = RegionView { memory: &memory, base: PLACE.0 as u64, header: PLACE.1 as u64 };
        instance.read(view, Duration::ZERO.into(), None);
        shop.store();
        shop.get("/api/v1/series?metric=size_bytes")
    };
    /// Returns the upper bounds of the buckets that have observations in the last step, each with
    /// their number.
    fn last(series: &Value) -> Vec<(f64, u64)> {
        let histogram = &series["histogram"];
        let bounds = histogram["bounds"].as_array().unwrap().iter().map(|bound| bound.as_f64().unwrap());
        let counts = histogram["buckets"].as_array().unwrap().last().unwrap().as_array().unwrap();
        let counts = counts.iter().map(|count| count.as_u64().unwrap());
        bounds.chain([f64::INFINITY]).zip(counts).filter(|(_, count)| *count > 0).collect()
    }
    series(&mut shop, &[]);
    // 3 is between 2 and 4, and 100 between 64 and 128.
    let first = series(&mut shop, &[1.0, 3.0, 3.0, 100.0]);
    assert_eq!(last(&first), [(1.0, 1), (4.0, 2), (256.0, 1)]);
    assert_eq!((&first["values"], &first["groups"][0]["last"]), (&Value::from("rate"), &Value::from(4)));
    let second = series(&mut shop, &[3.0, 0.2, 1e5]);
    assert_eq!(last(&second), [(1.0, 1), (4.0, 1), (262_144.0, 1)]);
    assert_eq!(second["groups"][0]["last"], 7);
    // 3 of 5 s.
    assert_eq!(second["groups"][0]["points"].as_array().unwrap().last().unwrap(), 0.6);
    let p50 = second["groups"][0]["quantiles"]["p50"].as_array().unwrap().last().unwrap().as_f64().unwrap();
    assert!((1.0..=4.0).contains(&p50), "{p50}");
}
