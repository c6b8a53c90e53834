//! One screen: rows of styled text, and the bytes that change a terminal into it.

use std::fmt::Write as _;
use std::io::{self, Write};

use unicode_width::UnicodeWidthChar as _;

/// A colour of the terminal's own palette, which fits light and dark ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Red = 31,
    Yellow = 33,
}

/// The style of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) colour: Option<Colour>,
    pub(super) is_bold: bool,
    pub(super) is_underlined: bool,
    pub(super) is_reversed: bool,
}

impl Style {
    pub(super) const BOLD: Self = Self { colour: None, is_bold: true, is_underlined: false, is_reversed: false };
    pub(super) const REVERSED: Self = Self { colour: None, is_bold: false, is_underlined: false, is_reversed: true };

    pub(super) fn coloured(colour: Option<Colour>) -> Self {
        Self { colour, ..Self::default() }
    }
}

/// One row of a screen: texts, from left to right.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    texts: Vec<(String, Style)>,
}

impl Row {
    pub(super) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { texts: vec![(text.into(), style)] }
    }

    pub(super) fn push(&mut self, text: impl Into<String>, style: Style) {
        self.texts.push((text.into(), style));
    }

    /// Reverses the row, up to the right edge.
    pub(super) fn select(&mut self) {
        self.texts.iter_mut().for_each(|(_, style)| style.is_reversed = true);
    }

    /// The row's text in at most `width` columns, with escape sequences if `styled`.
    fn render(&self, width: usize, styled: bool) -> String {
        let (mut row, mut left) = (String::new(), width);
        for (text, style) in &self.texts {
            let (text, used) = fit(text, left);
            left -= used;
            if styled && *style != Style::default() {
                // Writing to memory cannot fail.
                let flags = [(style.is_bold, 1), (style.is_underlined, 4), (style.is_reversed, 7)];
                for (_, code) in flags.into_iter().filter(|(is_set, _)| *is_set) {
                    let _ = write!(row, "\x1b[{code}m");
                }
                if let Some(colour) = style.colour {
                    let _ = write!(row, "\x1b[{}m", colour as u8);
                }
                row.push_str(text);
                row.push_str("\x1b[0m");
            } else {
                row.push_str(text);
            }
        }
        row
    }
}

/// Returns the beginning of a text that fits into some columns, and the columns that it takes.
pub(super) fn fit(text: &str, columns: usize) -> (&str, usize) {
    let mut used = 0;
    for (at, char) in text.char_indices() {
        let width = char.width().unwrap_or(0);
        if used + width > columns {
            return (&text[..at], used);
        }
        used += width;
    }
    (text, used)
}

/// Divides a text into rows of at most some columns: between words, unless a row would be less than
/// half full.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<&str> {
    let (mut rows, mut rest) = (Vec::new(), text);
    loop {
        let (row, _) = fit(rest, columns);
        if row.len() == rest.len() {
            rows.push(row);
            return rows;
        }
        // The space at which a row ends is not the next one's.
        let space = if rest[row.len()..].starts_with(' ') { Some(row.len()) } else { row.rfind(' ') };
        if let Some(space) = space.filter(|space| *space > 0 && 2 * space >= row.len()) {
            rows.push(&rest[..space]);
            rest = &rest[space + 1..];
            continue;
        }
        // A character that is wider than the screen is left out.
        let end = if row.is_empty() { rest.chars().next().map_or(0, char::len_utf8) } else { row.len() };
        rows.push(row);
        rest = &rest[end..];
        if rest.is_empty() {
            return rows;
        }
    }
}

/// Fills a text with spaces up to some columns, or cuts it.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let (text, used) = fit(text, columns);
    format!("{text}{}", " ".repeat(columns - used))
}

/// A screen.
#[derive(Debug)]
pub(super) struct Frame {
    width: usize,
    height: usize,
    rows: Vec<Row>,
}

impl Frame {
    /// Creates a screen with its first rows; the others are empty.
    pub(super) fn new(width: usize, height: usize, mut rows: Vec<Row>) -> Self {
        rows.resize(height, Row::default());
        Self { width, height, rows }
    }

    /// The text of each row.
    #[cfg(test)]
    pub(super) fn texts(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.render(self.width, false).trim_end().to_owned()).collect()
    }
}

/// Writes what differs from the screen before.
#[derive(Debug, Default)]
pub(super) struct Painter {
    size: (usize, usize),
    rows: Vec<String>,
}

impl Painter {
    /// Writes a screen.
    pub(super) fn paint(&mut self, frame: &Frame, output: &mut dyn Write) -> io::Result<()> {
        let mut bytes = String::new();
        if self.size != (frame.width, frame.height) {
            self.size = (frame.width, frame.height);
            self.rows.clear();
            bytes.push_str("\x1b[0m\x1b[2J");
        }
        self.rows.resize(frame.height, String::new());
        for (at, (row, shown)) in frame.rows.iter().zip(&mut self.rows).enumerate() {
            let row = row.render(frame.width, true);
            if row != *shown {
                // Erased first: behind the last column, erasing would take the last letter.
                let _ = write!(bytes, "\x1b[{};1H\x1b[2K{row}", at + 1);
                *shown = row;
            }
        }
        if !bytes.is_empty() {
            output.write_all(bytes.as_bytes())?;
        }
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_letters_fit() {
        assert_eq!(fit("東京x", 3), ("東", 2));
        assert_eq!(fit("e\u{301}x", 1), ("e\u{301}", 1));
        assert_eq!(wrap("東京x", 3), ["東", "京x"]);
        assert_eq!(wrap("東", 1), [""]);
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a verylongword", 8), ["a verylo", "ngword"]);
        assert_eq!(wrap("  a  b", 3), ["  a", " b"]);
        assert_eq!((wrap("", 3), pad("東", 3).as_str()), (vec![""], "東 "));
    }

    #[test]
    fn only_changes_are_written() {
        let frame =
            |text: &str| Frame::new(5, 2, vec![Row::new("same", Style::BOLD), Row::new(text, Style::default())]);
        let mut painter = Painter::default();
        let mut paint = |frame: &Frame| {
            let mut output = Vec::new();
            painter.paint(frame, &mut output).unwrap();
            String::from_utf8(output).unwrap()
        };
        let first = paint(&frame("one"));
        assert_eq!(first, "\x1b[0m\x1b[2J\x1b[1;1H\x1b[2K\x1b[1msame\x1b[0m\x1b[2;1H\x1b[2Kone");
        assert_eq!(paint(&frame("one")), "");
        assert_eq!(paint(&frame("longer")), "\x1b[2;1H\x1b[2Klonge");
        assert!(paint(&Frame::new(9, 1, Vec::new())).starts_with("\x1b[0m\x1b[2J"));
    }
}
