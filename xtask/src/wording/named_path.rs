//! The paths that a document names in backticks or links to: each exists, and none has two
//! meanings.

use super::{Check, Finding};

/// The extensions by which a word in backticks is taken for a file.
const EXTENSIONS: [&str; 15] =
    ["rs", "toml", "md", "txt", "wit", "json", "js", "mjs", "cjs", "ts", "py", "wasm", "bin", "stderr", "lock"];

/// Folders that a build makes: what lies there is not checked in.
const BUILT: [&str; 2] = ["target", "node_modules"];

/// Checks the paths that `text`, the document `path`, names.
///
/// A path resolves from the root, or as the end of one path only. Of several, the one counts that
/// is nearest to the path before it in the same paragraph, list item or row.
pub(super) fn check(path: &str, text: &str, files: &[String]) -> Vec<Finding> {
    let entries = entries(files);
    let mut findings = Vec::new();
    // The path before, and the paragraph that it is in.
    let mut before = (0, "");
    for Named { paragraph, line, name } in named(text) {
        let near = if before.0 == paragraph { before.1 } else { "" };
        let remedy = match matches(name, near, &entries).as_slice() {
            [] => "no file or folder has this path; correct it".to_owned(),
            [found] => {
                before = (paragraph, found);
                continue;
            }
            [first, second, ..] => {
                format!("it could be `{first}` or `{second}`; write more of the path")
            }
        };
        let (check, text) = (Check::Path, name.to_owned());
        findings.push(Finding { check, path: path.to_owned(), line, text, remedy });
    }
    findings
}

/// Adds each file's folders, with a slash at their end.
fn entries(files: &[String]) -> Vec<String> {
    let mut entries = files.to_vec();
    for file in files {
        entries.extend(file.match_indices('/').map(|(at, _)| file[..=at].to_owned()));
    }
    entries.sort();
    entries.dedup();
    entries
}

/// Finds the entries that a path stands for: the one from the root, or else those that end with it
/// and are nearest to the path `near`. `*` stands for a part of a name.
fn matches<'a>(name: &str, near: &str, entries: &'a [String]) -> Vec<&'a str> {
    let name = name.trim_start_matches("./");
    let (is_folder, bare) = (name.ends_with('/'), name.trim_end_matches('/'));
    let entries = entries.iter().map(String::as_str);
    if let Some((before, after)) = bare.split_once('*') {
        let is_match = |entry: &&str| entry.starts_with(before) && entry.ends_with(after);
        return entries.filter(is_match).take(1).collect();
    }
    let entries = entries.filter(|entry| entry.ends_with('/') || !is_folder);
    let ends_so = |entry: &&str| {
        let before = entry.trim_end_matches('/').strip_suffix(bare);
        before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
    };
    let found: Vec<&str> = entries.filter(ends_so).collect();
    if let Some(exact) = found.iter().find(|entry| entry.trim_end_matches('/') == bare) {
        return vec![exact];
    }
    let folders = near.match_indices('/').map(|(at, _)| &near[..=at]).rev();
    let in_folder = |folder: &str| -> Vec<&'a str> {
        let below: Vec<&str> = found.iter().copied().filter(|entry| entry.starts_with(folder)).collect();
        let direct = below.iter().copied().find(|entry| entry[folder.len()..].trim_end_matches('/') == bare);
        direct.map_or(below, |direct| vec![direct])
    };
    let nearest = folders.map(in_folder).find(|found: &Vec<&str>| !found.is_empty());
    nearest.unwrap_or(found)
}

/// A path in a document, with the numbers of its paragraph and line.
struct Named<'a> {
    paragraph: usize,
    line: usize,
    name: &'a str,
}

/// Finds the words in backticks and the targets of links that are paths, outside of fenced code.
fn named(text: &str) -> Vec<Named<'_>> {
    let mut found = Vec::new();
    let (mut paragraph, mut is_fenced) = (0, false);
    for (at, row) in text.lines().enumerate() {
        if row.trim().is_empty() || row.starts_with(['|', '-', '#']) {
            paragraph += 1;
        }
        if row.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            let code = row.split('`').skip(1).step_by(2).filter(|code| is_path(code));
            let links = row.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
            found.extend(code.chain(links).map(|name| Named { paragraph, line: at + 1, name }));
        }
    }
    found
}

/// Returns `true` if a word has a slash or a file's extension, and nothing that paths here do not
/// have.
fn is_path(word: &str) -> bool {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./*".contains(&byte));
    let extension = word.rsplit_once('.').map(|(_, extension)| extension);
    let is_built = word.split('/').any(|part| BUILT.contains(&part));
    let looks_so = word.contains('/') || extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
    let is_only_extension = word.starts_with('.') && !word.contains('/');
    is_plain && looks_so && !is_built && !is_only_extension && !word.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        let files = ["Cargo.toml", ".ci/run", "a/src/lib.rs", "a/src/one.rs", "b/src/lib.rs", "b/src/two/three.rs"];
        let files = files.map(str::to_owned);
        check("A.md", text, &files).into_iter().map(|finding| (finding.line, finding.text)).collect()
    }

    #[test]
    fn existing_paths_pass() {
        let text = "`a/src/lib.rs`, `lib.rs`, `one.rs`, `two/three.rs`, `b/src/two/`, `b/src`, `two/`, `.ci/run`, `Cargo.toml`\n\
            [a](a/src/one.rs#top), [b](https://example.org/x.rs), `a/src/*.rs`\n";
        assert_eq!(found(text), []);
    }

    #[test]
    fn missing_and_ambiguous_paths_are_found() {
        let text = "`a/src/gone.rs`\n`lib.rs`\n[a](gone.md)\n`b/src/*.js`\n";
        let expected = [(1, "a/src/gone.rs"), (2, "lib.rs"), (3, "gone.md"), (4, "b/src/*.js")];
        assert_eq!(found(text), expected.map(|(line, name)| (line, name.to_owned())));
    }

    #[test]
    fn other_code_is_no_path() {
        let text = "`wasi:http/types`, `/metrics`, `a::b`, `cargo x a/b`, `target/guests/NAME.wasm`, `rate()`, `v1.2`, `.rs`\n\
            ```\n`gone.rs`\n```\n";
        assert_eq!(found(text), []);
    }
}
