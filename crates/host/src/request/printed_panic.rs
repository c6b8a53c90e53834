//! Panics that Rust guests print to their standard error.

use super::exception::{Exception, Place};
use crate::limits;

/// The lines of a panic, as the standard library's hook prints them. Guests without the crate's
/// panic hook are understood by them.
///
/// Since Rust 1.73 (a thread's name may be followed by its id):
///
/// ```text
/// thread 'main' panicked at src/lib.rs:4:5:
/// index out of bounds: the len is 3 but the index is 7
/// note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
/// ```
///
/// Before: `thread 'main' panicked at 'message', src/lib.rs:4:5`.
#[derive(Debug, Default)]
pub(super) struct PrintedPanic {
    last: Option<Lines>,
}

/// The panic that was printed last.
#[derive(Debug)]
struct Lines {
    place: Option<Place>,
    message: String,
    /// `true` while lines of the message may follow.
    is_open: bool,
    /// `true` if the place follows the message, after a quotation mark.
    is_quoted: bool,
}

impl PrintedPanic {
    /// Receives a line of the guest's standard error, without its line break.
    pub(super) fn line(&mut self, line: &[u8]) {
        let begins = line.starts_with(b"thread '");
        if !begins && self.last.as_ref().is_none_or(|last| !last.is_open) {
            return;
        }
        let line = String::from_utf8_lossy(line.get(..limits::EXCEPTION_TEXT).unwrap_or(line));
        match line.split_once("' panicked at ").or_else(|| line.split_once(") panicked at ")).filter(|_| begins) {
            Some((_, rest)) => self.last = Some(Lines::begin(rest)),
            None => {
                if let Some(last) = self.last.as_mut().filter(|last| last.is_open) {
                    last.next(&line);
                }
            }
        }
    }

    /// Takes the last panic.
    pub(super) fn take(&mut self) -> Option<Exception> {
        let Lines { place, message, .. } = self.last.take()?;
        Some(Exception::printed(&message, place))
    }
}

impl Lines {
    fn begin(rest: &str) -> Self {
        let mut lines = Self { place: None, message: String::new(), is_open: true, is_quoted: false };
        match rest.strip_prefix('\'') {
            Some(quoted) => {
                lines.is_quoted = true;
                lines.next(quoted);
            }
            None => {
                lines.place = place(rest.trim_end_matches(':'));
                if lines.place.is_none() {
                    // The place is cut, or this is no panic: nothing more is known.
                    lines.is_open = false;
                }
            }
        }
        lines
    }

    fn next(&mut self, line: &str) {
        if line.starts_with("note: run with `RUST_BACKTRACE") || line == "stack backtrace:" {
            self.is_open = false;
            return;
        }
        let mut text = line;
        if self.is_quoted
            && let Some((message, rest)) = line.rsplit_once("', ")
            && let Some(place) = place(rest)
        {
            (self.place, self.is_open, text) = (Some(place), false, message);
        }
        let room = limits::EXCEPTION_TEXT - self.message.len();
        if !self.message.is_empty() && room > 0 {
            self.message.push('\n');
        }
        let room = limits::EXCEPTION_TEXT - self.message.len();
        self.message.push_str(&text[..text.floor_char_boundary(room)]);
        self.is_open &= self.message.len() < limits::EXCEPTION_TEXT;
    }
}

/// Parses `file:line:column`.
fn place(text: &str) -> Option<Place> {
    let mut parts = text.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    let file = parts.next().filter(|file| !file.is_empty())?;
    Some(Place { file: file.into(), line, column })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    fn panic(lines: &[&str]) -> Option<String> {
        let mut panic = PrintedPanic::default();
        lines.iter().for_each(|line| panic.line(line.as_bytes()));
        panic.take().map(|panic| panic.description())
    }

    #[test]
    fn all_formats_are_read() {
        const NOTE: &str = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
        let at = |message: &str| Some(format!("panicked at src/a b.rs:4:15: {message}"));
        for (lines, message) in [
            (&["thread 'main' panicked at src/a b.rs:4:15:", "no", NOTE, "later"][..], "no"),
            (&["thread 'main' (12) panicked at src/a b.rs:4:15:", "no", "stack backtrace:", "0: x"], "no"),
            (&["x", "thread '<unnamed>' panicked at src/a b.rs:4:15:", "a", "b", NOTE], "a\nb"),
            (&["thread '' panicked at src/a b.rs:4:15:"], ""),
            (&["thread 'main' panicked at 'no', src/a b.rs:4:15", NOTE], "no"),
            (
                &["thread 'main' panicked at src/a b.rs:4:15:", "no", NOTE, "thread 'main' has overflowed its stack"],
                "no",
            ),
            (&["thread 'main' panicked at 'a', b:1:x', src/a b.rs:4:15", "later"], "a', b:1:x"),
            (&["thread 'main' panicked at 'a", "b', src/a b.rs:4:15", "later"], "a\nb"),
            (&["thread 'a' panicked at x:1:1:", "first", NOTE, "thread 'a' panicked at src/a b.rs:4:15:", "no"], "no"),
        ] {
            assert_eq!(panic(lines), at(message), "{lines:?}");
        }
    }

    #[test]
    fn other_lines_are_no_panics() {
        for lines in [
            &["panicked at src/a.rs:1:1:", "no"][..],
            &["thread 'main' has panicked at src/a.rs:1:1:"],
            &["thread ' panicked at"],
            &["xthread 'main' panicked at src/a.rs:1:1:", "no"],
            &[],
        ] {
            assert_eq!(panic(lines), None, "{lines:?}");
        }
        // A header without a place keeps nothing.
        assert_eq!(panic(&["thread 'main' panicked at nowhere", "no"]).unwrap(), "panicked: ");
        assert_eq!(panic(&["thread 'main' panicked at :1:1:", "no"]).unwrap(), "panicked: ");
    }

    #[test]
    fn hostile_lines_are_bounded() {
        let mut panic = PrintedPanic::default();
        panic.line(b"thread 'main' panicked at a.rs:1:2:");
        let long = "ä".repeat(limits::EXCEPTION_TEXT);
        (0..1000).for_each(|_| panic.line(long.as_bytes()));
        panic.line(&[0xff; 100_000]);
        let description = panic.take().unwrap().description();
        assert!(description.len() <= limits::EXCEPTION_TEXT + 40, "{}", description.len());
        for line in [&[b'\''; 5000][..], b"thread '\xff' panicked at \xff:99999999999:1:"] {
            panic.line(b"thread 'main' panicked at ");
            panic.line(line);
        }
        assert!(panic.take().is_some());
    }
}
