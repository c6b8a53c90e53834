//! Counters and histograms: exact over any number of reads and instances.

use std::time::Duration;

use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};

use crate::image::{Image, WIDTHS, declare, dropped, samples, shop};

const ROUTES: [LabelSpec<'static>; 2] = [
    LabelSpec { key: "method", shape: LabelShape::values(&["GET", "POST"]) },
    LabelSpec { key: "route", shape: LabelShape::values(&["/", "/cart", "/checkout"]) },
];
declare!(REQUESTS = Descriptor::new(Kind::CounterU64, "requests_total", "Requests.").with_labels(&ROUTES));
declare!(ERRORS = Descriptor::new(Kind::CounterU64, "errors_total", "Errors."));
declare!(
    LATENCY = Descriptor::new(Kind::HistogramNanos, "latency_seconds", "Latency.")
        .with_unit("seconds")
        .with_bounds(&[0.005, 1.0])
);
declare!(SIZE = Descriptor::new(Kind::HistogramF64, "size_ratio", "Size.").with_bounds(&[0.5]));
const SHARDS: [LabelSpec<'static>; 1] = [LabelSpec { key: "shard", shape: LabelShape::Below(3000) }];
declare!(SHARDED = Descriptor::new(Kind::CounterU64, "sharded_total", "By shard.").with_labels(&SHARDS));

#[test]
fn declared_series_start_at_zero() {
    let (registry, _component) = shop(&[&REQUESTS, &LATENCY, &SHARDED]);
    assert_eq!(
        samples(&registry, 0, "requests_total"),
        [
            "requests_total{component=\"shop\",method=\"GET\",route=\"/\"} 0",
            "requests_total{component=\"shop\",method=\"GET\",route=\"/cart\"} 0",
            "requests_total{component=\"shop\",method=\"GET\",route=\"/checkout\"} 0",
            "requests_total{component=\"shop\",method=\"POST\",route=\"/\"} 0",
            "requests_total{component=\"shop\",method=\"POST\",route=\"/cart\"} 0",
            "requests_total{component=\"shop\",method=\"POST\",route=\"/checkout\"} 0",
        ]
    );
    assert_eq!(samples(&registry, 0, "latency_seconds_count"), ["latency_seconds_count{component=\"shop\"} 0"]);
    // There are too many to export those without events.
    assert_eq!(samples(&registry, 0, "sharded_total"), [""; 0]);
}

#[test]
fn reads_count_each_event_once() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&REQUESTS, &ERRORS, &LATENCY]);
        let mut expected = [0u64; 6];
        let mut alive = Vec::new();
        for round in 0..40u64 {
            let (mut image, [requests, errors, latency]) = Image::with(width, [&REQUESTS, &ERRORS, &LATENCY]);
            let mut instance = component.instance();
            for read in 0..=round % 5 {
                for (series, expected) in expected.iter_mut().enumerate() {
                    let value = (read + 1) * (round + series as u64);
                    image.set(requests, series, value);
                    *expected += round + series as u64;
                }
                image.set(errors, 0, read + 1);
                image.set(latency, 0, 1_500_000 * (read + 1));
                image.set(latency, 1, read + 1);
                if read < round % 5 {
                    image.read(&mut instance, read);
                    image.read(&mut instance, read);
                }
            }
            match round % 4 {
                0 => image.read_last(instance, round),
                1 => {
                    image.read(&mut instance, round);
                    instance.end(Duration::from_secs(round));
                }
                2 => {
                    image.read(&mut instance, round);
                    drop(instance);
                }
                _ => {
                    image.read(&mut instance, round);
                    alive.push(instance);
                }
            }
            let lines = samples(&registry, round, "requests_total");
            for (line, expected) in lines.iter().zip(expected) {
                assert!(line.ends_with(&format!("}} {expected}")), "{line} {expected}");
            }
            assert_eq!(lines.len(), 6);
        }
        let events: u64 = (0..40).map(|round| round % 5 + 1).sum();
        assert_eq!(samples(&registry, 40, "errors_total"), [format!("errors_total{{component=\"shop\"}} {events}")]);
        assert_eq!(
            samples(&registry, 40, "latency_seconds"),
            [
                format!("latency_seconds_bucket{{component=\"shop\",le=\"0.005\"}} {events}"),
                format!("latency_seconds_bucket{{component=\"shop\",le=\"1.0\"}} {events}"),
                format!("latency_seconds_bucket{{component=\"shop\",le=\"+Inf\"}} {events}"),
                "latency_seconds_sum{component=\"shop\"} 0.18".to_owned(),
                format!("latency_seconds_count{{component=\"shop\"}} {events}"),
            ]
        );
        assert_eq!(events, 120);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

