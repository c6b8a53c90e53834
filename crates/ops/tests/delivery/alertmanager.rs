//! Alertmanager: its configuration, its routes, inhibition, and messages.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use wasmetry_ops::{Chat, Day, Kind, Labels, Pager, Service, Settings, Severity, WorkingHours};

use super::app::{Random, every_alert, random_service};
use super::program::{Daemon, built, passes, text};
use super::write;

/// Returns services with every choice of receivers and hours.
fn services() -> Vec<Service> {
    let change = |change: &dyn Fn(&mut Settings)| {
        let mut service = every_alert();
        change(&mut service.settings);
        service
    };
    let hours = |days: &[Day], start, end| {
        change(&|settings| {
            let mut hours = WorkingHours::default();
            (hours.days, hours.start, hours.end) = (days.to_vec(), start, end);
            hours.time_zone = "Europe/Berlin".into();
            settings.working_hours = Some(hours);
        })
    };
    vec![
        every_alert(),
        change(&|settings| {
            let receivers = &mut settings.receivers;
            (receivers.page, receivers.chat) = (Pager::Webhook, Chat::Webhook);
            receivers.smtp_user = Some("user: \"name\"".into());
            receivers.smtp_tls = false;
        }),
        change(&|settings| settings.receivers.slack_channel = Some("#alerts {{ .Nothing }}".into())),
        hours(&[Day::Monday, Day::Friday], 8 * 60, 18 * 60 + 30),
        hours(&Day::ALL, 0, 12 * 60),
        hours(&[Day::Sunday], 0, 24 * 60),
        hours(&Day::ALL, 0, 24 * 60),
    ]
}

/// Alertmanager accepts the defaults and every choice; secrets are in files only.
#[test]
fn configuration_passes_amtool() {
    for service in services() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &service, Kind::Alertmanager);
        let Some(amtool) = built("alertmanager", "amtool") else { return };
        let found = passes(&amtool, directory.path(), &["check-config", "alertmanager.yml"]);
        for part in ["3 receivers", "1 templates", " inhibit rules"] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
}

/// So it does with names of any text.
#[test]
fn random_services_pass_amtool() {
    let Some(amtool) = built("alertmanager", "amtool") else { return };
    let mut random = Random::new(0xa1e2);
    for number in 0..100 {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &random_service(&mut random, number), Kind::Alertmanager);
        passes(&amtool, directory.path(), &["check-config", "alertmanager.yml"]);
    }
}

/// Returns the labels of each alert in its tests, with its name and severity.
fn firing(service: &Service) -> Vec<Labels> {
    let mut all = Vec::new();
    for alert in service.alerts() {
        let checks = alert.proofs.iter().flat_map(|proof| &proof.checks);
        for (labels, _) in checks.flat_map(|check| &check.firing) {
            let mut labels = labels.clone();
            labels.insert("alertname".into(), alert.name.clone());
            labels.insert("severity".into(), alert.severity.name().into());
            if !all.contains(&labels) {
                all.push(labels);
            }
        }
    }
    all
}

fn arguments(labels: &Labels) -> Vec<String> {
    labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect()
}

/// Critical alerts page and continue to the chat, warnings go to the chat, facts to mail; and what
/// has another severity is not lost.
#[test]
fn severities_reach_receivers() {
    let Some(amtool) = built("alertmanager", "amtool") else { return };
    let other = Labels::from([("alertname".into(), "Other".into()), ("severity".into(), "page".into())]);
    for service in services() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &service, Kind::Alertmanager);
        let mut tested = BTreeSet::new();
        for labels in firing(&service).into_iter().chain([other.clone()]) {
            let expected = match labels["severity"].as_str() {
                "critical" => "page,chat",
                "warning" => "chat",
                _ => "mail",
            };
            if !tested.insert((labels["alertname"].clone(), expected)) {
                continue;
            }
            let verify = format!("--verify.receivers={expected}");
            let mut command = vec!["config", "routes", "test", "--config.file=alertmanager.yml", &verify];
            let labels = arguments(&labels);
            command.extend(labels.iter().map(String::as_str));
            passes(&amtool, directory.path(), &command);
        }
        assert!(tested.len() > 20, "{tested:?}");
        for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
            assert!(service.alerts().iter().any(|alert| alert.severity == severity));
        }
    }
}

/// Only the routes of warnings and facts are muted, and only if there are working hours.
#[test]
fn hours_mute_no_page() {
    let muted: Vec<usize> = services()
        .iter()
        .map(|service| {
            let directory = tempfile::tempdir().unwrap();
            write(directory.path(), service, Kind::Alertmanager);
            let config = fs::read_to_string(directory.path().join("alertmanager.yml")).unwrap();
            let routes = config.split("\ninhibit_rules:").next().unwrap();
            let muted = routes.split("\n  - receiver: ").filter(|route| route.contains("mute_time_intervals:"));
            muted.inspect(|route| assert!(!route.contains("critical"), "{route}")).count()
        })
        .collect();
    assert_eq!(muted, [0, 0, 0, 2, 2, 2, 0]);
}

