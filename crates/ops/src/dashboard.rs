//! Dashboards: what Grafana shows of a service.
//!
//! In come components and their declared metrics. Out come [`grafana::Dashboard`]s, one for each
//! subject. The folder does not know how they are serialised, or what Grafana draws of them.

mod kubernetes;
mod layout;
mod log;
mod metric;
mod objective;
mod overview;
mod panel;
mod route;
mod runtime;
mod select;
mod telemetry;
mod trace;
mod unit;

use crate::diff::Use;
use crate::format::{Head, grafana};
use crate::host;
use crate::promql::Expr;
use crate::scope::job;
use crate::{File, Service};

use layout::Section;
use select::{COMPONENT, MINUTE, Select, regex};

/// The tag of all dashboards.
const TAG: &str = "wasmetry";

/// The longest identifier of a dashboard in Grafana.
const MAX_UID: usize = 40;

/// Returns the files of all dashboards, and of the data sources that they expect.
pub(crate) fn files(service: &Service, head: &Head) -> Vec<File> {
    let select = Select::new(&service.settings);
    let mut files = Vec::new();
    let mut add = |subject: &str, title: &str, base: grafana::Dashboard, sections| {
        let dashboard = named(service, head, subject, title, base, sections);
        let path = format!("grafana-{subject}.json");
        files.push(File { path, contents: crate::format::json(&dashboard) });
    };
    let telemetry = |more| grafana::Dashboard::new([variables(service), more].concat(), annotations(service));

    let overview = vec![
        overview::section(service, &select),
        route::section(service, &select),
        runtime::section(&select),
        telemetry::section(service, &select),
        log::section(service),
        trace::section(service),
    ];
    add("dashboard", "service", telemetry(more_variables(service).into()), overview);
    for (number, sections) in (1..).zip(metric::sections(service, &select)) {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let title =
            if number == 1 { "declared metrics".to_owned() } else { format!("declared metrics, part {number}") };
        add(&format!("metrics{suffix}"), &title, telemetry(Vec::new()), sections);
    }
    add("kubernetes", "Kubernetes", kubernetes::base(), kubernetes::sections(&select));
    if !service.objectives.is_empty() {
        add("slo", "objectives", objective::base(service), objective::sections(service, &select));
    }
    files.push(head.file("grafana-datasources.yml", &crate::format::source::provisioning(&service.settings)));
    files
}

/// Returns the queries of the panels of declared metrics.
pub(crate) fn uses(service: &Service) -> Vec<Use> {
    let sections = metric::sections(service, &Select::new(&service.settings)).into_iter().flatten();
    let of_section = |section: Section| {
        let of_panel = |panel: grafana::Panel| {
            let name = format!("{}: {}", section.title, panel.title);
            panel.exprs.into_iter().map(move |expr| Use { kind: "panel", name: name.clone(), expr })
        };
        section.panels.into_iter().flat_map(of_panel).collect::<Vec<_>>()
    };
    sections.flat_map(of_section).collect()
}

/// Names a dashboard, and places its panels.
fn named(
    service: &Service,
    head: &Head,
    subject: &str,
    title: &str,
    mut dashboard: grafana::Dashboard,
    sections: Vec<Section>,
) -> grafana::Dashboard {
    let (name, tag) = (name(service), format!("{TAG}-{}", identifier(service)));
    dashboard.uid = format!("{tag}-{subject}");
    dashboard.title = format!("{name}: {title}");
    dashboard.description = head.lines().join(" ");
    dashboard.link(&tag);
    dashboard.tags = vec![TAG.to_owned(), tag];
    dashboard.panels = layout::place(sections);
    dashboard
}

/// Returns the name of a service in titles.
fn name(service: &Service) -> &str {
    match (&service.settings.service, service.components.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => &only.name,
        (None, _) => "wasmetry",
    }
}

