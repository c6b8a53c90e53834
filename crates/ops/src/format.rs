//! The formats of the files: serde types for each, and the head that every file has.

pub(crate) mod adapter;
pub(crate) mod alertmanager;
pub(crate) mod alloy;
pub(crate) mod collector;
pub(crate) mod compose;
pub(crate) mod containerfile;
pub(crate) mod grafana;
pub(crate) mod kubernetes;
pub(crate) mod rule;
pub(crate) mod scrape;
pub(crate) mod source;
pub(crate) mod test;

use serde::Serialize;

use crate::{File, Service, WindowScale};

/// The first lines of a file: its origin, and the command that makes it again.
pub(crate) struct Head {
    source: String,
    scale: WindowScale,
}

impl Head {
    pub(crate) fn new(service: &Service) -> Self {
        let given = service.openslo.iter().map(|path| format!(" --openslo {}", argument(path)));
        Self { source: argument(&service.source) + &given.collect::<String>(), scale: service.scale }
    }

    /// Returns the head's lines.
    pub(crate) fn lines(&self) -> [String; 2] {
        let (mut note, mut flag) = (String::new(), String::new());
        if !self.scale.is_one() {
            let scale = self.scale;
            note = format!(
                " SCALED by {scale}, for drills and tests only: never serve it in production. Ranges, waits and intervals \
                 are shorter than names and texts state."
            );
            flag = format!(" --window-scale {scale}");
        }
        [
            format!(
                "Generated from {} by `wasmetry ops`.{note} Changes by hand are lost; to make it again:",
                self.source
            ),
            format!("wasmetry ops all {}{flag} --tests -o DIR", self.source),
        ]
    }

    /// Returns a YAML file.
    pub(crate) fn file(&self, path: &str, content: &impl Serialize) -> File {
        self.noted_file(path, &[], content)
    }

    /// Returns a YAML file with more lines of comments.
    pub(crate) fn noted_file(&self, path: &str, note: &[&str], content: &impl Serialize) -> File {
        let [first, second] = self.lines();
        let note: String = note.iter().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
        File { path: path.to_owned(), contents: format!("# {first}\n#   {second}\n{note}{}", yaml(content)) }
    }
}

/// Returns a value as YAML.
pub(crate) fn yaml(content: &impl Serialize) -> String {
    // Only a writer or a `Serialize` that fails is an error, and neither does here.
    serde_saphyr::to_string(content).unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
}

/// Returns a value as JSON, which ends with a line break.
pub(crate) fn json(content: &impl Serialize) -> String {
    // Only a writer, a `Serialize` that fails, or a key that is no text is an error.
    serde_json::to_string_pretty(content).unwrap_or_else(|error| format!("{{\"error\": {:?}}}", error.to_string()))
        + "\n"
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
