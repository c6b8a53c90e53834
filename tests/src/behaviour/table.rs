//! The table of behaviours and runtimes in `tests/README.md`.

use std::fmt::Write;

use super::{Behaviour, Behaviours, Need};

/// The lines before and after the table.
const MARKS: [&str; 2] = ["<!-- behaviours: UPDATE_EXPECT=1 writes what follows -->", "<!-- behaviours: end -->"];

/// A runtime with one way to collect: a column of the table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The column's heading.
    pub name: &'static str,
    /// The test that runs the behaviours of this column.
    pub test: &'static str,
    /// Returns the reason why the runtime lacks a capability. Returns `None` if it has it.
    pub lacks: fn(Need) -> Option<&'static str>,
}

impl Column {
    /// Returns the reason why this runtime does not run a behaviour. Returns `None` if it does.
    pub fn reason(&self, behaviour: &Behaviour) -> Option<&'static str> {
        behaviour.needs().into_iter().find_map(self.lacks)
    }
}

/// Compares the table in the file with the columns, or writes it with `UPDATE_EXPECT=1`.
///
/// # Panics
///
/// Panics if they differ.
pub fn check(columns: &[Column]) {
    let path = crate::root().join("tests/README.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let [start, end] =
        MARKS.map(|mark| text.find(mark).unwrap_or_else(|| panic!("{} has no line `{mark}`", path.display())));
    let fresh = format!("{}{}\n\n{}\n{}", &text[..start], MARKS[0], table(columns), &text[end..]);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, fresh).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else {
        let remedy = "run `UPDATE_EXPECT=1 cargo test --release --test behaviour table`";
        assert!(text == fresh, "the table in {} is out of date: {remedy}", path.display());
    }
}

fn table(columns: &[Column]) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let mut text = String::from("| behaviour |");
    for column in columns {
        // Writing to a string does not fail.
        let _ = write!(text, " {} |", column.name);
    }
    text += "\n|---|";
    text += &"---|".repeat(columns.len());
    for behaviour in &Behaviours::read().behaviours {
        let _ = write!(text, "\n| {} |", behaviour.name);
        for column in columns {
            let _ = match column.reason(behaviour) {
                None => write!(text, " yes |"),
                Some(reason) => {
                    let at = reasons.iter().position(|other| *other == reason).unwrap_or_else(|| {
                        reasons.push(reason);
                        reasons.len() - 1
                    });
                    write!(text, " no: {} |", at + 1)
                }
            };
        }
    }
    text += "\n| *the test in `behaviour.rs`* |";
    for column in columns {
        let _ = write!(text, " `{}` |", column.test);
    }
    text += "\n\n";
    for (reason, number) in reasons.iter().zip(1..) {
        let _ = writeln!(text, "{number}. {reason}.");
    }
    text
}
