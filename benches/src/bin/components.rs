//! A large installation in one registry: components that are registered, scraped, replaced by newer
//! versions, and removed.
//!
//! `components [COMPONENTS [METRICS [own|shared]]]` registers 1,000 components of 4,096 counters
//! each, unless other numbers are given, and prints the time, the processor time and the resident
//! memory of each step.
//! With `own`, no two components have a metric's name in common; with `shared`, all have the same
//! metrics. Steps of the registry under its lock are counted by its own tests.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use wasmetry_host::encode::Exposition;
use wasmetry_host::{Component, Declarations, ExpositionLimits, Identity, Registry, limits};

/// The components of each tenant.
const COMPONENTS_OF_TENANT: usize = 100;

/// The numbers of an installation.
struct Installation {
    components: usize,
    metrics: usize,
    /// `true` if all components have the same metrics.
    is_shared: bool,
    registry: Registry,
    /// The time in which declarations were parsed, which is not the registry's.
    parsed: Duration,
}

/// The record of a counter, by FORMAT.md.
fn record(name: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    // A unit, a merge rule, labels, constant labels and bounds, all of which are empty.
    let payload = [&text(name)[..], &text("Requests that were handled."), &text(""), &[0; 5]].concat();
    [&[1, 1, 0, 0][..], &(payload.len() as u32).to_le_bytes(), &payload].concat()
}

impl Installation {
    fn declarations(&mut self, component: usize) -> Declarations {
        let owner = if self.is_shared { "shared".to_owned() } else { format!("c{component}") };
        let records: Vec<_> =
            (0..self.metrics).map(|metric| record(&format!("{owner}_requests_{metric}_total"))).collect();
        let start = Instant::now();
        let declarations = Declarations::from_sections(records.iter().map(|record| &record[..]));
        self.parsed += start.elapsed();
        declarations
    }

    fn register(&mut self, version: &str) -> Vec<Component> {
        let mut all = Vec::new();
        for component in 0..self.components {
            let identity = Identity::new(format!("c{component}"))
                .with_version(version)
                .with_tenant(format!("t{}", component / COMPONENTS_OF_TENANT));
            let declarations = self.declarations(component);
            all.push(self.registry.component(identity, declarations));
        }
        all
    }

    /// Reads the whole exposition, as the telemetry address sends it.
    fn scrape(&self, seconds: u64) -> String {
        let start = Instant::now();
        let snapshot = self.registry.snapshot(Duration::from_secs(seconds));
        let (collected, series) = (start.elapsed(), snapshot.series_count());
        let mut exposition = Exposition::prometheus(snapshot);
        let mut bytes = 0;
        while let Some(chunk) = exposition.next_chunk(64 << 10) {
            bytes += chunk.len();
        }
        let hidden = self.registry.take_hidden_series().len();
        format!(
            "{series} series, {} MB of text; snapshot {:.2} s, text {:.2} s; {hidden} components with hidden series",
            bytes / 1_000_000,
            collected.as_secs_f64(),
            (start.elapsed() - collected).as_secs_f64()
        )
    }
}

/// The resident memory of this process in MiB; 0 where it is not known.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() >> 10
}

/// The processor time of this process in seconds; 0 where it is not known.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the command's name in parentheses, in ticks of 10 ms.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Prints the times of a step, the memory after it, and its note.
fn step<T>(name: &str, of_note: impl FnOnce() -> (T, String)) -> T {
    let (start, before) = (Instant::now(), processor_time());
    let (result, note) = of_note();
    let (time, processor) = (start.elapsed().as_secs_f64(), processor_time() - before);
    println!("{name:<28} {time:>7.2} s {processor:>7.2} s {:>6} MiB  {note}", resident());
    result
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>());
    let (Ok(components), Ok(metrics)) = (number(0, 1000), number(1, limits::METRICS)) else {
        eprintln!("usage: components [COMPONENTS [METRICS [own|shared]]]");
        return ExitCode::from(2);
    };
    let is_shared = arguments.get(2).is_some_and(|text| text == "shared");
    let registry = Registry::new();
    // So that all of them are shown: an operator of so many sets this.
    registry.set_exposition_limits(ExpositionLimits::default().with_tenant(1 << 30).with_total(1 << 36));
    let mut all = Installation { components, metrics, is_shared, registry, parsed: Duration::ZERO };
    println!(
        "{components} components with {metrics} metrics each, {}",
        if is_shared { "shared" } else { "of their own" }
    );

    let register = |all: &mut Installation, version: &str| {
        all.parsed = Duration::ZERO;
        let components = all.register(version);
        (components, format!("of which parsing {:.2} s", all.parsed.as_secs_f64()))
    };
    let old = step("register", || register(&mut all, "1"));
    step("scrape", || ((), all.scrape(0)));
    step("scrape again", || ((), all.scrape(1)));
    let new = step("register the next version", || register(&mut all, "2"));
    step("retire the old version", || {
        old.iter().for_each(Component::retire);
        drop(old);
        ((), String::new())
    });
    step("scrape both", || ((), all.scrape(2)));
    step("remove the old version", || ((), all.scrape(3 + limits::RETENTION.as_secs())));
    step("retire all", || {
        new.iter().for_each(Component::retire);
        drop(new);
        ((), all.scrape(4 + limits::RETENTION.as_secs()))
    });
    step("remove all", || ((), all.scrape(5 + 2 * limits::RETENTION.as_secs())));
    println!("{} bytes are kept for guests", all.registry.memory_bytes());
    ExitCode::SUCCESS
}
