//! Metrics in the OpenTelemetry protocol.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::exponential::{SUM, index};
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::encode::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use wasmetry_host::encode::otlp::proto::metrics::v1::exemplar::Value as Observed;
use wasmetry_host::encode::otlp::proto::metrics::v1::metric::Data;
use wasmetry_host::encode::otlp::proto::metrics::v1::number_data_point::Value as Point;
use wasmetry_host::encode::otlp::proto::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};
use wasmetry_host::encode::otlp::{self, Encoding, Period, Process};
use wasmetry_host::{Cursor, Identity, Recording, Registry, Snapshot, Timestamp};

use super::{ENCODINGS, TIME, pairs, string, through};
use crate::image::{Image, declarations, declare, shop};
use crate::json_line::context;
use crate::memory_sink::MemorySink;

const START: u64 = TIME - 60_000_000_000;
const PERIOD: Period = Period::Cumulative { start: START, time: TIME };
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const DELTA: i32 = AggregationTemporality::Delta as i32;

const KIND: [LabelSpec<'static>; 1] = [LabelSpec { key: "kind", shape: LabelShape::values(&["small", "large"]) }];
const OWN: [LabelSpec<'static>; 1] = [LabelSpec { key: "component", shape: LabelShape::values(&["forged"]) }];
declare!(JOBS = Descriptor::new(Kind::CounterU64, "jobs_total", "Jobs done.").with_labels(&KIND));
declare!(COST = Descriptor::new(Kind::CounterF64, "cost_joules_total", "Energy.").with_unit("joules"));
declare!(OPEN = Descriptor::new(Kind::UpDownI64, "open", "Open things."));
declare!(HEAT = Descriptor::new(Kind::GaugeF64, "heat_celsius", "The heat.").with_unit("celsius"));
declare!(
    WAIT = Descriptor::new(Kind::HistogramNanos, "wait_seconds", "Time waited.")
        .with_unit("seconds")
        .with_bounds(&[0.1, 1.0])
);
declare!(DRIFT = Descriptor::new(Kind::HistogramF64, "drift", "Drift.").with_bounds(&[-1.0, 1.0]));
declare!(SIZE = Descriptor::new(Kind::ExponentialF64, "size_bytes", "Size.").with_unit("bytes").with_max_buckets(12));
declare!(CLAIM = Descriptor::new(Kind::CounterU64, "claims_total", "Claims.").with_labels(&OWN));

/// Returns the request that a receiver decodes for a snapshot.
fn received(snapshot: &Snapshot, period: Period, encoding: Encoding) -> ExportMetricsServiceRequest {
    through(encoding, otlp::metrics(snapshot, period, &Process::default(), encoding))
}

fn of(registry: &Registry, encoding: Encoding) -> ExportMetricsServiceRequest {
    received(&registry.snapshot(Duration::ZERO), PERIOD, encoding)
}

/// Returns the only metric with a name.
fn metric<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let mut found = scopes.flat_map(|scope| &scope.metrics).filter(|metric| metric.name == name);
    let metric = found.next().unwrap_or_else(|| panic!("no {name} in {request:#?}"));
    assert!(found.next().is_none(), "more than one {name}");
    metric
}

fn numbers<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a [NumberDataPoint] {
    match metric(request, name).data.as_ref().unwrap() {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    }
}

#[test]
fn counter_is_a_monotonic_sum() {
    for encoding in ENCODINGS {
        let (registry, component) = shop(&[&JOBS, &COST]);
        let (mut image, [jobs, cost]) = Image::with(4, [&JOBS, &COST]);
        image.set(jobs, 0, 3);
        image.set_f64(cost, 0, 0.5);
        image.read_last(component.instance(), 0);
        registry.counter("own_total", "The host's own.", &[]).with(&[]).add(u64::MAX);
        let request = of(&registry, encoding);
        let found = metric(&request, "jobs_total");
        assert_eq!((found.description.as_str(), found.unit.as_str()), ("Jobs done.", ""));
        let Some(Data::Sum(sum)) = &found.data else { panic!("{found:?}") };
        assert_eq!((sum.is_monotonic, sum.aggregation_temporality), (true, CUMULATIVE));
        let [small, large] = &sum.data_points[..] else { panic!("{sum:?}") };
        assert_eq!((pairs(&large.attributes), large.value), (vec![("kind", string("large"))], Some(Point::AsInt(0))));
        assert_eq!(pairs(&small.attributes), [("kind", string("small"))]);
        assert_eq!(small.value, Some(Point::AsInt(3)));
        assert_eq!((small.start_time_unix_nano, small.time_unix_nano), (START, TIME));
        // The protocol's integers have a sign.
        assert_eq!(numbers(&request, "own_total")[0].value, Some(Point::AsDouble(u64::MAX as f64)));
        assert_eq!(metric(&request, "cost_joules_total").unit, "J");
        assert_eq!(numbers(&request, "cost_joules_total")[0].value, Some(Point::AsDouble(0.5)));
    }
}

#[test]
fn up_down_counter_is_a_sum() {
    for encoding in ENCODINGS {
        let (registry, component) = shop(&[&OPEN, &HEAT]);
        let (mut image, [open, heat]) = Image::with(4, [&OPEN, &HEAT]);
        image.set(open, 0, -2i64 as u64);
        image.set_f64(heat, 0, 36.6);
        image.set(heat, 1, 1);
        let mut instance = component.instance();
        image.read(&mut instance, 0);
        let request = of(&registry, encoding);
        let Some(Data::Sum(sum)) = &metric(&request, "open").data else { panic!("{request:?}") };
        assert_eq!((sum.is_monotonic, sum.aggregation_temporality), (false, CUMULATIVE));
        assert_eq!(
            (sum.data_points[0].value, sum.data_points[0].start_time_unix_nano),
            (Some(Point::AsInt(-2)), START)
        );
        let Some(Data::Gauge(gauge)) = &metric(&request, "heat_celsius").data else { panic!("{request:?}") };
        assert_eq!(metric(&request, "heat_celsius").unit, "Cel");
        let point = &gauge.data_points[0];
        assert_eq!(point.value, Some(Point::AsDouble(36.6)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (0, TIME));
        let Some(Data::Gauge(info)) = &metric(&request, "wasmetry_build_info").data else { panic!("{request:?}") };
        assert_eq!(info.data_points[0].value, Some(Point::AsDouble(1.0)));
    }
}

#[test]
fn histogram_has_bounds_and_counts() {
    for encoding in ENCODINGS {
        let (registry, component) = shop(&[&WAIT]);
        let (mut image, [wait]) = Image::with(4, [&WAIT]);
        // The sum, then the buckets.
        for (word, value) in [1_500_000_000, 4, 2, 1].into_iter().enumerate() {
            image.set(wait, word, value);
        }
        image.read_last(component.instance(), 0);
        let request = of(&registry, encoding);
        assert_eq!(metric(&request, "wait_seconds").unit, "s");
        let Some(Data::Histogram(histogram)) = &metric(&request, "wait_seconds").data else { panic!("{request:?}") };
        assert_eq!(histogram.aggregation_temporality, CUMULATIVE);
        let [point] = &histogram.data_points[..] else { panic!("{histogram:?}") };
        assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[4, 2, 1][..], &[0.1, 1.0][..]));
        assert_eq!((point.count, point.sum), (7, Some(1.5)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (START, TIME));
    }
}

#[test]
fn histogram_below_zero_has_no_sum() {
    let (registry, component) = shop(&[&DRIFT]);
    let (mut image, [drift]) = Image::with(4, [&DRIFT]);
    image.set_f64(drift, 0, -5.0);
    image.set(drift, 1, 2);
    image.read_last(component.instance(), 0);
    let request = of(&registry, Encoding::Protobuf);
    let Some(Data::Histogram(histogram)) = &metric(&request, "drift").data else { panic!("{request:?}") };
    assert_eq!((histogram.data_points[0].count, histogram.data_points[0].sum), (2, None));
}

#[test]
fn exponential_histogram_is_exponential() {
    for encoding in ENCODINGS {
        let (registry, component) = shop(&[&SIZE]);
        let (mut image, [size]) = Image::with(4, [&SIZE]);
        let values = [0.0, 0.0, 1.5, 7.25, 7.5, 100.0];
        image.set_exponential(size, 0, &values, 3);
        image.set_f64(size, SUM, values.iter().sum());
        image.read_last(component.instance(), 0);
        let request = of(&registry, encoding);
        assert_eq!(metric(&request, "size_bytes").unit, "By");
        let Some(Data::ExponentialHistogram(histogram)) = &metric(&request, "size_bytes").data else {
            panic!("{request:?}")
        };
        assert_eq!(histogram.aggregation_temporality, CUMULATIVE);
        let [point] = &histogram.data_points[..] else { panic!("{histogram:?}") };
        assert_eq!((point.count, point.zero_count, point.sum), (6, 2, Some(116.25)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (START, TIME));
        assert_eq!(point.negative, None);
        let positive = point.positive.as_ref().unwrap();
        // The finest scale at which 12 buckets hold them.
        assert_eq!((point.scale, positive.offset), (0, index(1.5, 0)));
        let mut expected = vec![0; positive.bucket_counts.len()];
        for value in &values[2..] {
            expected[(index(*value, point.scale) - positive.offset) as usize] += 1;
        }
        assert_eq!(positive.bucket_counts, expected);
        assert_eq!(expected.iter().sum::<u64>(), 4);
    }
}

#[test]
fn deltas_add_up() {
    let (registry, component) = shop(&[&JOBS, &OPEN, &SIZE]);
    let (mut image, [jobs, open, size]) = Image::with(4, [&JOBS, &OPEN, &SIZE]);
    let mut instance = component.instance();
    let mut earlier = Snapshot::default();
    let (mut sum, mut sizes) = (0, 0);
    for (round, (total, level)) in [(3u64, 4i64), (10, 1), (11, 2)].into_iter().enumerate() {
        image.set(jobs, 0, total);
        image.set(open, 0, level as u64);
        image.set_exponential(size, 0, &[1.0, 3.0, 9.0][..=round], 0);
        image.read(&mut instance, 0);
        let now = registry.snapshot(Duration::ZERO);
        let period = Period::Delta { start: START + round as u64, time: TIME + round as u64 };
        let request = received(&now.since(&earlier), period, Encoding::Protobuf);
        earlier = now;
        let Some(Data::Sum(jobs)) = &metric(&request, "jobs_total").data else { panic!("{request:?}") };
        assert_eq!((jobs.aggregation_temporality, jobs.data_points.len()), (DELTA, 1));
        let point = &jobs.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (START + round as u64, TIME + round as u64));
        let Some(Point::AsInt(added)) = point.value else { panic!("{point:?}") };
        sum += added;
        assert_eq!(sum, total as i64);
        assert_eq!(numbers(&request, "open")[0].value, Some(Point::AsInt([4, -3, 1][round])));
        let Some(Data::ExponentialHistogram(size)) = &metric(&request, "size_bytes").data else {
            panic!("{request:?}")
        };
        assert_eq!(size.aggregation_temporality, DELTA);
        sizes += size.data_points[0].count;
        assert_eq!(sizes, round as u64 + 1);
    }
}

#[test]
fn monotonic_delta_keeps_other_totals() {
    let (registry, component) = shop(&[&JOBS, &OPEN, &HEAT, &SIZE, &WAIT]);
    let (mut image, [jobs, open, heat, size, wait]) = Image::with(4, [&JOBS, &OPEN, &HEAT, &SIZE, &WAIT]);
    let mut instance = component.instance();
    let mut previous = Snapshot::default();
    for (round, total) in [3u64, 10, 10].into_iter().enumerate() {
        image.set(jobs, 0, total);
        image.set(open, 0, total);
        image.set_f64(heat, 0, 20.0);
        image.set(heat, 1, 1);
        image.set_exponential(size, 0, &[1.0, 3.0, 9.0][..=round], 0);
        image.set(wait, 1, total);
        image.read(&mut instance, 0);
        let now = registry.snapshot(Duration::ZERO);
        let (since, time) = (START + 10 * round as u64, TIME + round as u64);
        let request = received(
            &now.monotonic_delta(&previous),
            Period::MonotonicDelta { start: START, since, time },
            Encoding::Json,
        );
        previous = now;

        let open = metric(&request, "open");
        let Some(Data::Sum(sum)) = &open.data else { panic!("{open:?}") };
        assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (CUMULATIVE, false));
        assert_eq!((sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano), (START, time));
        assert_eq!(sum.data_points[0].value, Some(Point::AsInt(total as i64)));
        assert_eq!(numbers(&request, "heat_celsius")[0].value, Some(Point::AsDouble(20.0)), "though it is the same");
        let all = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        let names: Vec<&str> = all.flat_map(|scope| &scope.metrics).map(|metric| metric.name.as_str()).collect();
        if round == 2 {
            assert!(!names.contains(&"jobs_total") && !names.contains(&"wait_seconds"), "{names:?}");
            continue;
        }
        let Some(Data::Sum(sum)) = &metric(&request, "jobs_total").data else { panic!("{request:?}") };
        assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (DELTA, true));
        assert_eq!((sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano), (since, time));
        assert_eq!(sum.data_points[0].value, Some(Point::AsInt([3, 7][round])));
        let Some(Data::Histogram(waits)) = &metric(&request, "wait_seconds").data else { panic!("{request:?}") };
        assert_eq!((waits.aggregation_temporality, waits.data_points[0].count), (DELTA, [3, 7][round]));
        assert_eq!(waits.data_points[0].start_time_unix_nano, since);
        let Some(Data::ExponentialHistogram(size)) = &metric(&request, "size_bytes").data else {
            panic!("{request:?}")
        };
        assert_eq!((size.aggregation_temporality, size.data_points[0].count), (DELTA, 1));
    }
}

