//! Text for people: single lines of any input, sizes, and lines on stderr.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use wasmetry_host::encode::visible_char;

/// Characters of a line that is made from foreign text.
const MAX_LINE: usize = 2000;

/// Writes a text to stdout. A reader that has closed the pipe, such as `head`, is no error.
///
/// # Errors
///
/// Returns an error if it cannot be written.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// Writes lines that a guest has written to stdout. If that is a terminal, characters which it does
/// not show as themselves are escaped.
///
/// # Errors
///
/// Returns an error if they cannot be written.
pub(crate) fn print_foreign(text: &str) -> Result<()> {
    print(&if io::stdout().is_terminal() { visible_lines(text).into() } else { Cow::Borrowed(text) })
}

/// Escapes all characters but line feeds that a terminal does not show as themselves.
fn visible_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    text.chars().for_each(|char| if char == '\n' { lines.push(char) } else { visible_char(char, &mut lines) });
    lines
}

/// Writes a line to stderr.
///
/// Unlike `eprintln!` it does not panic if stderr is closed.
pub(crate) fn print_stderr(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Converts a text to one line: replaces runs of white space by one space, escapes characters that
/// a terminal does not show as themselves, and truncates what is too long.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        word.chars().for_each(|char| visible_char(char, &mut line));
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
        assert_eq!(line("a\u{202e}cba\u{2066}"), "a\\u{202e}cba\\u{2066}");
        assert_eq!(line("pay\u{200b}pal"), "pay\\u{200b}pal");
        assert_eq!(line(""), "");
    }

    #[test]
    fn foreign_lines_control_no_terminal() {
        let help = "# HELP a_total \u{1b}[2J\u{9b}1A\rpay\u{200b}pal\u{202e}\n# TYPE a_total counter\na_total 1\n";
        let shown =
            "# HELP a_total \\u{1b}[2J\\u{9b}1A\\rpay\\u{200b}pal\\u{202e}\n# TYPE a_total counter\na_total 1\n";
        assert_eq!(visible_lines(help), shown);
    }
}
