//! Labels in the text formats, compared with a plain renderer, and expositions in chunks.

use std::time::Duration;

use proptest::prelude::*;
use wasmetry_host::encode::{Exposition, openmetrics, prometheus};
use wasmetry_host::handle_api::Descriptor;
use wasmetry_host::{Declarations, Identity, Registry, Snapshot};

/// Renders labels from left to right. Those with empty values are absent.
fn render<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut labels = Vec::new();
    for (key, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        labels.push(format!("{key}=\"{value}\""));
    }
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

/// A text with characters that formats escape, or that separate labels in a text.
fn awkward() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        3 => prop_oneof![Just('\\'), Just('"'), Just('\n'), Just('\r'), Just('{'), Just('}'), Just(','), Just('=')],
        2 => prop_oneof![Just(' '), Just('n'), Just('a'), Just('ü'), Just('東'), Just('\u{2028}'), Just('\0')],
    ];
    proptest::collection::vec(char, 0..6).prop_map(String::from_iter)
}

fn lines<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    // A carriage return is no end of a line.
    text.split('\n').filter(move |line| line.starts_with(name) && !line[name.len()..].starts_with(['_', 's']))
}

/// Returns the chunks of an exposition.
fn chunks(mut exposition: Exposition, size: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = exposition.next_chunk(size) {
        assert!(!chunk.is_empty());
        all.extend(chunk);
    }
    assert_eq!(exposition.next_chunk(size), None);
    all
}

/// Compares expositions in chunks of at least so many bytes with whole ones, in each format.
pub(crate) fn assert_chunks(snapshot: &Snapshot, size: usize) {
    let whole = prometheus::encode(snapshot);
    assert_eq!(chunks(Exposition::prometheus(snapshot.clone()), size), whole.as_bytes());
    let whole = openmetrics::encode(snapshot);
    assert_eq!(chunks(Exposition::openmetrics(snapshot.clone(), false), size), whole.as_bytes());
    let whole = openmetrics::encode_with_created(snapshot);
    assert_eq!(chunks(Exposition::openmetrics(snapshot.clone(), true), size), whole.as_bytes());
    #[cfg(feature = "protobuf")]
    {
        let whole = wasmetry_host::encode::protobuf::encode(snapshot);
        assert_eq!(chunks(Exposition::protobuf(snapshot.clone()), size), whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The labels of the host's families and of the handle API.
    #[test]
    fn rendered_labels_are_exact(
        values in proptest::collection::vec([awkward(), awkward()], 1..6),
        identity in [awkward(), awkward()],
        size in 1..300usize,
    ) {
        let registry = Registry::with_clock(|| 5);
        let host = registry.counter("jobs_total", "Jobs.", &["a", "b"]);
        let waits = registry.histogram("wait", "Wait.", &["a", "b"], &[0.5]);
        let [version, tenant] = &identity;
        let identity = Identity::new("shop").with_version(version.as_str()).with_tenant(tenant.as_str());
        let component = registry.component(identity, Declarations::default());
        let mut recorder = component.recorder();
        let visits = Descriptor { name: "visits_total", help: "Visits.", unit: "" };
        for [a, b] in &values {
            host.with(&[a, b]).inc();
            waits.with(&[a, b]).observe(0.1);
            recorder.counter(&visits, &[("a", a), ("b", b)]).unwrap().inc();
        }
        let mut unique = values.clone();
        unique.sort();
        unique.dedup();
        let count = |value: &[String; 2]| values.iter().filter(|other| *other == value).count();

        let snapshot = registry.snapshot(Duration::ZERO);
        let text = prometheus::encode(&snapshot);
        let pairs = |[a, b]: &'_ [String; 2]| [("a".to_owned(), a.clone()), ("b".to_owned(), b.clone())];
        let rendered = |value: &[String; 2], more: &[(&str, &str)], end: &[(&str, &str)]| {
            let pairs = pairs(value);
            let own = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            render(more.iter().copied().chain(own).chain(end.iter().copied()))
        };
        let mut expected: Vec<String> =
            unique.iter().map(|value| format!("jobs_total{} {}", rendered(value, &[], &[]), count(value))).collect();
        expected.sort();
        let mut found: Vec<&str> = lines(&text, "jobs_total").collect();
        found.sort_unstable();
        prop_assert_eq!(found, expected);

        let of_guest = [("component", "shop"), ("version", version.as_str()), ("tenant", tenant.as_str())];
        let mut expected: Vec<String> = unique
            .iter()
            .map(|value| format!("visits_total{} {}", rendered(value, &of_guest, &[]), count(value)))
            .collect();
        expected.sort();
        let mut found: Vec<&str> = lines(&text, "visits_total").collect();
        found.sort_unstable();
        prop_assert_eq!(found, expected);

        let mut expected: Vec<String> = unique
            .iter()
            .flat_map(|value| ["0.5", "+Inf"].map(|le| {
                format!("wait_bucket{} {}", rendered(value, &[], &[("le", le)]), count(value))
            }))
            .collect();
        expected.sort();
        let mut found: Vec<&str> = lines(&text, "wait_bucket").collect();
        found.sort_unstable();
        prop_assert_eq!(found, expected);

        // The labels themselves are what was recorded.
        let family = snapshot.families().find(|family| family.name() == "visits_total").unwrap();
        for series in family.series() {
            let labels: Vec<(String, String)> =
                series.labels().map(|(key, value)| (key.to_owned(), value.into_owned())).collect();
            let own = |key: &str| labels.iter().find(|(own, _)| own == key).map_or("", |(_, value)| value).to_owned();
            prop_assert!(unique.contains(&[own("a"), own("b")]), "{:?}", labels);
            prop_assert!(labels.iter().all(|(_, value)| !value.is_empty()));
        }
        // A second exposition has the kept rendering.
        prop_assert_eq!(prometheus::encode(&registry.snapshot(Duration::ZERO)), text);
        assert_chunks(&snapshot, size);
    }
}

#[test]
fn empty_snapshot_has_no_chunk() {
    assert_chunks(&Snapshot::default(), 1);
    assert_eq!(chunks(Exposition::openmetrics(Snapshot::default(), false), 1), b"# EOF\n");
}

/// Rows that were found after an exposition are rendered in the next one.
#[test]
fn later_series_are_rendered() {
    let registry = Registry::new();
    let jobs = registry.counter("jobs_total", "", &["queue"]);
    jobs.with(&["b"]).inc();
    let earlier = registry.snapshot(Duration::ZERO);
    let text = prometheus::encode(&earlier);
    jobs.with(&["a"]).inc();
    let later = registry.snapshot(Duration::ZERO);
    assert_eq!(prometheus::encode(&earlier), text, "a snapshot does not change");
    let rest = text.replace("jobs_total{queue=\"b\"}", "jobs_total{queue=\"a\"} 1\njobs_total{queue=\"b\"}");
    assert_eq!(prometheus::encode(&later), rest);
    let changes = later.since(&earlier);
    assert_eq!(changes.series_count(), 1);
}
