//! Text labels, whose values are found at run time.

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::limits;

use crate::image::{Image, WIDTHS, declare, dropped, samples, shop};

const SKU: [LabelSpec<'static>; 2] = [
    LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 4, max_len: 32 } },
    LabelSpec { key: "paid", shape: LabelShape::values(&["no", "yes"]) },
];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&SKU));
const PAIR: [LabelSpec<'static>; 2] = [
    LabelSpec { key: "from", shape: LabelShape::Text { capacity: 2, max_len: 8 } },
    LabelSpec { key: "to", shape: LabelShape::Text { capacity: 3, max_len: 16 } },
];
declare!(MOVES = Descriptor::new(Kind::HistogramF64, "moves", "Moves.").with_labels(&PAIR).with_bounds(&[1.0]));

#[test]
fn texts_are_exported_unchanged() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&SALES]);
        let odd = "a\"b\\c\nd, 東京";
        let mut instances = Vec::new();
        for (first, second) in [("plain", odd), (odd, "plain")] {
            let (mut image, [sales]) = Image::with(width, [&SALES]);
            let mut instance = component.instance();
            image.read(&mut instance, 0);
            image.text(sales, 0, 0, first.as_bytes());
            image.set(sales, 0, 1);
            image.read(&mut instance, 0);
            image.text(sales, 0, 1, second.as_bytes());
            image.set(sales, 0, 10);
            image.set(sales, 3, 5);
            image.read(&mut instance, 0);
            image.read_last(component.instance(), 0);
            instances.push(instance);
        }
        assert_eq!(
            samples(&registry, 0, "sales_total"),
            [
                "sales_total{component=\"shop\",sku=\"a\\\"b\\\\c\\nd, 東京\",paid=\"no\"} 20",
                "sales_total{component=\"shop\",sku=\"a\\\"b\\\\c\\nd, 東京\",paid=\"yes\"} 10",
                "sales_total{component=\"shop\",sku=\"plain\",paid=\"no\"} 20",
                "sales_total{component=\"shop\",sku=\"plain\",paid=\"yes\"} 10",
            ]
        );
        let snapshot = registry.snapshot(std::time::Duration::ZERO);
        let family = snapshot.families().find(|family| family.name() == "sales_total").unwrap();
        let labels: Vec<_> = family.series().next().unwrap().labels().collect();
        assert_eq!(labels, [("component", "shop".into()), ("sku", odd.into()), ("paid", "no".into())]);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

#[test]
fn overflow_position_and_text_are_one() {
    let (registry, component) = shop(&[&SALES]);
    let (mut image, [sales]) = Image::with(4, [&SALES]);
    image.text(sales, 0, 2, b"overflow");
    image.set(sales, 4, 1);
    image.set(sales, 8, 2);
    image.read_last(component.instance(), 0);
    assert_eq!(
        samples(&registry, 0, "sales_total"),
        ["sales_total{component=\"shop\",sku=\"overflow\",paid=\"no\"} 3"]
    );
}

#[test]
fn text_labels_have_own_tables() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&MOVES]);
        let (mut image, [moves]) = Image::with(width, [&MOVES]);
        image.text(moves, 0, 1, b"a");
        image.text(moves, 1, 2, b"sixteen bytes ok");
        let series = 4 + 2;
        image.set_f64(moves, 3 * series, 2.5);
        image.set(moves, 3 * series + 2, 1);
        // From `a` to `overflow`.
        image.set(moves, 3 * (4 + 3) + 1, 4);
        let mut instance = component.instance();
        image.read(&mut instance, 0);
        instance.end(std::time::Duration::ZERO);
        image.read_last(component.instance(), 0);
        assert_eq!(
            samples(&registry, 0, "moves"),
            [
                "moves_bucket{component=\"shop\",from=\"a\",to=\"overflow\",le=\"1.0\"} 8",
                "moves_bucket{component=\"shop\",from=\"a\",to=\"overflow\",le=\"+Inf\"} 8",
                "moves_sum{component=\"shop\",from=\"a\",to=\"overflow\"} 0",
                "moves_count{component=\"shop\",from=\"a\",to=\"overflow\"} 8",
                "moves_bucket{component=\"shop\",from=\"a\",to=\"sixteen bytes ok\",le=\"1.0\"} 0",
                "moves_bucket{component=\"shop\",from=\"a\",to=\"sixteen bytes ok\",le=\"+Inf\"} 2",
                "moves_sum{component=\"shop\",from=\"a\",to=\"sixteen bytes ok\"} 5",
                "moves_count{component=\"shop\",from=\"a\",to=\"sixteen bytes ok\"} 2",
            ]
        );
    }
}

#[test]
fn invalid_utf8_is_exported_lossily() {
    let (registry, component) = shop(&[&SALES]);
    let (mut image, [sales]) = Image::with(4, [&SALES]);
    image.text(sales, 0, 0, b"caf\xe9");
    image.text(sales, 0, 1, b"\xff\xff");
    image.set(sales, 0, 1);
    image.set(sales, 2, 1);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    image.read(&mut instance, 0);
    assert_eq!(
        samples(&registry, 0, "sales_total"),
        [
            "sales_total{component=\"shop\",sku=\"caf\u{fffd}\",paid=\"no\"} 1",
            "sales_total{component=\"shop\",sku=\"\u{fffd}\u{fffd}\",paid=\"no\"} 1",
        ]
    );
    assert_eq!(dropped(&registry), ["label_text 1"]);
}

#[test]
fn count_without_text_overflows() {
    let (registry, component) = shop(&[&SALES]);
    let (mut image, [sales]) = Image::with(4, [&SALES]);
    image.set(sales, 6, 9);
    image.read_last(component.instance(), 0);
    assert_eq!(
        samples(&registry, 0, "sales_total"),
        ["sales_total{component=\"shop\",sku=\"overflow\",paid=\"no\"} 9"]
    );
    assert_eq!(dropped(&registry), ["label_text 1"]);
}

#[test]
fn series_keeps_text_of_instance() {
    let (registry, component) = shop(&[&SALES]);
    let (mut image, [sales]) = Image::with(4, [&SALES]);
    let mut instance = component.instance();
    for (count, text) in [(1, "first"), (2, "forged"), (3, "again")] {
        image.text(sales, 0, 0, text.as_bytes());
        image.set(sales, 0, count);
        image.read(&mut instance, 0);
    }
    assert_eq!(samples(&registry, 0, "sales_total"), ["sales_total{component=\"shop\",sku=\"first\",paid=\"no\"} 3"]);
}

#[test]
fn series_beyond_limit_overflow() {
    let (registry, component) = shop(&[&SALES]);
    let instances = limits::SERIES_PER_METRIC / 4 + 3;
    for index in 0..instances {
        let (mut image, [sales]) = Image::with(4, [&SALES]);
        for slot in 0..4 {
            image.text(sales, 0, slot, format!("sku {index} {slot}").as_bytes());
            image.set(sales, 2 * slot as usize, 1);
        }
        image.read_last(component.instance(), 0);
    }
    let all = samples(&registry, 0, "sales_total");
    assert_eq!(all.len(), limits::SERIES_PER_METRIC + 1);
    assert!(all.contains(&"sales_total{component=\"shop\",sku=\"overflow\",paid=\"no\"} 12".to_owned()));
    assert_eq!(dropped(&registry), ["series_limit 12"]);
}
