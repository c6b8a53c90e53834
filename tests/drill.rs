//! Drills: injected faults reach the counters of real ones, and each alert fires in a real
//! Prometheus and Alertmanager, reaches a receiver, and resolves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "drill/expression.rs"]
mod expression;
#[path = "drill/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use stage::{Stage, control, drill, drills, wait_for_drill};
use wasmetry_tests::backend::alertmanager::ActiveAlert;
use wasmetry_tests::backend::daemon::{free_addresses, until};
use wasmetry_tests::backend::webhook::{Notified, Webhook};
use wasmetry_tests::exposition::sum;
use wasmetry_tests::server::{Server, agent, command, get};
use wasmetry_tests::{guest, root};

/// The token of the tests.
const TOKEN: &str = "0123456789abcdef-of-drills";

/// The alerts that have no drill: each is made to fire directly, or tested by promtool.
const DIRECT: [&str; 7] = [
    "ShopDown",
    "ShopConfigReloadFailed",
    "ShopAbsent",
    "ShopNoTraffic",
    "ShopTrafficAnomaly",
    "ShopLatencyAnomaly",
    "ShopNewVersion",
];

/// Serves the shop with drills. Returns the server and the directory with the token's file.
fn serve(destination: Option<&Webhook>) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let variables = destination.map_or(Vec::new(), |sink| {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url("")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200".to_owned()),
        ]
    });
    let arguments = [
        "--name",
        "shop",
        "--allow-drills",
        "--telemetry-token-file",
        token.to_str().unwrap(),
        "--max-concurrent-requests",
        "20",
    ];
    (Server::start_with(&guest("shop"), &arguments, &variables), directory)
}

