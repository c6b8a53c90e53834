//! The dashboards, judged by Prometheus' checker, Grafana's parser of LogQL, Grafana's types and
//! Grafana's foundation SDK.

mod checker;
mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wasmetry_ops::{Kind, Service, TraceStore, generate};

use super::app::{Random, add_objective, every_alert, every_kind, random_service, storefront};
use super::{assert_passes, promtools, run};
use checker::{parse_logql, read_by_sdk, read_by_types};
use query::{Language, queries, substituted};

/// A dashboard: its path, its text and its value.
struct Dashboard {
    path: String,
    text: String,
    value: Value,
}

fn dashboards(service: &Service) -> Vec<Dashboard> {
    let files = generate(service, Kind::Dashboard, false);
    let dashboards = files.into_iter().filter(|file| file.path.ends_with(".json"));
    dashboards
        .map(|file| {
            let value = serde_json::from_str(&file.contents).unwrap();
            Dashboard { path: file.path, text: file.contents, value }
        })
        .collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns the panels and rows of a dashboard, those in collapsed rows included.
fn panels(dashboard: &Value) -> Vec<&Value> {
    array(&dashboard["panels"]).iter().flat_map(|panel| [panel].into_iter().chain(array(&panel["panels"]))).collect()
}

/// The services whose dashboards have all parts.
fn services() -> Vec<Service> {
    let mut with_tempo = every_kind();
    with_tempo.settings.dashboards.traces = TraceStore::Tempo;
    vec![every_alert(), every_kind(), with_tempo, storefront(), Service::new("none.wasm", Vec::new())]
}

/// Services with random names, metrics, labels and units.
fn random_services() -> Vec<Service> {
    let mut random = Random::new(0xda5b);
    let stores = [TraceStore::Jaeger, TraceStore::Tempo];
    (0..100)
        .map(|number| {
            let mut service = random_service(&mut random, number);
            service.settings.dashboards.traces = stores[number as usize % 2];
            service
        })
        .collect()
}

/// Returns a text for each way in which a dashboard is not well-formed.
fn problems(dashboard: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = BTreeSet::new();
    let number = |value: &Value, key: &str| value["gridPos"][key].as_u64().unwrap();
    for panel in panels(dashboard) {
        let title = &panel["title"];
        if !ids.insert(panel["id"].as_u64().unwrap()) {
            problems.push(format!("two panels have the number of {title}"));
        }
        if number(panel, "x") + number(panel, "w") > 24 || number(panel, "w") == 0 || number(panel, "h") == 0 {
            problems.push(format!("{title} is outside of the grid"));
        }
        let mut names = BTreeSet::new();
        for target in array(&panel["targets"]) {
            if !names.insert(target["refId"].as_str().unwrap()) {
                problems.push(format!("two queries of {title} have one name"));
            }
            if target["datasource"] != panel["datasource"] {
                problems.push(format!("{title} has a query of another data source"));
            }
        }
        if panel["type"] != "row" && names.is_empty() {
            problems.push(format!("{title} has no query"));
        }
    }
    // A collapsed row is a grid of its own.
    let top = array(&dashboard["panels"]);
    let grids = [top].into_iter().chain(top.iter().map(|row| array(&row["panels"])));
    for grid in grids {
        for (i, a) in grid.iter().enumerate() {
            for b in &grid[..i] {
                let apart = |start, length| {
                    number(a, start) + number(a, length) <= number(b, start)
                        || number(b, start) + number(b, length) <= number(a, start)
                };
                if !apart("x", "w") && !apart("y", "h") {
                    problems.push(format!("{} overlaps {}", a["title"], b["title"]));
                }
            }
        }
    }
    let variables: BTreeSet<&str> =
        array(&dashboard["templating"]["list"]).iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    check_sources(dashboard, &variables, &mut problems);
    problems
}

/// Every data source is a variable that the dashboard has.
fn check_sources(value: &Value, variables: &BTreeSet<&str>, problems: &mut Vec<String>) {
    if let Some(source) = value.get("datasource") {
        let uid = source["uid"].as_str().unwrap_or_default();
        let name = uid.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if !name.is_some_and(|name| variables.contains(name)) {
            problems.push(format!("the data source {source} is no variable"));
        }
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| check_sources(item, variables, problems)),
        Value::Object(fields) => fields.values().for_each(|field| check_sources(field, variables, problems)),
        _ => {}
    }
}