#[test]
fn chunks_have_each_series_once() {
    let (registry, component) = shop(&[&JOBS, &WAIT, &SIZE, &HEAT]);
    let (mut image, [jobs, wait, size, heat]) = Image::with(4, [&JOBS, &WAIT, &SIZE, &HEAT]);
    image.set(jobs, 1, 5);
    image.set(wait, 1, 2);
    image.set_exponential(size, 0, &[1.0, 3.0, 9.0], 0);
    image.set_f64(heat, 0, 20.0);
    image.set(heat, 1, 1);
    image.read(&mut component.instance(), 0);
    let steps = registry.counter("steps_total", "Steps of \"them\".", &["component", "step"]);
    for step in 0..300 {
        steps.with(&["shop", &"\n".repeat(step % 7)]).inc();
        steps.with(&["other", &step.to_string()]).add(step as u64);
    }
    let snapshot = registry.snapshot(Duration::ZERO);
    let whole = received(&snapshot, PERIOD, Encoding::Protobuf);
    let series = |request: &ExportMetricsServiceRequest| -> Vec<String> {
        let all = request.resource_metrics.iter().flat_map(|of| {
            let metrics = of.scope_metrics.iter().flat_map(|scope| &scope.metrics);
            metrics.flat_map(|metric| {
                let points: Vec<String> = match metric.data.as_ref().unwrap() {
                    Data::Sum(sum) => sum.data_points.iter().map(|point| format!("{point:?}")).collect(),
                    Data::Gauge(gauge) => gauge.data_points.iter().map(|point| format!("{point:?}")).collect(),
                    Data::Histogram(of) => of.data_points.iter().map(|point| format!("{point:?}")).collect(),
                    Data::ExponentialHistogram(of) => of.data_points.iter().map(|point| format!("{point:?}")).collect(),
                    other => panic!("{other:?}"),
                };
                points.into_iter().map(|point| format!("{:?} {} {point}", of.resource, metric.name))
            })
        });
        all.collect()
    };
    let mut expected = series(&whole);
    expected.sort_unstable();
    for bytes in [1, 300, 1000, 5000, 1 << 20] {
        let mut cursor = Cursor::default();
        let parts: Vec<_> = std::iter::from_fn(|| snapshot.chunk(&mut cursor, bytes)).collect();
        let mut found = Vec::new();
        for part in &parts {
            let request = otlp::metrics(part, PERIOD, &Process::default(), Encoding::Protobuf);
            let size = Encoding::Protobuf.encode(&request).len();
            assert!(size <= bytes || part.series_count() == 1, "{size} of {bytes}");
            assert_eq!(otlp::points(&request), part.series_count());
            found.extend(series(&request));
        }
        found.sort_unstable();
        assert_eq!(found, expected, "{bytes}");
        assert_eq!((parts.len() == 1, parts.len() == expected.len()), (bytes > 1 << 19, bytes == 1), "{bytes}");
    }
}

