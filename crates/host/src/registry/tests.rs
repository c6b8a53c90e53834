//! The work of the registry under its lock, as numbers of steps: it grows with what is declared,
//! not with what others have declared.

use std::time::Duration;

use crate::handle_api::Descriptor;
use crate::registry::step::steps_of;
use crate::{Component, Declarations, ExpositionLimits, Identity, Registry, encode, limits};

/// The number of metrics of each component.
const METRICS: usize = 64;

/// Steps for each metric that is registered or removed. Most are those of [`super::owner`].
const STEPS_PER_METRIC: u64 = 12;

/// Returns the record of a counter, by FORMAT.md.
fn record(name: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    // A unit, a merge rule, labels, constant labels and bounds, all of which are empty.
    let payload = [&text(name)[..], &text("Help."), &text(""), &[0, 0, 0, 0, 0]].concat();
    [&[1, 1, 0, 0][..], &(payload.len() as u32).to_le_bytes(), &payload].concat()
}

/// Declares so many metrics, whose names begin with these prefixes in turn.
fn declarations(prefixes: &[&str], metrics: usize) -> Declarations {
    let prefixes = prefixes.iter().cycle();
    let records: Vec<_> =
        prefixes.zip(0..metrics).map(|(prefix, metric)| record(&format!("{prefix}_{metric}_total"))).collect();
    let declarations = Declarations::from_sections(records.iter().map(|record| &record[..]));
    assert_eq!((declarations.metrics().len(), declarations.rejected()), (metrics, &[][..]));
    declarations
}

fn identity(component: usize, version: &str) -> Identity {
    Identity::new(format!("c{component}")).with_version(version)
}

