//! A subscriber for the crate `tracing` that records into a guest's own memory, as wasmetry's
//! `span!` and `info!` do.
//!
//! Spans of libraries become spans of the request's trace, and their events logs of these spans.
//!
//! ```
//! // Once in each instance, before the first span: at the beginning of `main` or of the handler.
//! wasmetry_tracing::init();
//!
//! #[tracing::instrument]
//! fn load_cart(user: u64) {
//!     tracing::info!(items = 3, "cart loaded");
//! }
//!
//! # let recorded = wasmetry::testing::capture();
//! load_cart(7);
//! # recorded.assert_logs(&["INFO cart loaded items=3"]);
//! # recorded.assert_spans(&["load_cart user=7"]);
//! ```
//!
//! # What becomes what
//!
//! | `tracing` | wasmetry |
//! |---|---|
//! | a span: name, target, level, file, line | a span |
//! | its fields, and those that `Span::record` adds | attributes |
//! | `parent: &span`, `parent: None`, none | a child of that span, a trace of its own, a child of the current span |
//! | `follows_from` | a link |
//! | the last handle of the span is dropped | the span's end |
//! | an event | a log of the current span, or of its explicit parent |
//! | its field `message`, its other fields | the message, fields |
//! | an event of the level `ERROR` in a span | also the span's status, as `tracing-opentelemetry` does |
//!
//! The current span is the one of wasmetry's own macros too: each may be inside of the other, and
//! `wasmetry::current_context` is the innermost one's. Integers up to 64 bits, floats, booleans and
//! texts keep their types; values of other types are formatted in the guest, and cut after 1 KiB.
//!
//! # Levels and cost
//!
//! The host decides which levels are recorded, also while the guest runs. `tracing` is informed of
//! a change, so a span or event that is not recorded costs what it costs without a subscriber.
//!
//! # What it does not do
//!
//! It is a subscriber, not a layer: it needs no registry, which is most of the size of
//! `tracing-subscriber`. It has no filter of its own, formats no line and writes nowhere: that is
//! the host's part. `wasmetry inspect` cannot list the call sites, because they are in no section
//! of the binary. An instance can define about 400 call sites; records of further ones lose their
//! place and fields, and are counted as `wasmetry_dropped_total{reason="site_table_full"}`. A span
//! or event has at most 32 fields, of which all records together take at most 2 KiB.

mod site;
mod span;
mod subscriber;
mod values;

pub use subscriber::Subscriber;

use std::sync::{Mutex, PoisonError};

use tracing_core::{Dispatch, callsite, dispatcher};
use wasmetry::dynamic::{self, Level};

wasmetry::declare_facade!("tracing");

/// Makes the [`Subscriber`] the default of the program, and informs `tracing` whenever the host
/// changes the level.
///
/// Returns `false`, and changes nothing, if the program has another default subscriber. It may be
/// called any number of times.
pub fn init() -> bool {
    static INSTALLING: Mutex<()> = Mutex::new(());
    // A second dispatcher would make `tracing` slower, so look first. While another thread installs
    // one, there is none to be seen yet.
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let is_installed = dispatcher::get_default(Dispatch::is::<Subscriber>)
        || dispatcher::set_global_default(Dispatch::new(Subscriber::new())).is_ok();
    if is_installed {
        static LISTENER: fn(Level) = update;
        dynamic::on_level_change(&LISTENER);
    }
    is_installed
}

/// Makes `tracing` request again which call sites and levels are recorded.
fn update(_: Level) {
    callsite::rebuild_interest_cache();
}
