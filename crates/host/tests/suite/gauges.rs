//! Gauges: the values of several instances become one.

use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge};
use wasmetry_host::{encode, limits};

use crate::image::{Image, WIDTHS, declare, dropped, samples, shop};

declare!(OPEN = Descriptor::new(Kind::GaugeI64, "open", "Open things."));
declare!(PEAK = Descriptor::new(Kind::GaugeF64, "peak", "The peak.").with_merge(Merge::Max));
declare!(LOW = Descriptor::new(Kind::GaugeI64, "low", "The low.").with_merge(Merge::Min));
declare!(MODE = Descriptor::new(Kind::GaugeI64, "mode", "The mode.").with_merge(Merge::Last));
declare!(HEAT = Descriptor::new(Kind::GaugeF64, "heat", "The heat."));
const QUEUE: [LabelSpec<'static>; 1] =
    [LabelSpec { key: "queue", shape: LabelShape::Text { capacity: 2, max_len: 8 } }];
declare!(DEPTH = Descriptor::new(Kind::GaugeI64, "depth", "Queued.").with_labels(&QUEUE).with_merge(Merge::Max));

#[test]
fn unset_gauge_is_not_exported() {
    let (registry, component) = shop(&[&OPEN]);
    let (image, _) = Image::with(4, [&OPEN]);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    assert_eq!(samples(&registry, 0, "open"), [""; 0]);
    // Its metadata is there all the same.
    let metadata = "# HELP open Open things.\n# TYPE open gauge\n";
    assert!(encode::prometheus::encode(&registry.snapshot(Duration::ZERO)).contains(metadata));
    let metadata = "# TYPE open gauge\n# HELP open Open things.\n";
    assert!(encode::openmetrics::encode(&registry.snapshot(Duration::ZERO)).contains(metadata));
}

#[test]
fn sum_has_live_instances_only() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&OPEN]);
        let (mut image, [open]) = Image::with(width, [&OPEN]);
        let (mut a, mut b) = (component.instance(), component.instance());
        image.set(open, 0, -3i64 as u64);
        image.set(open, 1, 1);
        image.read(&mut a, 0);
        image.set(open, 0, 5);
        image.read(&mut b, 0);
        image.read(&mut b, 0);
        assert_eq!(samples(&registry, 0, "open"), ["open{component=\"shop\"} 2"]);
        drop(b);
        image.read_last(component.instance(), 0);
        assert_eq!(samples(&registry, 0, "open"), ["open{component=\"shop\"} -3"]);
        drop(a);
        assert_eq!(samples(&registry, 0, "open"), [""; 0]);
    }
}

#[test]
fn extremes_are_retained() {
    let retention = limits::GAUGE_RETENTION.as_secs();
    let (registry, component) = shop(&[&PEAK, &LOW]);
    let (mut image, [peak, low]) = Image::with(4, [&PEAK, &LOW]);
    let mut set = |value: i64| {
        image.set_f64(peak, 0, value as f64);
        image.set(peak, 1, 1);
        image.set(low, 0, value as u64);
        image.set(low, 1, 1);
        image.clone()
    };
    let shows = |seconds, peak: &str, low: &str| {
        assert_eq!(samples(&registry, seconds, "peak"), [format!("peak{{component=\"shop\"}} {peak}")]);
        assert_eq!(samples(&registry, seconds, "low"), [format!("low{{component=\"shop\"}} {low}")]);
    };
    set(9).read_last(component.instance(), 0);
    set(5).read_last(component.instance(), 100);
    set(7).read_last(component.instance(), 200);
    shows(200, "9", "5");
    shows(retention, "9", "5");
    // The greater value expires first, and the smaller ones are exported until they expire.
    shows(retention + 1, "7", "5");
    shows(retention + 101, "7", "7");
    assert_eq!(samples(&registry, retention + 201, "peak"), [""; 0]);

    let mut living = component.instance();
    set(1).read(&mut living, 200);
    shows(200, "9", "1");
    shows(10 * retention, "1", "1");
    living.end(Duration::from_secs(10 * retention));
    shows(11 * retention, "1", "1");
    assert_eq!(samples(&registry, 11 * retention + 1, "peak"), [""; 0]);
}