/// Each fault travels the counters that a real one does, in the share that the lease has, and is
/// counted as a drill's.
#[test]
fn faults_reach_real_counters() {
    const REQUESTS: f64 = 20.0;
    let sink = Webhook::start("");
    let (server, _directory) = serve(Some(&sink));
    let agent = agent();
    let known = drills(&server, TOKEN);
    let without: Vec<&str> = known
        .iter()
        .filter(|drill| !drill["refused"].is_null())
        .map(|drill| drill["alert"].as_str().unwrap())
        .collect();
    // Without a configuration, none is reloaded.
    assert_eq!(without, DIRECT.iter().copied().filter(|alert| *alert != "ShopConfigReloadFailed").collect::<Vec<_>>());
    // The alert, the metric that shows it, its labels, and its rise for each request.
    let half = REQUESTS / 2.0;
    type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], f64);
    let cases: [Case; 13] = [
        ("ShopHighErrorRate", "wasm_http_requests_total", &[("status", "500")], half),
        ("ShopTrapRate", "wasm_traps_total", &[("reason", "unreachable")], half),
        ("ShopDeadlineKills", "wasm_traps_total", &[("reason", "deadline")], half),
        ("ShopOutOfMemory", "wasm_traps_total", &[("reason", "out_of_memory")], half),
        ("ShopRequestsRefused", "wasm_requests_refused_total", &[("reason", "queue_full")], half),
        ("ShopErrorLogsRising", "wasm_log_records_total", &[("level", "error"), ("version", "drill")], half),
        ("ShopTelemetryDropped", "wasmetry_dropped_total", &[("reason", "handle_limit")], 100.0 * half),
        ("ShopCardinalityOverflow", "wasmetry_dropped_total", &[("reason", "label_too_long")], half),
        ("ShopHttpRequestsFailedRising", "http_requests_failed_total", &[("version", "drill")], half),
        ("ShopHttpRequestDurationSecondsHigh", "http_request_duration_seconds_count", &[("version", "drill")], half),
        ("ShopHighLatency", "wasm_http_request_duration_seconds_bucket", &[("le", "0.5")], half),
        ("ShopMemoryNearLimit", "wasm_instance_memory_peak_ratio_bucket", &[("le", "0.8")], half),
        ("ShopRequestsWaiting", "wasm_http_request_duration_seconds_bucket", &[("le", "1.0")], half),
    ];
    for (alert, metric, labels, rise) in cases {
        let before = server.scrape();
        let share = if alert == "ShopRequestsWaiting" { 0.1 } else { 0.5 };
        let (status, started) = control(&server, TOKEN, "PUT", &json!({"alert": alert, "seconds": 60, "share": share}));
        assert_eq!(status, 200, "{alert}: {started}");
        for _ in 0..REQUESTS as u32 {
            get(&agent, &format!("{}/", server.url));
        }
        let (status, ended) = control(&server, TOKEN, "DELETE", &json!({"alert": alert}));
        assert_eq!(status, 200, "{alert}: {ended}");
        let of_drill = [("alert", alert)];
        let rise = if share < 0.5 { REQUESTS - REQUESTS * share } else { rise };
        let faults = REQUESTS * share;
        let found = |text: &str, metric: &str, labels: &[(&str, &str)]| {
            sum(text, metric, labels) - sum(&before, metric, labels)
        };
        let after = server.scrape_until(|text| (found(text, metric, labels) - rise).abs() < 0.1);
        assert!((found(&after, "wasmetry_drill_faults_total", &of_drill) - faults).abs() < 0.1, "{alert}: {after}");
        // After the end, no request has the fault.
        get(&agent, &format!("{}/", server.url));
        let later = server.scrape();
        assert!((found(&later, "wasmetry_drill_faults_total", &of_drill) - faults).abs() < 0.1, "{alert}: {later}");
    }
    // A gauge or an up/down counter is at its limit for as long as the drill lasts.
    let of_drill = |text: &str, name: &str| sum(text, name, &[("version", "drill")]);
    for (alert, name) in [("ShopOrdersWaitingNearLimit", "orders_waiting"), ("ShopCartsOpenNearLimit", "carts_open")] {
        control(&server, TOKEN, "PUT", &json!({"alert": alert, "seconds": 60, "share": 0.9}));
        for _ in 0..4 {
            get(&agent, &format!("{}/", server.url));
        }
        let limit = format!("{name}_limit");
        server.scrape_until(|text| of_drill(text, name) == 1e9 && of_drill(text, &limit) == 1e9);
        control(&server, TOKEN, "DELETE", &json!({"alert": alert}));
        server.scrape_until(|text| of_drill(text, name) == 0.0 && of_drill(text, &limit) == 0.0);
    }
    // Exports fail without requests of the service.
    for (alert, outcome) in [("ShopExportFailing", "retried"), ("ShopExportDropping", "refused")] {
        control(&server, TOKEN, "PUT", &json!({"alert": alert, "seconds": 60}));
        let labels = [("outcome", outcome), ("signal", "metrics")];
        server.scrape_until(|text| sum(text, "wasmetry_export_requests_total", &labels) >= 2.0);
        control(&server, TOKEN, "DELETE", &json!({"alert": alert}));
    }
    // Instances are taken, and given back when the lease ends.
    let taken = |text: &str| sum(text, "wasm_instances", &[]);
    control(&server, TOKEN, "PUT", &json!({"alert": "ShopInstancesSaturated", "seconds": 60}));
    server.scrape_until(|text| taken(text) == 19.0);
    assert_eq!(get(&agent, &format!("{}/", server.url)).0, 200, "one instance is left");
    control(&server, TOKEN, "DELETE", &json!({"alert": "ShopInstancesSaturated"}));
    server.scrape_until(|text| taken(text) == 0.0);
    assert!(server.stop().0.success());
}

