//! Services to generate for: one that has every alert, and random ones.

use std::collections::BTreeSet;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge};
use wasmetry_host::Declarations;
use wasmetry_ops::{Component, Objective, Service};

/// Bytes of each record. Help texts are filled up to it.
const RECORD: usize = 2048;

/// A declared metric.
#[derive(Debug)]
struct Declared {
    kind: Kind,
    name: String,
    unit: String,
    labels: Vec<(String, Shape)>,
    bounds: Vec<f64>,
    merge: Merge,
    const_labels: Vec<(&'static str, &'static str)>,
    /// The help text; spaces follow it.
    help: &'static str,
}

#[derive(Debug)]
enum Shape {
    Values(Vec<String>),
    Below(u32),
    Text(u32),
}

impl Declared {
    fn new(kind: Kind, name: &str, unit: &str) -> Self {
        Self {
            kind,
            name: name.into(),
            unit: unit.into(),
            labels: Vec::new(),
            bounds: Vec::new(),
            merge: Merge::default(),
            const_labels: Vec::new(),
            help: "",
        }
    }

    /// Returns its record, as a binary has it.
    fn record(&self) -> [u8; RECORD] {
        let values: Vec<Vec<&str>> = self
            .labels
            .iter()
            .map(|(_, shape)| match shape {
                Shape::Values(values) => values.iter().map(String::as_str).collect(),
                _ => Vec::new(),
            })
            .collect();
        let labels: Vec<LabelSpec<'_>> = self
            .labels
            .iter()
            .zip(&values)
            .map(|((key, shape), values)| {
                let shape = match shape {
                    Shape::Values(_) => LabelShape::values(values),
                    Shape::Below(bound) => LabelShape::Below(*bound),
                    Shape::Text(capacity) => LabelShape::Text { capacity: *capacity, max_len: 64 },
                };
                LabelSpec::new(key, shape)
            })
            .collect();
        let build = |help| {
            let max_buckets = if self.kind.is_exponential() { 20 } else { 0 };
            Descriptor::new(self.kind, &self.name, help)
                .with_unit(&self.unit)
                .with_merge(self.merge)
                .with_labels(&labels)
                .with_const_labels(&self.const_labels)
                .with_bounds(&self.bounds)
                .with_max_buckets(max_buckets)
        };
        let rest = RECORD - build("").record_len() - self.help.len();
        let help = self.help.to_owned() + &if self.help.is_empty() { "x" } else { " " }.repeat(rest);
        build(&help).encode()
    }
}

fn declarations(metrics: &[Declared]) -> Declarations {
    let records: Vec<_> = metrics.iter().map(Declared::record).collect();
    let found = Declarations::from_sections(records.iter().map(|record| &record[..]));
    assert_eq!(found.rejected(), [], "the records are valid");
    assert_eq!(found.metrics().len(), metrics.len());
    found
}

/// Returns a service for which every alert is generated.
pub(crate) fn every_alert() -> Service {
    let mut duration = Declared::new(Kind::HistogramNanos, "http_request_duration_seconds", "seconds");
    duration.bounds = vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
    let metrics = [
        Declared::new(Kind::CounterU64, "http_requests_total", ""),
        Declared::new(Kind::CounterU64, "http_requests_failed_total", ""),
        Declared::new(Kind::CounterU64, "upload_errors_total", ""),
        Declared::new(Kind::GaugeI64, "queue_jobs", "jobs"),
        Declared::new(Kind::GaugeI64, "queue_limit_jobs", "jobs"),
        duration,
        Declared::new(Kind::GaugeF64, "import_success_seconds", "seconds"),
        Declared::new(Kind::CounterU64, "export_success_total", ""),
        Declared::new(Kind::ExponentialNanos, "checkout_duration_seconds", "seconds"),
    ];
    let component = Component::new("store-front", declarations(&metrics));
    let mut service = Service::new("store-front.wasm", vec![component]);
    service.is_reloaded = true;
    for text in [
        "name = 'availability'\nobjective = 99.9",
        "name = 'fast-requests'\nobjective = 99\nlatency = '250ms'\nroute = '/cart'\nwindow = '4w'",
        "name = 'fast-calls'\nobjective = 95\nlatency = '500ms'\nmetric = 'http_request_duration_seconds'",
        "name = 'fast-checkout'\nobjective = 99.5\nlatency = '300ms'\nmetric = 'checkout_duration_seconds'",
        "name = 'fresh-import'\nobjective = 99\nfreshness = '26h'\nmetric = 'import_success_seconds'\nwindow = '7d'",
        "name = 'fresh-export'\nobjective = 90\nfreshness = '1h'\nmetric = 'export_success_total'",
        "name = 'orders'\nobjective = 99.95\nbad = 'sum(rate(orders_lost[5m]))'\ntotal = 'sum(rate(orders[5m]))'",
        "name = 'orders-in-time'\nobjective = 99.99\ngood = 'rate(orders_in_time[5m])'\ntotal = 'rate(orders[5m])'",
    ] {
        add_objective(&mut service, text);
    }
    service.settings.targets = vec!["127.0.0.1:9464".into()];
    service.settings.runbook_url = Some("https://example.com/runbooks/".into());
    service.settings.dashboard_url = Some("https://example.com/d/1".into());
    service
}

