//! The runbooks: one for each alert, each with the same headings, and queries that parse.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::app::every_alert;
use super::{assert_passes, promtools};

const HEADINGS: [&str; 6] =
    ["## Meaning", "## Impact", "## First queries", "## Likely causes", "## Mitigation", "## Escalation"];

/// The queries of each runbook.
const QUERIES: usize = 3;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks")
}

/// Returns the queries of a runbook.
fn queries(text: &str) -> Vec<&str> {
    text.split("```promql\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Every alert has a runbook with all parts, and no runbook is without an alert.
#[test]
fn alerts_have_runbooks() {
    let alerts = every_alert().alerts();
    let issues: BTreeSet<String> = alerts.iter().map(|alert| format!("{}.md", alert.issue)).collect();
    let entries = fs::read_dir(directory()).unwrap();
    let files: BTreeSet<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(issues, files);
    for file in files {
        let text = fs::read_to_string(directory().join(&file)).unwrap();
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, HEADINGS, "{file}");
        assert_eq!(queries(&text).len(), QUERIES, "{file}");
        // Somebody who is paged about requests gets to their causes by one command.
        let of_file = alerts.iter().filter(|alert| format!("{}.md", alert.issue) == file);
        let is_explained = of_file.clone().any(|alert| alert.requests.is_some());
        let command =
            text.split("\nwasmetry explain URL --alert <Component>").nth(1).and_then(|rest| rest.lines().next());
        assert_eq!(command.is_some(), is_explained, "{file}");
        if let Some(command) = command {
            let end = command.split([' ', '>']).find(|word| !word.is_empty() && !word.starts_with('<'));
            assert!(of_file.clone().any(|alert| alert.name.ends_with(end.unwrap())), "{file}: {command}");
        }
        for part in text.split("\n## ").skip(1) {
            assert!(part.lines().skip(1).any(|line| !line.is_empty()), "{file}: {part}");
        }
    }
}

/// Prometheus parses every query of every runbook.
#[test]
fn runbook_queries_parse() {
    let mut rules = String::from("groups:\n- name: runbooks\n  rules:\n");
    let mut number = 0;
    for entry in fs::read_dir(directory()).unwrap() {
        for query in queries(&fs::read_to_string(entry.unwrap().path()).unwrap()) {
            number += 1;
            rules += &format!("  - record: query:{number}\n    expr: '{}'\n", query.replace('\'', "''"));
        }
    }
    assert!(number > 60, "{number} queries");
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("queries.yml");
    fs::write(&path, rules).unwrap();
    for promtool in promtools() {
        assert_passes(&promtool, &["check", "rules"], std::slice::from_ref(&path));
    }
}
