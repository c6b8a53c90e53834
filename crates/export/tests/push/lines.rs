//! Log records on an output.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use wasmetry_export::push::{Batch, Colors, Config, Exporter, Limits, LineFormat};
use wasmetry_host::{Registry, Sink as _};

use crate::record::{audit, full_log, log};
use crate::sink::{Reply, Sink, poll};
use crate::started::{LOGS, LONG, Started, logs_to};

/// An output that holds writes back while a test has its lock.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn config(lines: LineFormat) -> Config {
    let mut config = Config::default();
    config.stdout = Some(lines);
    config.log_limits = Limits::new(100, 1 << 20);
    config.log_batch = Batch::new(10, 1 << 20, LONG);
    config
}

const QUEUED: &str = "wasmetry_export_queue_records{signal=\"logs\",destination=\"stdout\"}";
const SENT: &str = "wasmetry_export_records_total{signal=\"logs\",destination=\"stdout\",outcome=\"sent\"}";

#[test]
fn each_record_is_a_line_that_is_written_at_once() {
    let output = Shared::default();
    let started = Started::with_output(config(LineFormat::Json), output.clone());
    started.exporter.log(&started.identity, full_log(0));
    // Nothing follows, and still it is written.
    poll(|| output.text().ends_with('\n'));
    for number in 1..50 {
        started.exporter.log(&started.identity, if number == 7 { audit(number) } else { log(number) });
    }
    let ended = started.stop();
    let text = output.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut numbers: Vec<_> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    let audits: Vec<_> = lines.iter().filter(|line| line["audit"] == true).collect();
    assert_eq!((audits.len(), &audits[0]["number"]), (1, &7.into()));
    assert_eq!((lines[0]["level"].as_str(), lines[0]["exported_level"].as_str()), (Some("error"), Some("forged")));
    assert_eq!((ended.value(SENT), ended.lost), (50, 0));
}

#[test]
fn lines_for_a_person_show_no_escape_sequence_of_a_guest() {
    for (colors, is_colored) in [(Colors::Off, false), (Colors::On, true)] {
        let output = Shared::default();
        let started = Started::with_output(config(LineFormat::Pretty(colors)), output.clone());
        started.exporter.log(&started.identity, full_log(0));
        started.stop();
        let text = output.text();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert_eq!(text.contains("\u{1b}["), is_colored, "{text:?}");
        assert!(text.contains("\\u{1b}[31m"), "{text:?}");
    }
}

#[test]
fn an_output_that_nobody_reads_blocks_nobody() {
    let output = Shared::default();
    let blocked = output.0.lock().unwrap();
    let started = Started::with_output(config(LineFormat::Json), output.clone());
    for number in 0..500 {
        started.exporter.log(&started.identity, log(number));
    }
    assert_eq!(started.value(QUEUED), 100);
    drop(blocked);
    let ended = started.stop();
    assert_eq!((output.text().lines().count(), ended.value(SENT)), (100, 100));
    assert_eq!(ended.value("wasmetry_dropped_total{signal=\"logs\",reason=\"queue_full\"}"), 400);
    assert_eq!(ended.lost, 400);
}

#[test]
fn the_end_does_not_wait_for_an_output_that_nobody_reads() {
    let output = Shared::default();
    let blocked = output.0.lock().unwrap();
    let started = Started::with_output(config(LineFormat::Json), output.clone());
    for number in 0..30 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop_within(Duration::from_millis(50));
    assert_eq!((ended.lost, ended.value(SENT)), (30, 0));
    drop(blocked);
    // What is written too late stays counted as lost.
    assert_eq!(
        (ended.value("wasmetry_dropped_total{signal=\"logs\",reason=\"shutdown\"}"), ended.value(SENT)),
        (30, 0)
    );
}

#[test]
fn a_closed_output_loses_lines_and_says_so() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let started = Started::with_output(config(LineFormat::Json), Closed);
    for number in 0..30 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop();
    assert_eq!(ended.value("wasmetry_dropped_total{signal=\"logs\",reason=\"rejected\"}"), 30);
    let [told] = &ended.told[..] else { panic!("{:?}", ended.told) };
    assert!(told.starts_with("logs to stdout are refused") && told.contains("broken pipe"), "{told}");
}

#[test]
fn destinations_do_not_hold_each_other_up() {
    let server = Sink::start(|_| Reply::Hang);
    let output = Shared::default();
    let mut config = logs_to(&server.url(LOGS));
    config.stdout = Some(LineFormat::Json);
    let started = Started::with_output(config, output.clone());
    for number in 0..100 {
        started.exporter.log(&started.identity, log(number));
    }
    poll(|| output.text().lines().count() == 100);
    let ended = started.stop_within(Duration::ZERO);
    assert_eq!((ended.value(SENT), ended.records("logs", "shutdown")), (100, 100));
}

fn audit_file(path: &Path) -> Config {
    let mut config = config(LineFormat::Json);
    config.audit = Some(path.to_owned());
    config
}

#[test]
fn audit_records_have_a_file_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    fs::write(&path, "what was there before\n").unwrap();
    let output = Shared::default();
    let started = Started::with_output(audit_file(&path), output.clone());
    for number in 0..90 {
        started.exporter.log(&started.identity, if number % 3 == 0 { audit(number) } else { log(number) });
    }
    let ended = started.stop();
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.strip_prefix("what was there before\n").unwrap().lines();
    let numbers: Vec<_> = lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["audit"].as_bool(), line["number"].as_u64().unwrap()))
        .collect();
    assert_eq!(numbers, (0..90).step_by(3).map(|number| (Some(true), number)).collect::<Vec<_>>());
    assert!(!output.text().contains("\"audit\":true"), "{}", output.text());
    assert_eq!(output.text().lines().count(), 60);
    assert_eq!((ended.value(&SENT.replace("stdout", "audit")), ended.value(SENT), ended.lost), (30, 60, 0));
}

#[test]
fn a_full_disk_loses_no_audit_record_before_the_end() {
    // A device that is always full.
    let started = Started::new(audit_file(Path::new("/dev/full")));
    for number in 0..7 {
        started.exporter.log(&started.identity, audit(number));
    }
    let lost = SENT.replace("stdout", "audit").replace("sent", "rejected");
    poll(|| started.has_told("No space left on device"));
    assert_eq!(started.value(&lost), 0);
    let ended = started.stop_within(Duration::from_millis(50));
    assert_eq!((ended.value(&lost), ended.value(&lost.replace("rejected", "shutdown")), ended.lost), (0, 7, 7));
}

#[test]
fn an_audit_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no/audit.jsonl");
    let error = Exporter::start(audit_file(&path), &Registry::new(), Arc::new(|_| ())).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("No such file"), "{error}");
}