#[test]
fn component_labels_are_resource_attributes() {
    let registry = Registry::new();
    let posts =
        [Identity::new("post").with_version("7").with_tenant("acme"), Identity::new("post").with_tenant("umbra")];
    for (identity, count) in posts.iter().zip([1, 2]) {
        let component = registry.component(identity.clone(), declarations(&[&JOBS, &CLAIM]));
        let (mut image, [jobs, claim]) = Image::with(4, [&JOBS, &CLAIM]);
        image.set(jobs, 0, count);
        image.set(claim, 0, 9);
        image.read_last(component.instance(), 0);
    }
    let request = of(&registry, Encoding::Protobuf);
    let mut found = Vec::new();
    for resource in &request.resource_metrics {
        let attributes = pairs(&resource.resource.as_ref().unwrap().attributes);
        let [scope] = &resource.scope_metrics[..] else { panic!("{resource:?}") };
        assert_eq!(scope.scope.as_ref().unwrap().name, "wasmetry");
        let mut names: Vec<_> = scope.metrics.iter().map(|metric| metric.name.as_str()).collect();
        names.dedup();
        assert_eq!(names.len(), scope.metrics.len(), "a metric stands in a resource once");
        let Some(jobs) = scope.metrics.iter().find(|metric| metric.name == "jobs_total") else { continue };
        let Some(Data::Sum(jobs)) = &jobs.data else { panic!("{jobs:?}") };
        assert_eq!(pairs(&jobs.data_points[0].attributes), [("kind", string("small"))]);
        // A guest cannot set its identity.
        let claims = scope.metrics.iter().find(|metric| metric.name == "claims_total").unwrap();
        let Some(Data::Sum(claims)) = &claims.data else { panic!("{claims:?}") };
        assert_eq!(pairs(&claims.data_points[0].attributes), [("exported_component", string("forged"))]);
        found.push((attributes, jobs.data_points[0].value.unwrap()));
    }
    let post = ("service.name", string("post"));
    let component = ("component", string("post"));
    let acme = vec![post.clone(), ("service.version", string("7")), component.clone(), ("tenant", string("acme"))];
    let umbra = vec![post, component, ("tenant", string("umbra"))];
    assert_eq!(found, [(acme, Point::AsInt(1)), (umbra, Point::AsInt(2))]);
    // Metrics without a component have a resource too.
    let own = request
        .resource_metrics
        .iter()
        .find(|resource| resource.scope_metrics[0].metrics.iter().any(|metric| metric.name == "wasmetry_build_info"));
    let attributes = pairs(&own.unwrap().resource.as_ref().unwrap().attributes);
    assert_eq!(attributes[0], ("service.name", string("wasmetry")));
}