/// Returns a text that identifies a service in the identifiers of its dashboards.
///
/// A name that has other characters than an identifier, or that is too long, or another job than
/// the usual one, adds a hash, so that two services differ.
fn identifier(service: &Service) -> String {
    let name = name(service);
    // The longest subject is `kubernetes`, or `metrics` with a number.
    let longest = MAX_UID - TAG.len() - "--kubernetes".len() - "-00000000".len();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut words = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    words.truncate(longest);
    let words = words.trim_end_matches('-').to_owned();
    if words == name && service.settings.job == crate::Settings::default().job {
        return words;
    }
    // FNV-1a: the identifiers must stay the same.
    let bytes = name.bytes().chain([0]).chain(service.settings.job.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    if words.is_empty() { format!("{hash:08x}") } else { format!("{words}-{hash:08x}") }
}

/// Returns the variables of all dashboards about the service's own telemetry.
fn variables(service: &Service) -> Vec<grafana::Variable> {
    let values = |label: &str| {
        let selector = job(&service.settings, host::STARTS);
        let components = if label == "component" { regex(service) } else { COMPONENT.to_owned() };
        format!("label_values({}, {label})", selector.with("component", "=~", &components))
    };
    vec![
        grafana::Variable::data_source(grafana::DataSource::PROMETHEUS, "Prometheus"),
        grafana::Variable::query("component", "Component", values("component")),
        grafana::Variable::query("tenant", "Tenant", values("tenant")).all_is_any(),
        grafana::Variable::query("instance", "Instance", values("instance")).all_is_any(),
    ]
}

/// Returns the further variables of the dashboard with routes, logs and traces.
fn more_variables(service: &Service) -> [grafana::Variable; 3] {
    let routes = job(&service.settings, host::IN_FLIGHT).with("component", "=~", COMPONENT);
    [
        grafana::Variable::query("route", "Route", format!("label_values({routes}, route)")).all_is_any(),
        grafana::Variable::data_source(grafana::DataSource::LOKI, "Loki"),
        grafana::Variable::data_source(trace::source(service), "Traces"),
    ]
}

/// Returns the annotations: new versions and reloads of the configuration.
fn annotations(service: &Service) -> Vec<grafana::Annotation> {
    let select = Select::new(&service.settings);
    let base = |name, expr: Expr, color| grafana::Annotation {
        name,
        datasource: grafana::DataSource::PROMETHEUS,
        enable: true,
        hide: false,
        icon_color: color,
        expr: expr.to_string(),
        step: "1m".to_owned(),
        title_format: name,
        text_format: "",
        tag_keys: "",
        use_value_for_time: false,
    };
    let group = |by: &[&str], before| Expr::aggregate("group", by, select.raw(host::STARTS).before(before).now());
    let by = ["component", "tenant", "version"];
    let own = ["component", "tenant"];
    let new = group(&by, 0).op("unless", group(&by, 5 * MINUTE)).op_on("and", &own, false, group(&own, 5 * MINUTE));
    let mut all = vec![grafana::Annotation {
        title_format: "{{component}} {{version}}",
        text_format: "A new version is served.",
        tag_keys: "component,tenant,version",
        ..base("Deployments", new, "blue")
    }];
    if service.is_reloaded {
        let time = select.process(host::RELOAD_TIME).now().op("*", Expr::Number(1000.0));
        all.push(grafana::Annotation {
            title_format: "Configuration loaded",
            text_format: "{{instance}}",
            tag_keys: "instance",
            use_value_for_time: true,
            ..base("Reloads", time, "green")
        });
        let failed = Expr::Number(1.0).op("-", select.process(host::RELOAD).now()).above(0.0);
        all.push(grafana::Annotation {
            title_format: "Configuration rejected",
            text_format: "{{instance}}",
            tag_keys: "instance",
            ..base("Failed reloads", failed, "red")
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(name: &str, job: &str) -> String {
        let mut service = Service::new("a.wasm", Vec::new());
        service.settings.service = Some(name.to_owned());
        service.settings.job = job.to_owned();
        identifier(&service)
    }

    #[test]
    fn identifiers_are_short_and_differ() {
        assert_eq!(uid("shop", "wasmetry"), "shop");
        let others =
            [uid("Shop", "wasmetry"), uid("shop", "edge"), uid("ß", "wasmetry"), uid(&"a-".repeat(99), "wasmetry")];
        for (i, identifier) in others.iter().enumerate() {
            assert!(!others[..i].contains(identifier) && identifier != "shop", "{others:?}");
            assert!(format!("wasmetry-{identifier}-kubernetes").len() <= MAX_UID, "{identifier}");
        }
    }
}
