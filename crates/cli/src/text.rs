//! Text for people: one line, whatever it was made of.

use std::fmt;
use std::io::Write;

use bytesize::ByteSize;

/// The longest line that is made of somebody else's text, in characters.
const MAX_LINE: usize = 2000;

/// Writes a line to stderr.
///
/// Unlike `eprintln!` it does not panic when nobody reads stderr any more.
pub(crate) fn print_stderr(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Makes one line of a text: runs of white space become one space, other control characters are escaped,
/// and what is too long is cut.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
    }
    if let Some((cut, _)) = line.char_indices().nth(MAX_LINE) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// Formats a size with a unit, such as `64.0 MiB`.
pub(crate) fn size(bytes: u64) -> impl fmt::Display {
    ByteSize(bytes).display().iec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_single_and_bounded() {
        assert_eq!(line("  a\n b\t\tc\r\n"), "a b c");
        assert_eq!(line("a\u{1b}[31mred"), "a\\u{1b}[31mred");
        assert_eq!(line(&"ä".repeat(3000)).chars().count(), MAX_LINE + 1);
        assert_eq!(line(""), "");
    }
}
