//! Call sites, and the text of their records.

use std::fmt::Write as _;
use std::sync::Arc;

use wasmetry_abi::Level;
use wasmetry_abi::ring::Argument;
use wasmetry_abi::site::{SiteKind, SiteRecord};

use crate::record::{Field, FieldValue, Source};

/// A declared call site of logs, events or spans.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Site {
    /// The hash of its record. The records of a ring refer to the site by it.
    pub hash: u64,
    /// The kind of its records.
    pub kind: SiteKind,
    /// The level; never [`Level::Off`].
    pub level: Level,
    /// The target of its records.
    pub target: Arc<str>,
    /// Its place in the source.
    pub source: Source,
    /// A span's name, or a log's message, with `{}` for each of its arguments and `{{` and `}}` for
    /// braces.
    pub text: Arc<str>,
    /// The keys of the fields.
    pub keys: Vec<Arc<str>>,
    message_arguments: usize,
}

impl Site {
    pub(crate) fn new(record: &SiteRecord<'_>) -> Self {
        let site = &record.site;
        Self {
            hash: record.hash,
            kind: site.kind,
            level: site.level,
            target: site.target.into(),
            source: Source { file: site.file.into(), line: site.line },
            text: site.text.into(),
            keys: site.keys().map(Arc::from).collect(),
            message_arguments: usize::from(site.message_arguments),
        }
    }

    /// Returns the message and the fields of a record with these arguments.
    pub(crate) fn render<'a>(&self, mut arguments: impl Iterator<Item = Argument<'a>>) -> (String, Vec<Field>) {
        let message = message(&self.text, arguments.by_ref().take(self.message_arguments));
        (message, self.fields(arguments))
    }

    /// Returns the fields of a record with these values.
    pub(crate) fn fields<'a>(&self, values: impl Iterator<Item = Argument<'a>>) -> Vec<Field> {
        self.keys.iter().cloned().zip(values.map(value)).collect()
    }
}

/// Converts an argument. Invalid UTF-8 is replaced, and a truncated text ends in an ellipsis.
pub(crate) fn value(argument: Argument<'_>) -> FieldValue {
    match argument {
        Argument::Signed(value) => FieldValue::Signed(value),
        Argument::Unsigned(value) => FieldValue::Unsigned(value),
        Argument::Float(value) => FieldValue::Float(value),
        Argument::Bool(value) => FieldValue::Bool(value),
        Argument::Text { bytes, is_cut } => FieldValue::Text(text(bytes, is_cut).into()),
    }
}

/// Converts a text of a guest.
pub(crate) fn text(bytes: &[u8], is_cut: bool) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if is_cut {
        text.push('\u{2026}');
    }
    text
}

/// Replaces each `{}` in a message's text by an argument.
fn message<'a>(template: &str, mut arguments: impl Iterator<Item = Argument<'a>>) -> String {
    let mut message = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (plain, brace) = rest.split_at(at);
        message.push_str(plain);
        // Two braces stand for one. So does a single one, which no valid guest declares.
        rest = match &brace.as_bytes()[..brace.len().min(2)] {
            b"{}" => {
                if let Some(argument) = arguments.next() {
                    show(&mut message, argument);
                }
                &brace[2..]
            }
            [first, second] if first == second => {
                message.push(char::from(*first));
                &brace[2..]
            }
            _ => {
                message.push_str(&brace[..1]);
                &brace[1..]
            }
        };
    }
    message.push_str(rest);
    message
}

/// Formats a value as `Display` does in the guest.
fn show(message: &mut String, argument: Argument<'_>) {
    // Writing to a string cannot fail.
    let _ = match argument {
        Argument::Signed(value) => write!(message, "{value}"),
        Argument::Unsigned(value) => write!(message, "{value}"),
        Argument::Float(value) => write!(message, "{value}"),
        Argument::Bool(value) => write!(message, "{value}"),
        Argument::Text { bytes, is_cut } => {
            message.push_str(&text(bytes, is_cut));
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_match_guest_formatting() {
        let text = |bytes| Argument::Text { bytes, is_cut: false };
        let cases: [(&str, &[Argument<'_>], &str); 7] = [
            ("", &[], ""),
            ("plain", &[], "plain"),
            ("{} of {}", &[Argument::Unsigned(3), Argument::Signed(-4)], "3 of -4"),
            ("{{}} {}%}}", &[Argument::Float(1.5)], "{} 1.5%}"),
            ("{}{}", &[text(b"a"), text(b"\xff")], "a\u{fffd}"),
            ("{} and {}", &[Argument::Bool(true)], "true and "),
            ("a { b } \u{e9}{", &[], "a { b } \u{e9}{"),
        ];
        for (template, arguments, expected) in cases {
            assert_eq!(message(template, arguments.iter().copied()), expected);
        }
        assert_eq!(message("{}", [Argument::Text { bytes: b"long", is_cut: true }].into_iter()), "long\u{2026}");
    }
}
