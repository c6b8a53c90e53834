#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use wasmetry_host::Registry;

use super::*;

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_764_374_400;

/// A registry and the store of its snapshots.
struct Past {
    registry: Registry,
    store: SeriesStore,
    step: u64,
}

impl Past {
    fn new(limit: usize) -> Self {
        Self { registry: Registry::new(), store: SeriesStore::new(limit, BEGIN * SECOND), step: 0 }
    }

    /// Takes a snapshot, 5 s after the one before.
    fn store(&mut self) {
        self.step += 1;
        let time = (BEGIN + self.step * 5) * SECOND;
        self.store.store(&self.registry.snapshot(Duration::from_secs(self.step * 5)), time);
    }

    fn groups(&self, name: &str) -> Groups {
        let family = self.store.family(name).unwrap();
        let mut groups = Groups { of_slot: vec![None; family.slots.len()], len: 1 };
        family.used().for_each(|(at, ..)| groups.of_slot[at] = Some(0));
        groups
    }

    fn increases(&self, name: &str, steps: u32) -> (Grid, Vec<f64>) {
        let grid = self.store.grid(self.store.newest().unwrap(), steps, 720);
        let totals = self.store.increases(self.store.family(name).unwrap(), &self.groups(name), &grid);
        (grid, totals.of(0).to_vec())
    }
}

#[test]
fn counters_are_exact_at_each_step() {
    let mut past = Past::new(16 << 20);
    let jobs = past.registry.counter("jobs_total", "Jobs.", &["queue"]);
    let (mail, print) = (jobs.with(&["mail"]), jobs.with(&["print"]));
    let added = |step: u64| step * step % 7;
    for step in 0..720 {
        mail.add(added(step));
        print.add(step % 2);
        past.store();
    }
    let (grid, increases) = past.increases("jobs_total", 720);
    assert_eq!((grid.len, grid.span), (720, 1));
    for (step, increase) in (0..720).zip(&increases) {
        assert_eq!(*increase, (added(step) + step % 2) as f64, "{step}");
    }
    assert_eq!(past.store.counts(), (past.store.last().series, 0));
}

#[test]
fn coarser_steps_keep_sums_exact() {
    let mut past = Past::new(600_000);
    let jobs = past.registry.counter("jobs_total", "Jobs.", &["queue"]);
    let amounts = past.registry.float_counter("amount_total", "Amounts.", &["queue"]);
    let times = past.registry.histogram("time_seconds", "Times.", &["queue"], &[0.1, 1.0]);
    let queues: Vec<String> = (0..300).map(|queue| format!("queue-{queue}")).collect();
    let (mut all, mut amount) = (0, 0.0);
    for step in 0..720u64 {
        for (at, queue) in (0u64..).zip(&queues) {
            let more = (step * 31 + at * 17) % 5;
            jobs.with(&[queue]).add(more);
            amounts.with(&[queue]).add(more as f64 / 8.0);
            times.with(&[queue]).observe(0.05 * more as f64);
            (all, amount) = (all + more, amount + more as f64 / 8.0);
        }
        past.store();
        assert!(past.store.bytes() <= 600_000, "{step}: {}", past.store.bytes());
    }
    let steps = past.store.steps();
    assert!(steps.len() > 1, "{steps:?}");
    // What is left of the past begins at the oldest column.
    let kept = past.store.newest().unwrap() - step_of(past.store.oldest().unwrap() * SECOND);
    assert!(kept > 12, "{kept}");
    let (grid, increases) = past.increases("jobs_total", kept);
    let before: u64 =
        (0..u64::from(720 - kept)).flat_map(|step| (0..300).map(move |at| (step * 31 + at * 17) % 5)).sum();
    assert_eq!(grid.covered.iter().sum::<u32>(), kept);
    assert_eq!(increases.iter().sum::<f64>(), (all - before) as f64);
    let (_, amounts) = past.increases("amount_total", kept);
    assert!((amounts.iter().sum::<f64>() - (amount - before as f64 / 8.0)).abs() < 1e-6);
    let histogram =
        past.store.histograms(past.store.family("time_seconds").unwrap(), &past.groups("time_seconds"), &grid);
    assert_eq!(histogram.all(0).iter().sum::<u64>(), 300 * u64::from(kept));
}