/// A running Alertmanager with the generated configuration.
pub(crate) struct Alertmanager {
    pub(crate) daemon: Daemon,
    amtool: PathBuf,
    pub(crate) address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Alertmanager {
    fn start(service: &Service) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), service, Kind::Alertmanager);
        Self::start_in(directory)
    }

    /// Starts it with the configuration in a directory.
    pub(crate) fn start_in(directory: tempfile::TempDir) -> Option<Self> {
        let (program, amtool) = (built("alertmanager", "alertmanager")?, built("alertmanager", "amtool")?);
        let arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ];
        let mut daemon = Daemon::start(&program, directory.path(), &arguments);
        let address = daemon.wait("address", |log| {
            let line = log.lines().find(|line| line.contains("Listening on"))?;
            line.split_once("address=")?.1.split_whitespace().next()?.parse().ok()
        });
        Some(Self { daemon, amtool, address, directory })
    }

    /// Runs amtool, and returns what it prints if it succeeds.
    fn amtool(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(&self.amtool);
        command.args(arguments).arg(format!("--alertmanager.url=http://{}", self.address));
        let output = command.current_dir(self.directory.path()).output().unwrap();
        output.status.success().then(|| text(&output))
    }

    /// Returns the alerts that it has, each with `true` if it is inhibited.
    fn alerts(&self) -> Option<Vec<(Labels, bool)>> {
        let printed = self.amtool(&["alert", "query", "--active", "--inhibited", "-o", "json"])?;
        let alerts: Value = serde_json::from_str(&printed).ok()?;
        let labels = |of: &Value| {
            let pairs = of["labels"].as_object().unwrap();
            pairs.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect::<Labels>()
        };
        let is_inhibited = |of: &Value| of["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty());
        Some(alerts.as_array()?.iter().map(|of| (labels(of), is_inhibited(of))).collect())
    }
}

/// Sends an alert to an Alertmanager.
pub(crate) fn add(alertmanager: &mut Alertmanager, labels: &[(&str, &str)], flags: &[&str]) {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let labels = arguments(&labels);
    let mut command = vec!["alert", "add"];
    command.extend(flags);
    command.extend(labels.iter().map(String::as_str));
    // It may not be ready yet.
    while alertmanager.amtool(&command).is_none() {
        alertmanager.daemon.wait("API", |log| log.contains("Listening on").then_some(()));
    }
}

/// Sends alerts to an Alertmanager, and checks which of them are inhibited. Returns `false` if
/// there is no Alertmanager.
fn assert_inhibits(service: &Service, firing: &[Labels], expected: &[&Labels]) -> bool {
    let Some(mut alertmanager) = Alertmanager::start(service) else { return false };
    for labels in firing {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        add(&mut alertmanager, &labels, &[]);
    }
    let mut last = Vec::new();
    let get = |alertmanager: &Alertmanager| {
        let alerts = alertmanager.alerts().unwrap_or_default();
        let inhibited: Vec<Labels> =
            alerts.iter().filter(|(_, is_inhibited)| *is_inhibited).map(|(labels, _)| labels.clone()).collect();
        (alerts.len(), inhibited)
    };
    let is_expected = |(count, inhibited): &(usize, Vec<Labels>)| {
        *count == firing.len()
            && inhibited.len() == expected.len()
            && expected.iter().all(|labels| inhibited.contains(labels))
    };
    // The alerts reach its inhibitor one after another.
    for _ in 0..200 {
        let now = get(&alertmanager);
        if is_expected(&now) {
            assert!(is_expected(&get(&alertmanager)));
            return true;
        }
        last = now.1;
    }
    panic!("inhibited are {last:#?}, not {expected:#?}; {}", alertmanager.daemon.log());
}

/// Alertmanager silences what follows from a process that is down, from an absent component and
/// from a critical alert, and nothing else.
#[test]
fn alertmanager_inhibits_consequences() {
    let service = every_alert();
    let all = firing(&service);
    let find = |name: &str| {
        let found = all.iter().find(|labels| labels["alertname"] == format!("StoreFront{name}"));
        found.unwrap_or_else(|| panic!("no alert {name}")).clone()
    };
    let with = |labels: &Labels, key: &str, value: &str| {
        let mut labels = labels.clone();
        labels.insert(key.to_owned(), value.to_owned());
        labels
    };
    let (down, absent, errors) = (find("Down"), find("Absent"), find("HighErrorRate"));
    let (failing, reload, version) = (find("ExportFailing"), find("ConfigReloadFailed"), find("NewVersion"));
    let (latency, slow_uploads) = (find("HighLatency"), find("HttpRequestDurationSecondsHigh"));
    assert_eq!([&down, &failing, &reload].map(|labels| labels["instance"].as_str()), ["a:9464"; 3]);
    assert_eq!([&errors, &latency, &version].map(|labels| labels["tenant"].as_str()), ["acme"; 3]);

    // A process is down: its own alerts, what the others suffer, and what is absent with it. Other
    // processes, other components, errors of users and facts are sent.
    let (other_process, other_component) =
        (with(&failing, "instance", "b:9464"), with(&latency, "component", "another"));
    let firing = [
        &down,
        &failing,
        &reload,
        &latency,
        &slow_uploads,
        &absent,
        &errors,
        &version,
        &other_process,
        &other_component,
    ];
    // An absent component has nothing else to report.
    let expected = [&failing, &reload, &latency, &slow_uploads, &absent, &errors, &version];
    if !assert_inhibits(&service, &firing.map(Clone::clone), &expected) {
        return;
    }
    let firing = [&down, &failing, &latency, &errors, &version, &other_process, &other_component];
    assert_inhibits(&service, &firing.map(Clone::clone), &[&failing, &latency]);

    // A component is absent: everything else of it.
    let firing = [&absent, &latency, &errors, &version, &failing, &other_component];
    assert_inhibits(&service, &firing.map(Clone::clone), &[&latency, &errors, &version]);

    // A critical alert: warnings of the same component and tenant.
    let other_tenant = with(&latency, "tenant", "beta");
    let firing = [&errors, &latency, &slow_uploads, &version, &failing, &other_tenant, &other_component];
    assert_inhibits(&service, &firing.map(Clone::clone), &[&latency, &slow_uploads]);
}

