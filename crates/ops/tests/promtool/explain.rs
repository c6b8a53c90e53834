//! The console knows the generated alerts: which of them are about requests, and of which component
//! and tenant.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use wasmetry_console::{Body, Config, Console, Request};
use wasmetry_host::Registry;
use wasmetry_ops::{Alert, Component, Service};

use super::app::{Random, add_objective, every_alert, random_service};

/// A console that has had a snapshot of the components of a service.
fn console(service: &Service) -> Console {
    let (console, registry) = (Console::new(Config::default()), Registry::new());
    let instances = registry.gauge("wasm_instances", "Instances.", &["component", "version", "tenant"]);
    for component in &service.components {
        let tenant = component.tenant.as_deref().unwrap_or_default();
        instances.with(&[&component.name, "1", tenant]).set(1.0);
    }
    console.store(&registry.snapshot(Duration::ZERO), SystemTime::now());
    console
}

/// Requests the explanation of an alert, with more parameters. Returns the status and the answer.
fn explain(console: &Console, alert: &str, more: &str) -> (u16, Value) {
    let alert: String = alert.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let query = format!("alert={alert}{more}");
    let request = Request { method: "GET", path: "/api/v1/explain", query: Some(&query), ..Request::default() };
    let answer = console.answer(&request);
    let Body::Bytes(bytes) = answer.body else { panic!("{:?}", answer.body) };
    (answer.status, serde_json::from_slice(&bytes).unwrap())
}

/// The component and the tenant that an alert's tests expect.
fn identity(alert: &Alert) -> (String, String) {
    let labels = alert.proofs.iter().flat_map(|proof| &proof.checks).flat_map(|check| &check.firing).next();
    let (labels, _) = labels.expect("an alert fires in its tests");
    ["component", "tenant"].map(|key| labels.get(key).cloned().unwrap_or_default()).into()
}

fn is_of_objective(alert: &Alert) -> bool {
    alert.issue == "budget-burn"
}

/// Every alert is explained if it is about requests, as its annotation promises, and refused if
/// not.
#[test]
fn console_explains_generated_alerts() {
    let mut service = every_alert();
    // Its alerts have the names of another objective's, with numbers.
    add_objective(&mut service, "name = 'fast calls'\nobjective = 95\nlatency = '250ms'");
    let (console, alerts) = (console(&service), service.alerts());
    assert!(alerts.iter().any(|alert| alert.name == "StoreFrontFastCallsBudgetBurn2"));
    let mut explained = 0;
    for alert in &alerts {
        let (status, answer) = explain(&console, &alert.name, "");
        if alert.requests.is_some() {
            explained += 1;
            assert_eq!((status, &answer["selection"]["component"]), (200, &"store-front".into()), "{answer}");
        } else if !is_of_objective(alert) {
            assert_eq!(status, 400, "{}: {answer}", alert.name);
        }
        if alert.requests.as_ref().is_some_and(|requests| requests.slower_than.is_some()) && !is_of_objective(alert) {
            assert_eq!(answer["selection"]["min"], 0.5, "{}", alert.name);
        }
    }
    assert!(explained > 15, "{explained} of {}", alerts.len());
    let rules = wasmetry_ops::generate(&service, wasmetry_ops::Kind::All, false);
    let commands = rules.iter().map(|file| file.contents.matches("wasmetry explain URL --alert ").count());
    // The alerts, those of objectives, and the resource that has both for Kubernetes.
    assert_eq!(commands.sum::<usize>(), 2 * explained);
}

/// Components that share a name have the tenant in their alerts; those whose names become the same
/// words have numbers, and the answer demands the component.
#[test]
fn console_finds_tenants_of_alerts() {
    let of_tenant = |tenant: Option<&str>, name: &str| {
        let mut component = Component::new(name, wasmetry_host::Declarations::default());
        component.tenant = tenant.map(str::to_owned);
        component
    };
    let service =
        Service::new("shop.toml", vec![of_tenant(Some("acme corp"), "shop"), of_tenant(Some("zeta"), "shop")]);
    let tenants = console(&service);
    for alert in service.alerts().iter().filter(|alert| alert.requests.is_some()) {
        let (status, answer) = explain(&tenants, &alert.name, "");
        let found = ["component", "tenant"].map(|key| answer["selection"][key].as_str().unwrap_or_default().to_owned());
        assert_eq!((status, found.into()), (200, identity(alert)), "{}", alert.name);
    }
    let service = Service::new("shop.toml", vec![of_tenant(None, "shop-api"), of_tenant(None, "shop_api")]);
    let same = console(&service);
    for name in ["ShopApiTrapRate", "ShopApiTrapRate2"] {
        assert!(service.alerts().iter().any(|alert| alert.name == name), "{name}");
        let (status, answer) = explain(&same, name, "");
        assert_eq!(status, 400);
        assert!(answer["detail"].as_str().unwrap().contains("`shop-api`, `shop_api`"), "{answer}");
        assert_eq!(explain(&same, name, "&component=shop_api").0, 200);
    }
}

/// Whatever components are called, their alerts are explained.
#[test]
fn console_finds_components_of_any_name() {
    let mut explained = 0;
    for number in 0..30 {
        let service = random_service(&mut Random::new(number), number);
        let console = console(&service);
        for alert in service.alerts().iter().filter(|alert| alert.requests.is_some()) {
            let (status, answer) = explain(&console, &alert.name, "");
            assert_eq!(
                (status, &answer["selection"]["component"]),
                (200, &identity(alert).0.into()),
                "{}: {answer}",
                alert.name
            );
            explained += 1;
        }
    }
    assert!(explained > 300, "{explained}");
}

/// The command of an objective of one route names the route, whatever is in it.
#[test]
fn commands_name_routes() {
    let mut service = every_alert();
    add_objective(&mut service, "name = 'cart'\nobjective = 99\nroute = \"/{{cart}}/it's\"");
    add_objective(&mut service, "name = 'fast cart'\nobjective = 95\nlatency = '250ms'\nroute = '/cart/{id}'");
    let mut commands: Vec<String> = Vec::new();
    for file in wasmetry_ops::generate(&service, wasmetry_ops::Kind::Slo, false) {
        let Ok(rules) = serde_saphyr::from_str::<Value>(&file.contents) else { continue };
        let groups = rules["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        commands.extend(rules.filter_map(|rule| Some(rule["annotations"]["explain"].as_str()?.to_owned())));
    }
    for expected in [
        r#"wasmetry explain URL --alert StoreFrontCartBudgetBurn --route '/{{ "{{" }}cart}}/it'\''s'"#,
        "wasmetry explain URL --alert StoreFrontFastCartBudgetBurn --slower-than 250ms --route '/cart/{id}'",
    ] {
        assert!(commands.iter().any(|command| command == expected), "{expected}: {commands:#?}");
    }
}