/// Registers components that share one half of their names and have one half of their own.
fn register(registry: &Registry, components: std::ops::Range<usize>, version: &str) -> Vec<Component> {
    let register = |component| {
        let declared = declarations(&["shared", &format!("c{component}")], METRICS);
        registry.component(identity(component, version), declared)
    };
    components.map(register).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// Registered, scraped, replaced by a newer version, and removed: each in steps that do not depend
// on the number of the others.
#[test]
fn steps_grow_with_own_metrics() {
    let registry = Registry::new();
    let budget = |components: u64| STEPS_PER_METRIC * METRICS as u64 * components;
    let mut old = Vec::new();
    for hundred in 0..3 {
        let components = 100 * hundred..100 * (hundred + 1);
        let steps = steps_of(|| old.extend(register(&registry, components, "1")));
        assert!(steps <= budget(100), "{steps} steps for 100 components after {hundred} hundred");
    }
    let steps = steps_of(|| drop(registry.snapshot(seconds(0))));
    assert!(steps <= budget(300), "{steps} steps for a snapshot");

    let mut new = Vec::new();
    let steps = steps_of(|| {
        new.extend(register(&registry, 0..300, "2"));
        old.iter().for_each(Component::retire);
        drop(old);
        registry.snapshot(seconds(1));
    });
    assert!(steps <= budget(2 * 300), "{steps} steps for a reload");
    let steps = steps_of(|| {
        registry.snapshot(seconds(2));
        registry.snapshot(seconds(2 + limits::RETENTION.as_secs()));
    });
    assert!(steps <= budget(2 * 300), "{steps} steps for the removal");
    let text = encode::prometheus::encode(&registry.snapshot(seconds(3)));
    assert!(!text.contains("version=\"1\""));
    assert_eq!(text.matches("version=\"2\"} 0\n").count(), 300 * METRICS);
}

// One binary with as many metrics as a binary may have cost 131 s beside 100 components. What it
// resolves beyond its limit is counted as its own, and every number of the neighbours is exact.
#[test]
fn neighbours_add_no_steps() {
    const OVER: usize = 10;
    let largest = declarations(&["evil"], limits::METRICS);
    let steps_beside = |components: usize| {
        let registry = Registry::new();
        let neighbours = register(&registry, 0..components, "1");
        let mut recorders: Vec<_> = neighbours.iter().map(Component::recorder).collect();
        let descriptor = Descriptor { name: "calls_total", help: "Calls.", unit: "" };
        recorders.iter_mut().for_each(|recorder| recorder.counter(&descriptor, &[]).unwrap().add(3.0));
        let mut evil = None;
        let steps = steps_of(|| evil = Some(registry.component(Identity::new("evil"), largest.clone())));
        let mut recorder = evil.unwrap().recorder();
        let resolved = (0..limits::RESOLVED_METRICS + OVER).filter(|number| {
            let name = format!("resolved_{number}_total");
            recorder.counter(&Descriptor { name: &name, ..descriptor }, &[]).is_ok()
        });
        assert_eq!(resolved.count(), limits::RESOLVED_METRICS);
        let text = encode::prometheus::encode(&registry.snapshot(seconds(0)));
        let lost = format!("{{component=\"evil\",signal=\"metrics\",reason=\"metric_limit\"}} {OVER}\n");
        assert_eq!(text.matches(&lost).count(), 1);
        let drops = text.lines().filter(|line| line.starts_with("wasmetry_dropped_total{") && !line.ends_with(" 0"));
        assert_eq!(drops.count(), 1, "nothing else is dropped");
        for number in 0..components {
            let own: Vec<_> =
                text.lines().filter(|line| line.contains(&format!("{{component=\"c{number}\","))).collect();
            let is_zero = |line: &&&str| line.ends_with(" 0") && !line.starts_with("wasmetry_");
            assert_eq!(own.iter().filter(is_zero).count(), METRICS, "{own:?}");
            let calls = format!("calls_total{{component=\"c{number}\",version=\"1\"}} 3");
            assert!(own.contains(&calls.as_str()), "{own:?}");
        }
        steps
    };
    let alone = steps_beside(0);
    let beside = steps_beside(100);
    // The changes of the neighbours' handles are applied now: two for each.
    assert!(beside <= alone + 200, "{beside} steps beside 100 components, {alone} alone");
    assert!(alone <= STEPS_PER_METRIC * limits::METRICS as u64, "{alone} steps");
}

/// A registered component with few metrics: the steps that do not depend on their number.
const STEPS_PER_COMPONENT: u64 = 24;

// 1,000 components with few metrics, and one with as many as a binary may have, in tenants of 100:
// registered, scraped, replaced by a newer version, retired and removed. All series are shown while
// they are there, and nothing is left.
#[test]
fn large_installation_leaves_nothing() {
    const COMPONENTS: usize = 1000;
    const FEW: usize = 4;
    const SERIES: usize = COMPONENTS * FEW + limits::METRICS;
    let registry = Registry::new();
    registry.set_exposition_limits(ExpositionLimits::default().with_component(1 << 30).with_tenant(1 << 30));
    let largest = declarations(&["guest_largest"], limits::METRICS);
    let declared: Vec<_> =
        (0..COMPONENTS).map(|component| declarations(&["guest_shared", &format!("guest_c{component}")], FEW)).collect();
    let budget =
        |components: usize, metrics: usize| STEPS_PER_COMPONENT * components as u64 + STEPS_PER_METRIC * metrics as u64;
    let register = |version: &str| {
        let mut all = Vec::new();
        for (hundred, declared) in declared.chunks(100).enumerate() {
            let steps = steps_of(|| {
                for (number, declared) in declared.iter().enumerate() {
                    let identity = identity(100 * hundred + number, version).with_tenant(format!("t{hundred}"));
                    all.push(registry.component(identity, declared.clone()));
                }
            });
            let most = budget(100, 100 * FEW);
            assert!(steps <= most, "{steps} steps for 100 of version {version}, after {hundred} hundred");
        }
        let identity = Identity::new("largest").with_version(version).with_tenant("largest");
        let steps = steps_of(|| all.push(registry.component(identity, largest.clone())));
        let most = budget(COMPONENTS, limits::METRICS);
        assert!(steps <= most, "{steps} steps for the largest of version {version}");
        all
    };
    let scrape = |at: u64, metrics: usize| {
        let mut text = String::new();
        let steps = steps_of(|| text = encode::prometheus::encode(&registry.snapshot(seconds(at))));
        assert!(steps <= budget(2 * COMPONENTS, metrics), "{steps} steps for the scrape at {at} s");
        assert_eq!(registry.take_hidden_series(), []);
        text
    };
    let shown = |text: &str, version: &str| {
        let labels = format!("\",version=\"{version}\",");
        text.lines().filter(|line| line.starts_with("guest_") && line.contains(&labels)).count()
    };

    // The host's own series stay.
    registry.snapshot(seconds(0));
    let empty = registry.memory_bytes();
    let old = register("1");
    assert_eq!(shown(&scrape(0, SERIES), "1"), SERIES);
    let new = register("2");
    old.iter().for_each(Component::retire);
    drop(old);
    let text = scrape(1, 2 * SERIES);
    assert_eq!((shown(&text, "1"), shown(&text, "2")), (SERIES, SERIES), "the last values are shown for a while");
    let text = scrape(2 + limits::RETENTION.as_secs(), 2 * SERIES);
    assert_eq!((shown(&text, "1"), shown(&text, "2")), (0, SERIES));
    new.iter().for_each(Component::retire);
    drop(new);
    assert_eq!(shown(&scrape(3 + limits::RETENTION.as_secs(), SERIES), "2"), SERIES);
    let text = scrape(4 + 2 * limits::RETENTION.as_secs(), SERIES);
    assert!(!text.contains("component=\""), "{text}");
    assert_eq!(registry.memory_bytes(), empty);
    // What was registered after all that costs what it did at first.
    let again = register("3");
    assert_eq!(shown(&scrape(5 + 2 * limits::RETENTION.as_secs(), SERIES), "3"), SERIES);
    drop(again);
}

// A registration that is repeated without `retire` costs the same each time, and leaves nothing.
#[test]
fn repeated_registration_keeps_its_cost() {
    let registry = Registry::new();
    let binaries = ["a", "b", "c"].map(|prefix| declarations(&[prefix], METRICS));
    let round = || {
        steps_of(|| {
            for binary in &binaries {
                let component = registry.component(identity(0, "1"), binary.clone());
                drop(component.instance());
            }
        })
    };
    let first: u64 = (0..3).map(|_| round()).max().unwrap_or_default();
    let later: Vec<u64> = (0..100).map(|_| round()).collect();
    assert!(later.iter().all(|steps| *steps <= first), "{first} steps at first, then {later:?}");

    // Those that an embedder holds are its own: they add nothing to the cost of another one.
    let held: Vec<_> = (0..500).map(|_| registry.component(identity(1, "1"), binaries[0].clone())).collect();
    let another = steps_of(|| drop(registry.component(identity(1, "1"), binaries[0].clone())));
    drop(held);
    assert!(another <= first, "{another} steps beside 500 that are held");
}

// A gauge may have the stem of a counter that its component had before. The counter's end leaves
// the gauge its name.
#[test]
fn removed_counter_leaves_gauge_its_name() {
    let registry = Registry::new();
    let identity = || Identity::new("shop").with_tenant("acme");
    let counter = Declarations::from_sections([&record("x_total")[..]]);
    let mut gauge = record("x");
    // Its kind, by FORMAT.md.
    gauge[1] = 5;
    let old = registry.component(identity(), counter.clone());
    registry.snapshot(seconds(0));
    old.retire();
    drop(old);
    let new = registry.component(identity(), Declarations::from_sections([&gauge[..]]));
    assert!(new.conflicts().is_empty(), "{:?}", new.conflicts());
    registry.snapshot(seconds(1));
    registry.snapshot(seconds(2 + limits::RETENTION.as_secs()));
    let other = registry.component(Identity::new("other").with_tenant("acme"), counter);
    assert_eq!(other.conflicts().len(), 1, "the gauge has the name");
    drop(new);
}
