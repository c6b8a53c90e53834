//! Reports of answers as Prometheus sends them.

use wasmetry_host::Declarations;

use super::*;
use crate::Component;

fn service() -> Service {
    let declarations = Declarations::from_wasm(b"\0asm\x0d\0\x01\0").unwrap();
    let mut service = Service::new("--config a b.toml", vec![Component::new("sh|op", declarations)]);
    for name in ["availability", "other"] {
        service.add_objective(toml::from_str(&format!("name = '{name}'\nobjective = 99.9")).unwrap()).unwrap();
    }
    service
}

/// Returns an answer with the values of some days.
fn answer(month: Month, tenant: &str, days: &[(u64, f64)]) -> Answer {
    let values: Vec<_> =
        days.iter().map(|(day, value)| serde_json::json!([month.start() + day * DAY, value.to_string()])).collect();
    let metric = serde_json::json!({ "slo": "availability", "component": "sh|op", "tenant": tenant });
    let json = serde_json::json!({
        "status": "success",
        "data": { "resultType": "matrix", "result": [{ "metric": metric, "values": values }] },
    });
    serde_json::from_value(json).unwrap()
}

fn empty() -> Answer {
    serde_json::from_str(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#).unwrap()
}

#[test]
fn month_has_budget_and_worst_days() {
    let month: Month = "2026-11".parse().unwrap();
    let report = Report::new(&service(), month, month.start() + 90 * DAY).unwrap();
    let queries = report.queries();
    assert_eq!(queries.len(), 4);
    assert_eq!(queries[1].query, r#"avg_over_time(slo:bad_events:rate5m{slo="availability",component="sh|op"}[1d])"#);
    assert_eq!((queries[0].start, queries[0].end), (month.start() + DAY, month.start() + 30 * DAY));
    assert!(queries[0].form().contains("query=avg_over_time%28slo%3Aevents%3Arate5m%7Bslo%3D%22avail"));

    // 29 days of 10 events per second; day 7 is missing, day 3 has 0.5% bad events.
    let of = |value: f64| (1..=30).filter(|day| *day != 7).map(|day| (day, value)).collect::<Vec<_>>();
    let mut bad = of(0.0);
    bad[2].1 = 0.05;
    bad[10].1 = 0.01;
    let answers = [answer(month, "acme", &of(10.0)), answer(month, "acme", &bad), empty(), empty()];
    let text = report.markdown(&answers).unwrap();
    // 29 days of 864,000 events allow 25,056 bad ones; 5,184 is 20.7% of that.
    let row = "| availability | sh\\|op | acme | 99.9% | 99.979% | 25056000 | 5184 | 20.689% | yes |";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("| other | sh\\|op | | 99.9% | no data |"), "{text}");
    assert!(text.contains("Days without data: 1 of 30."), "{text}");
    let worst = "| 2026-11-03 | 99.5% | 864000 | 4320 | 17.241% |\n| 2026-11-12 | 99.9% | 864000 | 864 | 3.448% |\n";
    assert!(text.ends_with(worst), "{text}");
    assert!(text.starts_with("# Service levels of 2026-11\n\nGenerated from --config 'a b.toml' by"), "{text}");
    assert!(!text.contains("not over"));
}

#[test]
fn missed_objective_is_not_rounded() {
    let month: Month = "2026-02".parse().unwrap();
    let report = Report::new(&service(), month, month.start() + 3 * DAY + 7).unwrap();
    let days = |value: f64| [(1, value), (2, value), (3, value)];
    let text = |bad: f64| {
        let answers = [answer(month, "", &days(1.0)), answer(month, "", &days(bad)), empty(), empty()];
        report.markdown(&answers).unwrap()
    };
    assert!(text(0.001).contains("| 99.9% | 259200 | 259 | 100% | yes |"), "{}", text(0.001));
    assert!(text(0.001_000_01).contains("| 99.899% | 259200 | 259 | 100.001% | no |"), "{}", text(0.001_000_01));
    assert!(text(0.5).contains("The month is not over: the report ends with 2026-02-03."));
}

#[test]
fn report_errors_have_causes() {
    let month: Month = "2026-11".parse().unwrap();
    let error = |result: Result<String, Error>| result.unwrap_err().to_string();
    let report = Report::new(&service(), month, month.start() + DAY).unwrap();
    let failed: Answer =
        serde_json::from_str(r#"{"status":"error","errorType":"execution","error":"too many samples"}"#).unwrap();
    let message = error(report.markdown(&[failed]));
    assert!(message.contains("too many samples") && message.contains("slo:events:rate5m"), "{message}");
    assert!(error(report.markdown(&[])).contains("there is none"));
    let early = Report::new(&service(), month, month.start() + DAY - 1).unwrap_err().to_string();
    assert!(early.contains("2026-11") && early.contains("no day"), "{early}");
    let none = Service::new("a.wasm", Vec::new());
    assert!(Report::new(&none, month, u64::MAX).unwrap_err().to_string().contains("[[slo]]"));
}
