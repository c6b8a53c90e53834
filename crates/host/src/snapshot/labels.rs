//! The labels of series, rendered and escaped once, in the form of both text formats.

use std::borrow::Cow;

/// The value of a label whose own value is not kept.
pub(crate) const OVERFLOW: &str = "overflow";

/// The rendered labels of the series of one metric in one component: `{a="b",c="d"} `, or a space
/// if there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelTable {
    text: String,
    spans: Vec<(usize, usize)>,
}

impl LabelTable {
    /// Sets the number of rows. New ones are not rendered yet.
    pub(crate) fn resize(&mut self, rows: usize) {
        self.spans.resize(rows, (0, 0));
    }

    /// Returns the rendered labels of a row, or an empty text if it is not rendered.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &str {
        let (start, end) = self.spans.get(row).copied().unwrap_or_default();
        &self.text[start..end]
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Sets the labels of a row that was not rendered.
    pub(crate) fn set(&mut self, row: usize, rendered: &str) {
        let start = self.text.len();
        self.text.push_str(rendered);
        self.spans[row] = (start, self.text.len());
    }

    /// Adds a row and returns its index.
    pub(crate) fn push(&mut self, rendered: &str) -> usize {
        let row = self.len();
        self.resize(row + 1);
        self.set(row, rendered);
        row
    }
}

/// Renders the labels of one series, and escapes their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelText {
    text: String,
}

impl LabelText {
    /// Adds a label. An empty value is the same as no label, and adds nothing.
    pub(crate) fn label(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        self.text.push_str(key);
        self.text.push_str("=\"");
        for char in value.chars() {
            match char {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                char => self.text.push(char),
            }
        }
        self.text.push('"');
    }

    pub(crate) fn finish(mut self) -> String {
        if !self.text.is_empty() {
            self.text.push('}');
        }
        self.text.push(' ');
        self.text
    }
}

/// The labels of one series: key and value.
#[derive(Clone, Debug)]
pub struct LabelPairs<'a> {
    rest: &'a str,
}

impl<'a> LabelPairs<'a> {
    /// Reads labels that [`LabelText::finish`] has rendered.
    pub(crate) fn new(rendered: &'a str) -> Self {
        Self { rest: rendered.trim_end_matches(' ').strip_prefix('{').unwrap_or_default() }
    }
}

impl<'a> Iterator for LabelPairs<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = self.rest.split_once("=\"")?;
        let mut escaped = false;
        let end = rest.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let value = &rest[..end];
        self.rest = rest[end + 1..].strip_prefix(',').unwrap_or_default();
        Some((key, unescape(value)))
    }
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(char) => out.push(char),
                None => {}
            },
            char => out.push(char),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_labels_read_back() {
        for value in ["plain", "a\"b", "back\\slash", "\\n", "new\nline", "grüße, 東京", "a=\"b\",c", "}", " ", "\\"]
        {
            let mut labels = LabelText::default();
            labels.label("key", value);
            labels.label("absent", "");
            labels.label("other", "x");
            let text = labels.finish();
            let pairs: Vec<_> = LabelPairs::new(&text).collect();
            assert_eq!(pairs, [("key", Cow::Borrowed(value)), ("other", Cow::Borrowed("x"))], "{text}");
        }
        assert_eq!(LabelText::default().finish(), " ");
        assert_eq!(LabelPairs::new(" ").next(), None);
    }
}
