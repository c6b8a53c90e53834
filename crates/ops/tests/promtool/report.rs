//! The monthly report from a real Prometheus, whose storage has the recorded rates of some days.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use wasmetry_ops::{Answer, Month, RangeQuery, Report, Service};

use super::app::{add_objective, every_alert};
use super::prometheus::Prometheus;
use super::{assert_passes, promtools};

const DAY: u64 = 86_400;

/// The seconds between two samples. The first one is in the middle, so that none is at midnight,
/// which versions of Prometheus count to different days.
const STEP: u64 = 300;

impl Prometheus {
    fn answer(&self, query: &RangeQuery) -> Answer {
        let body = query.form();
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "POST /api/v1/query_range HTTP/1.0\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (_, json) = response.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {response}"))
    }
}

/// The events per second of some days, and the bad ones; `None` for a day without data.
const DAYS: [Option<(f64, f64)>; 5] =
    [Some((10.0, 0.0)), Some((1.0, 0.01)), None, Some((20.0, 0.005)), Some((10.0, 0.0))];

/// Writes the recorded rates to a storage.
fn backfill(promtool: &Path, directory: &Path, month: Month) {
    let mut text = String::new();
    for (record, is_bad) in [("slo:events:rate5m", false), ("slo:bad_events:rate5m", true)] {
        for (day, rates) in DAYS.iter().enumerate() {
            let Some((events, bad)) = rates else { continue };
            let begin = month.start() + day as u64 * DAY + STEP / 2;
            for sample in 0..DAY / STEP {
                let labels = "slo=\"availability\",component=\"store-front\",tenant=\"acme\"";
                let value = if is_bad { bad } else { events };
                let _ = writeln!(text, "{record}{{{labels}}} {value} {}", begin + sample * STEP);
            }
        }
    }
    text += "# EOF\n";
    let input = directory.join("input.txt");
    fs::write(&input, text).unwrap();
    let files = [input, directory.join("data")];
    assert_passes(promtool, &["tsdb", "create-blocks-from", "openmetrics"], &files);
}

/// The report has each day's events by their number, whatever the traffic of the day was.
#[test]
fn report_reads_real_prometheus() {
    let mut service = Service::new("store-front.wasm", every_alert().components);
    add_objective(&mut service, "name = 'availability'\nobjective = 99.9");
    let month: Month = "2026-01".parse().unwrap();
    let report = Report::new(&service, month, month.start() + 40 * DAY).unwrap();
    for promtool in promtools() {
        let program: PathBuf = promtool.with_file_name("prometheus");
        let directory = tempfile::tempdir().unwrap();
        backfill(&promtool, directory.path(), month);
        let prometheus = Prometheus::start(&program, directory.path());
        let answers: Vec<Answer> = report.queries().iter().map(|query| prometheus.answer(query)).collect();
        let text = report.markdown(&answers).unwrap();
        // 41 events per second for a day are 3,542,400, of which 3,542 may be bad; 1,296 are.
        let row = "| availability | store-front | acme | 99.9% | 99.963% | 3542400 | 1296 | 36.585% | yes |";
        assert!(text.contains(row), "{}:\n{text}", promtool.display());
        let worst = "| 2026-01-02 | 99% | 86400 | 864 | 24.39% |\n| 2026-01-04 | 99.975% | 1728000 | 432 | 12.195% |\n";
        assert!(text.ends_with(worst), "{}:\n{text}", promtool.display());
        assert!(text.contains("Days without data: 27 of 31."), "{text}");
    }
}
