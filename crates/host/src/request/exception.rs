//! Panics of guests and errors of handlers, as logs, events and descriptions of spans.

use wasmetry_abi::ring::{Argument, Arguments, ExceptionCause};

use crate::declaration::site;
use crate::limits;
use crate::record::{Field, FieldValue, Level, LogRecord, Source, SpanEvent, TraceContext};

/// The target of panics, whose module is not known.
const PANIC: &str = "panic";

/// A guest's panic, or the error that a handler returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(super) cause: ExceptionCause,
    /// The type: the path of an error's type, or `panic`.
    kind: Box<str>,
    message: Box<str>,
    /// The error's sources, the nearest first.
    causes: Vec<Box<str>>,
    place: Option<Place>,
    target: Box<str>,
}

/// A place in the guest's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Box<str>,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Exception {
    /// The exception of a record in a ring. Arguments that are missing are empty.
    pub(super) fn from_record(cause: ExceptionCause, mut arguments: Arguments<'_>) -> Self {
        let file = text(arguments.next());
        let [line, column] = [(); 2].map(|()| number(arguments.next()));
        let [target, kind, message, causes] = [(); 4].map(|()| text(arguments.next()));
        let place = (!file.is_empty()).then(|| Place { file: file.into(), line, column });
        let causes = causes.lines().map(Box::from).take(limits::EXCEPTION_CAUSES).collect();
        Self { cause, kind: kind.into(), message: message.into(), causes, place, target: target.into() }
    }

    /// The panic that a guest has printed.
    pub(super) fn printed(message: &str, place: Option<Place>) -> Self {
        let (kind, target) = (PANIC.into(), PANIC.into());
        Self { cause: ExceptionCause::Panic, kind, message: message.into(), causes: Vec::new(), place, target }
    }

    /// Returns `true` for a panic, after which the guest ends.
    pub(crate) fn is_panic(&self) -> bool {
        self.cause == ExceptionCause::Panic
    }

    /// The value of the attribute `error.type`.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The target of the log.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The message, with the place of a panic and the causes of an error: the description of a
    /// span's status.
    pub(crate) fn description(&self) -> String {
        let mut description = match &self.place {
            Some(Place { file, line, column }) if self.is_panic() => {
                format!("panicked at {file}:{line}:{column}: {}", self.message)
            }
            None if self.is_panic() => format!("panicked: {}", self.message),
            _ => self.message.to_string(),
        };
        for cause in &self.causes {
            description.push_str(": ");
            description.push_str(cause);
        }
        description
    }

    /// The log of the exception.
    pub(super) fn log(&self, time: u64, now: u64, trace: Option<TraceContext>) -> LogRecord {
        let mut fields = self.texts();
        fields.push(("error.type".into(), FieldValue::Text(self.kind.clone())));
        let mut source = None;
        if let Some(Place { file, line, column }) = &self.place {
            source = Some(Source { file: file.as_ref().into(), line: *line });
            fields.push(("code.column.number".into(), FieldValue::Unsigned((*column).into())));
        }
        LogRecord {
            time,
            observed: now,
            level: Level::Error,
            target: self.target.as_ref().into(),
            message: self.description().into(),
            fields,
            source,
            trace,
            is_audit: false,
            stream: None,
        }
    }

    /// The event of the span.
    ///
    /// Source: OpenTelemetry, semantic conventions, "Exceptions on spans" and "Source Code
    /// Attributes".
    pub(crate) fn event(&self, time: u64) -> SpanEvent {
        let mut attributes = self.texts();
        if let Some(Place { file, line, column }) = &self.place {
            attributes.push(("code.file.path".into(), FieldValue::Text(file.clone())));
            attributes.push(("code.line.number".into(), FieldValue::Unsigned((*line).into())));
            attributes.push(("code.column.number".into(), FieldValue::Unsigned((*column).into())));
        }
        SpanEvent { time, name: "exception".into(), attributes }
    }

    /// The fields that the log and the event have in common.
    fn texts(&self) -> Vec<Field> {
        let mut fields = vec![
            ("exception.type".into(), FieldValue::Text(self.kind.clone())),
            ("exception.message".into(), FieldValue::Text(self.message.clone())),
        ];
        if !self.causes.is_empty() {
            // As Rust's programs print an error with its sources.
            let mut chain = format!("{}\n\nCaused by:", self.message);
            for (index, cause) in self.causes.iter().enumerate() {
                chain.push_str(&format!("\n    {index}: {cause}"));
            }
            fields.push(("exception.stacktrace".into(), FieldValue::Text(chain.into())));
        }
        fields
    }
}

fn text(argument: Option<Argument<'_>>) -> String {
    match argument {
        Some(Argument::Text { bytes, is_cut }) => site::text(bytes, is_cut),
        _ => String::new(),
    }
}

fn number(argument: Option<Argument<'_>>) -> u32 {
    match argument {
        Some(Argument::Unsigned(number)) => u32::try_from(number).unwrap_or(u32::MAX),
        _ => 0,
    }
}