#[test]
fn process_attributes_override_component() {
    let (registry, component) = shop(&[&JOBS]);
    let (mut image, [jobs]) = Image::with(4, [&JOBS]);
    image.set(jobs, 0, 1);
    image.read_last(component.instance(), 0);
    let process = Process::default().with_service_name("mall").with_attribute("deployment.environment.name", "test");
    let request = otlp::metrics(&registry.snapshot(Duration::ZERO), PERIOD, &process, Encoding::Protobuf);
    assert!(!request.resource_metrics.is_empty());
    for resource in &request.resource_metrics {
        let attributes = pairs(&resource.resource.as_ref().unwrap().attributes);
        assert_eq!(attributes[0], ("service.name", string("mall")));
        assert!(attributes.contains(&("deployment.environment.name", string("test"))));
    }
}

#[test]
fn json_omits_nonfinite_numbers() {
    for (encoding, is_there) in [(Encoding::Protobuf, true), (Encoding::Json, false)] {
        let (registry, component) = shop(&[&HEAT]);
        let (mut image, [heat]) = Image::with(4, [&HEAT]);
        image.set_f64(heat, 0, f64::INFINITY);
        image.set(heat, 1, 1);
        let mut instance = component.instance();
        image.read(&mut instance, 0);
        registry.histogram("size", "Sizes.", &[], &[1.0]).with(&[]).observe(f64::INFINITY);
        let request = of(&registry, encoding);
        let mut metrics = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics[0].metrics);
        assert_eq!(metrics.any(|metric| metric.name == "heat_celsius"), is_there);
        let Some(Data::Histogram(size)) = &metric(&request, "size").data else { panic!("{request:?}") };
        assert_eq!((size.data_points[0].count, size.data_points[0].sum.is_some()), (1, is_there));
    }
}