/// A lease that is not renewed ends by itself; one that is renewed lasts. Its values are bounded,
/// and one component has one drill at a time.
#[test]
fn leases_end_by_themselves() {
    let (server, _directory) = serve(None);
    let lease =
        |alert: &str, seconds: f64| control(&server, TOKEN, "PUT", &json!({"alert": alert, "seconds": seconds}));
    let (status, shown) = lease("ShopHighErrorRate", 0.5);
    assert_eq!(status, 200, "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["is_active"], &shown["route"], &shown["fault"]), (&json!(true), &json!("/"), &json!("error")));
    let is_active = || drills(&server, TOKEN).iter().any(|drill| drill["is_active"] == true);
    assert!(until(|| (!is_active()).then_some(()), || false).is_some(), "the lease has ended");
    assert_eq!(lease("ShopHighErrorRate", 0.1).0, 200);
    assert_eq!(lease("ShopHighErrorRate", 60.0).0, 200, "it is renewed, or begins again");
    let (status, text) = lease("ShopTrapRate", 60.0);
    assert_eq!((status, text.contains("ShopHighErrorRate is drilled on the same component")), (409, true), "{text}");
    for (body, status, part) in [
        (json!({"alert": "ShopHighErrorRate", "seconds": 61}), 400, "`seconds` is not above 0 and up to 60"),
        (json!({"alert": "ShopHighErrorRate", "seconds": -1}), 400, "`seconds`"),
        (json!({"alert": "ShopHighErrorRate", "seconds": 1, "share": 1}), 400, "`share` is not above 0 and up to 0.9"),
        (json!({"alert": "ShopHighErrorRate"}), 400, "missing field `seconds`"),
        (json!({"alert": "ShopHighErrorRate", "seconds": 1, "x": 1}), 400, "unknown field `x`"),
        (json!({"alert": "Other", "seconds": 1}), 404, "there is no alert `Other`"),
        (json!({"alert": "ShopDown", "seconds": 1}), 409, "stop one"),
        (json!({"alert": "ShopExportFailing", "seconds": 1}), 409, "give it one, such as --otlp"),
        (json!({"alert": "ShopHighErrorRate", "seconds": 1, "share": 0.5}), 409, "has the share 0.25"),
        (json!({"alert": "ShopHighErrorRate", "seconds": 1, "route": "/other"}), 409, "has the route `/`"),
        (json!({"alert": "ShopInstancesSaturated", "seconds": 1, "share": 0.5}), 400, "leave out `share`"),
        (json!({"alert": "ShopExportFailing", "seconds": 1, "share": 0.5}), 400, "leave out `share`"),
        (json!({"alert": "ShopExportFailing", "seconds": 1, "route": "/"}), 400, "leave out `route`"),
    ] {
        let (found, text) = control(&server, TOKEN, "PUT", &body);
        assert_eq!(found, status, "{body}: {text}");
        assert!(text.contains(part) && text.lines().count() == 1, "{body}: {text}");
    }
    // The lease of a drill with another share shows it, also when it is renewed without one.
    control(&server, TOKEN, "DELETE", &json!({"alert": "ShopHighErrorRate"}));
    for lease in [
        json!({"alert": "ShopHighErrorRate", "seconds": 60, "share": 0.5}),
        json!({"alert": "ShopHighErrorRate", "seconds": 60}),
    ] {
        let (status, text) = control(&server, TOKEN, "PUT", &lease);
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &shown["share"]), (200, &json!(0.5)), "{text}");
    }
    let (status, text) =
        control(&server, "another-token-of-16-bytes", "PUT", &json!({"alert": "ShopHighErrorRate", "seconds": 1}));
    assert_eq!((status, text.contains("the token is wrong")), (401, true), "{text}");
}