/// Messages have the alert's text and links, and what a label contains is not markup.
#[test]
fn messages_have_links() {
    let Some(amtool) = built("alertmanager", "amtool") else { return };
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &every_alert(), Kind::Alertmanager);
    let annotations = json!({
        "summary": "store-front <!channel> is slow & <b>late</b>",
        "description": "One request in 20 takes longer than 0.75 s.",
        "explain": "wasmetry explain URL --alert StoreFrontHighLatency --slower-than 500ms",
        "runbook_url": "https://example.com/runbooks/high-latency.md",
        "dashboard_url": "https://example.com/d/1",
    });
    let labels = json!({"alertname": "StoreFrontHighLatency", "severity": "warning", "component": "store-front"});
    let alert = |status: &str| {
        json!({
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": "2026-01-02T03:04:05Z",
            "endsAt": "2026-01-02T04:04:05Z",
            "generatorURL": "http://prometheus:9090/graph?g0.expr=up&g0.tab=1",
        })
    };
    let data = json!({
        "status": "firing",
        "alerts": [alert("firing"), alert("resolved")],
        "groupLabels": {"alertname": "StoreFrontHighLatency"},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://alertmanager:9093",
    });
    fs::write(directory.path().join("data.json"), data.to_string()).unwrap();
    let render = |name: &str, kind: &str| {
        let text = format!("--template.text={{{{ template \"wasmetry.{name}\" . }}}}");
        let kind = format!("--template.type={kind}");
        let arguments =
            ["template", "render", "--template.glob=templates/*.tmpl", "--template.data=data.json", &kind, &text];
        passes(&amtool, directory.path(), &arguments)
    };
    let mut texts = String::new();
    for (name, kind, parts) in [
        ("title", "text", vec!["[FIRING:1] warning StoreFrontHighLatency of store-front"]),
        ("link", "text", vec!["https://example.com/d/1"]),
        (
            "text",
            "text",
            vec![
                "FIRING since 2026-01-02 03:04:05 UTC\nstore-front <!channel> is slow",
                "RESOLVED since 2026-01-02 03:04:05 UTC until 2026-01-02 04:04:05 UTC",
                "\nOne request in 20 takes longer than 0.75 s.\nWhy: wasmetry explain URL --alert \
                 StoreFrontHighLatency --slower-than 500ms\nRunbook: https://example.com/runbooks/high-latency.md",
                "\nDashboard: https://example.com/d/1\nQuery: http://prometheus:9090/graph?g0.expr=up&g0.tab=1",
                "\nLabels: alertname=StoreFrontHighLatency, component=store-front, severity=warning\n",
            ],
        ),
        (
            "slack",
            "text",
            vec![
                "*FIRING* store-front &lt;!channel&gt; is slow &amp; &lt;b&gt;late&lt;/b&gt;\n",
                "\nWhy: wasmetry explain URL --alert StoreFrontHighLatency --slower-than 500ms\n",
                "<https://example.com/runbooks/high-latency.md|Runbook> <https://example.com/d/1|Dashboard>",
                "<http://prometheus:9090/graph?g0.expr=up&amp;g0.tab=1|Query>",
            ],
        ),
        (
            "html",
            "html",
            vec![
                "<h3>FIRING: store-front &lt;!channel&gt; is slow &amp; &lt;b&gt;late&lt;/b&gt;</h3>",
                "<code>wasmetry explain URL --alert StoreFrontHighLatency --slower-than 500ms</code>",
                "<a href=\"https://example.com/runbooks/high-latency.md\">Runbook</a>",
                "<a href=\"https://example.com/d/1\">Dashboard</a>",
            ],
        ),
    ] {
        let rendered = render(name, kind);
        for part in parts {
            assert!(rendered.contains(part), "`{part}` is not in: {rendered}");
        }
        texts += &rendered;
    }
    assert!(!texts.contains("no value"), "{texts}");
}
