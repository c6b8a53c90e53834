//! The differences between two binaries' declarations, and the alerts that they break.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::Declarations;
use wasmetry_ops::diff::{Change, broken, changes};
use wasmetry_ops::{Component, Objective, Service};

/// Bytes of each record. Help texts are filled up to it.
const RECORD: usize = 512;

fn record(build: &dyn Fn(&str) -> [u8; RECORD], len: usize) -> [u8; RECORD] {
    build(&"x".repeat(RECORD - len))
}

fn counter(name: &str, labels: &[(&str, LabelShape<'_>)]) -> [u8; RECORD] {
    let labels: Vec<LabelSpec<'_>> = labels.iter().map(|(key, shape)| LabelSpec::new(key, *shape)).collect();
    let descriptor = |help| Descriptor::new(Kind::CounterU64, name, help).with_labels(&labels);
    let len = descriptor("").record_len();
    record(&|help| Descriptor::new(Kind::CounterU64, name, help).with_labels(&labels).encode(), len)
}

fn histogram(name: &str, unit: &str, bounds: &[f64]) -> [u8; RECORD] {
    let len = Descriptor::new(Kind::HistogramNanos, name, "").with_unit(unit).with_bounds(bounds).record_len();
    let build =
        |help: &str| Descriptor::new(Kind::HistogramNanos, name, help).with_unit(unit).with_bounds(bounds).encode();
    record(&build, len)
}

fn declarations(records: &[[u8; RECORD]]) -> Declarations {
    let found = Declarations::from_sections(records.iter().map(|record| &record[..]));
    assert_eq!((found.rejected(), found.metrics().len()), (&[][..], records.len()));
    found
}

fn lines(changes: &[Change]) -> Vec<(String, bool)> {
    changes.iter().map(|change| (change.to_string(), change.is_breaking())).collect()
}

#[test]
fn differences_are_found() {
    let values = ["a", "b", "c"];
    let old = declarations(&[
        counter("jobs_done_total", &[("queue", LabelShape::values(&values)), ("shard", LabelShape::Below(4))]),
        counter("old_name_total", &[]),
        counter("removed_total", &[("only", LabelShape::values(&values))]),
        histogram("duration_seconds", "seconds", &[0.1, 0.5, 1.0]),
    ]);
    let new = declarations(&[
        counter("jobs_done_total", &[("queue", LabelShape::values(&values[..2])), ("zone", LabelShape::Below(4))]),
        counter("new_name_total", &[]),
        histogram("duration_seconds", "seconds", &[0.1, 0.4, 1.0]),
    ]);
    let expected = [
        ("duration_seconds: the buckets 0.5 are removed", true),
        ("duration_seconds: the buckets 0.4 are added", false),
        ("jobs_done_total: the label queue no longer has c", true),
        ("jobs_done_total: the label shard is removed", true),
        ("jobs_done_total: the label zone is added", false),
        ("new_name_total: added", false),
        ("old_name_total: removed; new_name_total, which is new, has the same help text, type and labels", true),
        ("removed_total: removed", true),
    ];
    let mut found = lines(&changes(&old, &new));
    // The help texts fill the records, so they differ where the labels do.
    found.retain(|(line, _)| !line.ends_with("help text is another one"));
    assert_eq!(found, expected.map(|(line, is_breaking)| (line.to_owned(), is_breaking)));
    assert_eq!(lines(&changes(&old, &old)), []);
}

/// Alerts about declared metrics are broken by what they use, and by nothing else.
#[test]
fn broken_alerts_are_named() {
    let failed = |bound| counter("uploads_failed_total", &[("shard", LabelShape::Below(bound))]);
    let all = |bound| counter("uploads_total", &[("shard", LabelShape::Below(bound))]);
    let old = declarations(&[all(4), failed(4), histogram("upload_duration_seconds", "seconds", &[0.1, 0.5, 1.0])]);
    let service = Service::new("shop.wasm", vec![Component::new("shop", old.clone())]);
    let names = |new: &Declarations| -> Vec<String> {
        broken(&service.uses(), &changes(&old, new))
            .iter()
            .map(|broken| format!("{} {}", broken.kind, broken.name))
            .collect()
    };
    let rising = ["alert ShopUploadsFailedRising", "panel shop: uploads_failed_total"];
    let high = ["alert ShopUploadDurationSecondsHigh", "panel shop: upload_duration_seconds"];
    let duration = || histogram("upload_duration_seconds", "seconds", &[0.1, 0.5, 1.0]);
    assert_eq!(names(&declarations(&[all(4), duration()])), rising);
    assert_eq!(names(&declarations(&[failed(4), duration()])), [rising[0], "panel shop: uploads_total"]);
    assert_eq!(
        names(&declarations(&[all(4), failed(4)])),
        [high[0], high[1], "panel shop: upload_duration_seconds: buckets"]
    );
    // No alert keeps or matches the label; the panels of both counters keep it.
    assert_eq!(names(&declarations(&[all(2), failed(2), duration()])), [""; 0]);
    let unlabelled = |name| counter(name, &[]);
    let found = names(&declarations(&[unlabelled("uploads_total"), unlabelled("uploads_failed_total"), duration()]));
    assert_eq!(found, ["panel shop: uploads_failed_total", "panel shop: uploads_total"]);
    assert_eq!(names(&old), [""; 0]);
}

/// The alerts of an objective are broken by a metric that its own queries name.
#[test]
fn broken_objectives_are_named() {
    let old = declarations(&[counter("uploads_failed_total", &[]), counter("uploads_total", &[])]);
    let new = declarations(&[counter("uploads_failed_total", &[])]);
    let mut service = Service::new("shop.wasm", vec![Component::new("shop", old.clone())]);
    let objective =
        "name = 'uploads'\nobjective = 99\ngood = 'uploads_total - uploads_failed_total'\ntotal = 'uploads_total'";
    service.add_objective(toml::from_str::<Objective>(objective).unwrap()).unwrap();
    let found = broken(&service.uses(), &changes(&old, &new));
    let objectives: Vec<&str> =
        found.iter().filter(|broken| broken.kind == "objective").map(|broken| broken.name.as_str()).collect();
    assert_eq!(objectives, ["uploads"], "{found:#?}");
}