#[test]
fn gauges_have_values_of_their_time() {
    let mut past = Past::new(16 << 20);
    let gauge = past.registry.gauge("depth", "Depth.", &["queue"]);
    for step in 0..100u32 {
        gauge.with(&["a"]).set(f64::from(step) - 50.0);
        if step >= 40 {
            gauge.with(&["b"]).set(0.1 * f64::from(step));
        }
        past.store();
    }
    let grid = past.store.grid(past.store.newest().unwrap(), 100, 720);
    let family = past.store.family("depth").unwrap();
    for (aggregation, expected) in [
        (Aggregation::Sum, [-50.0, -10.0 + 4.0, 49.0 + 9.9]),
        (Aggregation::Max, [-50.0, 4.0, 49.0]),
        (Aggregation::Min, [-50.0, -10.0, 9.9]),
        (Aggregation::Avg, [-50.0, -3.0, (49.0 + 9.9) / 2.0]),
    ] {
        let points = past.store.gauges(family, &past.groups("depth"), &grid, aggregation);
        for (step, expected) in [0, 40, 99].into_iter().zip(expected) {
            let value = points[0][step].unwrap();
            assert!((value - expected).abs() < 1e-9, "{aggregation:?} {step}: {value}, not {expected}");
        }
    }
}

#[test]
fn missed_steps_belong_to_the_next() {
    let mut past = Past::new(16 << 20);
    let jobs = past.registry.counter("jobs_total", "Jobs.", &[]).with(&[]);
    past.store();
    past.step += 3;
    jobs.add(40);
    past.store();
    let (grid, increases) = past.increases("jobs_total", 4);
    // The rate is that of the whole time between both snapshots.
    assert_eq!((grid.span, increases), (4, vec![40.0]));
    assert_eq!(grid.since(0).seconds(0), Some(20.0));
}

#[test]
fn clock_set_back_forgets_the_future() {
    let mut past = Past::new(16 << 20);
    past.step = 10_000;
    past.store();
    past.step = 5;
    past.store();
    assert_eq!(past.store.newest(), Some(step_of((BEGIN + 30) * SECOND)));
    assert_eq!(past.store.columns.len(), 1);
    // A small step back is a step forward.
    past.step -= 2;
    past.store();
    assert_eq!(past.store.newest(), Some(step_of((BEGIN + 35) * SECOND)));
}

#[test]
fn series_without_room_are_counted() {
    let mut past = Past::new(200_000);
    let jobs = past.registry.counter("jobs_total", "Jobs.", &["queue"]);
    for queue in 0..5000 {
        jobs.with(&[&format!("queue-{queue}")]).inc();
    }
    past.store();
    let (kept, refused) = past.store.counts();
    assert_eq!(kept + refused, past.store.last().series);
    assert!(kept > 100 && refused > 1000, "{kept} {refused}");
    assert!(past.store.bytes() <= 200_000, "{}", past.store.bytes());
    assert!(past.store.family("jobs_total").unwrap().refused > 1000);
}

#[test]
fn ended_series_make_room() {
    let mut past = Past::new(16 << 20);
    for round in 0..4 {
        past.registry = Registry::new();
        let jobs = past.registry.counter("jobs_total", "Jobs.", &["queue"]);
        for queue in 0..1000 {
            jobs.with(&[&format!("queue-{round}-{queue}")]).inc();
        }
        for _ in 0..400 {
            past.store();
        }
    }
    // The last hour has two of the four rounds.
    let family = past.store.family("jobs_total").unwrap();
    assert!(family.used().count() <= 3000, "{}", family.used().count());
    let newest = past.store.newest().unwrap();
    assert_eq!(family.used().filter(|(.., slot)| slot.last == newest).count(), 1000);
}