#[test]
fn metrics_registered_between_reads_count() {
    let (registry, component) = shop(&[&REQUESTS, &ERRORS]);
    let (mut image, [errors]) = Image::with(4, [&ERRORS]);
    let mut instance = component.instance();
    image.set(errors, 0, 2);
    image.read(&mut instance, 0);
    let requests = image.register(&REQUESTS);
    image.set(errors, 0, 3);
    image.set(requests, 5, 7);
    image.read(&mut instance, 1);
    image.read_last(instance, 2);
    assert_eq!(samples(&registry, 2, "errors_total"), ["errors_total{component=\"shop\"} 3"]);
    assert_eq!(
        samples(&registry, 2, "requests_total")[5],
        "requests_total{component=\"shop\",method=\"POST\",route=\"/checkout\"} 7"
    );
    assert_eq!(dropped(&registry), [""; 0]);
}

#[test]
fn layouts_beyond_limit_count() {
    let (registry, component) = shop(&[&ERRORS]);
    for gap in 0..200 {
        let mut image = Image::new(4);
        image.bytes.resize(image.bytes.len() + 8 * gap, 0);
        let errors = image.register(&ERRORS);
        image.set(errors, 0, 1);
        image.read_last(component.instance(), 0);
    }
    assert_eq!(samples(&registry, 0, "errors_total"), ["errors_total{component=\"shop\"} 200"]);
}

#[test]
fn metric_of_two_crates_is_one() {
    let (registry, component) = shop(&[&ERRORS, &ERRORS]);
    let (mut image, [a, b]) = Image::with(8, [&ERRORS, &ERRORS]);
    image.set(a, 0, 3);
    image.set(b, 0, 4);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    image.set(b, 0, 5);
    image.read(&mut instance, 0);
    assert_eq!(samples(&registry, 0, "errors_total"), ["errors_total{component=\"shop\"} 8"]);
}

#[test]
fn decrease_is_dropped_and_counted() {
    let (registry, component) = shop(&[&ERRORS]);
    let (mut image, [errors]) = Image::with(4, [&ERRORS]);
    let mut instance = component.instance();
    for (value, expected) in [(10, 10), (4, 10), (6, 12), (u64::MAX, 12), (0, 13)] {
        image.set(errors, 0, value);
        image.read(&mut instance, 0);
        assert_eq!(samples(&registry, 0, "errors_total"), [format!("errors_total{{component=\"shop\"}} {expected}")]);
    }
    assert_eq!(dropped(&registry), ["decrease 1", "out_of_range 1"]);
    image.set(errors, 0, u64::MAX - 5);
    image.read_last(component.instance(), 0);
    assert_eq!(samples(&registry, 0, "errors_total"), ["errors_total{component=\"shop\"} 13"]);
    assert_eq!(dropped(&registry), ["decrease 1", "out_of_range 2"]);
}

#[test]
fn totals_saturate() {
    let (registry, component) = shop(&[&ERRORS]);
    let (mut image, [errors]) = Image::with(4, [&ERRORS]);
    image.set(errors, 0, i64::MAX as u64);
    for _ in 0..4 {
        image.read_last(component.instance(), 0);
    }
    assert_eq!(samples(&registry, 0, "errors_total"), [format!("errors_total{{component=\"shop\"}} {}", u64::MAX)]);
}

#[test]
fn float_sums_add_live_and_ended() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&SIZE]);
        let (mut image, [size]) = Image::with(width, [&SIZE]);
        let sum = |expected: &str| {
            let expected = format!("size_ratio_sum{{component=\"shop\"}} {expected}");
            assert_eq!(samples(&registry, 0, "size_ratio_sum"), [expected]);
        };
        let mut living = component.instance();
        // The rounded differences of these do not add up to the last one.
        for (reads, value) in [0.1, 0.30000000000000004, 0.6000000000000001, 0.7].into_iter().enumerate() {
            image.set_f64(size, 0, value);
            image.set(size, 1, reads as u64 + 1);
            image.read(&mut living, 0);
        }
        sum("0.7");
        let mut other = component.instance();
        image.set_f64(size, 0, 1.25);
        image.set(size, 1, 1);
        image.read(&mut other, 0);
        sum("1.95");
        drop(other);
        sum("1.95");
        image.set_f64(size, 0, 10.0);
        image.read_last(component.instance(), 0);
        sum("11.95");
        // NaN changes nothing.
        image.set_f64(size, 0, f64::NAN);
        image.read(&mut living, 0);
        image.read_last(component.instance(), 0);
        sum("11.95");
        drop(living);
        assert_eq!(dropped(&registry), ["decrease 1", "not_a_number 2"]);
    }
}

