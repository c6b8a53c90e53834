//! `cargo xtask wording`: the rules of language that a machine can check, over comments, docs and
//! test names.
//!
//! [`comment`] finds the comments of a file, [`rule`] checks their words and width, [`test_name`]
//! the names of tests, and [`named_path`] the paths that ARCHITECTURE.md and CONTRIBUTING.md name.
//! No module here knows the meaning of a text.

mod comment;
mod named_path;
mod rule;
mod test_name;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    argument::{Arguments, Usage},
    workspace,
};
use comment::{Language, Source};

/// The documents whose paths are checked.
const PATH_DOCUMENTS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Texts of other projects, which keep their own words.
const FOREIGN: [&str; 2] = ["wit/deps", "crates/console/page/vendor"];

/// Marks a line as an exception, with the reason after it; the line below it is excepted too.
const EXCEPTION: &str = "wording-exception:";

/// The fewest lines of comments for each exception: 0.5%.
const LINES_PER_EXCEPTION: usize = 200;

/// One rule of language.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Check {
    Summary,
    Word,
    Width,
    TestName,
    Path,
}

impl Check {
    const ALL: [Self; 5] = [Self::Summary, Self::Word, Self::Width, Self::TestName, Self::Path];

    /// The name in findings.
    fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Word => "word",
            Self::Width => "width",
            Self::TestName => "test-name",
            Self::Path => "path",
        }
    }
}

/// A place where a text breaks a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Finding {
    check: Check,
    path: String,
    line: usize,
    /// The text that breaks the rule.
    text: String,
    /// The text to write instead.
    remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, path, line, text, remedy } = self;
        write!(formatter, "{path}:{line}: {}: `{text}`; {remedy}", check.name())
    }
}

/// The findings in a set of files.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
    exceptions: usize,
    comment_lines: usize,
}

impl Report {
    /// Counts the findings of each check.
    fn counts(&self) -> BTreeMap<Check, usize> {
        let count = |check| self.findings.iter().filter(|finding| finding.check == check).count();
        Check::ALL.map(|check| (check, count(check))).into()
    }

    /// Returns the counts as a table.
    fn table(&self) -> String {
        let mut lines: Vec<String> =
            self.counts().iter().map(|(check, count)| format!("{:<10} {count:>5}", check.name())).collect();
        let (exceptions, comment_lines) = (self.exceptions, self.comment_lines);
        lines.push(format!("exceptions {exceptions:>5} of {comment_lines} lines of comments and docs"));
        lines.join("\n")
    }

    /// Adds the findings of one file.
    fn add(&mut self, source: &Source<'_>, files: &[String]) {
        self.comment_lines += source.comments.len();
        let mut findings = rule::check(source);
        findings.extend(test_name::check(source));
        if PATH_DOCUMENTS.contains(&source.path) {
            findings.extend(named_path::check(source.path, source.text, files));
        }
        for comment in source.comments.iter().filter(|comment| comment.text.contains(EXCEPTION)) {
            let excepted = |finding: &Finding| matches!(finding.line.checked_sub(comment.line), Some(0 | 1));
            let reason = comment.text.split(EXCEPTION).nth(1).unwrap_or_default();
            let before = findings.len();
            findings.retain(|finding| !excepted(finding));
            self.exceptions += 1;
            if findings.len() == before || reason.split_whitespace().count() < 2 {
                let remedy = "give a reason of two words or more, above the line that needs it, or remove the mark";
                findings.push(source.finding(Check::Word, comment.line, EXCEPTION, remedy));
            }
        }
        findings.sort_by_key(|finding| (finding.line, finding.check));
        self.findings.append(&mut findings);
    }
}

