//! Tests of the ledgers.

use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;

/// A limit of all tenants of which 100 are shared: an eighth is kept for those that have little.
const SHARED_100: u64 = 114;

/// A charge that was made as large as it gets.
fn greediest(account: &Arc<Account>) -> Charge {
    let mut charge = Charge::new(Arc::clone(account));
    grow(&mut charge);
    charge
}

/// Makes a charge as large as it gets.
fn grow(charge: &mut Charge) {
    for step in (0..63).rev().map(|bit| 1 << bit) {
        // No second one of this size fits.
        let _ = charge.resize(charge.bytes as usize + step);
    }
}

/// Asserts that more than `1 / (2n + 1)` of a ledger without other limits is left by `n` tenants,
/// and that the next one gets its part of that.
fn assert_newcomer_has_room(ledger: &Ledger, limit: u64, tenants: u64) {
    let granted = ledger.process().bytes.load(Relaxed);
    assert!((limit - granted) * (2 * tenants + 1) > limit, "{granted} of {limit} bytes, {tenants} tenants");
    let honest = greediest(&ledger.open("honest"));
    let least = (2 * limit / (2 * tenants + 3).pow(2)).max(limit / limits::SMALL_SHARE);
    assert!(honest.bytes >= least, "{} of {limit} bytes", honest.bytes);
}

#[test]
fn lone_tenant_gets_half_of_shared() {
    for tenant in ["acme", ""] {
        let ledger = Ledger::new(1 << 30, u64::MAX, u64::MAX);
        let first = greediest(&ledger.open(tenant));
        // Half of seven eighths.
        assert_eq!(first.bytes, 7 << 26, "{tenant}");
        if !tenant.is_empty() {
            assert_eq!(greediest(&ledger.open(tenant)).bytes, 0, "the tenant's components share it");
        }
    }
}

/// Each takes all that it gets, one after the other: the order that leaves least.
#[test]
fn tenants_in_sequence_leave_room() {
    const LIMIT: u64 = 1 << 30;
    for tenants in [1, 2, 10, 100] {
        let ledger = Ledger::new(LIMIT, u64::MAX, u64::MAX);
        let _hogs: Vec<Charge> = (0..tenants).map(|number| greediest(&ledger.open(&format!("t{number}")))).collect();
        assert_newcomer_has_room(&ledger, LIMIT, tenants);
    }
}

/// Behind twenty greedy tenants, a hundred small ones have what they need, whoever they are.
#[test]
fn small_tenants_have_small_shares() {
    const LIMIT: u64 = 1 << 30;
    let ledger = Ledger::new(LIMIT, u64::MAX, u64::MAX);
    let _hogs: Vec<Charge> = (0..20).map(|number| greediest(&ledger.open(&format!("t{number}")))).collect();
    let mut honest: Vec<Charge> = (0..100).map(|number| Charge::new(ledger.open(&format!("h{number}")))).collect();
    let small = (LIMIT / limits::SMALL_SHARE) as usize;
    assert!(honest.iter_mut().all(|honest| honest.resize(small)));
    assert!(!honest[0].resize(2 * small));
}

