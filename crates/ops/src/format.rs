//! The formats of the files: serde types for each, and the head that every file has.

pub(crate) mod adapter;
pub(crate) mod compose;
pub(crate) mod containerfile;
pub(crate) mod kubernetes;
pub(crate) mod rule;
pub(crate) mod scrape;
pub(crate) mod test;

use serde::Serialize;

use crate::{File, Service};

/// The first lines of a file: its origin, and the command that makes it again.
pub(crate) struct Head {
    source: String,
}

impl Head {
    pub(crate) fn new(service: &Service) -> Self {
        Self { source: argument(&service.source) }
    }

    /// Returns the head's lines.
    pub(crate) fn lines(&self) -> [String; 2] {
        [
            format!("Generated from {} by `wasmetry ops`. Changes by hand are lost; to make it again:", self.source),
            format!("wasmetry ops all {} --tests -o DIR", self.source),
        ]
    }

    /// Returns a YAML file.
    pub(crate) fn file(&self, path: &str, content: &impl Serialize) -> File {
        let [first, second] = self.lines();
        File { path: path.to_owned(), contents: format!("# {first}\n#   {second}\n{}", yaml(content)) }
    }
}

/// Returns a value as YAML.
pub(crate) fn yaml(content: &impl Serialize) -> String {
    // Only a writer or a `Serialize` that fails is an error, and neither does here.
    serde_saphyr::to_string(content).unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
}

/// Returns a path as an argument of a shell, on one line.
pub(crate) fn argument(path: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let line: String = path.chars().map(|c| if is_break(c) { '?' } else { c }).collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=".contains(c);
    let quote = |word: &str| {
        if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    match line.strip_prefix("--config ") {
        Some(path) => format!("--config {}", quote(path)),
        None => quote(&line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stay_on_one_line() {
        for (path, expected) in
            [("a/b.wasm", "a/b.wasm"), ("--config a b", "--config 'a b'"), ("a\nb\u{2028}'", r"'a?b?'\'''")]
        {
            assert_eq!(argument(path), expected);
        }
    }
}