#[test]
fn series_of_another_type_begin_again() {
    let mut past = Past::new(16 << 20);
    past.registry.counter("jobs_total", "Jobs.", &["queue"]).with(&["a"]).add(7);
    past.store();
    past.registry = Registry::new();
    past.registry.float_counter("jobs_total", "Jobs.", &["queue"]).with(&["a"]).add(0.5);
    past.store();
    past.registry.float_counter("jobs_total", "Jobs.", &["queue"]).with(&["a"]).add(0.25);
    past.store();
    let (_, increases) = past.increases("jobs_total", 3);
    assert_eq!(increases, [7.0, 0.5, 0.25]);
    // Other buckets are another metric.
    past.registry = Registry::new();
    past.registry.histogram("time_seconds", "Times.", &[], &[1.0]).with(&[]).observe(2.0);
    past.store();
    past.registry = Registry::new();
    past.registry.histogram("time_seconds", "Times.", &[], &[1.0, 4.0]).with(&[]).observe(2.0);
    past.store();
    let (_, increases) = past.increases("time_seconds", 3);
    assert_eq!(increases.iter().sum::<f64>(), 1.0);
    assert_eq!(past.store.family("time_seconds").unwrap().bounds, [1.0, 4.0]);
}

#[test]
fn restarted_counter_counts_from_zero() {
    let mut past = Past::new(16 << 20);
    past.registry.counter("jobs_total", "Jobs.", &[]).with(&[]).add(100);
    past.store();
    past.registry = Registry::new();
    past.registry.counter("jobs_total", "Jobs.", &[]).with(&[]).add(3);
    past.store();
    let (_, increases) = past.increases("jobs_total", 2);
    assert_eq!(increases, [100.0, 3.0]);
}

#[test]
fn quantiles_are_interpolated() {
    let bounds = [1.0, 2.0, 4.0];
    assert_eq!(quantile(0.5, &bounds, &[0, 0, 0, 0]), None);
    assert_eq!(quantile(0.5, &bounds, &[10, 0, 0, 0]), Some(0.5));
    assert_eq!(quantile(0.5, &bounds, &[5, 10, 5, 0]), Some(1.5));
    assert_eq!(quantile(0.99, &bounds, &[0, 0, 0, 1]), Some(4.0));
}

#[test]
fn steps_end_at_multiples() {
    assert_eq!(step_of(1), 1);
    assert_eq!(step_of(5 * SECOND), 1);
    assert_eq!(step_of(5 * SECOND + 1), 2);
}

/// Adds a counter with so many series of a component.
fn declare(past: &Past, name: &str, [component, tenant]: [&str; 2], series: usize) {
    let family = past.registry.counter(name, "Jobs.", &["component", "version", "tenant", "queue"]);
    (0..series).for_each(|queue| family.with(&[component, "1", tenant, &format!("queue-{queue}")]).inc());
}

/// The labels of the series of a metric that the last snapshot has.
fn kept(past: &Past, name: &str) -> Vec<String> {
    let newest = past.store.newest().unwrap();
    let used = past.store.namesakes(name).flat_map(Family::used).filter(|(.., slot)| slot.last == newest);
    let mut kept: Vec<String> =
        used.map(|(_, set, _)| past.store.labels(set).map(|(_, value)| value).collect::<Vec<_>>().join(" ")).collect();
    kept.sort();
    kept
}