/// Writes dashboards into a directory, each with a number.
fn write(directory: &Path, dashboards: &[Dashboard]) -> Vec<PathBuf> {
    let write = |(number, dashboard): (usize, &Dashboard)| {
        let path = directory.join(format!("{number}-{}", dashboard.path));
        fs::write(&path, &dashboard.text).unwrap();
        path
    };
    dashboards.iter().enumerate().map(write).collect()
}

/// Returns a rule file that records each expression. JSON is YAML.
fn rules(expressions: &[String]) -> String {
    let rule =
        |(number, expr): (usize, &String)| serde_json::json!({ "record": format!("query:{number}"), "expr": expr });
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    serde_json::json!({ "groups": [{ "name": "dashboards", "rules": rules }] }).to_string()
}

/// All checks of the dashboards of some services.
fn check(services: &[Service]) {
    let scratch = tempfile::tempdir().unwrap();
    let promtools = promtools();
    let (mut all, mut logql) = (Vec::new(), BTreeSet::new());
    for (number, service) in services.iter().enumerate() {
        let dashboards = dashboards(service);
        let uids: BTreeSet<&str> =
            dashboards.iter().map(|dashboard| dashboard.value["uid"].as_str().unwrap()).collect();
        assert_eq!(uids.len(), dashboards.len(), "{uids:?}");
        assert!(uids.iter().all(|uid| uid.len() <= 40), "{uids:?}");
        let mut promql = Vec::new();
        for dashboard in &dashboards {
            assert_eq!(problems(&dashboard.value), Vec::<String>::new(), "{}", dashboard.path);
            assert!(dashboard.value["description"].as_str().unwrap().contains("wasmetry ops"), "{}", dashboard.path);
            for query in queries(&dashboard.value) {
                match query.language {
                    Language::PromQl => promql.push(substituted(&query.text)),
                    Language::LogQl => {
                        // Grafana escapes a variable for a text in double quotes.
                        assert!(!query.text.contains("`$"), "{}", query.text);
                        logql.insert(substituted(&query.text));
                    }
                }
            }
        }
        assert!(promql.len() > 80, "{} queries", promql.len());
        let path = scratch.path().join(format!("{number}.yml"));
        fs::write(&path, rules(&promql)).unwrap();
        // With many services, the versions take turns.
        let skip = if services.len() > 10 { number % promtools.len().max(1) } else { 0 };
        let take = if services.len() > 10 { 1 } else { promtools.len() };
        for promtool in promtools.iter().skip(skip).take(take) {
            assert_passes(promtool, &["check", "rules"], std::slice::from_ref(&path));
        }
        all.extend(dashboards);
    }
    let logql: Vec<String> = logql.into_iter().collect();
    parse_logql(&logql).assert_accepted();
    let paths = write(scratch.path(), &all);
    read_by_types(&paths).assert_accepted();
    read_by_sdk(&paths).assert_accepted();
}

/// Every query parses, every field is Grafana's, and the panels are beside each other.
#[test]
fn dashboards_are_valid() {
    check(&services());
}

/// So it is with random metrics, labels and units, with none at all, and with names of the longest
/// length.
#[test]
fn random_dashboards_are_valid() {
    check(&random_services());
}

/// Each exported metric has a panel of its name in a dashboard of declared metrics.
#[test]
fn declared_metrics_have_panels() {
    for service in services().iter().chain(&random_services()) {
        let dashboards = dashboards(service);
        let metrics = dashboards.iter().filter(|dashboard| dashboard.path.starts_with("grafana-metrics"));
        let mut titles: BTreeMap<&str, usize> = BTreeMap::new();
        for panel in metrics.flat_map(|dashboard| panels(&dashboard.value)).filter(|panel| panel["type"] != "row") {
            *titles.entry(panel["title"].as_str().unwrap()).or_default() += 1;
        }
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        for component in &service.components {
            let names: BTreeSet<&str> =
                component.declarations.metrics().iter().map(|metric| metric.name.as_str()).collect();
            for name in names {
                *expected.entry(name).or_default() += 1;
            }
        }
        for (name, count) in expected {
            assert_eq!(titles.get(name), Some(&count), "{name} of {}", service.source);
        }
    }
}