/// Each mistake is one line that names the thing, the cause and the remedy, with its exit code.
#[test]
fn mistakes_are_explained() {
    let (server, directory) = serve(None);
    let token = directory.path().join("token");
    let wrong = directory.path().join("wrong");
    fs::write(&wrong, "another-token-of-16-bytes").unwrap();
    let alertmanager = Webhook::start("[]");
    let closed = Server::start_with(&guest("storefront"), &["--telemetry-token-file", token.to_str().unwrap()], &[]);
    let open = Server::start(&guest("storefront"), &[]);
    let [unused] = free_addresses();
    let (found, unused) = (alertmanager.url(""), format!("http://{unused}"));
    let token = token.to_str().unwrap();
    type Case<'a> = (&'a [&'a str], &'a str, &'a str, &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 10] = [
        (
            &["ShopHighErorRate", "--yes"],
            &server.telemetry,
            &found,
            token,
            &["no alert `ShopHighErorRate`", "ShopHighErrorRate"],
        ),
        (&["ShopDown", "--yes"], &server.telemetry, &found, token, &["ShopDown has no drill", "stop one"]),
        (&["ShopHighErrorRate"], &server.telemetry, &found, token, &["spends error budget", "--yes"]),
        (
            &["all", "--yes"],
            &server.telemetry,
            &unused,
            token,
            &["--alertmanager: cannot reach", "check that an Alertmanager listens"],
        ),
        (
            &["all", "--yes"],
            &server.telemetry,
            &server.telemetry,
            token,
            &["--alertmanager: ", "check that it is an Alertmanager"],
        ),
        (
            &["all", "--yes"],
            &unused,
            &found,
            token,
            &["--telemetry: cannot reach", "check that a telemetry endpoint listens"],
        ),
        (
            &["all", "--yes"],
            &server.telemetry,
            &found,
            wrong.to_str().unwrap(),
            &["--token-file: ", "refuses the token"],
        ),
        (&["all", "--yes"], &closed.telemetry, &found, token, &["drills are not allowed", "--allow-drills"]),
        (&["all", "--yes"], &open.telemetry, &found, token, &["404", "--allow-drills and --telemetry-token-file"]),
        (
            &["all", "--yes"],
            "telemetry",
            &found,
            token,
            &["--telemetry: `telemetry` is not the URL", "http://127.0.0.1:9464"],
        ),
    ];
    for (arguments, telemetry, alertmanager, token, parts) in cases {
        let output = drill(arguments, telemetry, alertmanager, token).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let error = stderr.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(error.starts_with("error: ") && parts.iter().all(|part| error.contains(part)), "{parts:?}: {stderr}");
    }
    let output = Command::new(command())
        .args(["serve", "--allow-drills"])
        .arg(guest("storefront"))
        .args(["--addr", "127.0.0.1:0", "--telemetry-addr", "127.0.0.1:0"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("--allow-drills needs --telemetry-token-file") && output.status.code() == Some(1),
        "{stderr}"
    );
}

/// Every alert that has a drill fires in Alertmanager, reaches a receiver and resolves; those
/// without one are made to fire directly; critical alerts and processes that are down silence what
/// follows from them; and every query of rules, dashboards and runbooks returns data.
#[test]
fn alerts_fire_and_resolve() {
    let Some(mut stage) = Stage::start() else { return };
    let drillable: Vec<String> = drills(&stage.server, TOKEN)
        .iter()
        .filter(|drill| drill["refused"].is_null())
        .map(|drill| drill["alert"].as_str().unwrap().to_owned())
        .collect();
    let all: BTreeSet<String> = stage.alerts();
    let of_drills: BTreeSet<String> = drillable.iter().cloned().chain(DIRECT.map(str::to_owned)).collect();
    assert_eq!(all, of_drills, "every alert is drilled or tested directly");

    let output = stage.drill(&["all"]).output().unwrap();
    let [table, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    println!("{table}");
    assert!(output.status.success(), "{table}\n{log}");
    let rows: Vec<&str> = table.lines().skip(2).filter_map(|line| line.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(rows, drillable);
    stage::document(&table);
    // The resolution is sent with the next interval of its group.
    let is_notified = |notified: &[Notified], alert: &String| {
        let of = notified.iter().filter(|notified| notified.alert == *alert);
        let ends: Vec<bool> = of.map(|notified| notified.is_firing).collect();
        ends.contains(&true) && ends.contains(&false)
    };
    let missing = || -> Vec<String> {
        let notified = stage.receiver.notifications();
        drillable.iter().filter(|alert| !is_notified(&notified, alert)).cloned().collect()
    };
    let notified = until(|| missing().is_empty().then_some(()), || false);
    assert!(notified.is_some(), "these did not reach the receiver, or did not resolve: {:?}", missing());

    // A declared metric has values.
    let agent = agent();
    for _ in 0..20 {
        get(&agent, &format!("{}/checkout", stage.server.url));
        get(&agent, &format!("{}/missing", stage.server.url));
    }
    expression::check(&stage.prometheus, stage.directory.path());

    // Half of the requests reach their deadline: the warning about it is silenced by the critical
    // alert about errors, for as long as both fire.
    let before = stage.receiver.notifications().len();
    let is_over = AtomicBool::new(false);
    let service = stage.url();
    let lease = json!({"alert": "ShopDeadlineKills", "seconds": 60, "share": 0.5});
    std::thread::scope(|scope| {
        let _end = OnDrop(|| is_over.store(true, Relaxed));
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                get(&agent, &service);
            }
        });
        let (status, text) = control(&stage.server, TOKEN, "PUT", &lease);
        assert_eq!(status, 200, "{text}");
        stage.alertmanager.wait("a silenced warning", |alerts| {
            is(alerts, "ShopDeadlineKills", true) && is(alerts, "ShopHighErrorRate", false)
        });
        stage.assert_silenced(before, "ShopDeadlineKills", "ShopHighErrorRate");
        let alerts = stage.alertmanager.alerts().unwrap();
        assert!(is(&alerts, "ShopDeadlineKills", true), "it is silenced until now: {alerts:?}");
        control(&stage.server, TOKEN, "DELETE", &json!({"alert": "ShopDeadlineKills"}));
    });
    // A drill ends when it is interrupted.
    let mut interrupted = stage.drill(&["ShopDeadlineKills"]).spawn().unwrap();
    wait_for_drill(&stage.server, TOKEN, true);
    stage::interrupt(&interrupted);
    assert_eq!(interrupted.wait().unwrap().code(), Some(130));
    wait_for_drill(&stage.server, TOKEN, false);

    // The end of traffic, of which an hour before there was some; a version, and a wrong
    // configuration.
    let is_active = |name: &'static str| move |alerts: &[ActiveAlert]| alerts.iter().any(|alert| alert.name == name);
    stage.alertmanager.wait("ShopNoTraffic", is_active("ShopNoTraffic"));
    stage.configure("2", "");
    let Stage { prometheus, alertmanager, directory, .. } = &mut stage;
    std::thread::scope(|scope| {
        // In one of the queries, a version is new for four seconds.
        scope.spawn(|| expression::check_with(&[expression::NEW_VERSION], prometheus, directory.path()));
        alertmanager.wait("ShopNewVersion", is_active("ShopNewVersion"));
    });
    stage.configure("2", "wrong = 1\n");
    stage.alertmanager.wait("ShopConfigReloadFailed", is_active("ShopConfigReloadFailed"));
    expression::check_with(&expression::RELOAD_FAILED, &stage.prometheus, stage.directory.path());
    stage.configure("2", "");
    stage.alertmanager.wait("the end of ShopConfigReloadFailed", |alerts| !is_active("ShopConfigReloadFailed")(alerts));

    // A process that is down silences that its component is absent.
    let before = stage.receiver.notifications().len();
    stage.server.signal("KILL");
    stage
        .alertmanager
        .wait("a silenced absence", |alerts| is(alerts, "ShopDown", false) && is(alerts, "ShopAbsent", true));
    stage.assert_silenced(before, "ShopAbsent", "ShopDown");
}

/// Returns `true` if Alertmanager has an alert of this name, inhibited or not.
fn is(alerts: &[ActiveAlert], name: &str, is_inhibited: bool) -> bool {
    alerts.iter().any(|alert| alert.name == name && alert.is_inhibited == is_inhibited)
}

/// Calls a function when it is dropped, also by a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The page of drills has a row for each alert that is drilled.
#[test]
fn page_has_every_alert() {
    let (server, _directory) = serve(Some(&Webhook::start("")));
    let page = fs::read_to_string(root().join("docs/drills.md")).unwrap();
    for drill in drills(&server, TOKEN) {
        let alert = drill["alert"].as_str().unwrap();
        let is_drilled = drill["refused"].is_null();
        assert_eq!(page.contains(&format!("| {alert} ")), is_drilled, "{alert}");
    }
}