/// A tenant whose metrics come first by their names gets its share of the memory; the series of
/// others, those of tenants that come later and the host's own are there. Its drops are its own,
/// and what was granted stays granted.
#[test]
fn flood_of_series_stays_in_share() {
    let mut past = Past::new(1 << 20);
    let evil = |past: &Past, round: usize| {
        (0..20).for_each(|at| {
            declare(past, &format!("aaa_{round}_{at}_total"), [["evil", "worse"][at % 2], "mallory"], 500)
        });
    };
    evil(&past, 0);
    declare(&past, "zzz_jobs_total", ["bank", "acme"], 100);
    declare(&past, "wasm_http_requests_total", ["evil", "mallory"], 50);
    past.registry.counter("zzz_host_total", "Jobs.", &["queue"]).with(&["a"]).inc();
    past.store();
    let all = |past: &Past| (0..20).flat_map(|at| kept(past, &format!("aaa_0_{at}_total"))).collect::<Vec<_>>();
    let first = all(&past);
    assert!((400..5000).contains(&first.len()), "{}", first.len());
    for (name, series) in [("zzz_jobs_total", 100), ("wasm_http_requests_total", 50), ("zzz_host_total", 1)] {
        assert_eq!(kept(&past, name).len(), series, "{name}");
    }
    let (_, refused) = past.store.counts();
    let drops = past.store.take_refused();
    assert!(drops.iter().all(|drop| drop.identity.tenant() == "mallory" && drop.signal == "metrics"), "{drops:?}");
    assert_eq!(drops.iter().map(|drop| drop.count).sum::<u64>(), refused as u64);
    assert!(past.store.take_refused().is_empty());
    // More of the flood takes nothing from what was granted, and a tenant that comes later gets
    // some.
    evil(&past, 1);
    declare(&past, "zzz_late_total", ["late", "late"], 100);
    for _ in 0..30 {
        past.store();
        assert!(past.store.bytes() <= 1 << 20, "{}", past.store.bytes());
    }
    assert_eq!(all(&past), first);
    assert_eq!([kept(&past, "zzz_jobs_total").len(), kept(&past, "zzz_late_total").len()], [100, 100]);
    let names = past.store.families().filter(|family| family.name.starts_with("aaa_1_")).count();
    assert!(names < 20, "{names}");
}

/// When the series of an owner have ended, its share is free again.
#[test]
fn ended_series_free_the_share() {
    let mut past = Past::new(1 << 20);
    let mut granted = Vec::new();
    for round in 0..2 {
        past.registry = Registry::new();
        let name = format!("jobs_{round}_total");
        declare(&past, &name, ["evil", "mallory"], 3000);
        for _ in 0..750 {
            past.store();
        }
        granted.push(kept(&past, &name).len());
    }
    assert!(granted[0] > 400 && granted.iter().all(|count| *count > granted[0] * 3 / 4), "{granted:?}");
    past.registry = Registry::new();
    for _ in 0..750 {
        past.store();
    }
    assert_eq!(past.store.labels.accounts.own_bytes(), 0);
}

/// Tenants that declare one name differently have a metric each, whose values do not mix.
#[test]
fn namesakes_are_kept_apart() {
    let mut past = Past::new(16 << 20);
    let snapshots: Vec<_> = [&[1.0][..], &[1.0, 4.0]]
        .into_iter()
        .map(|bounds| {
            let registry = Registry::new();
            registry.histogram("time_seconds", "Times.", &["component"], bounds).with(&["a"]).observe(2.0);
            registry.snapshot(Duration::ZERO)
        })
        .collect();
    for step in 0..4 {
        past.step += 1;
        past.store.store(&snapshots[step % 2], (BEGIN + past.step * 5) * SECOND);
    }
    let bounds: Vec<_> = past.store.namesakes("time_seconds").map(|family| family.bounds.clone()).collect();
    assert_eq!(bounds, [vec![1.0], vec![1.0, 4.0]]);
    assert_eq!(past.store.family("time_seconds").unwrap().bounds, [1.0, 4.0]);
    // Neither has lost its first observation.
    for family in past.store.namesakes("time_seconds") {
        let grid = past.store.grid(past.store.newest().unwrap(), 4, 720);
        let groups = Groups { of_slot: vec![Some(0)], len: 1 };
        assert_eq!(past.store.increases(family, &groups, &grid).of(0).iter().sum::<f64>(), 1.0);
    }
}