/// A metric is drawn by its kind, its merge rule and its unit, with its labels.
#[test]
fn kinds_are_drawn_differently() {
    let dashboards = dashboards(&every_kind());
    let dashboard = dashboards.iter().find(|dashboard| dashboard.path == "grafana-metrics.json").unwrap();
    let panel = |title: &str| {
        let found = panels(&dashboard.value).into_iter().find(|panel| panel["title"] == title).unwrap();
        let query = &found["targets"][0];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let unit = found["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default().to_owned();
        (text(&found["type"]), unit, text(&query["expr"]), text(&query["legendFormat"]))
    };
    let own = r#"{job="wasmetry",component="shop",component=~"$component",tenant=~"$tenant",instance=~"$instance"}"#;
    let cases = [
        (
            "read_bytes_total",
            "timeseries",
            "binBps",
            format!(
                "sum by (exported_component, exported_tenant, exported_exported_tenant) (rate(read_bytes_total{own}[$__rate_interval]))"
            ),
            "{{exported_component}} {{exported_tenant}} {{exported_exported_tenant}}",
        ),
        (
            "items_sold_total",
            "timeseries",
            "cps",
            format!("topk(20, sum by (item) (rate(items_sold_total{own}[$__rate_interval])))"),
            "{{item}}",
        ),
        ("open_files", "timeseries", "suffix:files", format!("sum by () (open_files{own})"), "open_files"),
        ("depth_max", "timeseries", "short", format!("max by (queue) (depth_max{own})"), "{{queue}}"),
        ("depth_min", "timeseries", "short", format!("min by (queue) (depth_min{own})"), "{{queue}}"),
        ("depth_all", "timeseries", "short", format!("sum by (queue) (depth_all{own})"), "{{queue}}"),
        (
            "depth_last",
            "timeseries",
            "short",
            format!("max by (queue, instance) (depth_last{own})"),
            "{{queue}} {{instance}}",
        ),
        ("room_celsius", "timeseries", "celsius", format!("sum by () (room_celsius{own})"), "room_celsius"),
        (
            "sent_bytes",
            "timeseries",
            "bytes",
            format!("histogram_quantile(0.5, sum by (le) (rate(sent_bytes_bucket{own}[$__rate_interval])))"),
            "P50",
        ),
        (
            "sent_bytes: buckets",
            "heatmap",
            "",
            format!("sum by (le) (rate(sent_bytes_bucket{own}[$__rate_interval]))"),
            "{{le}}",
        ),
        (
            "wait_seconds",
            "timeseries",
            "s",
            format!(
                "histogram_quantile(0.5, sum by () (rate(wait_seconds{own}[$__rate_interval])))\n\
                 or histogram_quantile(0.5, sum by (le) (rate(wait_seconds_bucket{own}[$__rate_interval])))"
            ),
            "P50",
        ),
        ("app_info", "table", "", format!("group by (version, instance, commit) (app_info{own})"), ""),
    ];
    for (title, r#type, unit, expr, legend) in cases {
        assert_eq!(panel(title), (r#type.to_owned(), unit.to_owned(), expr, legend.to_owned()), "{title}");
    }
}

/// Objectives have a dashboard, with the burn rates at which their alerts fire.
#[test]
fn objectives_have_dashboard() {
    let slo =
        |service: &Service| dashboards(service).into_iter().find(|dashboard| dashboard.path == "grafana-slo.json");
    let mut service = storefront();
    assert!(slo(&service).is_none());
    add_objective(&mut service, "name = 'availability'\nobjective = 99.9");
    let burns = |service: &Service| -> Vec<(String, Option<f64>)> {
        let dashboard = slo(service).unwrap();
        let is_burn = |panel: &&Value| panel["title"].as_str().unwrap().starts_with("Burn rate, ");
        let burns = panels(&dashboard.value).into_iter().filter(is_burn);
        let line = |panel: &Value| panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"].as_f64();
        burns.map(|panel| (panel["title"].as_str().unwrap().replace("Burn rate, ", ""), line(panel))).collect()
    };
    let windows = |lines: [Option<f64>; 4]| -> Vec<_> {
        ["1h", "6h", "1d", "3d"].into_iter().map(str::to_owned).zip(lines).collect()
    };
    assert_eq!(burns(&service), windows([Some(14.4), Some(6.0), Some(3.0), Some(1.0)]));
    // Periods that differ have different burn rates.
    add_objective(&mut service, "name = 'speed'\nobjective = 99\nlatency = '250ms'\nwindow = '7d'");
    assert_eq!(burns(&service), windows([None; 4]));
}

/// Each query of a dashboard returns data where every series exists.
#[test]
fn queries_return_data() {
    let scratch = tempfile::tempdir().unwrap();
    for (number, service) in [every_alert(), every_kind()].iter().enumerate() {
        let mut promql = BTreeSet::new();
        for dashboard in dashboards(service) {
            promql.extend(query::of_panels(&dashboard.value));
        }
        let path = scratch.path().join(format!("{number}.yml"));
        fs::write(&path, query::test_file(&promql)).unwrap();
        for promtool in promtools() {
            assert_passes(&promtool, &["test", "rules"], std::slice::from_ref(&path));
        }
    }
    // A query whose sides have different labels is found.
    let promql = BTreeSet::from(["sum by (component) (a) / sum by (tenant) (b)".to_owned()]);
    let path = scratch.path().join("mismatch.yml");
    fs::write(&path, query::test_file(&promql)).unwrap();
    for promtool in promtools() {
        assert!(!run(&promtool, &["test", "rules"], std::slice::from_ref(&path)).status.success());
    }
}

/// The checks find faults, so that their success means something.
#[test]
fn checks_find_faults() {
    let storefront = dashboards(&storefront());
    let service = storefront.iter().find(|dashboard| dashboard.path == "grafana-dashboard.json").unwrap();
    let at = |r#type: &str| {
        array(&service.value["panels"]).iter().position(|panel| panel["type"] == r#type).unwrap().to_string()
    };
    let (stat, series, heatmap) = (at("stat"), at("timeseries"), at("heatmap"));
    let set = |pointer: &str, key: &str, new: Value| {
        let mut changed = service.value.clone();
        changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(key.to_owned(), new);
        changed
    };
    let unknown: [(String, &str); 5] = [
        (String::new(), "panel"),
        (format!("/panels/{stat}/gridPos"), "width"),
        (format!("/panels/{stat}/targets/0"), "query"),
        (format!("/panels/{heatmap}/options"), "legends"),
        (format!("/panels/{series}/fieldConfig/defaults/custom"), "style"),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let write = |name: String, changed: Value| {
        let path = scratch.path().join(&name);
        fs::write(&path, changed.to_string()).unwrap();
        (name.replace(".json", ""), path)
    };
    let unknown =
        unknown.iter().map(|(pointer, key)| write(format!("unknown-{key}.json"), set(pointer, key, 1.into())));
    let (mut names, mut paths): (Vec<String>, Vec<PathBuf>) = unknown.unzip();
    read_by_sdk(&paths).assert_refused(&names);
    let wrong = [
        (format!("/panels/{series}/options/legend"), "displayMode", "lists"),
        (format!("/panels/{stat}/targets/0"), "format", "timeseries"),
        (format!("/panels/{stat}/datasource"), "uid", "prometheus"),
    ];
    for (pointer, key, value) in wrong {
        let (name, path) = write(format!("wrong-{key}.json"), set(&pointer, key, value.into()));
        names.push(name);
        paths.push(path);
    }
    read_by_types(&paths).assert_refused(&names);

    let moved = set(&format!("/panels/{stat}/gridPos"), "w", 5.into());
    let renumbered = set(&format!("/panels/{stat}"), "id", 1.into());
    let fixed = set(&format!("/panels/{stat}/targets/0/datasource"), "uid", "prometheus".into());
    for changed in [moved, renumbered, fixed] {
        assert_ne!(problems(&changed), Vec::<String>::new());
    }
    let bad = ["", "{a=`b`", "{a=~`.*`}", "sum(rate({a=`b`}))"].map(str::to_owned);
    parse_logql(&bad).assert_refused(&["0: ", "1: ", "2: ", "3: "].map(str::to_owned));
}

/// The dashboards of `examples/storefront` are those that were read last.
#[test]
fn storefront_matches_golden() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtool/storefront");
    let files: Vec<_> = generate(&storefront(), Kind::Dashboard, false)
        .into_iter()
        .filter(|file| file.path.starts_with("grafana-"))
        .collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let _ = fs::remove_dir_all(&folder);
        super::write(&folder, &files);
    }
    let names: BTreeSet<String> = fs::read_dir(&folder)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    assert_eq!(names, files.iter().map(|file| file.path.clone()).collect(), "run it with UPDATE_EXPECT=1");
    for file in files {
        let golden = fs::read_to_string(folder.join(&file.path)).unwrap();
        assert!(
            golden == file.contents,
            "{} has changed: run it with UPDATE_EXPECT=1, and read the difference",
            file.path
        );
    }
}
