//! The call sites of logs and spans in the report of `wasmetry inspect`.

use std::fmt::Write as _;

use serde::Serialize;
use wasmetry_host::{Site, SiteKind};

use crate::text;

/// One call site of logs or events.
#[derive(Debug, Serialize)]
pub(super) struct LogReport<'a> {
    level: &'static str,
    target: &'a str,
    /// The message, with `{}` for each of its arguments.
    message: &'a str,
    fields: Vec<&'a str>,
    audit: bool,
    file: &'a str,
    line: u32,
}

/// One call site of spans.
#[derive(Debug, Serialize)]
pub(super) struct SpanReport<'a> {
    name: &'a str,
    kind: &'static str,
    level: &'static str,
    target: &'a str,
    fields: Vec<&'a str>,
    file: &'a str,
    line: u32,
}

fn fields(site: &Site) -> Vec<&str> {
    site.keys.iter().map(|key| &**key).collect()
}

impl<'a> LogReport<'a> {
    /// Returns the report of a site, or `None` if it is not one of logs.
    pub(super) fn new(site: &'a Site) -> Option<Self> {
        let SiteKind::Log { is_audit } = site.kind else { return None };
        Some(Self {
            level: site.level.name(),
            target: &site.target,
            message: &site.text,
            fields: fields(site),
            audit: is_audit,
            file: &site.source.file,
            line: site.source.line,
        })
    }

    fn row(&self) -> [String; 4] {
        [
            self.level.to_owned(),
            self.target.to_owned(),
            place(self.file, self.line),
            text_and_fields(self.message, &self.fields),
        ]
    }
}

impl<'a> SpanReport<'a> {
    /// Returns the report of a site, or `None` if it is not one of spans.
    pub(super) fn new(site: &'a Site) -> Option<Self> {
        let SiteKind::Span(kind) = site.kind else { return None };
        Some(Self {
            name: &site.text,
            kind: kind.name(),
            level: site.level.name(),
            target: &site.target,
            fields: fields(site),
            file: &site.source.file,
            line: site.source.line,
        })
    }

    fn row(&self) -> [String; 4] {
        let level = format!("{} {}", self.level, self.kind);
        [level, self.target.to_owned(), place(self.file, self.line), text_and_fields(self.name, &self.fields)]
    }
}

fn place(file: &str, line: u32) -> String {
    format!("{file}:{line}")
}

/// Formats a message or name, and the keys of its fields.
fn text_and_fields(text: &str, fields: &[&str]) -> String {
    let keys: Vec<String> = fields.iter().map(|key| format!("{key}=")).collect();
    let quoted = if text.is_empty() { None } else { Some(format!("{text:?}")) };
    quoted.into_iter().chain(keys).collect::<Vec<_>>().join(" ")
}

/// Writes the tables of logs and of spans.
pub(super) fn tables(out: &mut String, logs: &[LogReport<'_>], spans: &[SpanReport<'_>]) {
    table(out, ["LOG", "TARGET", "PLACE", "MESSAGE"], logs.iter().map(LogReport::row).collect());
    table(out, ["SPAN", "TARGET", "PLACE", "NAME"], spans.iter().map(SpanReport::row).collect());
}

fn table(out: &mut String, head: [&str; 4], rows: Vec<[String; 4]>) {
    if rows.is_empty() {
        return;
    }
    let rows: Vec<[String; 4]> =
        std::iter::once(head.map(str::to_owned)).chain(rows).map(|row| row.map(|cell| text::line(&cell))).collect();
    let widths: [usize; 3] = std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    out.push('\n');
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string does not fail.
            let _ = write!(out, "{cell:width$}  ");
        }
        out.push_str(&row[3]);
        out.push('\n');
    }
}