/// Adds an objective as a configuration has it.
pub(crate) fn add_objective(service: &mut Service, table: &str) {
    let objective: Objective = toml::from_str(table).unwrap_or_else(|error| panic!("{table}: {error}"));
    service.add_objective(objective).unwrap_or_else(|error| panic!("{table}: {error}"));
}

/// A generator of numbers (SplitMix64), so that a failure can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Returns a word in snake case of at most `longest` bytes, which has no reserved prefix.
    fn word(&mut self, longest: u64) -> String {
        let length = 2 + self.below(longest - 1);
        let mut word = String::from("q");
        while (word.len() as u64) < length {
            let letters = b"abcdefghijklmnopqrstuvwxyz0123456789_";
            let letter = char::from(letters[self.below(letters.len() as u64) as usize]);
            let is_last = word.len() as u64 + 1 == length;
            if letter != '_' || !(is_last || word.ends_with('_')) {
                word.push(letter);
            }
        }
        word
    }

    /// Returns any text that a label's value can be.
    pub(crate) fn text(&mut self, longest: u64) -> String {
        let length = 1 + self.below(longest);
        let letters: Vec<char> = "ab zZ09_-.:/\\\"'{}[]()|*+?^$#%&@!<>=,;`~äß日本🦀\u{a0}".chars().collect();
        (0..length).map(|_| letters[self.below(letters.len() as u64) as usize]).collect()
    }
}

/// Returns a service with random names, labels, units and settings.
pub(crate) fn random_service(random: &mut Random, number: u64) -> Service {
    let components = (0..=random.below(2))
        .map(|i| {
            let metrics = random_metrics(random, number);
            // Names of components are labels: any text. The number keeps them different.
            let mut component = Component::new(format!("{}{i}", random.text(100)), declarations(&metrics));
            component.tenant = (random.below(2) == 0).then(|| random.text(100));
            component.instances = 1 + random.below(10_000) as u32;
            component.routes = 1 + random.below(20);
            component
        })
        .collect();
    let mut service = Service::new(random.text(50), components);
    service.is_reloaded = random.below(2) == 0;
    for _ in 0..random.below(4) {
        add_random_objective(&mut service, random);
    }
    let settings = &mut service.settings;
    settings.job = random.text(20);
    settings.scrape_interval = 1 + random.below(60);
    settings.latency = 0.002 + random.below(5_990) as f64 / 1000.0;
    settings.error_ratio = 0.001 + random.below(599) as f64 / 1000.0;
    settings.trap_ratio = 0.001 + random.below(949) as f64 / 1000.0;
    settings.min_request_rate = 0.001 * (1 + random.below(1_000_000)) as f64;
    settings.out_of_memory = (1 + random.below(50)) as f64;
    settings.runbook_url = (random.below(2) == 0).then(|| random.text(50));
    service
}