#[test]
fn clock_set_back_keeps_period_valid() {
    let (registry, component) = shop(&[&JOBS]);
    let (mut image, [jobs]) = Image::with(4, [&JOBS]);
    image.set(jobs, 0, 1);
    image.read_last(component.instance(), 0);
    // Another start time would be a reset of the counter in each export.
    for time in [TIME, TIME - 9, TIME - 5] {
        let period = Period::Cumulative { start: TIME + 5, time };
        let request = received(&registry.snapshot(Duration::ZERO), period, Encoding::Protobuf);
        let point = &numbers(&request, "jobs_total")[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (TIME + 5, TIME + 5));
    }
}

#[test]
fn series_starts_at_creation_time() {
    let registry = Registry::with_clock(|| TIME - 5);
    let component = registry.component(Identity::new("shop"), declarations(&[&JOBS, &HEAT, &WAIT, &SIZE]));
    let (mut image, [heat]) = Image::with(4, [&HEAT]);
    image.set(heat, 1, 1);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    let snapshot = registry.snapshot(Duration::ZERO);
    let request = received(&snapshot, PERIOD, Encoding::Protobuf);
    assert_eq!(numbers(&request, "jobs_total")[1].start_time_unix_nano, TIME - 5);
    assert_eq!(numbers(&request, "heat_celsius")[0].start_time_unix_nano, 0);
    let Some(Data::Histogram(wait)) = &metric(&request, "wait_seconds").data else { panic!("{request:?}") };
    assert_eq!((wait.data_points[0].start_time_unix_nano, wait.data_points[0].time_unix_nano), (TIME - 5, TIME));
    // A clock that was set back since then does not change it.
    let period = Period::Cumulative { start: START, time: TIME - 9 };
    let request = received(&snapshot, period, Encoding::Protobuf);
    let point = &numbers(&request, "jobs_total")[0];
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (TIME - 5, TIME - 5));
    // What was added since the last time was added since then.
    let period = Period::Delta { start: TIME - 3, time: TIME };
    let request = received(&snapshot.since(&Snapshot::default()), period, Encoding::Protobuf);
    assert_eq!(numbers(&request, "heat_celsius")[0].time_unix_nano, TIME);
    registry.counter("own_total", "", &[]).with(&[]).inc();
    let changes = registry.snapshot(Duration::ZERO).since(&snapshot);
    let request = received(&changes, period, Encoding::Protobuf);
    assert_eq!(numbers(&request, "own_total")[0].start_time_unix_nano, TIME - 3);
}

