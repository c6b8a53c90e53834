//! The route of the current request, and attributes of its own span.
//!
//! A route is kept in a slot of the region rather than in a record of the ring: the host has it
//! without a level, a guest that logs much cannot overwrite it, and setting it is three stores.

use wasmetry_abi::Level;
use wasmetry_abi::ring::RecordKind;
use wasmetry_abi::route::{ENTRY_HASH, SLOT_WORDS, SLOTS};

use crate::metric::storage::{Metric, Storage};
use crate::record;
use crate::record::argument::Arg;
use crate::record::context::Context;
use crate::record::field::Value;
use crate::sync::{AtomicU64, Ordering, Publish as _};

/// A route that the binary declares; made by [`route!`](crate::route!).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    hash: u64,
}

impl Route {
    /// The route whose record has this hash.
    #[doc(hidden)]
    pub const fn new(hash: u64) -> Self {
        Self { hash }
    }
}

/// Values that name a route: a [`Route`], an enum with `#[derive(Label)]` and `#[label(route)]`, or
/// an `Option` of one, where `None` leaves the request's route as it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no route",
    label = "not a route",
    note = "write `set_route!(\"/users/{{id}}\")`, or derive `wasmetry::Label` for an enum with `#[label(route)]`"
)]
pub trait AsRoute {
    /// Returns the route.
    fn as_route(&self) -> Option<Route>;
}

impl AsRoute for Route {
    #[inline]
    fn as_route(&self) -> Option<Route> {
        Some(*self)
    }
}

impl<R: AsRoute> AsRoute for Option<R> {
    #[inline]
    fn as_route(&self) -> Option<Route> {
        self.as_ref().and_then(R::as_route)
    }
}

/// Sets the route of the current request, for guests that route requests themselves.
///
/// The host's metrics of the request, its server span (name and `http.route`), its access log and
/// the report of a trap have the route in the place of the mount's, also if the guest traps
/// afterwards. The last route that is set counts. [`set_route!`](crate::set_route!) takes a
/// literal.
///
/// ```
/// use wasmetry::{Label, set_route};
///
/// #[derive(Clone, Copy, Label)]
/// #[label(route)]
/// enum Page {
///     #[label("/users/{id}")]
///     User,
///     #[label("/")]
///     Home,
/// }
///
/// fn handle(path: &str) {
///     set_route(if path == "/" { Page::Home } else { Page::User });
///     // …
/// }
/// # handle("/");
/// ```
///
/// Each route is declared in the binary, so a client cannot create series. The current request is
/// that of [`handler`](macro@crate::handler); an instance keeps the routes of its last 16 requests.
#[inline]
pub fn set_route(route: impl AsRoute) {
    if let Some(route) = route.as_route() {
        set(route.hash);
    }
}

/// Calls the function that a handler names, so that the compiler infers its parameter from the
/// request.
#[doc(hidden)]
#[inline]
pub fn route_of<Q, R: AsRoute>(request: &Q, route: impl FnOnce(&Q) -> R) -> R {
    route(request)
}

/// Sets an attribute of the request's own span: the host's server span, if it makes one.
///
/// Attributes that the host sets itself cannot be replaced. Below
/// [`handler`](macro@crate::handler), the span of the function is the current span, and
/// [`Span::set`](crate::Span::set) sets its attributes.
///
/// ```
/// wasmetry::set_request_attribute("user.id", 7);
/// ```
pub fn set_request_attribute(key: &str, value: impl Value) {
    if record::is_enabled_by_host(Level::Info) {
        let request = Context::current().request();
        record::property(request, RecordKind::RequestAttribute, &[], Some(&[Arg::Text(key), value.arg()]));
    }
}

/// The slots of the requests. A guest that sets no route does not have them.
static SLOTS_MEMORY: Storage<(), [AtomicU64; SLOTS * SLOT_WORDS]> = Storage::new();

/// Stores a route in the slot of the current request, or of the one that was set the longest ago.
#[inline(never)]
fn set(route: u64) {
    #[cfg(feature = "testing")]
    crate::testing::capture::route(route);
    let metric: Metric<()> = SLOTS_MEMORY.metric(ENTRY_HASH, &[]);
    metric.touch();
    let key = Context::current().request();
    let (mut newest, mut oldest) = (0, u64::MAX);
    let mut place = None;
    for slot in metric.memory().as_chunks::<SLOT_WORDS>().0 {
        let stamp = slot[0].load(Ordering::Relaxed);
        newest = newest.max(stamp);
        // The request's own slot is better than the oldest one.
        let is_own = stamp != 0 && slot[1].load(Ordering::Relaxed) == key;
        let age = if is_own { 0 } else { stamp.saturating_add(1) };
        if age < oldest {
            (oldest, place) = (age, Some(slot));
        }
    }
    let Some([stamp, request, hash]) = place else { return };
    if oldest != 0 {
        // The slot belongs to no request until it has the key and the route of this one.
        stamp.publish(0);
        request.publish(key);
    }
    hash.publish(route);
    stamp.publish(newest.saturating_add(1));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    extern crate std;

    use super::*;

    use wasmetry_abi::trace::TraceContext;

    /// The route in the slot of a request; `None` if it has no slot.
    fn route(request: u64) -> Option<u64> {
        let metric: Metric<()> = SLOTS_MEMORY.metric(ENTRY_HASH, &[]);
        let slots = metric.memory().as_chunks::<SLOT_WORDS>().0;
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed);
        slots.iter().find(|[stamp, key, _]| word(stamp) != 0 && word(key) == request).map(|[.., hash]| word(hash))
    }

    /// Sets a route in the request of this number.
    fn set_in(request: u64, route: u64) {
        let mut header = *b"00-0af7651916cd43dd8448eb211c80319c-00000000000000aa-01";
        header[36..52].copy_from_slice(std::format!("{request:016x}").as_bytes());
        let caller = Context::of(TraceContext::parse(&header).unwrap()).in_request(Context::NONE);
        let before = caller.with_span(3).make_current();
        set_route(Some(Route::new(route)));
        before.make_current();
    }

    /// Requests alternate, and each keeps its own route; the oldest of too many is replaced.
    #[test]
    fn requests_keep_their_routes() {
        let last = SLOTS as u64;
        for request in 1..=last {
            set_in(request, 100 + request);
        }
        set_in(1, 7);
        assert_eq!((route(1), route(2), route(last)), (Some(7), Some(102), Some(100 + last)));
        set_in(last + 1, 8);
        assert_eq!((route(1), route(2), route(last + 1)), (Some(7), None, Some(8)));
        // The request of a caller whose id is longer than a key.
        set_in(u64::MAX, 9);
        assert_eq!(route(u64::MAX >> 16), Some(9));
        set_route(None::<Route>);
        assert_eq!(route(0), None);
    }
}
