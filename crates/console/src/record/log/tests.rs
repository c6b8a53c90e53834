#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::Level;

use super::super::name::Names;
use super::*;

/// A store, and the names of those whose logs it has.
struct Store {
    logs: LogStore,
    names: Names,
    drops: Drops,
}

impl Store {
    fn new(limit: usize) -> Self {
        Self { logs: LogStore::new(limit), names: Names::new(1 << 20), drops: Drops::default() }
    }

    /// Adds a log with a body of so many bytes.
    fn push(&mut self, component: &str, tenant: &str, level: Level, bytes: usize) -> u64 {
        let origin = self.names.origin(&Arc::new(Identity::new(component).with_tenant(tenant)));
        let log = LogRecord {
            time: 1,
            observed: 1,
            level,
            target: "".into(),
            message: "".into(),
            fields: Vec::new(),
            source: None,
            trace: None,
            is_audit: false,
            stream: None,
        };
        let event = 2 * self.logs.last_id() + 2;
        self.logs.push(event, origin, &log, &vec![0; bytes], &mut self.drops);
        assert!(self.logs.bytes() <= self.logs.limit, "{} bytes", self.logs.bytes());
        self.logs.last_id()
    }

    /// Takes the drops by component.
    fn drops(&mut self) -> Vec<(String, u64)> {
        let drops = self.drops.take(&self.names);
        drops.into_iter().map(|drop| (drop.identity.component().to_owned(), drop.count)).collect()
    }
}

/// A tenant whose components flood drops its own logs, of every level; what others have logged
/// stays, as long as they have less than an equal share.
#[test]
fn flood_drops_its_own_logs() {
    let mut store = Store::new(256 << 10);
    let mut honest: Vec<u64> = (0..100).map(|_| store.push("bank", "acme", Level::Debug, 100)).collect();
    honest.extend((0..100).map(|_| store.push("shop", "", Level::Info, 100)));
    for number in 0..20_000 {
        let level = [Level::Error, Level::Info, Level::Trace][number % 3];
        store.push(["evil", "worse"][number % 2], "mallory", level, 50 + number % 300);
        if number % 1000 == 0 {
            honest.push(store.push("bank", "acme", Level::Info, 100));
        }
    }
    assert!(honest.iter().all(|id| store.logs.get(*id).is_some_and(|log| log.id == *id)));
    let (kept, dropped) = (store.logs.len(), store.logs.dropped());
    assert_eq!((store.logs.all().count() as u64, kept + dropped), (kept, 20_220));
    let drops = store.drops();
    assert!(drops.iter().all(|(component, _)| component == "evil" || component == "worse"), "{drops:?}");
    assert_eq!(drops.iter().map(|(_, count)| count).sum::<u64>(), dropped);
    assert!(store.drops().is_empty());
    // The finer ones went first.
    let of = |level: u8| store.logs.all().filter(|log| log.level == level).count();
    assert!(of(5) < of(1) / 2, "{} {}", of(5), of(1));
}

/// Logs of all owners and levels are read in the order of their ids, from any place, whatever was
/// dropped between them.
#[test]
fn logs_are_read_in_order() {
    let mut store = Store::new(64 << 10);
    let owners = ["a", "b", "c", "d", "e", "f", "g"];
    for number in 0..5000_usize {
        // Bursts, so that the segments of owners begin at any place.
        let owner = owners[number * number / 100 % owners.len()];
        let level = if number % 5 == 0 { Level::Trace } else { Level::Warn };
        store.push(owner, if number % 3 == 0 { "acme" } else { "" }, level, number % 90);
    }
    let mut ids: Vec<u64> = store.logs.all().map(|log| log.id).collect();
    ids.sort_unstable();
    assert!(ids.len() > 300 && ids.windows(2).any(|pair| pair[1] > pair[0] + 1), "{}", ids.len());
    assert_eq!(store.logs.last_id(), *ids.last().unwrap());
    for from in [0, 1, ids[0], ids[17], ids[17] + 1, ids[ids.len() / 2], 4999, 5000, u64::MAX] {
        let after: Vec<u64> = store.logs.after(|log| log.id > from).map(|log| log.id).collect();
        assert!(after.iter().eq(ids.iter().filter(|id| **id > from)), "after {from}");
        let before: Vec<u64> = store.logs.before(from).map(|log| log.id).collect();
        assert!(before.iter().eq(ids.iter().rev().filter(|id| **id < from)), "before {from}");
        assert_eq!(store.logs.get(from).map(|log| log.id), ids.binary_search(&from).ok().map(|at| ids[at]));
        let events = store.logs.after(|log| log.event > 2 * from.min(5000)).map(|log| log.event);
        assert!(events.eq(ids.iter().filter(|id| **id > from).map(|id| 2 * id)), "events after {from}");
    }
}

/// Of a hundred owners that flood, each has an equal share, and one with less loses nothing.
#[test]
fn hundred_floods_cost_one_nothing() {
    let mut store = Store::new(1 << 20);
    let mut honest = Vec::new();
    for number in 0..40_000 {
        store.push("evil", &format!("t{}", number % 100), Level::Info, 100);
        if number % 1000 == 0 {
            honest.push(store.push("bank", "bank", Level::Info, 100));
        }
    }
    assert_eq!(honest.iter().filter(|id| store.logs.get(**id).is_none()).count(), 0);
    let bytes = store.logs.owners.iter().map(|logs| logs.bytes).filter(|bytes| *bytes > 5000);
    let (least, most) = bytes.fold((usize::MAX, 0), |(least, most), bytes| (least.min(bytes), most.max(bytes)));
    assert!(most < 2 * least, "{least} {most}");
}

/// The logs of one owner come first among those around a time.
#[test]
fn own_logs_are_near() {
    let mut store = Store::new(1 << 20);
    (0..100).for_each(|_| _ = store.push("evil", "mallory", Level::Info, 10));
    let own = store.push("bank", "acme", Level::Error, 10);
    let owner = store.names.origin(&Arc::new(Identity::new("bank").with_tenant("acme"))).owner;
    let near: Vec<u64> = store.logs.arrived(owner, 0, u64::MAX).map(|log| log.id).collect();
    assert_eq!((near[0], near.len()), (own, 101));
}
