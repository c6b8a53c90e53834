//! Log records on an output.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wasmetry_export::push::{Batch, Colors, Config, Exporter, Growth, Limits, LineFormat, Retry};
use wasmetry_host::{Identity, Registry, Sink as _};

use crate::memory_output::MemoryOutput;
use crate::record::{audit, full_log, log};
use crate::sink::{Reply, Sink, poll};
use crate::started::{Ended, LOGS, LONG, Started, logs_to};

fn config(format: LineFormat) -> Config {
    let mut config = Config::default();
    config.stdout = Some(format);
    config.log_limits = Limits::new(100, 1 << 20);
    config.log_batch = Batch::new(10, 1 << 20, LONG);
    config
}

const QUEUED: &str = "wasmetry_export_queue_records{signal=\"logs\",destination=\"stdout\"}";
const SENT: &str = "wasmetry_export_records_total{signal=\"logs\",destination=\"stdout\",outcome=\"sent\"}";

#[test]
fn record_becomes_line_at_once() {
    let output = MemoryOutput::default();
    let started = Started::with_output(config(LineFormat::Json), output.clone());
    started.exporter.log(&started.identity, full_log(0));
    // No other record has to follow.
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
fn pretty_lines_escape_control_characters() {
    for (colors, is_colored) in [(Colors::Off, false), (Colors::On, true)] {
        let output = MemoryOutput::default();
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
fn unread_output_blocks_no_recording() {
    let output = MemoryOutput::default();
    let blocked = output.block();
    let started = Started::with_output(config(LineFormat::Json), output.clone());
    for number in 0..500 {
        started.exporter.log(&started.identity, log(number));
    }
    assert_eq!(started.value(QUEUED), 100);
    drop(blocked);
    let ended = started.stop();
    assert_eq!((output.text().lines().count(), ended.value(SENT)), (100, 100));
    assert_eq!(dropped(&ended, "queue_full"), 400);
    assert_eq!(ended.lost, 400);
}

#[test]
fn stop_ignores_unread_output() {
    let output = MemoryOutput::default();
    let blocked = output.block();
    let started = Started::with_output(config(LineFormat::Json), output.clone());
    for number in 0..30 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop_within(Duration::from_millis(50));
    assert_eq!((ended.lost, ended.value(SENT)), (30, 0));
    drop(blocked);
    // What is written later stays counted as dropped.
    assert_eq!((dropped(&ended, "shutdown"), ended.value(SENT)), (30, 0));
}

/// JSON lines on an output, retried after a millisecond, and dropped after `give_up_after`.
fn retrying(give_up_after: Duration) -> Config {
    let mut config = config(LineFormat::Json);
    config.log_retry = Retry::new(Duration::from_millis(1), Duration::from_millis(1), give_up_after);
    config
}

/// The numbers of the records in lines, each of which must be whole.
fn numbers(text: &str) -> Vec<u64> {
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap();
    text.lines().map(number).collect()
}

fn dropped(ended: &Ended, reason: &str) -> u64 {
    ended.dropped("shop", "logs", reason)
}

// A disk that is full for a moment.
#[test]
fn failing_output_is_retried() {
    for failure in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock] {
        let output = MemoryOutput::default();
        output.fail(Some(failure));
        let started = Started::with_output(retrying(LONG), output.clone());
        for number in 0..30 {
            started.exporter.log(&started.identity, log(number));
        }
        poll(|| output.attempts() >= 3);
        output.fail(None);
        poll(|| started.value(SENT) == 30);
        let ended = started.stop();
        assert_eq!((numbers(&output.text()), ended.lost), ((0..30).collect(), 0), "{failure:?}");
        let [failed, recovered] = &ended.reports[..] else { panic!("{:?}", ended.reports) };
        assert!(failed.starts_with("logs to stdout cannot be sent and are retried: "), "{failed}");
        assert_eq!(recovered, "logs to stdout are sent again; dropped meanwhile: 0");
    }
}

// A disk that stays full.
#[test]
fn lasting_failure_drops_and_recovers() {
    let output = MemoryOutput::default();
    output.fail(Some(io::ErrorKind::StorageFull));
    let started = Started::with_output(retrying(Duration::ZERO), output.clone());
    for number in 0..30 {
        started.exporter.log(&started.identity, log(number));
    }
    poll(|| started.value(QUEUED) == 0);
    output.fail(None);
    started.exporter.log(&started.identity, log(30));
    poll(|| started.value(SENT) == 1);
    let ended = started.stop();
    assert_eq!((numbers(&output.text()), dropped(&ended, "retry_exhausted"), ended.lost), (vec![30], 30, 30));
    let [failed, recovered] = &ended.reports[..] else { panic!("{:?}", ended.reports) };
    assert!(failed.contains("no storage space"), "{failed}");
    assert_eq!(recovered, "logs to stdout are sent again; dropped meanwhile: 30");
}

// The disk is full in the middle of a line, at each of its bytes.
#[test]
fn torn_line_is_completed_and_counted() {
    let line = {
        let output = MemoryOutput::default();
        let started = Started::with_output(config(LineFormat::Json), output.clone());
        started.exporter.log(&started.identity, log(0));
        started.stop();
        output.text().len()
    };
    for room in [1, line - 1, line, line + 1, 2 * line + line / 2] {
        let output = MemoryOutput::default();
        output.set_room(Some(room));
        let blocked = output.block();
        let started = Started::with_output(retrying(Duration::ZERO), output.clone());
        started.exporter.log(&started.identity, log(0));
        // One line holds the output up, and the others make one batch.
        for number in 1..5 {
            started.exporter.log(&started.identity, log(number));
        }
        drop(blocked);
        poll(|| started.value(QUEUED) == 0);
        output.set_room(None);
        started.exporter.log(&started.identity, log(9));
        poll(|| numbers_of_whole(&output).contains(&9));
        let ended = started.stop();
        let written = numbers(&output.text());
        assert_eq!(ended.value(SENT), written.len() as u64, "{room}: {written:?}");
        assert_eq!(dropped(&ended, "retry_exhausted"), 6 - written.len() as u64, "{room}: {written:?}");
        assert!(written.len() > room / line, "{room}: {written:?}");
    }
}

/// The numbers of the lines that are whole so far.
fn numbers_of_whole(output: &MemoryOutput) -> Vec<u64> {
    let text = output.text();
    numbers(text.rfind('\n').map_or("", |end| &text[..end]))
}

// The reader of the pipe is gone, and the process ends.
#[test]
fn stop_drops_lines_of_closed_pipe() {
    let output = MemoryOutput::default();
    output.fail(Some(io::ErrorKind::BrokenPipe));
    let started = Started::with_output(retrying(LONG), output);
    for number in 0..30 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop();
    assert_eq!((dropped(&ended, "shutdown"), ended.lost), (30, 30));
    let [report] = &ended.reports[..] else { panic!("{:?}", ended.reports) };
    assert!(report.contains("logs to stdout") && report.contains("broken pipe"), "{report}");
}

#[test]
fn hanging_destination_blocks_no_other() {
    let server = Sink::start(|_| Reply::Hang);
    let output = MemoryOutput::default();
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
fn audit_records_go_to_their_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    fs::write(&path, "what was there before\n").unwrap();
    let output = MemoryOutput::default();
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

// A component that floods the file loses its own records, and the file has a bound. Its neighbour's
// records are all there.
#[test]
fn audit_file_grows_by_component() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let mut config = audit_file(&path);
    config.audit_growth.component = Growth::new(20_000, 1);
    config.log_limits = Limits::new(10_000, 1 << 30);
    let started = Started::new(config);
    let bank = Arc::new(Identity::new("bank").with_tenant("bank"));
    for number in 0..1000 {
        started.exporter.log(&started.identity, audit(number));
        if number % 20 == 0 {
            started.exporter.log(&bank, audit(10_000 + number));
        }
    }
    let ended = started.stop();
    let (text, kept) = (fs::read_to_string(&path).unwrap(), in_file(&path));
    let (banks, floods): (Vec<u64>, Vec<u64>) = kept.iter().partition(|number| **number >= 10_000);
    assert_eq!(banks, (0..1000).step_by(20).map(|number| 10_000 + number).collect::<Vec<_>>());
    let bytes: usize = text.lines().filter(|line| line.contains("\"shop\"")).map(|line| line.len() + 1).sum();
    // One byte a second is allowed for however long the test takes.
    assert!((19_000..20_500).contains(&bytes), "{bytes} bytes");
    let sent = ended.value(&SENT.replace("stdout", "audit"));
    assert_eq!(sent, 50 + floods.len() as u64);
    assert_eq!((dropped(&ended, "growth_limit"), ended.lost), (1000 - floods.len() as u64, 1050 - sent));
    assert_eq!(ended.dropped("bank", "logs", "growth_limit"), 0);
}

// A tenant with two components has no more of the file than its own amount, and its neighbour has
// all of its records. Each drop has the component that it is of.
#[test]
fn audit_file_grows_by_tenant() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let mut config = audit_file(&path);
    config.audit_growth.component = Growth::new(20_000, 1);
    config.audit_growth.tenant = Growth::new(30_000, 1);
    config.log_limits = Limits::new(10_000, 1 << 30);
    let started = Started::new(config);
    let [one, two] = ["one", "two"].map(|name| Arc::new(Identity::new(name).with_tenant("mallory")));
    let bank = Arc::new(Identity::new("bank").with_tenant("bank"));
    for number in 0..1000 {
        started.exporter.log(&one, audit(number));
        started.exporter.log(&two, audit(number));
        if number % 20 == 0 {
            started.exporter.log(&bank, audit(10_000 + number));
        }
    }
    let ended = started.stop();
    let text = fs::read_to_string(&path).unwrap();
    let of = |name: &str| text.lines().filter(|line| line.contains(&format!("\"{name}\""))).collect::<Vec<_>>();
    let bytes: usize = of("mallory").iter().map(|line| line.len() + 1).sum();
    // One byte a second is allowed for however long the test takes.
    assert!((29_000..30_500).contains(&bytes), "{bytes} bytes");
    assert_eq!((of("bank").len(), ended.dropped("bank", "logs", "growth_limit")), (50, 0));
    for name in ["one", "two"] {
        assert_eq!(ended.dropped(name, "logs", "growth_limit"), 1000 - of(name).len() as u64, "{name}");
    }
}

/// The numbers of the records in a file; none if there is no file.
fn in_file(path: &Path) -> Vec<u64> {
    numbers(&fs::read_to_string(path).unwrap_or_default())
}

// Rotation by `mv` and SIGHUP, by `mv` alone, by deletion, and by `logrotate`'s `create` and
// `copytruncate`.
#[test]
fn audit_file_survives_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("audit.jsonl"), directory.path().join("audit.1"));
    let started = Started::new(audit_file(&path));
    let sent = SENT.replace("stdout", "audit");
    let mut next = 0;
    let mut write = || {
        for number in next..next + 3 {
            started.exporter.log(&started.identity, audit(number));
        }
        next += 3;
        poll(|| started.value(&sent) == next);
    };
    write();
    // With a signal: the new file is there before there is a record for it.
    fs::rename(&path, &moved).unwrap();
    started.exporter.reopen_files();
    poll(|| path.exists());
    write();
    assert_eq!((in_file(&moved), in_file(&path)), (vec![0, 1, 2], vec![3, 4, 5]));
    // Without a signal.
    fs::rename(&path, &moved).unwrap();
    write();
    assert_eq!((in_file(&moved), in_file(&path)), (vec![3, 4, 5], vec![6, 7, 8]));
    // Deleted.
    fs::remove_file(&path).unwrap();
    write();
    assert_eq!(in_file(&path), [9, 10, 11]);
    // `create`: renamed, and an empty file in its place.
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "").unwrap();
    write();
    assert_eq!((in_file(&moved), in_file(&path)), (vec![9, 10, 11], vec![12, 13, 14]));
    // `copytruncate`: the copy keeps the old records, and new ones follow at the begin of the file.
    fs::copy(&path, &moved).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    write();
    assert_eq!((in_file(&moved), in_file(&path)), (vec![12, 13, 14], vec![15, 16, 17]));
    assert_eq!((started.stop().lost, in_file(&path)), (0, vec![15, 16, 17]));
}