/// Those that grow side by side have the same, and the next gets more than a third of it.
#[test]
fn tenants_side_by_side_leave_room() {
    const LIMIT: u64 = 1 << 30;
    const STEP: u64 = 1 << 10;
    for tenants in [1_u32, 2, 10, 100] {
        let ledger = Ledger::new(LIMIT, u64::MAX, u64::MAX);
        let open = |number| Charge::new(ledger.open(&format!("t{number}")));
        let mut hogs: Vec<Charge> = (0..tenants).map(open).collect();
        // Each in its turn, until none gets more.
        let grow_all = |hogs: &mut [Charge]| {
            let grow = |hog: &mut Charge| hog.resize((hog.bytes + STEP) as usize);
            while hogs.iter_mut().map(grow).filter(|grown| *grown).count() > 0 {}
        };
        grow_all(&mut hogs);
        let [least, most] = [hogs.iter().map(|hog| hog.bytes).min(), hogs.iter().map(|hog| hog.bytes).max()];
        let (least, most) = (least.unwrap(), most.unwrap());
        assert!(most - least <= STEP, "{least} to {most} bytes");
        let newcomer = greediest(&ledger.open("honest"));
        assert!(newcomer.bytes * 3 > most, "{} beside {most} bytes", newcomer.bytes);

        // They give back what they have: the newcomer gets as much as each.
        hogs.push(newcomer);
        hogs.iter_mut().for_each(|hog| assert!(hog.resize(0)));
        grow_all(&mut hogs);
        assert!(hogs.iter().all(|hog| hog.bytes.abs_diff(hogs[0].bytes) <= STEP), "{hogs:?}");
        drop(hogs);
        assert_eq!(ledger.process().bytes(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever tenants ask for and return, and whatever is in use without being granted.
    #[test]
    fn any_sequence_leaves_room(
        tenants in 1..12_u64,
        calls in proptest::collection::vec((0..12_u64, 0..1_u64 << 20, 0..4), 0..200),
    ) {
        const LIMIT: u64 = 1 << 20;
        let ledger = Ledger::new(LIMIT, u64::MAX, u64::MAX);
        let mut hogs: Vec<Charge> =
            (0..tenants).map(|number| Charge::new(ledger.open(&format!("t{number}")))).collect();
        for (number, bytes, call) in calls {
            let hog = &mut hogs[(number % tenants) as usize];
            match call {
                0 => _ = hog.resize(bytes as usize),
                1 => grow(hog),
                2 => assert!(hog.resize((bytes % (hog.bytes + 1)) as usize), "less is always granted"),
                _ => hog.set((bytes >> 4) as usize),
            }
            let total: u64 = hogs.iter().map(|hog| hog.bytes).sum();
            prop_assert_eq!(ledger.process().bytes(), total);
            prop_assert!(hogs.iter().all(|hog| hog.account.bytes() == hog.bytes && hog.used <= hog.bytes));
            prop_assert_eq!(ledger.process().used.load(Relaxed), hogs.iter().map(|hog| hog.used).sum::<u64>());
        }
        assert_newcomer_has_room(&ledger, LIMIT, tenants);
        drop(hogs);
        prop_assert_eq!(ledger.process().bytes(), 0);
    }
}

/// Two threads of each of four tenants: neither gets a share of its own, and sums are right.
#[test]
fn threads_have_one_share() {
    const LIMIT: u64 = 1 << 20;
    const TENANTS: u64 = 4;
    let ledger = Ledger::new(LIMIT, u64::MAX, u64::MAX);
    let start = Barrier::new(2 * TENANTS as usize);
    let charges: Vec<Charge> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2 * TENANTS)
            .map(|number| {
                let (ledger, start) = (&ledger, &start);
                scope.spawn(move || {
                    let mut charge = Charge::new(ledger.open(&format!("t{}", number % TENANTS)));
                    let mut random = number + 1;
                    start.wait();
                    for _ in 0..20_000 {
                        // Knuth's linear congruential generator.
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let _ = charge.resize((random >> 45) as usize);
                        assert!(ledger.process().bytes() <= LIMIT);
                    }
                    grow(&mut charge);
                    charge
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let total: u64 = charges.iter().map(|charge| charge.bytes).sum();
    assert_eq!(ledger.process().bytes(), total);
    for number in 0..TENANTS {
        let own = [number, number + TENANTS].map(|index| charges[index as usize].bytes);
        assert_eq!(ledger.tenant(&format!("t{number}")).bytes(), own[0] + own[1]);
    }
    assert_newcomer_has_room(&ledger, LIMIT, TENANTS);
    drop(charges);
    assert_eq!(ledger.process().bytes(), 0);
}

#[test]
fn components_without_tenant_have_own_share() {
    let ledger = Ledger::new(SHARED_100, 30, u64::MAX);
    let charges = [50, 19].map(|bytes| {
        let charge = greediest(&ledger.open(""));
        assert_eq!(charge.bytes, bytes);
        charge
    });
    let mut third = Charge::new(ledger.open(""));
    assert!(!third.resize(10) && third.resize(9), "its share of the process's");
    drop(charges);
    assert!(third.resize(50));
}

#[test]
fn charges_count_at_every_level() {
    let ledger = Ledger::new(1000, 60, u64::MAX);
    let (shop, bank) = (ledger.open("acme"), ledger.open("mallory"));
    let store = StoreMemory::new(&shop, 80);
    let mut charge = store.charge();
    assert!(charge.resize(50));
    assert_eq!((store.bytes(), shop.bytes(), ledger.process().bytes()), (50, 50, 50));
    assert!(!charge.resize(61), "the tenant's limit");
    assert_eq!(store.bytes(), 50, "a refused charge changes nothing");
    let mut other = Charge::new(Arc::clone(&bank));
    ledger.set_limits(SHARED_100, 60, u64::MAX);
    assert!(!other.resize(20), "its share of the process's limit");
    assert_eq!((bank.bytes(), ledger.process().bytes()), (0, 50));
    assert!(other.resize(19));
    ledger.set_limits(1000, 60, u64::MAX);
    store.set_limit(40);
    assert!(charge.resize(30) && !charge.resize(41), "the store's limit");
    // Another component of the tenant.
    let mut third = Charge::new(ledger.open("acme"));
    assert!(!third.resize(31) && third.resize(20));
    drop((charge, other, third));
    assert_eq!((shop.bytes(), bank.bytes(), ledger.process().bytes()), (0, 0, 0));
}

/// Memory that one tenant has beyond its limit is not taken from what others may have, and is
/// granted when there is room.
#[test]
fn used_memory_is_charged_beyond_limits() {
    let ledger = Ledger::new(SHARED_100, 60, u64::MAX);
    let (mut series, mut waiting) = (Charge::new(ledger.open("acme")), Charge::new(ledger.open("acme")));
    series.set(70);
    assert_eq!((ledger.tenant("acme").bytes(), ledger.process().bytes()), (70, 70), "nothing is hidden");
    assert!(!waiting.resize(1), "the tenant has more than it may");
    let neighbour = greediest(&ledger.open("bank"));
    assert_eq!(neighbour.bytes, 50, "a lone tenant's share");
    series.set(50);
    assert_eq!((ledger.tenant("acme").bytes(), ledger.process().bytes()), (50, 100));
    assert!(!waiting.resize(1), "the tenant has more than its share");
    drop(neighbour);
    assert!(waiting.resize(10) && !waiting.resize(11), "the tenant's limit");
    drop(waiting);
    series.set(50);
    assert_eq!(greediest(&ledger.open("bank")).bytes, 19, "the series are granted by now");
    assert_eq!(ledger.process().bytes(), 50);
    drop(series);
    assert_eq!(ledger.process().bytes(), 0);
}

#[test]
fn refusal_names_the_full_account() {
    let ledger = Ledger::new(SHARED_100, 60, 50);
    let (component, plain) = (ledger.open("acme"), ledger.open(""));
    assert_eq!(component.add(51), Err(NoRoom { height: 0, is_root: false, limit: 50 }));
    assert_eq!(component.add(50), Ok(()));
    let second = ledger.open("acme");
    assert_eq!(second.add(11), Err(NoRoom { height: 1, is_root: false, limit: 60 }));
    assert_eq!(second.add(1), Err(NoRoom { height: 2, is_root: true, limit: SHARED_100 }));
    assert_eq!(plain.add(19), Ok(()));
    assert_eq!(plain.add(1), Err(NoRoom { height: 1, is_root: true, limit: SHARED_100 }));
}

#[test]
fn gauge_shows_charges() {
    let registry = crate::Registry::new();
    let gauge = registry.gauge("kept_bytes", "Kept.", &[]).with(&[]);
    let is_shown = |bytes: u64| {
        let text = crate::encode::prometheus::encode(&registry.snapshot(std::time::Duration::ZERO));
        text.contains(&format!("kept_bytes {bytes}\n"))
    };
    let account = Ledger::new(100, 100, 100).open("acme");
    let mut charge = Charge::new(Arc::clone(&account));
    assert!(charge.resize(10));
    account.set_gauge(gauge);
    assert!(is_shown(10));
    assert!(charge.resize(30));
    assert!(is_shown(30));
    drop(charge);
    assert!(is_shown(0));
}
