//! The open spans, and the spans that each thread has entered.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_core::Metadata;
use tracing_core::span::Id;
use wasmetry::Span;
use wasmetry::dynamic::SpanContext;

/// The open spans. A span's id is its index and the number of spans that were at this index before.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    all: Vec<Place>,
    /// The indices of free places.
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    span: Span,
    metadata: &'static Metadata<'static>,
    /// The number of handles. The span ends with the last one.
    handles: u32,
}

impl Places {
    fn get(&mut self, id: &Id) -> Option<&mut Place> {
        let id = id.into_u64();
        let place = self.all.get_mut((id as u32).checked_sub(1)? as usize)?;
        (place.generation == (id >> 32) as u32).then_some(place)
    }
}

impl Spans {
    pub(crate) const fn new() -> Self {
        Self { places: Mutex::new(Places { all: Vec::new(), free: Vec::new() }) }
    }

    /// Nothing that runs while it is locked traces or panics.
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a span with one handle. Returns its id.
    pub(crate) fn insert(&self, span: Span, metadata: &'static Metadata<'static>) -> Id {
        let places = &mut *self.lock();
        let index = places.free.pop().unwrap_or_else(|| {
            places.all.push(Place::default());
            places.all.len() as u32 - 1
        });
        let generation = match places.all.get_mut(index as usize) {
            Some(place) => {
                place.open = Some(Open { span, metadata, handles: 1 });
                place.generation
            }
            None => 0,
        };
        Id::from_u64(u64::from(generation) << 32 | u64::from(index + 1))
    }

    /// Passes an open span to `f`, which must not trace.
    pub(crate) fn with<R>(&self, id: &Id, f: impl FnOnce(&Span, &'static Metadata<'static>) -> R) -> Option<R> {
        let mut places = self.lock();
        let open = places.get(id)?.open.as_ref()?;
        Some(f(&open.span, open.metadata))
    }

    /// The identity of an open span.
    pub(crate) fn context(&self, id: &Id) -> Option<SpanContext> {
        self.with(id, |span, _| SpanContext::of(span))
    }

    pub(crate) fn add_handle(&self, id: &Id) {
        if let Some(Place { open: Some(open), .. }) = self.lock().get(id) {
            open.handles += 1;
        }
    }

    /// Returns the span if this was its last handle.
    pub(crate) fn remove_handle(&self, id: &Id) -> Option<Span> {
        let mut places = self.lock();
        let place = places.get(id)?;
        let open = place.open.as_mut()?;
        open.handles -= 1;
        if open.handles > 0 {
            return None;
        }
        place.generation = place.generation.wrapping_add(1);
        let open = place.open.take()?;
        places.free.push(id.into_u64() as u32 - 1);
        Some(open.span)
    }
}

/// A span that was entered, and the span that was current before.
struct Entered {
    span: Id,
    before: SpanContext,
}

thread_local! {
    /// The spans that this thread has entered, the innermost last.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

/// Makes a span the current one.
pub(crate) fn enter(span: &Id, context: SpanContext) {
    let before = context.make_current();
    ENTERED.with_borrow_mut(|entered| entered.push(Entered { span: span.clone(), before }));
}

/// Leaves a span, in any order.
pub(crate) fn exit(span: &Id) {
    ENTERED.with_borrow_mut(|entered| {
        let Some(index) = entered.iter().rposition(|entered| entered.span == *span) else { return };
        let Entered { before, .. } = entered.remove(index);
        match entered.get_mut(index) {
            // A span that was entered later stays the current one.
            Some(later) => later.before = before,
            None => {
                before.make_current();
            }
        }
    });
}

/// The span that was entered last and not left.
pub(crate) fn current() -> Option<Id> {
    ENTERED.with_borrow(|entered| entered.last().map(|entered| entered.span.clone()))
}
