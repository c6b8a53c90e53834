//! Assertions on lists of lines, with both lists side by side in the message.

extern crate std;

use core::fmt::Write;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

/// Panics if two lists of lines differ.
#[track_caller]
pub(super) fn assert_same(what: &str, expected: &[String], actual: &[String]) {
    assert!(expected == actual, "the {what} differ:\n{}", side_by_side(expected, actual, '+'));
}

/// Panics if an expected line is missing.
#[track_caller]
pub(super) fn assert_included(what: &str, expected: &[String], actual: &[String]) {
    let is_included = expected.iter().all(|line| actual.contains(line));
    assert!(is_included, "the {what} lack some that are expected:\n{}", side_by_side(expected, actual, ' '));
}

/// Two lists of lines as two columns. An expected line that is missing is marked by `-`, an
/// unexpected one by `more`.
fn side_by_side(expected: &[String], actual: &[String], more: char) -> String {
    let width = expected.iter().map(|line| line.chars().count()).max().unwrap_or(0).max("expected".len());
    let mut text = format!("    {:width$}    actual\n", "expected");
    let common = common(expected, actual);
    let (mut left, mut right) = (0, 0);
    while left < expected.len() || right < actual.len() {
        let (mark, from_left, from_right) = match (expected.get(left), actual.get(right)) {
            (Some(one), Some(other)) if one == other => (' ', Some(one), Some(other)),
            (Some(one), other) if other.is_none() || common[left + 1][right] >= common[left][right + 1] => {
                ('-', Some(one), None)
            }
            (_, other) => (more, None, other),
        };
        left += usize::from(from_left.is_some());
        right += usize::from(from_right.is_some());
        let (from_left, from_right) = (from_left.map_or("", String::as_str), from_right.map_or("", String::as_str));
        let line = format!("  {mark} {from_left:width$}    {from_right}");
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The number of lines, in order, that two lists have in common behind each pair of positions.
fn common(left: &[String], right: &[String]) -> Vec<Vec<usize>> {
    let mut common = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, one) in left.iter().enumerate().rev() {
        for (j, other) in right.iter().enumerate().rev() {
            common[i][j] = if one == other { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    common
}
