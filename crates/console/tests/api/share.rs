//! A tenant that floods the console beside one that does not: what the other has kept is all there,
//! and every drop is the flood's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use wasmetry_host::Identity;
use wasmetry_host::Sink as _;
use wasmetry_host::record::Level;

use crate::planted::{Planted, log, nanos};

/// The values of a member of the entries of a list.
fn members(list: &Value, key: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|entry| entry[key].clone()).collect()
}

/// The drops in `wasmetry_dropped_total` by tenant and signal, of the reason `console_memory`.
fn drops(shop: &Planted) -> Vec<(String, String, f64)> {
    let snapshot = shop.registry.snapshot(Duration::ZERO);
    let family = snapshot.families().find(|family| family.name() == "wasmetry_dropped_total").unwrap();
    let series = family.series().map(|series| {
        let label = |key: &str| {
            series.labels().find(|(known, _)| *known == key).map_or(String::new(), |(_, value)| value.into())
        };
        let wasmetry_host::Value::Number(count) = series.value() else { panic!("a counter is a number") };
        (label("reason"), (label("tenant"), label("signal"), count.as_f64()))
    });
    series.filter(|(reason, _)| reason == "console_memory").map(|(_, drop)| drop).collect()
}

/// Logs, spans of unfinished requests, failed requests on routes and with traps without end, and
/// series whose names come first, of one tenant: the logs, traces, trap groups and series of
/// another one stay complete, pages and followers count what is lost, and each drop has its owner.
#[test]
fn flood_costs_neighbour_nothing() {
    let mut shop = Planted::with_memory(4 << 20);
    let evil = Arc::new(Identity::new("evil").with_version("1").with_tenant("mallory"));
    let honest = |shop: &Planted, round: u64| {
        let now = nanos(SystemTime::now());
        for at in 0..5 {
            let trace = 1 << 64 | u128::from(round * 10 + at);
            let place = [now, 50_000_000, 100 + at];
            shop.request_of(&shop.identity, place, trace, &format!("/cart/{at}"), 500);
            shop.recorder.log(&shop.identity, log(None, now, Level::Debug, &format!("round {round}")));
        }
    };
    let keys = ["component", "version", "tenant", "queue"];
    let declare = |shop: &Planted, name: &str, [component, tenant]: [&str; 2], series: u64| {
        let family = shop.registry.counter(name, "Jobs.", &keys);
        (0..series).for_each(|queue| family.with(&[component, "1", tenant, &format!("queue-{queue}")]).inc());
    };
    for round in 0..4 {
        honest(&shop, round);
        let now = nanos(SystemTime::now());
        for at in 0..1500 {
            let number = round * 1500 + at;
            let trace = 2 << 64 | u128::from(number);
            shop.request_of(&evil, [now, 50_000_000, 1000 + number], trace, &format!("/{number}"), 500);
            (0..5).for_each(|_| shop.recorder.log(&evil, log(None, now, Level::Info, &"x".repeat(200))));
        }
        (0..5).for_each(|at| declare(&shop, &format!("aaa_{round}_{at}_total"), ["evil", "mallory"], 1000));
        declare(&shop, &format!("zzz_{round}_total"), ["storefront", "acme"], 20);
        shop.store();
    }
    // Five logs and five of the requests' own, of each round.
    let logs = shop.get("/api/v1/logs?tenant=acme&limit=500");
    assert_eq!(logs["logs"].as_array().unwrap().len(), 40);
    assert_eq!(members(&shop.get("/api/v1/logs?tenant=acme&level=debug")["logs"], "route").len(), 40);
    let traces = shop.get("/api/v1/traces?tenant=acme&limit=500");
    assert_eq!(traces["traces"].as_array().unwrap().len(), 20);
    for trace in traces["traces"].as_array().unwrap() {
        assert_eq!((&trace["spans"], &trace["logs"]), (&Value::from(2), &Value::from(1)), "{trace}");
        let id = trace["trace_id"].as_str().unwrap();
        assert_eq!(shop.get(&format!("/api/v1/traces/{id}"))["logs"].as_array().unwrap().len(), 1);
    }
    let routes = members(&traces["traces"], "route");
    let routes: BTreeSet<&str> = routes.iter().map(|route| route.as_str().unwrap()).collect();
    assert!(routes.iter().eq(&["/cart/0", "/cart/1", "/cart/2", "/cart/3", "/cart/4"]), "{routes:?}");
    let traps = shop.get("/api/v1/traps?tenant=acme");
    assert_eq!(members(&traps["traps"], "count"), [4, 4, 4, 4, 4].map(Value::from));
    for round in 0..4 {
        let metric = &shop.get(&format!("/api/v1/metrics?text=zzz_{round}_total"))["metrics"][0];
        assert_eq!((&metric["series"], &metric["is_kept"]), (&Value::from(20), &Value::from(true)));
    }
    // A follower counts exactly what is lost between the logs that it gets.
    let mut after = shop.get("/api/v1/logs?after=0&limit=500");
    let (mut seen, mut lost) = (0, 0);
    loop {
        seen += after["logs"].as_array().unwrap().len() as u64;
        lost += after["lost"].as_u64().unwrap();
        let Some(next) = after["next"].as_str() else { break };
        after = shop.get(&format!("/api/v1/logs?after=0&limit=500&cursor={next}"));
    }
    let status = shop.get("/api/v1/status");
    assert_eq!((seen, lost), (status["logs"]["kept"].as_u64().unwrap(), status["logs"]["dropped"].as_u64().unwrap()));
    assert!(lost > 1000, "{lost}");
    // In the registry, each drop has the flood's tenant.
    let drops = drops(&shop);
    assert!(drops.iter().all(|(tenant, ..)| tenant == "mallory"), "{drops:?}");
    let of = |signal: &str| drops.iter().filter(|(_, known, _)| known == signal).map(|(.., count)| *count).sum::<f64>();
    assert_eq!(of("logs"), lost as f64);
    assert_eq!(of("traces"), status["traces"]["dropped"].as_f64().unwrap());
    let dropped = |what: &str| {
        let all = status["dropped"].as_array().unwrap();
        all.iter().find(|drop| drop["what"] == what).map_or(0.0, |drop| drop["count"].as_f64().unwrap())
    };
    assert_eq!(of("traps"), dropped("traps"));
    assert!(of("traces") > 0.0 && of("traps") > 1000.0 && of("metrics") >= dropped("series"), "{drops:?}");
    assert!(dropped("series") > 0.0 && dropped("names") > 0.0, "{status}");
}

/// Drops of a component without a tenant have the component. A console without a registry counts in
/// its status alone.
#[test]
fn drops_have_their_component() {
    let mut shop = Planted::with_memory(1 << 20);
    shop.identity = Arc::new(Identity::new("storefront"));
    (0..3000).for_each(|at| shop.recorder.log(&shop.identity, log(None, at, Level::Info, &"x".repeat(500))));
    shop.store();
    let dropped = shop.get("/api/v1/status")["logs"]["dropped"].as_f64().unwrap();
    assert_eq!(drops(&shop), [(String::new(), "logs".to_owned(), dropped)]);
    shop.store();
    assert_eq!(drops(&shop).len(), 1);
}