/// Lists the findings below the given paths, or in the whole workspace.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let count_only = arguments.flag("--count");
    let mut paths = Vec::new();
    while let Some(path) = arguments.command() {
        paths.push(path);
    }
    arguments.finish()?;
    let report = examine(&paths)?;
    if !count_only {
        report.findings.iter().for_each(|finding| println!("{finding}"));
    }
    println!("{}", report.table());
    if !report.findings.is_empty() && !count_only {
        bail!("{} texts break a rule of language", report.findings.len());
    }
    Ok(())
}

/// Fails if a text breaks a rule, or too many are excepted.
pub(crate) fn check() -> Result<()> {
    let report = examine(&[])?;
    report.findings.iter().for_each(|finding| eprintln!("{finding}"));
    if !report.findings.is_empty() {
        bail!("{} texts break a rule of language; each line above ends in what to write", report.findings.len());
    }
    if report.exceptions * LINES_PER_EXCEPTION > report.comment_lines {
        bail!("{} lines are marked `{EXCEPTION}`, more than 0.5% of all comments; reword some", report.exceptions);
    }
    eprintln!("{}", report.table());
    Ok(())
}

/// Checks the files at and below `paths`, or all files if `paths` is empty.
fn examine(paths: &[String]) -> Result<Report> {
    let files = files()?;
    let wanted: Vec<&str> = paths
        .iter()
        .map(|path| path.trim_start_matches("./").trim_end_matches('/'))
        .filter(|path| *path != ".")
        .collect();
    if let Some(missing) = wanted.iter().find(|wanted| !files.iter().any(|file| is_below(file, wanted))) {
        return Err(Usage::error(format!("no file at `{missing}`; give paths from the workspace's root")));
    }
    let mut report = Report::default();
    for file in &files {
        let is_wanted = wanted.is_empty() || wanted.iter().any(|wanted| is_below(file, wanted));
        let is_foreign = FOREIGN.iter().any(|foreign| is_below(file, foreign));
        let Some(language) = Language::of(file).filter(|_| is_wanted && !is_foreign) else {
            continue;
        };
        let path = workspace::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        report.add(&Source::scan(file, &text, language), &files);
    }
    Ok(report)
}

/// Returns `true` if `file` is `folder` itself or lies below it.
fn is_below(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Lists the workspace's own files by their path from the root: all but those that `.gitignore`
/// names.
fn files() -> Result<Vec<String>> {
    let root = workspace::root();
    let ignored = fs::read_to_string(root.join(".gitignore")).context("cannot read .gitignore")?;
    let mut skipped: Vec<PathBuf> = ignored.lines().map(|line| root.join(line.trim_start_matches('/'))).collect();
    skipped.push(root.join(".git"));
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if skipped.contains(&path) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else {
                files.push(from_root(&path));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Returns a path from the workspace's root, with `/` between its parts.
fn from_root(path: &Path) -> String {
    let path = path.strip_prefix(workspace::root()).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        report.add(&Source::scan("a.rs", text, Language::Rust), &[]);
        report
    }

    #[test]
    fn exception_needs_reason_and_finding() {
        let excepted = "/// A list.\n// wording-exception: the specification's sentence\n/// It is told.\nfn f() {}\n";
        assert!(report(excepted).findings.is_empty());
        assert_eq!(report(excepted).exceptions, 1);
        for text in ["// wording-exception: why\n// told\n", "// wording-exception: nothing needs this\n// sent\n"] {
            let findings = report(text).findings;
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
            assert_eq!(findings[0].text, EXCEPTION);
        }
    }

    #[test]
    fn folder_contains_no_namesakes() {
        assert!(is_below("crates/host/src/lib.rs", "crates/host"));
        assert!(is_below("README.md", "README.md"));
        assert!(!is_below("crates/hosts/lib.rs", "crates/host"));
    }

    #[test]
    fn finding_names_place_text_and_remedy() {
        let report = report("\n/// What a guest sends.\nstruct Batch;\n");
        let shown: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown[0].starts_with("a.rs:2: summary: `What a guest sends.`; "), "{}", shown[0]);
        assert_eq!(report.counts()[&Check::Summary], 1);
    }
}
