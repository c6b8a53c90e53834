//! The attacks: those of the suite's guest, and clients.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use wasmetry_tests::declaration::{COUNTER, GAUGE, with_declarations};
use wasmetry_tests::exposition::sum;
use wasmetry_tests::{guest, peak_memory};

use crate::run::{Host, agent, status};

/// The metrics of a large binary.
const METRICS: usize = 4096;

/// One row of the table.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// The attackers at the same time.
    pub(crate) attackers: usize,
    /// Performs the attack once. One that would go on ends when the flag is set.
    pub(crate) once: fn(&Host, &AtomicBool),
    /// The binary of the hostile component, unless it is the usual one.
    pub(crate) binary: fn(&Path, &Path) -> Option<PathBuf>,
    /// `true` if the hostile component is there only with the attack.
    pub(crate) is_added: bool,
    /// Further components.
    pub(crate) components: usize,
    pub(crate) variables: fn(&Path) -> Vec<(&'static str, String)>,
    pub(crate) open_files: Option<u32>,
    /// Describes the other effects of the attack.
    pub(crate) note: fn(&Host) -> String,
}

const PLAIN: Attack = Attack {
    name: "",
    attackers: 3,
    once: |_, _| {},
    binary: |_, _| None,
    is_added: false,
    components: 0,
    variables: |_| Vec::new(),
    open_files: None,
    note: |_| String::new(),
};

