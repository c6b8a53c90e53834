//! The configuration of Alertmanager, and the templates of its messages.

use std::borrow::Cow;

use serde::Serialize;

use super::Head;
use crate::alert::BRACES;
use crate::inhibition::Matcher;
use crate::settings::{Chat, Day, Pager, Receivers, TimeOfDay, WorkingHours};
use crate::{File, Inhibition, Service, Severity, WindowScale};

/// A configuration.
#[derive(Debug, Serialize)]
pub(crate) struct Config {
    route: Route,
    inhibit_rules: Vec<InhibitRule>,
    receivers: Vec<Receiver>,
    templates: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    time_intervals: Vec<TimeInterval>,
}

#[derive(Debug, Default, Serialize)]
struct Route {
    receiver: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matchers: Vec<Matcher>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    group_by: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_wait: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_interval: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_interval: Option<Cow<'static, str>>,
    #[serde(rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    continues: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mute_time_intervals: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
}

#[derive(Debug, Serialize)]
struct InhibitRule {
    source_matchers: Vec<Matcher>,
    target_matchers: Vec<Matcher>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    equal: Vec<String>,
}

impl From<Inhibition> for InhibitRule {
    fn from(rule: Inhibition) -> Self {
        Self { source_matchers: rule.source, target_matchers: rule.target, equal: rule.equal }
    }
}

#[derive(Debug, Default, Serialize)]
struct Receiver {
    name: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pagerduty_configs: Vec<PagerDuty>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slack_configs: Vec<Slack>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    webhook_configs: Vec<Webhook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    email_configs: Vec<Email>,
}

#[derive(Debug, Serialize)]
struct PagerDuty {
    routing_key_file: String,
    description: &'static str,
    severity: &'static str,
    component: &'static str,
    details: Details,
    links: Vec<Link>,
}

#[derive(Debug, Serialize)]
struct Details {
    alerts: &'static str,
}

#[derive(Debug, Serialize)]
struct Link {
    href: &'static str,
    text: &'static str,
}

#[derive(Debug, Serialize)]
struct Slack {
    api_url_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    send_resolved: bool,
    title: &'static str,
    title_link: &'static str,
    text: &'static str,
}

#[derive(Debug, Serialize)]
struct Webhook {
    url_file: String,
    send_resolved: bool,
}

#[derive(Debug, Serialize)]
struct Email {
    to: String,
    from: String,
    smarthost: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_password_file: Option<String>,
    require_tls: bool,
    send_resolved: bool,
    headers: Headers,
    text: &'static str,
    html: &'static str,
}

#[derive(Debug, Serialize)]
struct Headers {
    #[serde(rename = "Subject")]
    subject: &'static str,
}

#[derive(Debug, Serialize)]
struct TimeInterval {
    name: &'static str,
    time_intervals: Vec<Interval>,
}

#[derive(Debug, Serialize)]
struct Interval {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    times: Vec<Times>,
    weekdays: Vec<&'static str>,
    location: String,
}

#[derive(Debug, Serialize)]
struct Times {
    start_time: String,
    end_time: String,
}

/// The receivers: somebody who is paged, the team's chat, and its mail.
const PAGE: &str = "page";
const CHAT: &str = "chat";
const MAIL: &str = "mail";

/// The name of the intervals in which warnings and facts wait.
const OUTSIDE: &str = "outside-working-hours";

const TITLE: &str = "{{ template \"wasmetry.title\" . }}";
const TEXT: &str = "{{ template \"wasmetry.text\" . }}";
const RUNBOOK: &str = "{{ .CommonAnnotations.runbook_url }}";
const DASHBOARD: &str = "{{ .CommonAnnotations.dashboard_url }}";

/// The messages' templates.
const TEMPLATES: &str = include_str!("alertmanager/wasmetry.tmpl");

/// Returns `alertmanager.yml` and `templates/wasmetry.tmpl`.
pub(crate) fn files(service: &Service, head: &Head) -> Vec<File> {
    let [first, second] = head.lines().map(|line| line.replace("*/", "* /"));
    let contents = format!("{{{{/* {first}\n  {second} */}}}}\n{TEMPLATES}");
    vec![head.file("alertmanager.yml", &config(service)), File { path: "templates/wasmetry.tmpl".to_owned(), contents }]
}

fn config(service: &Service) -> Config {
    let settings = &service.settings;
    let outside = settings.working_hours.as_ref().map(outside).unwrap_or_default();
    Config {
        route: route(service.scale, !outside.is_empty()),
        inhibit_rules: service.inhibitions().into_iter().map(InhibitRule::from).collect(),
        receivers: receivers(&settings.receivers),
        templates: vec!["templates/*.tmpl"],
        time_intervals: if outside.is_empty() {
            Vec::new()
        } else {
            vec![TimeInterval { name: OUTSIDE, time_intervals: outside }]
        },
    }
}