#[test]
fn touched_series_are_exported_in_order() {
    let (registry, component) = shop(&[&SHARDED]);
    let (mut image, [sharded]) = Image::with(4, [&SHARDED]);
    for shard in [2999, 7, 3000] {
        image.set(sharded, shard, shard as u64);
    }
    image.read_last(component.instance(), 0);
    let expected = [
        "sharded_total{component=\"shop\",shard=\"7\"} 7",
        "sharded_total{component=\"shop\",shard=\"2999\"} 2999",
        "sharded_total{component=\"shop\",shard=\"overflow\"} 3000",
    ];
    assert_eq!(samples(&registry, 0, "sharded_total"), expected);
    // The next snapshot has the rendered labels of the first one.
    assert_eq!(samples(&registry, 0, "sharded_total"), expected);
}

#[test]
fn guest_drops_are_exported() {
    let (registry, component) = shop(&[&ERRORS]);
    let all = samples(&registry, 0, "wasmetry_dropped_total{component=\"shop\"");
    let of_metrics = GuestDropReason::ALL.into_iter().filter(|loss| loss.signal() == "metrics").count();
    assert_eq!(all.len(), of_metrics, "the counters of guest drops start at 0: {all:?}");
    let (mut image, _) = Image::with(8, [&ERRORS]);
    let mut instance = component.instance();
    image.set_loss(GuestDropReason::NoClock, 3);
    image.read(&mut instance, 0);
    image.set_loss(GuestDropReason::NoClock, 5);
    image.set_loss(GuestDropReason::LabelTableFull, 1);
    image.read(&mut instance, 0);
    image.read_last(instance, 0);
    image.read_last(component.instance(), 0);
    assert_eq!(dropped(&registry), ["label_table_full 2", "no_clock 10"]);
}

// A sum that is too large for an `f64` is infinite and stays so, as in other clients.
#[test]
fn sum_that_overflows_is_infinite() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&SIZE, &ENERGY, &BALANCE]);
        let shown =
            || ["size_ratio_sum", "energy_joules_total", "balance_euros"].map(|name| samples(&registry, 0, name));
        let expected = |size: &str, energy: &str, balance: &str| {
            [("size_ratio_sum", size), ("energy_joules_total", energy), ("balance_euros", balance)]
                .map(|(name, value)| vec![format!("{name}{{component=\"shop\"}} {value}")])
        };
        let (mut image, [size, energy, balance]) = Image::with(width, [&SIZE, &ENERGY, &BALANCE]);
        // In one guest.
        for entry in [size, energy] {
            image.set_f64(entry, 0, f64::INFINITY);
        }
        image.set_f64(balance, 0, f64::NEG_INFINITY);
        let mut first = component.instance();
        for _ in 0..3 {
            image.read(&mut first, 0);
            assert_eq!(shown(), expected("+Inf", "+Inf", "-Inf"));
        }
        drop(first);
        assert_eq!(shown(), expected("+Inf", "+Inf", "-Inf"));

        // Of two guests together.
        let (registry, component) = shop(&[&SIZE, &ENERGY, &BALANCE]);
        for entry in [size, energy, balance] {
            image.set_f64(entry, 0, f64::MAX);
        }
        image.read_last(component.instance(), 0);
        image.read_last(component.instance(), 0);
        let shown = ["size_ratio_sum", "energy_joules_total", "balance_euros"].map(|name| samples(&registry, 0, name));
        assert_eq!(shown, expected("+Inf", "+Inf", "+Inf"));
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

// A duration of 9.3e9 s increases a sum by more than 2⁶³ ns.
#[test]
fn greatest_increase_is_no_decrease() {
    let (registry, component) = shop(&[&LATENCY]);
    let (mut image, [latency]) = Image::with(4, [&LATENCY]);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    image.set(latency, 0, 9_300_000_000_000_000_000);
    image.set(latency, 3, 1);
    image.read(&mut instance, 0);
    image.read_last(component.instance(), 0);
    assert_eq!(dropped(&registry), ["out_of_range 2"]);
}

