//! Escaping, one function for each kind of text.
//!
//! The crates that write JSON or lines for people use these too. No other file escapes such a text;
//! the last test of this file lists those that have a format of their own.

use std::borrow::Cow;
use std::fmt::Write;

/// Appends a help text of the Prometheus text format.
///
/// Source: Prometheus, "Exposition formats", "Comments, help text, and type information".
pub(super) fn help(text: &str, out: &mut String) {
    escape(text, out, |byte| match byte {
        b'\\' => Some("\\\\"),
        b'\n' => Some("\\n"),
        _ => None,
    });
}

/// Appends the value of a label in both text formats, or a help text of OpenMetrics.
///
/// Source: Prometheus, "Exposition formats", "Comments, help text, and type information";
/// OpenMetrics 1.0.0, "ABNF", `escaped-string`.
pub(super) fn label_value(text: &str, out: &mut String) {
    escape(text, out, label_value_sequence);
}

/// Returns the bytes of a label's value when it is escaped.
pub(super) fn label_value_len(text: &str) -> usize {
    text.bytes().map(|byte| label_value_sequence(byte).map_or(1, str::len)).sum()
}

fn label_value_sequence(byte: u8) -> Option<&'static str> {
    match byte {
        b'\\' => Some("\\\\"),
        b'\n' => Some("\\n"),
        b'"' => Some("\\\""),
        _ => None,
    }
}

fn escape(text: &str, out: &mut String, sequence: impl Fn(u8) -> Option<&'static str>) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if let Some(sequence) = sequence(byte) {
            out.push_str(&text[plain..at]);
            out.push_str(sequence);
            plain = at + 1;
        }
    }
    out.push_str(&text[plain..]);
}

/// Appends a JSON string, with its quotes.
///
/// Hidden characters ([`is_hidden`]) are escaped too: a line that is printed cannot control a
/// terminal or show as another one, and is one line for every reader.
///
/// Source: RFC 8259, section 7.
pub fn json_string(text: &str, out: &mut String) {
    json(text, out, |_| false);
}

/// Appends a JSON string, as [`json_string`] does, without characters that are markup in HTML.
///
/// ```
/// let mut json = String::new();
/// wasmetry_host::encode::html_safe_json_string("</script>\u{9b}", &mut json);
/// assert_eq!(json, r#""\u003c/script\u003e\u009b""#);
/// ```
pub fn html_safe_json_string(text: &str, out: &mut String) {
    json(text, out, |char| matches!(char, '<' | '>' | '&'));
}

