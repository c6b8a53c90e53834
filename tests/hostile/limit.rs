//! Many tenants at their limits beside an honest one.

use std::fmt::Write as _;
use std::thread;

use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::server::{agent, get};

use crate::neighbour::{HOSTILE, Neighbours, Setup};

/// A hundred tenants have more series, metrics and open spans than they may have. Each drop has its
/// owner, and the honest tenant's numbers are exact.
#[test]
fn hundred_tenants_leave_honest_exact() {
    const TENANTS: usize = 100;
    /// The excess of the guest, by the reason that counts it.
    const OVER: [(&str, f64); 3] = [("series_limit", 50.0), ("metric_limit", 10.0), ("span_limit", 6.0)];
    let path = guest("limit-exceeder");
    let mut others = String::new();
    for number in 0..TENANTS {
        writeln!(
            others,
            "[[component]]\npath = '{}'\nname = 'c{number}'\ntenant = 't{number}'\nprefix = '/t{number}'",
            path.display()
        )
        .unwrap();
    }
    let neighbours = Neighbours::start(Setup { honest: &others, ..Setup::default() });
    thread::scope(|scope| {
        for client in 0..4 {
            let url = &neighbours.server.url;
            scope.spawn(move || {
                for number in (client..TENANTS).step_by(4) {
                    assert_eq!(get(&agent(), &format!("{url}/t{number}")).0, 200, "{number}");
                }
            });
        }
        neighbours.serve_honest(400);
    });
    neighbours.serve_honest(100);
    let text = neighbours.assert_honest_exact();
    for number in 0..TENANTS {
        let (component, tenant) = (format!("c{number}"), format!("t{number}"));
        let owner = [("component", component.as_str()), ("tenant", tenant.as_str())];
        assert_eq!(sum(&text, "calls_total", &owner), 2050.0, "{owner:?}");
        for (reason, count) in OVER {
            let labels = [owner[0], owner[1], ("reason", reason)];
            assert_eq!(sum(&text, "wasmetry_dropped_total", &labels), count, "{labels:?}");
        }
    }
}

/// A hundred tenants take all that they get of the memory of the process and of their series, in
/// the ratios of the defaults. A tenant that comes last has all of its series, with exact numbers,
/// and so has one that was there before.
#[test]
fn hundred_tenants_leave_last_exact() {
    const TENANTS: usize = 100;
    const LAST: [(&str, &str); 2] = [("component", "late"), ("tenant", "late")];
    const ROWS: f64 = 2100.0;
    let path = guest("hostile");
    let mut others = String::new();
    for number in 0..TENANTS {
        let path = path.display();
        writeln!(
            others,
            "[[component]]\npath = '{path}'\nname = 'c{number}'\ntenant = 't{number}'\nprefix = '/t{number}'"
        )
        .unwrap();
    }
    // The last tenant is added by a reload.
    writeln!(others, "# late").unwrap();
    let arguments =
        [["--limit", "telemetry-memory=128MiB"], ["--limit", "tenant-memory=16MiB"], ["--limit", "tenant-series=1000"]]
            .concat();
    let neighbours = Neighbours::start(Setup { honest: &others, arguments: &arguments, ..Setup::default() });
    thread::scope(|scope| {
        for client in 0..4 {
            let url = &neighbours.server.url;
            scope.spawn(move || {
                for number in (client..TENANTS).step_by(4) {
                    // Series with 1 KiB of text, of which a tenant may have 1,000.
                    let url = format!("{url}/t{number}/series?n=2100&m=1000");
                    assert_eq!(get(&agent(), &url).0, 200, "{number}");
                }
            });
        }
        neighbours.serve_honest(200);
    });
    let late = format!(
        "[[component]]\npath = '{}'\nname = 'late'\ntenant = 'late'\nhost = 'late.test'",
        guest("storefront").display()
    );
    neighbours.reload("# late", &late);
    neighbours.serve_storefront("late.test", 100);
    neighbours.serve_honest(100);
    let text = neighbours.assert_storefront_exact(LAST, 100.0);
    neighbours.assert_honest_exact();
    // Each of the others is at a limit of its own, and its requests are counted.
    for number in 0..TENANTS {
        let (component, tenant) = (format!("c{number}"), format!("t{number}"));
        let owner = [("component", component.as_str()), ("tenant", tenant.as_str())];
        let dropped = |reason| sum(&text, "wasmetry_dropped_total", &[owner[0], owner[1], ("reason", reason)]);
        assert!(dropped("series_limit") >= ROWS - 1000.0, "{owner:?}: {}", dropped("series_limit"));
        let shown = sum(&text, "rows_total", &owner);
        assert!(shown >= ROWS, "{owner:?}: what has no series of its own is in the overflow series: {shown}");
    }
    let memory = value(&text, "wasm_telemetry_memory_bytes", &LAST);
    assert!(memory > 0.0 && sum(&text, "wasm_telemetry_memory_bytes", &[]) < 320e6, "{memory}");
}

/// Each version of the hostile component has its instances fill the same metric, beyond its series.
/// A version has 2,000 of them, however many instances and reloads there are.
#[test]
fn bombs_over_reloads_are_bounded() {
    const VERSIONS: usize = 4;
    const INSTANCES: u32 = 3;
    let path = guest("limit-exceeder");
    let neighbours = Neighbours::start(Setup { binary: Some(&path), hostile: "version = 'v0'", ..Setup::default() });
    for version in 0..VERSIONS {
        if version > 0 {
            neighbours.reload("version = 'v0'", &format!("version = 'v{version}'"));
        }
        let attacks = neighbours.start_attacks("", INSTANCES as usize);
        neighbours.serve_honest(20);
        for attack in attacks {
            assert_eq!(attack.join().unwrap(), Some(200));
        }
    }
    let text = neighbours.assert_honest_exact();
    for version in 0..VERSIONS {
        let version = format!("v{version}");
        let owner = [HOSTILE[0], HOSTILE[1], ("version", version.as_str())];
        let series = |line: &&str| line.starts_with("calls_total{") && line.contains(&format!("version=\"{version}\""));
        assert_eq!(text.lines().filter(series).count(), 2000 + 1, "{version}");
        assert_eq!(sum(&text, "calls_total", &owner), f64::from(INSTANCES * 2050), "{version}");
        let dropped = [owner[0], owner[1], owner[2], ("reason", "series_limit")];
        assert_eq!(sum(&text, "wasmetry_dropped_total", &dropped), f64::from(INSTANCES * 50), "{version}");
    }
}