/// Returns the routes by severity. An alert of another severity is mailed, so that none is lost.
fn route(scale: WindowScale, is_muted: bool) -> Route {
    let of = |severity, receiver| Route { receiver, matchers: vec![Matcher::severity(severity)], ..Route::default() };
    let muted = |route| Route { mute_time_intervals: if is_muted { vec![OUTSIDE] } else { Vec::new() }, ..route };
    Route {
        receiver: MAIL,
        group_by: vec!["alertname", "component", "tenant"],
        group_wait: Some(scale.text("30s")),
        group_interval: Some(scale.text("5m")),
        repeat_interval: Some(scale.text("4h")),
        routes: vec![
            Route {
                group_wait: Some(scale.text("10s")),
                repeat_interval: Some(scale.text("1h")),
                continues: true,
                ..of(Severity::Critical, PAGE)
            },
            of(Severity::Critical, CHAT),
            muted(of(Severity::Warning, CHAT)),
            Route { repeat_interval: Some(scale.text("1d")), ..muted(of(Severity::Info, MAIL)) },
        ],
        ..Route::default()
    }
}

fn receivers(settings: &Receivers) -> Vec<Receiver> {
    let webhook = |secret| vec![Webhook { url_file: settings.secret(secret), send_resolved: true }];
    let page = match settings.page {
        Pager::Pagerduty => Receiver { pagerduty_configs: vec![pagerduty(settings)], ..Receiver::default() },
        Pager::Webhook => Receiver { webhook_configs: webhook("page-url"), ..Receiver::default() },
    };
    let chat = match settings.chat {
        Chat::Slack => Receiver { slack_configs: vec![slack(settings)], ..Receiver::default() },
        Chat::Webhook => Receiver { webhook_configs: webhook("chat-url"), ..Receiver::default() },
    };
    vec![
        Receiver { name: PAGE, ..page },
        Receiver { name: CHAT, ..chat },
        Receiver { name: MAIL, email_configs: vec![email(settings)], ..Receiver::default() },
    ]
}

fn pagerduty(settings: &Receivers) -> PagerDuty {
    PagerDuty {
        routing_key_file: settings.secret("pagerduty-routing-key"),
        description: TITLE,
        severity: "{{ or .CommonLabels.severity \"error\" }}",
        component: "{{ .CommonLabels.component }}",
        details: Details { alerts: TEXT },
        links: vec![Link { href: RUNBOOK, text: "Runbook" }, Link { href: DASHBOARD, text: "Dashboard" }],
    }
}

fn slack(settings: &Receivers) -> Slack {
    Slack {
        api_url_file: settings.secret("slack-url"),
        channel: settings.slack_channel.as_ref().map(|channel| channel.replace("{{", BRACES)),
        send_resolved: true,
        title: TITLE,
        title_link: "{{ template \"wasmetry.link\" . }}",
        text: "{{ template \"wasmetry.slack\" . }}",
    }
}

fn email(settings: &Receivers) -> Email {
    Email {
        to: settings.mail_to.clone(),
        from: settings.mail_from.clone(),
        smarthost: settings.smtp_server.clone(),
        auth_username: settings.smtp_user.clone(),
        auth_password_file: settings.smtp_user.as_ref().map(|_| settings.secret("smtp-password")),
        require_tls: settings.smtp_tls,
        send_resolved: true,
        headers: Headers { subject: TITLE },
        text: TEXT,
        html: "{{ template \"wasmetry.html\" . }}",
    }
}

/// Returns the times that are no working hours.
fn outside(hours: &WorkingHours) -> Vec<Interval> {
    let times = [(0, hours.start), (hours.end, 24 * 60)].into_iter().filter(|(start, end)| start < end);
    let times = times
        .map(|(start, end)| Times { start_time: TimeOfDay(start).to_string(), end_time: TimeOfDay(end).to_string() });
    let interval = |days: Vec<Day>, times| Interval {
        times,
        weekdays: days.into_iter().map(Day::name).collect(),
        location: hours.time_zone.clone(),
    };
    let free: Vec<Day> = Day::ALL.into_iter().filter(|day| !hours.days.contains(day)).collect();
    let nights: Vec<Times> = times.collect();
    let mut all = Vec::new();
    if !nights.is_empty() {
        all.push(interval(hours.days.clone(), nights));
    }
    if !free.is_empty() {
        all.push(interval(free, Vec::new()));
    }
    all
}
