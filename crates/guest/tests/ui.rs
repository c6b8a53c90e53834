//! Compile errors of the macros: `ui/` has a program and its errors for every message.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

#[test]
fn mistakes_are_readable_compile_errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// A message that no program shows has not been reviewed.
#[test]
fn every_message_is_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let errors: String = files(&root.join("tests/ui"), "stderr").iter().map(|file| read(file)).collect();
    let mut sources = files(&root.join("../macros/src"), "rs");
    sources.push(root.join("../abi/src/name.rs"));
    let (mut count, mut unseen) = (0, Vec::new());
    for source in sources {
        let text = read(&source);
        // The messages of tests are for other readers.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for message in messages(code.parse().unwrap()) {
            count += 1;
            if !errors.contains(&message) {
                unseen.push(format!("{}: {message}", source.display()));
            }
        }
    }
    assert!(unseen.is_empty(), "no program in tests/ui shows these:\n{}", unseen.join("\n"));
    assert!(count > 100, "only {count} messages were found: are they still literals?");
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The text between the placeholders of each literal of at least three words, outside of attributes
/// and documentation.
fn messages(tokens: TokenStream) -> Vec<String> {
    let mut messages = Vec::new();
    let mut is_attribute = false;
    for token in tokens {
        // `#` or `#!` is in front of an attribute's brackets.
        let goes_on = |char| char == '#' || is_attribute && char == '!';
        let goes_on = matches!(&token, TokenTree::Punct(punct) if goes_on(punct.as_char()));
        let was = std::mem::replace(&mut is_attribute, goes_on);
        match token {
            TokenTree::Group(group) if !was => messages.extend(self::messages(group.stream())),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if text.starts_with('"') && text.split_whitespace().count() >= 3 {
                    messages.extend(pieces(&text));
                }
            }
            _ => {}
        }
    }
    messages
}

/// The text of a literal, without quotes and escapes, split at the parts in braces.
fn pieces(literal: &str) -> Vec<String> {
    let text =
        literal.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(literal).replace("\\\"", "\"");
    text.split(['{', '}']).filter(|piece| piece.split_whitespace().count() >= 2).map(str::to_owned).collect()
}
