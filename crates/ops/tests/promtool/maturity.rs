//! The queries of `docs/maturity.md`, computed by promtool over alerts whose times are known.

use std::fs;
use std::path::Path;

use super::{assert_passes, promtools};

/// Returns the queries of the page: the times that alerts fired, the mean time to repair, and the
/// longest one.
fn queries() -> [String; 3] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/maturity.md");
    let text = fs::read_to_string(path).unwrap();
    let found = text.split("```promql\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().replace('\n', " "));
    found.collect::<Vec<_>>().try_into().expect("the page has three queries")
}

/// An alert fires for 30 and for 10 minutes, 10 and 5 minutes after its condition began to hold;
/// another is pending and never fires.
#[test]
fn times_to_repair_are_computed() {
    let [fired, mean, longest] = queries();
    let file = format!(
        r#"
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - series: 'ALERTS{{alertname="A",alertstate="firing",severity="critical",component="a"}}'
    values: '_x60 1x29 stale _x109 1x9 stale'
  - series: 'ALERTS{{alertname="A",alertstate="pending",severity="critical",component="a"}}'
    values: '_x50 1x9 stale _x134 1x4 stale'
  - series: 'ALERTS_FOR_STATE{{alertname="A",severity="critical",component="a"}}'
    values: '_x50 3000x39 stale _x104 11700x14 stale'
  - series: 'ALERTS{{alertname="B",alertstate="pending",severity="warning",component="b"}}'
    values: '_x50 1x300 stale'
  - series: 'ALERTS_FOR_STATE{{alertname="B",severity="warning",component="b"}}'
    values: '_x50 3000x300 stale'
  promql_expr_test:
  - expr: '{fired}'
    eval_time: 10h
    exp_samples: [{{labels: '{{alertname="A",severity="critical"}}', value: 2}}]
  - expr: '{mean}'
    eval_time: 10h
    exp_samples: [{{labels: '{{alertname="A"}}', value: 1200}}]
  - expr: '{longest}'
    eval_time: 10h
    exp_samples: [{{labels: '{{alertname="A"}}', value: 2340}}]
"#
    );
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("maturity.yml");
    fs::write(&path, file).unwrap();
    for promtool in promtools() {
        assert_passes(&promtool, &["test", "rules"], std::slice::from_ref(&path));
    }
}
