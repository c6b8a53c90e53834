//! The table of attacks in `README.md`, compared with the sources that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wasmetry_tests::root;

/// A row: the attack, the counter, and the tests by their files.
struct Row {
    attack: String,
    counter: String,
    tests: Vec<(PathBuf, Vec<String>)>,
}

/// Returns the words of a text that are in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the path of a file that is in this folder, or has its path from the root.
fn path(name: &str) -> PathBuf {
    let own = root().join("tests").join(name);
    if own.exists() { own } else { root().join(name) }
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let (_, rest) = text.split_once("| attack |").expect("the table has this head");
    let (table, _) = rest.split_once("\n\n").unwrap();
    let parse = |line: &str| {
        let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let [attack, does, host, counter, tests] = cells[..] else { panic!("a row has five cells: {line}") };
        assert!(!attack.is_empty() && !does.is_empty() && !host.is_empty(), "{line}");
        let of_file = |part: &str| {
            let (file, names) = part.split_once(": ").unwrap_or_else(|| panic!("a file and its tests: {part}"));
            let [file] = &quoted(file)[..] else { panic!("one file before its tests: {part}") };
            (path(file), quoted(names))
        };
        let tests = tests.split("; ").map(of_file).collect();
        Row { attack: attack.to_owned(), counter: counter.to_owned(), tests }
    };
    // Behind the rest of the head and the line below it.
    table.lines().skip(2).map(parse).collect()
}

/// Returns the names of the tests in a file.
fn tests_in(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ")
            && is_test
        {
            names.insert(rest.split(['(', '<']).next().unwrap().to_owned());
            is_test = false;
        }
    }
    names
}

/// Adds the Rust sources of a folder to a text.
fn add_sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Each row names tests that exist in its files.
#[test]
fn rows_name_existing_tests() {
    let rows = rows();
    assert!(rows.len() > 50, "{}", rows.len());
    let attacks: BTreeSet<_> = rows.iter().map(|row| &row.attack).collect();
    assert_eq!(attacks.len(), rows.len(), "an attack has one row");
    for Row { attack, tests, .. } in &rows {
        for (file, names) in tests {
            let known = tests_in(file);
            assert!(!names.is_empty(), "{attack}: no test of {}", file.display());
            for name in names {
                assert!(known.contains(name), "{attack}: {} has no test `{name}`", file.display());
            }
        }
    }
}

/// Each row has a counter that a crate has, or the reason why there is none.
#[test]
fn rows_have_counters() {
    let mut sources = String::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path().join("src");
        if folder.is_dir() {
            add_sources(&folder, &mut sources);
        }
    }
    for Row { attack, counter, .. } in rows() {
        if let Some((word, reason)) = counter.split_once(": ")
            && word.starts_with("none")
        {
            assert!(reason.len() > 10, "{attack}: {counter}");
            continue;
        }
        let counters = quoted(&counter);
        assert!(!counters.is_empty(), "{attack} has neither a counter nor the reason why: {counter}");
        for counter in counters {
            let (name, labels) = counter.split_once('{').unwrap_or((&counter, ""));
            let values = labels.split('"').skip(1).step_by(2);
            for word in [name].into_iter().chain(values) {
                assert!(sources.contains(&format!("\"{word}\"")), "{attack}: no crate has the counter `{counter}`");
            }
        }
    }
}

/// Each test of this suite is in the table.
#[test]
fn table_has_every_attack() {
    let listed: BTreeSet<String> = rows().into_iter().flat_map(|row| row.tests).flat_map(|(_, names)| names).collect();
    let own = root().join("tests/hostile");
    for entry in fs::read_dir(own).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == "table.rs") {
            continue;
        }
        for name in tests_in(&path) {
            assert!(listed.contains(&name), "{}: `{name}` is in no row of tests/README.md", path.display());
        }
    }
}
