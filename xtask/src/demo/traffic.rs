//! The demo's requests, and the check that the scrape counts each of them.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{exposition, http, server::Address};

/// The metric that the storefront counts every request in, before it does anything else.
const METRIC: &str = "http_requests_total";

/// The time by which a count may lag behind the responses: the last read of an instance follows
/// its response.
const SETTLE_DEADLINE: Duration = Duration::from_secs(5);

/// The time between two scrapes while the counts settle.
const SETTLE_INTERVAL: Duration = Duration::from_millis(100);

/// Requests of one kind.
#[derive(Debug)]
struct Traffic {
    path: &'static str,
    /// The value of the label `route`.
    route: &'static str,
    count: u32,
    /// The status of each response.
    status: u16,
}

/// The demo's requests, in this order.
const TRAFFIC: &[Traffic] = &[
    Traffic { path: "/", route: "/", count: 50, status: 200 },
    Traffic { path: "/cart", route: "/cart", count: 30, status: 200 },
    Traffic { path: "/checkout?item=apple", route: "/checkout", count: 15, status: 200 },
    Traffic { path: "/checkout?item=pear", route: "/checkout", count: 4, status: 200 },
    // Out of stock.
    Traffic { path: "/checkout?item=unicorn", route: "/checkout", count: 1, status: 503 },
    Traffic { path: "/slow?ms=20", route: "/slow", count: 5, status: 200 },
    // Traps.
    Traffic { path: "/boom", route: "/boom", count: 3, status: 500 },
    // Never ends; the deadline kills it.
    Traffic { path: "/spin", route: "/spin", count: 1, status: 504 },
];

/// Sends the traffic and returns the scrape that follows; fails if its counts differ.
pub(crate) fn drive(address: Address) -> Result<String> {
    for traffic in TRAFFIC {
        send(address, traffic)?;
    }
    let start = Instant::now();
    let (text, counts) = loop {
        let response = http::get(address.telemetry, "/metrics")?;
        if response.status != 200 {
            bail!("http://{}/metrics answers {}: {}", address.telemetry, response.status, response.body.trim());
        }
        let counts = count(&response.body)?;
        if agree(&counts) || start.elapsed() > SETTLE_DEADLINE {
            break (response.body, counts);
        }
        thread::sleep(SETTLE_INTERVAL);
    };
    eprintln!("{:<12} {:>6} {:>8}", "route", "sent", "counted");
    for (route, sent) in sent() {
        eprintln!("{route:<12} {sent:>6} {:>8}", counts.get(&route).copied().unwrap_or_default());
    }
    if !agree(&counts) {
        bail!("{METRIC} does not count the traffic sent: sent {:?}, counted {counts:?}\n{text}", sent());
    }
    Ok(text)
}

/// Returns the number of requests that [`drive`] sends.
pub(crate) fn sent_requests() -> u32 {
    TRAFFIC.iter().map(|traffic| traffic.count).sum()
}

/// Fails unless the console has a failed trace for each request that the traffic makes fail.
pub(crate) fn require_failures(address: Address) -> Result<()> {
    let failing = TRAFFIC.iter().filter(|traffic| traffic.status >= 500);
    let expected = failing.map(|traffic| traffic.count).sum::<u32>() as usize;
    let start = Instant::now();
    loop {
        let response = http::get(address.telemetry, "/api/v1/traces?outcome=failed")?;
        let answer: Value = serde_json::from_str(&response.body).context("the console's answer is no JSON")?;
        let found = answer["traces"].as_array().map_or(0, Vec::len);
        if found == expected {
            return Ok(());
        }
        if start.elapsed() > SETTLE_DEADLINE {
            bail!("the console has {found} failed traces, and {expected} requests failed: {}", response.body.trim());
        }
        thread::sleep(SETTLE_INTERVAL);
    }
}

/// Sends the requests of one kind, one after the other.
fn send(address: Address, traffic: &Traffic) -> Result<()> {
    eprintln!("sending {:>3} x GET {}", traffic.count, traffic.path);
    for _ in 0..traffic.count {
        let response = http::get(address.service, traffic.path)?;
        if response.status != traffic.status {
            bail!(
                "GET http://{}{} was answered with {} instead of {}: {}",
                address.service,
                traffic.path,
                response.status,
                traffic.status,
                response.body.trim()
            );
        }
    }
    Ok(())
}

/// Sums the metric by route over every other label.
fn count(text: &str) -> Result<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for sample in exposition::parse(text)?.iter().filter(|sample| sample.name == METRIC) {
        let route = sample.label("route").with_context(|| format!("{METRIC} has a series without a route"))?;
        *counts.entry(route.to_owned()).or_insert(0.0) += sample.value;
    }
    // A dense set of labels also shows routes without requests.
    counts.retain(|_, count| *count != 0.0);
    Ok(counts)
}

/// The counts that a scrape must show, by route.
fn sent() -> BTreeMap<String, f64> {
    let mut sent = BTreeMap::new();
    for traffic in TRAFFIC {
        *sent.entry(traffic.route.to_owned()).or_insert(0.0) += f64::from(traffic.count);
    }
    sent
}

/// Returns `true` if every route has exactly the requests that were sent, and no other route any.
fn agree(counts: &BTreeMap<String, f64>) -> bool {
    *counts == sent()
}

/// Prints the scrape on standard output; a closed pipe is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot print the scrape"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scrape that counts the traffic, with each route's count split over two methods.
    fn scrape() -> String {
        let line = |method: &str, route: &str, value: f64| {
            format!("{METRIC}{{component=\"storefront\",method=\"{method}\",route=\"{route}\"}} {value}\n")
        };
        let lines =
            sent().into_iter().flat_map(|(route, count)| [line("GET", &route, count - 1.0), line("POST", &route, 1.0)]);
        lines.collect::<String>() + &line("PUT", "/nowhere", 0.0) + "wasm_http_requests_total{route=\"/\"} 7\n"
    }

    #[test]
    fn methods_are_summed_per_route() -> Result<()> {
        assert!(agree(&count(&scrape())?));
        Ok(())
    }

    #[test]
    fn wrong_counts_are_found() -> Result<()> {
        let wrong = [
            scrape().replacen("} 49", "} 50", 1),
            scrape().replacen("} 29", "} 28", 1),
            scrape() + METRIC + "{route=\"/other\"} 1\n",
            String::new(),
        ];
        for text in wrong {
            assert!(!agree(&count(&text)?), "{text}");
        }
        assert!(count(&(METRIC.to_owned() + " 1\n")).is_err());
        Ok(())
    }
}
