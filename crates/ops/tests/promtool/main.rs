//! Prometheus' own checker judges everything that is generated: files, tests, and mutants.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

mod anomaly;
mod app;
mod dashboard;
mod explain;
mod maturity;
mod mutant;
mod prometheus;
mod report;
mod runbook;
mod slo;
mod sloth;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use app::{Random, every_alert, random_service};
use wasmetry_ops::{Alert, File, Kind, Service, generate, rule_file, test_file};

/// Returns the installed versions of promtool. Prints a line if one is missing.
///
/// # Panics
///
/// Panics if one is missing and `CI` is `true`.
fn promtools() -> Vec<PathBuf> {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let installed = ["prometheus/usr/bin/promtool", "backends/prometheus/promtool"];
    let found: Vec<_> =
        installed.iter().map(|path| target.join("tools").join(path)).filter(|path| path.is_file()).collect();
    if found.len() < installed.len() {
        let message =
            "promtool of Prometheus 2 or 3 is missing: run `cargo xtask setup` and `cargo xtask backends prometheus`";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        eprintln!("skipped: {message}");
    }
    found
}

fn run(promtool: &Path, arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(promtool).args(arguments).args(files).output().unwrap()
}

fn assert_passes(promtool: &Path, arguments: &[&str], files: &[PathBuf]) {
    let output = run(promtool, arguments, files);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{} {arguments:?} {files:?}:\n{}{}",
        promtool.display(),
        text(&output.stdout),
        text(&output.stderr)
    );
}

fn write(directory: &Path, files: &[File]) {
    for file in files {
        let path = directory.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.contents).unwrap();
    }
}

/// Checks all files of a service, and runs its tests.
fn check(service: &Service) {
    let files = generate(service, Kind::All, true);
    assert_eq!(files, generate(service, Kind::All, true), "the output is deterministic");
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &files);
    let of = |folder: &str| -> Vec<PathBuf> {
        files
            .iter()
            .filter(|file| file.path.starts_with(folder))
            .map(|file| directory.path().join(&file.path))
            .collect()
    };
    for promtool in promtools() {
        assert_passes(&promtool, &["check", "config"], &of("prometheus.yml"));
        assert_passes(&promtool, &["check", "rules"], &[of("rules/"), of("alerts/")].concat());
        assert_passes(&promtool, &["test", "rules"], &of("tests/"));
    }
}

/// Every file is valid, every alert passes its tests, every recording rule has its value.
#[test]
fn every_file_passes() {
    check(&every_alert());
}

/// So it does with scaled durations, which every file states: the lowest scale, one that no unit
/// divides, and that of an hour as a minute.
#[test]
fn scaled_files_pass() {
    for scale in ["0.002", "0.0123", "1/60"] {
        let mut service = every_alert();
        service.scale = scale.parse().unwrap();
        let of = Checked::write(&service);
        for promtool in promtools() {
            of.check(&promtool);
            of.test(&promtool);
        }
        for file in generate(&service, Kind::Rules, true) {
            assert!(file.contents.starts_with("# Generated from "), "{}", file.path);
            let stated = ["SCALED by", "for drills and tests only", "--window-scale 0.0"];
            assert!(stated.iter().all(|part| file.contents.contains(part)), "{}", file.contents);
        }
    }
    let prometheus = |scale: &str| {
        let mut service = every_alert();
        service.scale = scale.parse().unwrap();
        generate(&service, Kind::Prometheus, false).swap_remove(0).contents
    };
    assert!(prometheus("1/60").contains("scrape_interval: 500ms\n"), "{}", prometheus("1/60"));
    assert!(!prometheus("1").contains("SCALED"));
}

/// The files of a service, with a rule file for each alert, whose tests take a tenth of the time
/// that they take with all alerts.
struct Checked {
    directory: tempfile::TempDir,
    rules: Vec<PathBuf>,
    tests: Vec<PathBuf>,
}