/// Adds an objective on a component that does not have its name yet.
fn add_random_objective(service: &mut Service, random: &mut Random) {
    let component = &service.components[random.below(service.components.len() as u64) as usize];
    let percentage = 50.0 + random.below(49_999) as f64 / 1000.0;
    let text = |text: String| toml::Value::String(text);
    let mut table = toml::Table::new();
    table.insert("name".into(), text(random.text(40)));
    table.insert("component".into(), text(component.name.clone()));
    table.insert("objective".into(), toml::Value::Float(percentage));
    table.insert("window".into(), text(format!("{}d", 7 + random.below(84))));
    let histograms: Vec<_> = component
        .declarations
        .metrics()
        .iter()
        .filter(|metric| matches!(metric.kind, Kind::HistogramNanos | Kind::ExponentialNanos))
        .collect();
    let histogram = histograms.get(random.below(1 + histograms.len() as u64) as usize);
    match random.below(5) {
        0 => {
            table.insert("route".into(), text(random.text(40)));
        }
        1 => {
            table.insert("latency".into(), text(random.pick(&["1ms", "100ms", "250ms", "1s", "10s"]).into()));
        }
        2 => {
            let Some(histogram) = histogram else { return };
            let bound = histogram.buckets.first().copied().unwrap_or(0.3);
            table.insert("latency".into(), text(format!("{}us", (bound * 1e6).round())));
            table.insert("metric".into(), text(histogram.name.clone()));
        }
        3 => {
            let query =
                random.pick(&["a", "sum by (b) (rate(a[5m]))", "vector(1)", "max(time() - a) < bool 9", "1 + 2"]);
            table.insert("good".into(), text(query.into()));
            table.insert("total".into(), text("sum(rate(b[5m]))".into()));
        }
        _ => {
            table.insert("min-rate".into(), toml::Value::Float(0.001 * (1 + random.below(1_000_000)) as f64));
        }
    }
    let objective: Objective = table.try_into().unwrap();
    // Names may occur twice.
    let _ = service.add_objective(objective);
}

fn random_metrics(random: &mut Random, number: u64) -> Vec<Declared> {
    // Some apps have none.
    let count = if number.is_multiple_of(10) { 0 } else { 1 + random.below(12) };
    let mut names = BTreeSet::new();
    let mut metrics = Vec::new();
    for _ in 0..count {
        // Some names are long.
        let longest = if random.below(4) == 0 { 170 } else { 30 };
        let stem = random.word(longest);
        if !names.insert(stem.clone()) || names.iter().any(|other| *other != stem && other.starts_with(&stem)) {
            continue;
        }
        let unit = random.pick(&["", "seconds", "bytes", "jobs", "volts"]);
        let named = |stem: &str| if unit.is_empty() { stem.to_owned() } else { format!("{stem}_{unit}") };
        match random.below(6) {
            0 => metrics.push(Declared::new(Kind::CounterU64, &format!("{}_total", named(&stem)), unit)),
            1 => {
                let suffix = random.pick(&["failed", "errors"]);
                metrics.push(Declared::new(Kind::CounterF64, &format!("{stem}_{suffix}_total"), ""));
                if random.below(2) == 0 {
                    metrics.push(Declared::new(Kind::CounterU64, &format!("{stem}_total"), ""));
                }
            }
            2 => {
                metrics.push(Declared::new(Kind::GaugeF64, &named(&stem), unit));
                metrics.push(Declared::new(Kind::GaugeI64, &named(&format!("{stem}_limit")), unit));
            }
            3 => {
                let mut histogram = Declared::new(Kind::HistogramNanos, &format!("{stem}_seconds"), "seconds");
                let mut bound = 0.0;
                for _ in 0..=random.below(12) {
                    bound += (1 + random.below(3000)) as f64 / 1000.0;
                    histogram.bounds.push(bound);
                }
                metrics.push(histogram);
            }
            4 => metrics.push(Declared::new(Kind::ExponentialNanos, &format!("{stem}_seconds"), "seconds")),
            _ => metrics.push(Declared::new(Kind::UpDownI64, &named(&stem), unit)),
        }
    }
    if number % 4 == 1 {
        // Names as long as a name can be.
        let longest = |letter: &str, suffix: &str| {
            let stem = letter.repeat(wasmetry_abi::name::MAX_NAME - suffix.len());
            format!("{stem}{suffix}")
        };
        for (letter, suffix) in [("q", "_total"), ("r", "_failed_total")] {
            metrics.push(Declared::new(Kind::CounterU64, &longest(letter, suffix), ""));
        }
        let mut histogram = Declared::new(Kind::HistogramNanos, &longest("s", "_seconds"), "seconds");
        histogram.bounds.extend([0.1, 0.5, 1.0, 5.0]);
        metrics.push(histogram);
    }
    for metric in &mut metrics {
        for i in 0..random.below(3) {
            let key = format!("{}{i}", random.word(20));
            let shape = match random.below(3) {
                0 => Shape::Below(1 + random.below(20) as u32),
                1 => Shape::Text(1 + random.below(20) as u32),
                _ => Shape::Values((0..=random.below(5)).map(|i| format!("{}{i}", random.text(12))).collect()),
            };
            metric.labels.push((key, shape));
        }
    }
    metrics
}