#[test]
fn exemplars_belong_to_the_period() {
    for encoding in ENCODINGS {
        let (registry, component) = shop(&[&SIZE]);
        let (mut image, [size]) = Image::with(4, [&SIZE]);
        image.set_exponential(size, 0, &[7.25], 0);
        image.set_f64(size, SUM, 7.25);
        let mut telemetry =
            component.request_telemetry(Arc::new(MemorySink::default()), Arc::new(Recording::default()));
        let context = context(0xabc, 0xdef, 1);
        telemetry.set_context(context, 0);
        let now = Duration::ZERO;
        let now = Timestamp { monotonic: now, wall: TIME - 7 };
        component.instance().read_last(image.view(), now, Some(&mut telemetry));
        let own = registry.histogram("own_seconds", "Own.", &[], &[0.5, 1.0]).with(&[]);
        own.observe_nanos_in(700_000_000, context, START - 1);
        own.observe_nanos_in(1_700_000_000, context, TIME);
        let request = of(&registry, encoding);
        let Some(Data::ExponentialHistogram(histogram)) = &metric(&request, "size_bytes").data else {
            panic!("{request:?}")
        };
        let [exemplar] = &histogram.data_points[0].exemplars[..] else { panic!("{histogram:?}") };
        assert_eq!(exemplar.trace_id, context.trace_id.to_bytes());
        assert_eq!(exemplar.span_id, context.span_id.to_bytes());
        assert_eq!((exemplar.time_unix_nano, exemplar.value), (TIME - 7, Some(Observed::AsDouble(7.25))));
        let Some(Data::Histogram(histogram)) = &metric(&request, "own_seconds").data else { panic!("{request:?}") };
        let [exemplar] = &histogram.data_points[0].exemplars[..] else { panic!("{histogram:?}") };
        assert_eq!((exemplar.time_unix_nano, exemplar.value), (TIME, Some(Observed::AsDouble(1.7))));
    }
}
