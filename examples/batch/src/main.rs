//! A batch job with metrics, logs and spans. It reads orders, one on each line, and adds them up by
//! country.
//!
//! ```sh
//! cargo xtask guests
//! printf '1,FR,19.90\n2,DE,7.50\nthree,DE,1\n' | wasmetry run target/guests/batch.wasm --print-metrics
//! wasmetry run target/guests/batch.wasm --dir data --push http://127.0.0.1:9091 -- data/orders.csv
//! ```
//!
//! `batch.wasm` is a component (`wasm32-wasip2`), `batch-wasip1.wasm` the same source as a core
//! module (`wasm32-wasip1`); it runs natively too, without telemetry.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process::ExitCode;

use wasmetry::{Counter, Gauge, Histogram, Label, Text, counter, debug, error, gauge, histogram, info, span, warn};

static RECORDS: Counter<Outcome> = counter!("records_total", "Records read.", labels: [outcome: Outcome]);

static REJECTED: Counter<Reason> =
    counter!("records_rejected_total", "Records rejected, by what was wrong with them.", labels: [reason: Reason]);

static REVENUE: Counter<Text<64>, f64> =
    counter!("revenue_euros_total", "Sum of the orders.", labels: [country: Text<64>], unit: euros, value: f64);

static ORDER: Histogram =
    histogram!("order_euros", "Value of an order.", unit: euros, buckets: [1, 5, 10, 50, 100, 500, 1000]);

static DURATION: Histogram = histogram!("file_duration_seconds", "Time to process a file.", unit: seconds);

static LAST_ORDER: Gauge<(), i64> = gauge!("last_order_id", "The highest order that was read.", value: i64, merge: max);

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let mut batch = Batch::default();
    let is_read = if paths.is_empty() {
        batch.process("stdin", io::stdin().lock())
    } else {
        // A file that cannot be read does not stop the batch.
        let unread = paths.iter().filter(|path| !batch.open(path)).count();
        unread == 0
    };
    for (country, euros) in &batch.totals {
        println!("{country} {euros:.2}");
    }
    info!(accepted = batch.accepted, rejected = batch.rejected, "batch of {} countries done", batch.totals.len());
    if is_read { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

#[derive(Default)]
struct Batch {
    totals: BTreeMap<String, f64>,
    accepted: u64,
    rejected: u64,
}

impl Batch {
    /// Processes a file. Returns `true` if it was read to its end.
    fn open(&mut self, path: &str) -> bool {
        match File::open(path) {
            Ok(file) => self.process(path, BufReader::new(file)),
            Err(error) => {
                error!(path, err = %error, "cannot open the file");
                false
            }
        }
    }

    fn process(&mut self, name: &str, records: impl BufRead) -> bool {
        let span = span!("process_file", file.name = name).entered();
        let _timer = DURATION.start_timer();
        for (line, record) in (1u64..).zip(records.lines()) {
            match record {
                Ok(record) => self.record(line, &record),
                Err(error) => {
                    error!(line, err = %error, "cannot read the next line");
                    span.set_error(&error);
                    return false;
                }
            }
        }
        true
    }

    fn record(&mut self, line: u64, record: &str) {
        match Order::parse(record) {
            Ok(Order { id, country, euros }) => {
                RECORDS.with(Outcome::Accepted).inc();
                REVENUE.with(country).add(euros);
                ORDER.observe(euros);
                LAST_ORDER.set(LAST_ORDER.get().max(id));
                *self.totals.entry(country.to_owned()).or_default() += euros;
                self.accepted += 1;
                debug!(id, country, euros, "order");
            }
            Err(reason) => {
                RECORDS.with(Outcome::Rejected).inc();
                REJECTED.with(reason).inc();
                self.rejected += 1;
                warn!(line, record, "record rejected: {}", reason.text());
            }
        }
    }
}

/// A line such as `17,FR,19.90`.
struct Order<'a> {
    id: i64,
    country: &'a str,
    euros: f64,
}

impl<'a> Order<'a> {
    fn parse(record: &'a str) -> Result<Self, Reason> {
        let mut fields = record.split(',').map(str::trim);
        let (Some(id), Some(country), Some(euros), None) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(Reason::Fields);
        };
        let id = id.parse().map_err(|_| Reason::Id)?;
        if country.len() != 2 || !country.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return Err(Reason::Country);
        }
        let euros =
            euros.parse().ok().filter(|euros: &f64| euros.is_finite() && *euros >= 0.0).ok_or(Reason::Amount)?;
        Ok(Self { id, country, euros })
    }
}

#[derive(Clone, Copy, Label)]
enum Outcome {
    Accepted,
    Rejected,
}

#[derive(Clone, Copy, Label)]
enum Reason {
    Fields,
    Id,
    Country,
    Amount,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Fields => "it has not three fields",
            Self::Id => "its id is no whole number",
            Self::Country => "its country is not two capital letters",
            Self::Amount => "its amount is not 0 or more",
        }
    }
}
