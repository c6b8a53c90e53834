//! Text of guests in a terminal: nothing in it moves the cursor, changes colours or hides letters.

use std::borrow::Cow;

use wasmetry_host::encode::{is_hidden, visible_char, visible_json};

/// Escapes the control, bidirectional and invisible characters of a text, as Rust writes them.
///
/// ```
/// use wasmetry_terminal::escape;
///
/// assert_eq!(escape("grüße, 東京"), "grüße, 東京");
/// assert_eq!(escape("\u{1b}[31mred\nnext"), r"\u{1b}[31mred\nnext");
/// assert_eq!(escape("user\u{202e}txt.exe"), r"user\u{202e}txt.exe");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    text.chars().for_each(|char| visible_char(char, &mut escaped));
    Cow::Owned(escaped)
}

/// Writes a value as JSON in one line, with the hidden characters of its texts escaped.
pub(crate) fn json(value: &serde_json::Value) -> String {
    visible_json(&value.to_string()).into_owned()
}

/// Escapes a text and cuts it to some characters.
pub(crate) fn escape_to(text: &str, most: usize) -> String {
    let escaped = escape(text);
    match escaped.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left() {
        let all: String = ('\0'..='\u{ffff}').collect();
        let escaped = escape(&all);
        assert!(!escaped.chars().any(|char| char.is_control() || is_hidden(char)));
        assert!(escaped.contains('ü') && escaped.contains('東') && escaped.contains("\\u{202e}"));
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(escape_to("grüße", 3), "grü…");
        assert_eq!(escape_to("grüße", 5), "grüße");
    }

    #[test]
    fn json_has_no_hidden_character() {
        let value = serde_json::json!("\u{9b}31m\u{202e}a");
        assert_eq!(json(&value), r#""\u009b31m\u202ea""#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&value)).unwrap(), value);
    }
}