fn json(text: &str, out: &mut String, is_markup: impl Fn(char) -> bool) {
    out.push('"');
    let mut plain = 0;
    for (at, char) in text.char_indices() {
        let is_plain = match char {
            '"' | '\\' => false,
            ' '..='~' => !is_markup(char),
            char => !is_hidden(char),
        };
        if is_plain {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + char.len_utf8();
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char => json_units(char, out),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Escapes the hidden characters ([`is_hidden`]) of a JSON document that another writer has made.
/// The document means the same.
///
/// ```
/// let json = wasmetry_host::encode::visible_json("[\n  \"a\u{202e}b\"\n]");
/// assert_eq!(json, "[\n  \"a\\u202eb\"\n]");
/// ```
pub fn visible_json(document: &str) -> Cow<'_, str> {
    // A line break is white space of the document: within a string it is escaped.
    let is_hidden = |char: char| char != '\n' && is_hidden(char);
    if !document.chars().any(is_hidden) {
        return Cow::Borrowed(document);
    }
    let mut escaped = String::with_capacity(document.len() + 16);
    for char in document.chars() {
        if is_hidden(char) { json_units(char, &mut escaped) } else { escaped.push(char) }
    }
    Cow::Owned(escaped)
}

/// Appends the escapes of a character's UTF-16 units.
fn json_units(char: char, out: &mut String) {
    for unit in char.encode_utf16(&mut [0; 2]) {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Appends a string literal of Go, with its quotes, as Loki parses the value of a stream's label.
///
/// Source: The Go Programming Language Specification, "String literals".
#[cfg(feature = "loki")]
pub(super) fn go_string(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // Writing to a string cannot fail.
            char if char.is_control() => _ = write!(out, "\\u{:04x}", u32::from(char)),
            char => out.push(char),
        }
    }
    out.push('"');
}

/// Appends a text for people in quotes, without characters that control a terminal.
pub(super) fn quoted_visible(text: &str, out: &mut String) {
    out.push('"');
    for (at, part) in text.split('"').enumerate() {
        out.push_str(if at == 0 { "" } else { "\\\"" });
        visible(part, out);
    }
    out.push('"');
}

/// Appends a text for people without characters that control a terminal.
pub(super) fn visible(text: &str, out: &mut String) {
    for char in text.chars() {
        if char == '\\' { out.push_str("\\\\") } else { visible_char(char, out) }
    }
}

/// Appends a character of a text for people; one that is hidden ([`is_hidden`]) as Rust escapes it.
pub fn visible_char(char: char, out: &mut String) {
    if is_hidden(char) { out.extend(char.escape_default()) } else { out.push(char) }
}

/// Returns `true` for a character that a terminal does not show as itself: a control, one that
/// changes the direction of text or breaks a line, or one without a width.
///
/// A text of others that is written for people has none of them: with them it could move the
/// cursor, or show as another text.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || is_layout_control(char)
        || matches!(
            char,
            // Spaces and joiners without width, and deprecated controls.
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
                // Annotations and tags.
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Returns `true` for characters that change the direction of text, or break a line.
///
/// Source: Unicode Standard Annex #9, "Directional Formatting Characters".
fn is_layout_control(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: fn(&str, &mut String), text: &str) -> String {
        let mut out = String::new();
        escape(text, &mut out);
        out
    }

    #[test]
    fn texts_are_escaped() {
        let text = "\"für\"\\\n\\n";
        assert_eq!(escaped(help, text), "\"für\"\\\\\\n\\\\n");
        assert_eq!(escaped(label_value, text), "\\\"für\\\"\\\\\\n\\\\n");
        assert_eq!(label_value_len(text), escaped(label_value, text).len());
        assert_eq!(escaped(json_string, text), "\"\\\"für\\\"\\\\\\n\\\\n\"");
        assert_eq!(
            escaped(json_string, "\u{1b}[\u{9b}\u{7f}\u{2028}\u{1f600}"),
            "\"\\u001b[\\u009b\\u007f\\u2028\u{1f600}\""
        );
        let reversed = "a\u{202e}b\u{2066}c\u{200f}";
        assert_eq!(escaped(json_string, reversed), "\"a\\u202eb\\u2066c\\u200f\"");
        assert_eq!(escaped(visible, reversed), "a\\u{202e}b\\u{2066}c\\u{200f}");
        assert_eq!(escaped(visible, "pay\u{200b}pal\u{e0041}"), "pay\\u{200b}pal\\u{e0041}");
        assert_eq!(escaped(json_string, "pay\u{200b}pal\u{e0041}"), "\"pay\\u200bpal\\udb40\\udc41\"");
        assert_eq!(escaped(json_string, "<a>&"), "\"<a>&\"");
        assert_eq!(escaped(html_safe_json_string, "<a>&\n\""), "\"\\u003ca\\u003e\\u0026\\n\\\"\"");
        assert_eq!(visible_json("{\n\"a\": \"\u{7f}\u{e0041}\"}"), "{\n\"a\": \"\\u007f\\udb40\\udc41\"}");
    }

    /// An escape of a quote, or one by a character's number, in another file is another escaper.
    #[test]
    fn no_other_file_escapes() {
        /// Those of formats that only one file writes: Grafana Alloy's configuration, and PromQL.
        const OF_OWN_FORMATS: [&str; 2] = ["ops/src/format/alloy.rs", "ops/src/promql.rs"];
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut folders: Vec<_> =
            std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
        folders.retain(|folder| folder.is_dir());
        assert!(folders.len() > 10, "{folders:?}");
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = std::fs::read_to_string(&path)
                    && path.extension().is_some_and(|extension| extension == "rs")
                    && [r#"\\\""#, r"\\u{"].iter().any(|escape| is_written(&text, escape))
                {
                    found.push(path.strip_prefix(crates).unwrap().to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        found.sort();
        assert_eq!(found, [&["host/src/encode/escape.rs"], &OF_OWN_FORMATS[..]].concat());
    }

    /// Returns `true` if a text has code that writes an escape: one that ends its literal, or is
    /// followed by a number's format.
    fn is_written(text: &str, escape: &str) -> bool {
        text.match_indices(escape).any(|(at, _)| {
            let rest = &text[at + escape.len()..];
            rest.starts_with('"') || rest.find('}').is_some_and(|end| rest[..end].ends_with(":04x"))
        })
    }
}