/// Returns a service with a metric of each kind and merge rule, and labels that the host renames.
pub(crate) fn every_kind() -> Service {
    let labelled = |kind, name: &str, unit: &str, labels: &[&str]| {
        let mut metric = Declared::new(kind, name, unit);
        let values = || Shape::Values(vec!["a".into(), "b".into()]);
        metric.labels = labels.iter().map(|label| ((*label).to_owned(), values())).collect();
        metric
    };
    let gauge = |name: &str, merge| Declared { merge, ..labelled(Kind::GaugeF64, name, "", &["queue"]) };
    let text = |name: &str| Declared {
        labels: vec![("item".into(), Shape::Text(500))],
        ..Declared::new(Kind::CounterF64, name, "")
    };
    let mut size = labelled(Kind::HistogramF64, "sent_bytes", "bytes", &["peer"]);
    size.bounds = vec![1e3, 1e6];
    let metrics = [
        labelled(Kind::CounterU64, "read_bytes_total", "bytes", &["component", "exported_tenant", "tenant"]),
        text("items_sold_total"),
        labelled(Kind::UpDownI64, "open_files", "files", &[]),
        Declared::new(Kind::UpDownF64, "charge_joules", "joules"),
        gauge("depth_last", Merge::Last),
        gauge("depth_max", Merge::Max),
        gauge("depth_min", Merge::Min),
        gauge("depth_all", Merge::Sum),
        labelled(Kind::GaugeI64, "room_celsius", "celsius", &[]),
        size,
        labelled(Kind::ExponentialNanos, "wait_seconds", "seconds", &["pool"]),
        Declared::new(Kind::ExponentialF64, "share_ratio", "ratio"),
        Declared { const_labels: vec![("commit", "1a2b")], ..Declared::new(Kind::Info, "app_info", "") },
    ];
    let component = |name: &str| Component::new(name, declarations(&metrics));
    let mut tenant = component("$tenant [[x]] \\");
    tenant.tenant = Some("a$b".to_owned());
    let mut service = Service::new("--config every-kind.toml", vec![component("shop"), tenant]);
    service.is_reloaded = true;
    service
}

/// Returns the service of `examples/storefront`.
pub(crate) fn storefront() -> Service {
    let values = |key: &str, values: &[&str]| {
        (key.to_owned(), Shape::Values(values.iter().map(|value| (*value).to_owned()).collect()))
    };
    let route = || values("route", &["/", "/cart", "/checkout", "/slow", "/boom", "/spin", "other"]);
    let counter = |name: &str, help, labels| Declared { labels, help, ..Declared::new(Kind::CounterU64, name, "") };
    let method = values("method", &["GET", "POST", "other"]);
    let metrics = [
        counter("http_requests_total", "HTTP requests.", vec![method, route()]),
        counter(
            "http_requests_failed_total",
            "HTTP requests that failed.",
            vec![route(), values("status", &["404", "503"])],
        ),
        Declared {
            labels: vec![route()],
            bounds: vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0],
            help: "Time to serve a request.",
            ..Declared::new(Kind::HistogramNanos, "http_request_duration_seconds", "seconds")
        },
        counter("items_sold_total", "Items sold.", vec![("item".to_owned(), Shape::Text(32))]),
    ];
    Service::new("storefront.wasm", vec![Component::new("storefront", declarations(&metrics))])
}