#[test]
fn retained_values_are_bounded() {
    let (registry, component) = shop(&[&PEAK]);
    let (mut image, [peak]) = Image::with(4, [&PEAK]);
    image.set(peak, 1, 1);
    for value in (0..100).rev() {
        image.set_f64(peak, 0, f64::from(value));
        image.read_last(component.instance(), 100 - value as u64);
    }
    assert_eq!(samples(&registry, 100, "peak"), ["peak{component=\"shop\"} 99"]);
}

#[test]
fn last_set_wins_in_any_order() {
    let (registry, component) = shop(&[&MODE]);
    let (mut image, [mode]) = Image::with(8, [&MODE]);
    let mut set = |value: u64, sets: u64| {
        image.set(mode, 0, value);
        image.set(mode, 1, sets);
        image.clone()
    };
    let shows = |seconds, expected: &str| {
        assert_eq!(samples(&registry, seconds, "mode"), [format!("mode{{component=\"shop\"}} {expected}")]);
    };
    let (mut a, mut b) = (component.instance(), component.instance());
    set(1, 1).read(&mut a, 0);
    set(2, 1).read(&mut b, 0);
    set(1, 1).read(&mut a, 0);
    shows(0, "2");
    set(3, 2).read(&mut a, 0);
    set(2, 1).read(&mut b, 0);
    shows(0, "3");
    drop(a);
    shows(0, "3");
    set(4, 9).read_last(component.instance(), 1);
    shows(1, "4");
    // It stays while the component is registered, whether another instance is alive or not.
    shows(1_000_000, "4");
    drop(b);
    shows(2_000_000, "4");
    set(5, 1).read_last(component.instance(), 2_000_000);
    shows(3_000_000, "5");
}

#[test]
fn nan_is_dropped_and_counted() {
    let (registry, component) = shop(&[&HEAT, &PEAK]);
    let (mut image, [heat, peak]) = Image::with(4, [&HEAT, &PEAK]);
    for gauge in [heat, peak] {
        image.set_f64(gauge, 0, f64::NAN);
        image.set(gauge, 1, 1);
    }
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    image.read_last(component.instance(), 0);
    assert_eq!(samples(&registry, 0, "heat").len() + samples(&registry, 0, "peak").len(), 0);
    image.set_f64(heat, 0, f64::INFINITY);
    image.read(&mut instance, 0);
    assert_eq!(samples(&registry, 0, "heat"), ["heat{component=\"shop\"} +Inf"]);
    assert_eq!(dropped(&registry), ["not_a_number 2"]);
}

#[test]
fn gauges_have_text_labels() {
    let (registry, component) = shop(&[&DEPTH]);
    let mut instances = Vec::new();
    for (first, second) in [("mail", "jobs"), ("jobs", "mail")] {
        let (mut image, [depth]) = Image::with(4, [&DEPTH]);
        image.text(depth, 0, 0, first.as_bytes());
        image.text(depth, 0, 1, second.as_bytes());
        for series in 0..2 {
            image.set(depth, 2 * series, series as u64 + 1);
            image.set(depth, 2 * series + 1, 1);
        }
        let mut instance = component.instance();
        image.read(&mut instance, 0);
        instances.push(instance);
    }
    let expected = ["depth{component=\"shop\",queue=\"jobs\"} 2", "depth{component=\"shop\",queue=\"mail\"} 2"];
    assert_eq!(samples(&registry, 0, "depth"), expected);
    instances.clear();
    assert_eq!(samples(&registry, 0, "depth"), expected);
    assert_eq!(samples(&registry, 301, "depth"), [""; 0]);
}