impl Checked {
    fn write(service: &Service) -> Self {
        let files = generate(service, Kind::All, true);
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &files);
        let at = |path: &str| directory.path().join(path);
        let of = |folder: &str| -> Vec<PathBuf> {
            files.iter().filter(|file| file.path.starts_with(folder)).map(|file| at(&file.path)).collect()
        };
        let rules = ["rules/", "alerts/"].map(of).concat();
        let mut tests = vec![at("tests/recording.yml")];
        tests.extend(files.iter().any(|file| file.path == "tests/slo.yml").then(|| at("tests/slo.yml")));
        for (number, alert) in service.alerts().iter().enumerate() {
            let rules = format!("{number}.yml");
            fs::write(at(&rules), rule_file(service, alert)).unwrap();
            let path = at(&format!("{number}-test.yml"));
            fs::write(&path, test_file(service, alert, &rules)).unwrap();
            tests.push(path);
        }
        Self { directory, rules, tests }
    }

    /// Checks the scrape configuration and all rules.
    fn check(&self, promtool: &Path) {
        assert_passes(promtool, &["check", "config"], &[self.directory.path().join("prometheus.yml")]);
        assert_passes(promtool, &["check", "rules"], &self.rules);
    }

    /// Runs the tests of each alert.
    fn test(&self, promtool: &Path) {
        assert_passes(promtool, &["test", "rules"], &self.tests);
    }
}

/// So it is with random metrics, labels and units, with none at all, and with names of the longest
/// length.
#[test]
fn random_apps_pass() {
    let promtools = promtools();
    let mut random = Random::new(0x5eed);
    for number in 0..100 {
        let service = random_service(&mut random, number);
        let of = Checked::write(&service);
        for (at, promtool) in promtools.iter().enumerate() {
            of.check(promtool);
            // The tests take minutes, so that the versions take turns.
            if number as usize % promtools.len() == at {
                of.test(promtool);
            }
        }
    }
}

/// The result of a mutant's test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Caught,
    Survived,
}

fn verdict(service: &Service, original: &Alert, mutant: &Alert, promtool: &Path) -> Verdict {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("alerts.yml"), rule_file(service, mutant)).unwrap();
    let tests = directory.path().join("test.yml");
    fs::write(&tests, test_file(service, original, "alerts.yml")).unwrap();
    if run(promtool, &["test", "rules"], &[tests]).status.success() { Verdict::Survived } else { Verdict::Caught }
}

const TABLE: &str = "MUTANTS.md";

/// Every mutant of every alert fails the alert's tests.
#[test]
fn mutants_are_caught() {
    let service = every_alert();
    let promtools = promtools();
    let Some(promtool) = promtools.first() else { return };
    let mut survivors = Vec::new();
    let mut table = String::from(
        "# Alerts and their mutants\n\nEach cell has the number of mutants that the alert's tests catch, of all of this kind. Equivalent mutants are not \
         counted: a threshold of 0 times 2, a `for` that is not there, a `by` that is not there. Made by\n\n    \
         UPDATE_EXPECT=1 cargo test --release -p wasmetry-ops --test promtool mutants\n\n| alert |",
    );
    for kind in mutant::Kind::ALL {
        let _ = write!(table, " {} |", kind.name());
    }
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(mutant::Kind::ALL.len()));
    let mut all = 0;
    for alert in service.alerts() {
        assert!(verdict(&service, &alert, &alert, promtool) == Verdict::Survived, "{} fails its own tests", alert.name);
        let mutants = mutant::of(&alert);
        let _ = write!(table, "| {} |", alert.name);
        for kind in mutant::Kind::ALL {
            let of_kind: Vec<_> = mutants.iter().filter(|mutant| mutant.kind == kind).collect();
            let mut caught = 0;
            for mutant in &of_kind {
                all += 1;
                match verdict(&service, &alert, &mutant.alert, promtool) {
                    Verdict::Caught => caught += 1,
                    Verdict::Survived => {
                        survivors.push(format!("{}: {}: {}", alert.name, kind.name(), mutant.alert.expr));
                    }
                }
            }
            let _ = if of_kind.is_empty() {
                write!(table, " |")
            } else {
                write!(table, " {caught} of {} |", of_kind.len())
            };
        }
        table.push('\n');
    }
    assert!(survivors.is_empty(), "{} of {all} mutants survive:\n{}", survivors.len(), survivors.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtool").join(TABLE);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), table, "run it with UPDATE_EXPECT=1");
}