declare!(ENERGY = Descriptor::new(Kind::CounterF64, "energy_joules_total", "Energy.").with_unit("joules"));
declare!(QUEUED = Descriptor::new(Kind::UpDownI64, "jobs_queued", "Jobs."));
declare!(BALANCE = Descriptor::new(Kind::UpDownF64, "balance_euros", "Balance.").with_unit("euros"));
const BUILD: [(&str, &str); 2] = [("commit", "c0ffee"), ("flavour", "or\"ganic")];
declare!(BUILT = Descriptor::new(Kind::Info, "shop_info", "The build.").with_const_labels(&BUILD));

#[test]
fn float_counters_add_live_and_ended() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&ENERGY, &BALANCE]);
        assert_eq!(samples(&registry, 0, "energy_joules_total"), ["energy_joules_total{component=\"shop\"} 0"]);
        let (mut image, [energy, balance]) = Image::with(width, [&ENERGY, &BALANCE]);
        image.set_f64(energy, 0, 1.5);
        image.set_f64(balance, 0, -4.0);
        image.read_last(component.instance(), 0);
        let mut alive = component.instance();
        image.read(&mut alive, 0);
        image.set_f64(energy, 0, 2.25);
        image.set_f64(balance, 0, 1.0);
        image.read(&mut alive, 1);
        image.read(&mut alive, 2);
        assert_eq!(samples(&registry, 2, "energy_joules_total"), ["energy_joules_total{component=\"shop\"} 3.75"]);
        assert_eq!(samples(&registry, 2, "balance_euros"), ["balance_euros{component=\"shop\"} -3"]);
        // A counter that falls or is NaN keeps its value, and continues from there.
        for refused in [2.0, f64::NAN, -1.0] {
            image.set_f64(energy, 0, refused);
            image.read(&mut alive, 3);
        }
        assert_eq!(samples(&registry, 3, "energy_joules_total"), ["energy_joules_total{component=\"shop\"} 3.75"]);
        image.set_f64(energy, 0, 3.0);
        image.read_last(alive, 4);
        assert_eq!(samples(&registry, 4, "energy_joules_total"), ["energy_joules_total{component=\"shop\"} 4.5"]);
        assert_eq!(samples(&registry, 4, "balance_euros"), ["balance_euros{component=\"shop\"} -3"]);
    }
}

#[test]
fn up_down_counters_add_differences() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&QUEUED]);
        // One instance adds five jobs and ends. Another one removes two, then two more.
        let (mut image, [queued]) = Image::with(width, [&QUEUED]);
        image.set(queued, 0, 5);
        image.read_last(component.instance(), 0);
        let mut worker = component.instance();
        for (value, expected) in [(-2i64, 3), (-4, 1), (-4, 1), (-7, -2), (0, 5)] {
            image.set(queued, 0, value.cast_unsigned());
            image.read(&mut worker, 1);
            let line = format!("jobs_queued{{component=\"shop\"}} {expected}");
            assert_eq!(samples(&registry, 1, "jobs_queued"), [line]);
        }
        drop(worker);
        assert_eq!(samples(&registry, 2, "jobs_queued"), ["jobs_queued{component=\"shop\"} 5"]);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

#[test]
fn info_metric_needs_no_instance() {
    let (registry, component) = shop(&[&BUILT]);
    let line = "shop_info{component=\"shop\",commit=\"c0ffee\",flavour=\"or\\\"ganic\"} 1";
    assert_eq!(samples(&registry, 0, "shop_info"), [line]);
    let snapshot = registry.snapshot(Duration::ZERO);
    let text = wasmetry_host::encode::prometheus::encode(&snapshot);
    assert!(text.contains("# TYPE shop_info gauge\n"), "{text}");
    let text = wasmetry_host::encode::openmetrics::encode(&snapshot);
    assert!(text.contains("# TYPE shop info\n# HELP shop The build.\nshop_info{"), "{text}");
    // It has no entry. One that a guest makes is ignored.
    let (image, [_]) = Image::with(4, [&BUILT]);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    image.read_last(instance, 0);
    assert_eq!(samples(&registry, 0, "shop_info"), [line]);
}
