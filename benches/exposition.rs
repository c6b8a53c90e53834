//! The cost of a scrape of 10,000 counters: 100 names with 100 series each. All rivals have the
//! same labels and values.
//!
//! Every encoder writes to a string that was used before, so that it does not allocate.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prometheus::{IntCounterVec, Opts, TextEncoder};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use wasmetry_benches::{Image, METHODS, ROUTES, Random};
use wasmetry_host::{Registry, Snapshot, encode};

/// Counters of 100 series each.
const COUNTERS: usize = 100;

/// The labels of a series as prometheus-client takes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    component: &'static str,
    route: &'static str,
    method: &'static str,
}

/// Returns the labels of a counter's series, by position.
fn labels() -> impl Iterator<Item = Labels> {
    ROUTES
        .into_iter()
        .flat_map(|route| METHODS.into_iter().map(move |method| Labels { component: "bench", route, method }))
}

fn prometheus_client(image: &Image) -> prometheus_client::registry::Registry {
    let mut registry = prometheus_client::registry::Registry::default();
    for (counter, name) in image.names().iter().enumerate() {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in labels().zip(image.values(counter)) {
            family.get_or_create(&labels).inc_by(value);
        }
        // prometheus-client adds the `_total`.
        let stem = name.strip_suffix("_total").expect("a counter's name");
        registry.register(stem, "Requests by route and method", family);
    }
    registry
}

fn prometheus(image: &Image) -> prometheus::Registry {
    let registry = prometheus::Registry::new();
    for (counter, name) in image.names().iter().enumerate() {
        let options = Opts::new(name, "Requests by route and method.");
        let family = IntCounterVec::new(options, &["component", "route", "method"]).expect("a valid name");
        for (labels, value) in labels().zip(image.values(counter)) {
            family.with_label_values(&[labels.component, labels.route, labels.method]).inc_by(value);
        }
        registry.register(Box::new(family)).expect("nothing else has the name");
    }
    registry
}

/// Returns the number of samples in a text. It shows that no encoder leaves any out.
fn samples(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("bench_")).count()
}

fn exposition(criterion: &mut Criterion) {
    let mut image = Image::new(COUNTERS);
    image.grow(&mut Random::new(1));
    let series = image.series();
    let ours = Registry::new();
    image.read_last(image.declare(&ours).instance());
    image.assert_shown(&ours);

    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Elements(series as u64));
    let mut row = |name: &str, encode: &mut dyn FnMut(&mut String)| {
        let mut text = String::new();
        encode(&mut text);
        assert_eq!(samples(&text), series, "{name}");
        group.bench_function(BenchmarkId::new(name, series), |bencher| {
            bencher.iter(|| {
                text.clear();
                encode(&mut text);
                black_box(text.len())
            });
        });
    };

    let snapshot = |ours: &Registry| -> Snapshot { ours.snapshot(Duration::ZERO) };
    row("wasmetry, prometheus", &mut |text| encode::prometheus::encode_into(&snapshot(&ours), text));
    row("wasmetry, openmetrics", &mut |text| encode::openmetrics::encode_into(&snapshot(&ours), text));
    let client = prometheus_client(&image);
    row("prometheus-client, openmetrics", &mut |text| {
        prometheus_client::encoding::text::encode(text, &client).expect("a string takes everything");
    });
    let rust = prometheus(&image);
    row("prometheus", &mut |text| {
        TextEncoder::new().encode_utf8(&rust.gather(), text).expect("a string takes everything");
    });
    group.finish();
}

criterion_group!(benches, exposition);
criterion_main!(benches);