/// The attacks, after one that is none.
pub(crate) const ATTACKS: [Attack; 13] = [
    // What any tenant may do.
    Attack { name: "none: guests that only compute", once: |host, _| request(host, "spin"), ..PLAIN },
    Attack { name: "label bomb, 64 regions", once: |host, _| request(host, "labels?regions=64"), ..PLAIN },
    Attack {
        name: "scrape of a histogram of 201 buckets, 30 KiB of labels, 200 series",
        attackers: 1,
        once: |host, _| {
            // The first request makes the series.
            request(host, "buckets?rows=200");
            let _ = host.scrape();
        },
        note: |host| format!("{} MB of text", host.scrape().len() / 1_000_000),
        ..PLAIN
    },
    Attack { name: "header fields", once: |host, _| request(host, "fields?n=30000&size=60000"), ..PLAIN },
    Attack { name: "64 untouched regions", once: |host, _| request(host, "cells?regions=64&hold=500"), ..PLAIN },
    Attack {
        name: "4,096 metrics beside 100 components",
        attackers: 1,
        once: |host, _| add_large(host),
        components: 100,
        ..PLAIN
    },
    Attack {
        name: "outgoing connections at 1,024 files",
        attackers: 8,
        once: |host, is_over| {
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let hold = if is_over.load(Relaxed) { 0 } else { 2000 };
            request(host, &format!("connect?to={}&n=200&hold={hold}", silent.local_addr().unwrap()));
        },
        open_files: Some(1024),
        note: |host| {
            let telemetry = host.server.telemetry.trim_start_matches("http://");
            let status = host.status(&format!("/a/get?to={telemetry}&path=/metrics"));
            format!("the guest's request to the telemetry address: {status:?}")
        },
        ..PLAIN
    },
    Attack {
        name: "1,019 half heads at 1,024 files",
        attackers: 1,
        once: half_heads,
        open_files: Some(1024),
        note: |host| {
            let ready = status(&agent(Duration::from_secs(5)), &format!("{}/readyz", host.server.telemetry));
            format!("/readyz: {ready:?}")
        },
        ..PLAIN
    },
    Attack {
        name: "every status",
        attackers: 1,
        once: |host, _| every_status(host),
        note: |host| {
            let _ = host.status("/bank/status?s=418");
            let labels = [("component", "bank"), ("status", "418")];
            let has_own = sum(&host.scrape(), "wasm_http_requests_total", &labels) > 0.0;
            format!("a neighbour's new status: {}", if has_own { "shown" } else { "in `overflow`" })
        },
        ..PLAIN
    },
    Attack { name: "8 MiB ring, twice", once: |host, _| request(host, "ring?log=20&regions=64"), ..PLAIN },
    Attack {
        name: "audit flood",
        once: |host, _| request(host, &format!("audit?n=5000&m={}", "a".repeat(2000))),
        variables: |directory| {
            let file = directory.join("audit.jsonl").display().to_string();
            // Nothing listens there.
            let endpoint = "http://127.0.0.1:1/v1/logs".to_owned();
            vec![("WASMETRY_AUDIT_FILE", file), ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", endpoint)]
        },
        note: |host| {
            for _ in 0..100 {
                let _ = host.status("/bank/audit?n=1");
            }
            let file = host.directory.path().join("audit.jsonl");
            let lines = || fs::read_to_string(&file).unwrap_or_default().matches("\"tenant\":\"bank\"").count();
            let end = Instant::now() + Duration::from_secs(10);
            while lines() < 100 && Instant::now() < end {
                thread::sleep(Duration::from_millis(100));
            }
            let size = fs::metadata(&file).map_or(0, |file| file.len()) >> 20;
            format!("{} of a neighbour's 100 records, {size} MiB of file", lines())
        },
        ..PLAIN
    },
    Attack {
        name: "tables under `run --max-memory 1MiB`",
        attackers: 0,
        note: |host| format!("{} MiB in `run`", run_table(host)),
        ..PLAIN
    },
    Attack {
        name: "an honest histogram's name, taken first",
        attackers: 1,
        is_added: true,
        once: |host, _| request(host, "hello"),
        binary: |hostile, directory| {
            let squatter = directory.join("squatter.wasm");
            let gauge = (GAUGE, "http_request_duration_seconds", "Help.");
            fs::write(&squatter, with_declarations(hostile, [gauge])).unwrap();
            Some(squatter)
        },
        note: |host| {
            let count = sum(&host.scrape(), "http_request_duration_seconds_count", &[("component", "shop")]);
            format!("the honest histogram: {}", if count > 0.0 { "shown" } else { "dropped" })
        },
        ..PLAIN
    },
];

fn request(host: &Host, path: &str) {
    let _ = host.status(&format!("/a/{path}"));
}

/// Opens connections with half a head, and holds them.
fn half_heads(host: &Host, is_over: &AtomicBool) {
    let addr = host.server.url.trim_start_matches("http://");
    let open = |_| {
        let mut stream = TcpStream::connect(addr).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nX-a: ").ok()?;
        Some(stream)
    };
    let held: Vec<_> = (0..1019).filter_map(open).collect();
    let end = Instant::now() + Duration::from_secs(1);
    while !is_over.load(Relaxed) && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    drop(held);
}

/// Sends requests with every method and status on three mounts: more than 20,000 series.
fn every_status(host: &Host) {
    let addr = host.server.url.trim_start_matches("http://");
    let Ok(mut stream) = TcpStream::connect(addr) else { return };
    let mut answers = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while answers.read(&mut bytes).is_ok_and(|read| read > 0) {}
        });
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "QUERY"] {
            for mount in ["a", "b", "c"] {
                for status in 200..1000 {
                    let head =
                        format!("{method} /{mount}/status?s={status} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes());
                }
            }
        }
        let _ = stream.write_all(b"GET /a/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    });
}

/// Adds a component with as many metrics as a binary may have, and waits until it answers.
fn add_large(host: &Host) {
    let binary = host.directory.path().join("large.wasm");
    if !binary.exists() {
        let names: Vec<String> = (0..METRICS).map(|number| format!("large_{number}_total")).collect();
        let metrics = names.iter().map(|name| (COUNTER, name.as_str(), "Help."));
        fs::write(&binary, with_declarations(&guest("hostile"), metrics)).unwrap();
        host.add_hostile(&binary);
    }
    let end = Instant::now() + Duration::from_secs(200);
    while host.status("/large/hello") != Some(200) && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a module whose table grows to 40 million elements, and returns its largest resident memory
/// in MiB.
fn run_table(host: &Host) -> u64 {
    let module = r#"(module (table $t 0 funcref) (memory (export "memory") 1)
        (func (export "_start") (local $i i32)
            (loop $l
                (drop (table.grow $t (ref.null func) (i32.const 1000000)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 40))))
            (loop $s (br $s))))"#;
    let path = host.directory.path().join("table.wasm");
    fs::write(&path, wat::parse_str(module).unwrap()).unwrap();
    let program = fs::read_link(format!("/proc/{}/exe", host.server.id())).unwrap();
    let mut child = Command::new(program)
        .args(["run", "--max-memory", "1MiB", "--timeout", "3s"])
        .arg(&path)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(peak_memory(child.id()) >> 20);
        thread::sleep(Duration::from_millis(20));
    }
    peak
}