// The directory is gone for a moment: records wait for it.
#[test]
fn unreachable_audit_file_is_retried() {
    let directory = tempfile::tempdir().unwrap();
    let (inner, away) = (directory.path().join("log"), directory.path().join("away"));
    fs::create_dir(&inner).unwrap();
    let path = inner.join("audit.jsonl");
    let mut config = audit_file(&path);
    config.log_retry = Retry::new(Duration::from_millis(1), Duration::from_millis(1), Duration::ZERO);
    let started = Started::new(config);
    fs::remove_file(&path).unwrap();
    fs::rename(&inner, &away).unwrap();
    started.exporter.log(&started.identity, audit(7));
    poll(|| started.has_reported("audit records to"));
    fs::rename(&away, &inner).unwrap();
    poll(|| in_file(&path) == [7]);
    assert_eq!(started.stop().lost, 0);
}

#[test]
fn audit_records_wait_for_full_disk() {
    // A device that is always full.
    let started = Started::new(audit_file(Path::new("/dev/full")));
    for number in 0..7 {
        started.exporter.log(&started.identity, audit(number));
    }
    let lost = SENT.replace("stdout", "audit").replace("sent", "rejected");
    poll(|| started.has_reported("No space left on device"));
    assert_eq!(started.value(&lost), 0);
    let ended = started.stop_within(Duration::from_millis(50));
    assert_eq!((ended.value(&lost), ended.value(&lost.replace("rejected", "shutdown")), ended.lost), (0, 7, 7));
}

#[test]
fn unopenable_audit_file_is_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no/audit.jsonl");
    let error = Exporter::start(audit_file(&path), &Registry::new(), Arc::new(|_| ())).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("No such file"), "{error}");
}
