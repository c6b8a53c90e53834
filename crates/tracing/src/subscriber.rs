//! The subscriber.

use tracing_core::span::{Attributes, Current, Id, Record};
use tracing_core::subscriber::Interest;
use tracing_core::{Event, LevelFilter, Metadata};
use wasmetry::dynamic::{self, Level, Parent};

use crate::site;
use crate::span::{self, Spans};
use crate::values;

/// A subscriber that records spans and events into the guest's own memory.
///
/// [`init`](crate::init) makes it the default of the program.
#[derive(Debug, Default)]
pub struct Subscriber {
    spans: Spans,
}

impl Subscriber {
    /// A subscriber without spans.
    pub const fn new() -> Self {
        Self { spans: Spans::new() }
    }
}

/// The level of a call site.
pub(crate) fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing_core::Level::ERROR => Level::Error,
        tracing_core::Level::WARN => Level::Warn,
        tracing_core::Level::INFO => Level::Info,
        tracing_core::Level::DEBUG => Level::Debug,
        tracing_core::Level::TRACE => Level::Trace,
    }
}

/// Returns `true` if an event is an audit record, which no level drops.
fn is_audit(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && dynamic::is_audit(metadata.target())
}

impl tracing_core::Subscriber for Subscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if dynamic::IS_LEVEL_OF_THREAD {
            Interest::sometimes()
        } else if is_audit(metadata) || level(metadata) <= dynamic::level() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match dynamic::level() {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        })
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_audit(metadata) || dynamic::is_enabled(level(metadata))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let metadata = attributes.metadata();
        let parent = self.parent(attributes.is_root(), attributes.parent());
        let span = values::collect(
            |visitor| attributes.record(visitor),
            |values| match site::of(metadata, values) {
                Some(site) => dynamic::start(parent, site, level(metadata), values.arguments(metadata).get()),
                None => dynamic::start_without_site(parent, level(metadata), metadata.name(), metadata.target()),
            },
        );
        self.spans.insert(span, metadata)
    }

    fn record(&self, span: &Id, record: &Record<'_>) {
        values::collect(
            |visitor| record.record(visitor),
            |values| {
                self.spans.with(span, |span, metadata| {
                    for (key, value) in values.pairs(metadata) {
                        dynamic::set(span, key, value);
                    }
                });
            },
        );
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        let Some(context) = self.spans.with(follows, |span, _| span.context()).flatten() else { return };
        self.spans.with(span, |span, _| {
            span.link(context);
        });
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let (level, is_audit) = (level(metadata), is_audit(metadata));
        // `tracing` keeps decisions, and is informed of a change of the level a little later.
        if !is_audit && !dynamic::is_enabled(level) {
            return;
        }
        let parent = self.parent(event.is_root(), event.parent());
        values::collect(
            |visitor| event.record(visitor),
            |values| {
                match site::of(metadata, values) {
                    Some(site) => dynamic::log(parent, site, is_audit, values.arguments(metadata).get()),
                    None => {
                        let message = values.text(metadata);
                        dynamic::log_without_site(parent, level, is_audit, message, metadata.target());
                    }
                }
                if level == Level::Error {
                    self.fail(event, values, metadata);
                }
            },
        );
    }

    fn enter(&self, span: &Id) {
        if let Some(context) = self.spans.context(span) {
            span::enter(span, context);
        }
    }

    fn exit(&self, span: &Id) {
        span::exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.spans.add_handle(span);
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        // The span ends where it is dropped, here.
        self.spans.remove_handle(&span).is_some()
    }

    fn current_span(&self) -> Current {
        let current = span::current();
        let metadata = current.as_ref().and_then(|span| self.spans.with(span, |_, metadata| metadata));
        match current.zip(metadata) {
            Some((span, metadata)) => Current::new(span, metadata),
            None => Current::none(),
        }
    }
}

impl Subscriber {
    /// The parent of a span, or the span of an event.
    fn parent(&self, is_root: bool, explicit: Option<&Id>) -> Parent {
        match explicit.and_then(|span| self.spans.context(span)) {
            Some(context) => Parent::Span(context),
            None if is_root => Parent::Root,
            None => Parent::Current,
        }
    }

    /// Sets the status of an error event's span.
    fn fail(&self, event: &Event<'_>, values: &values::Values, metadata: &'static Metadata<'static>) {
        let current = if event.is_contextual() { span::current() } else { None };
        let Some(span) = event.parent().or(current.as_ref()) else { return };
        self.spans.with(span, |span, _| dynamic::set_error(span, values.text(metadata)));
    }
}
