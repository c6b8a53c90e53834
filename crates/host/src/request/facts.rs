//! The facts of one request that has ended: its outcome, the call sites that it reached, and the
//! series that it touched. Causes of failures are found among them.
//!
//! They are collected only for a [`Sink`](super::Sink) that receives them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::Level;

use super::{HttpSummary, Outcome, RequestTelemetry};
use crate::aggregate::{SeriesKey, TouchedSeries};
use crate::declaration::site::Site;
use crate::limits;
use crate::record::{Field, TraceContext};
use crate::registry::component::ComponentState;

/// The facts of a request that has ended.
#[non_exhaustive]
pub struct RequestFacts {
    /// The request's span; else the caller's, or one that the guest has begun.
    pub trace: Option<TraceContext>,
    /// The facts of HTTP, if the request has them.
    pub http: Option<HttpSummary>,
    /// The value of `error.type` and the reason, if the request failed.
    pub error: Option<(String, String)>,
    /// The reason for which the guest ended early.
    pub end_reason: Option<Box<str>>,
    /// `true` if the logs and spans of the request were exported because of its outcome.
    pub is_kept: bool,
    /// The duration of the request.
    pub took: Duration,
    /// `true` if the request took longer than [`Recording::slow`](super::Recording::slow).
    pub is_slow: bool,
    /// The end of the request, in nanoseconds since 1970-01-01 00:00 UTC.
    pub end: u64,
    /// The call sites of logs, spans and events that the guest has reached, each once, in this
    /// order; at most [`limits::REACHED_SITES`].
    pub sites: Vec<Arc<Site>>,
    /// The same of the handle API, whose records have no call sites.
    pub handle_sites: Vec<HandleSite>,
    /// The attributes of the request's own span that the guest has set.
    pub attributes: Vec<Field>,
    /// The series that the request's instance has touched, if they were wanted; at most
    /// [`limits::TOUCHED_SERIES`].
    pub series: Vec<SeriesKey>,
    /// The number of sites and series that were left out; 1 for a metric of which no series was
    /// looked for, because the instance has more than [`limits::TOUCHED_CELLS`] cells.
    pub cut: u32,
    component: Arc<ComponentState>,
}

/// A log or span of the handle API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandleSite {
    /// The level of a log, or `None` for a span.
    pub level: Option<Level>,
    /// The target of a log, or an empty text for a span.
    pub target: Box<str>,
    /// The message or the name, cut at [`limits::HANDLE_SITE_TEXT`] bytes.
    pub text: Box<str>,
}

/// The name and labels of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesLabels {
    /// The metric's name.
    pub metric: Arc<str>,
    /// The keys and values of its own labels, without those of the identity.
    pub labels: Vec<(String, String)>,
}

impl fmt::Debug for RequestFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFacts")
            .field("http", &self.http)
            .field("error", &self.error)
            .field("took", &self.took)
            .field("sites", &self.sites.len())
            .field("series", &self.series.len())
            .finish_non_exhaustive()
    }
}

impl RequestFacts {
    /// Returns the name and labels of a series that the component's requests have touched; `None`
    /// if it was removed since.
    ///
    /// It takes the lock of the component's aggregates, so a caller keeps the answer: a key means
    /// the same series as long as the process runs.
    pub fn labels(&self, key: SeriesKey) -> Option<SeriesLabels> {
        self.component.series_labels(key)
    }
}

/// The sites that a request has reached so far.
#[derive(Debug, Default)]
pub(super) struct ReachedSites {
    sites: Vec<Arc<Site>>,
    handle_sites: Vec<HandleSite>,
    cut: u32,
}

impl ReachedSites {
    pub(super) fn reach(&mut self, site: &Arc<Site>) {
        if self.sites.iter().any(|known| known.hash == site.hash) {
            return;
        }
        if self.sites.len() < limits::REACHED_SITES {
            self.sites.push(Arc::clone(site));
        } else {
            self.cut = self.cut.saturating_add(1);
        }
    }

    pub(super) fn reach_handle(&mut self, level: Option<Level>, target: &str, text: &str) {
        let (target, text) = (cut(target), cut(text));
        let is_same = |known: &&HandleSite| known.level == level && *known.target == *target && *known.text == *text;
        if self.handle_sites.iter().any(|known| is_same(&known)) {
            return;
        }
        if self.handle_sites.len() < limits::REACHED_SITES {
            self.handle_sites.push(HandleSite { level, target: target.into(), text: text.into() });
        } else {
            self.cut = self.cut.saturating_add(1);
        }
    }
}

/// Returns the beginning of a text, at most [`limits::HANDLE_SITE_TEXT`] bytes.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::HANDLE_SITE_TEXT)]
}

impl RequestTelemetry {
    /// Makes the facts of the request that ends, if the sink receives them and selects this one.
    pub(super) fn finish_facts(&mut self, outcome: Outcome<'_>, took: Duration, now: u64, is_kept: bool) {
        let Some(reached) = &mut self.reached else { return };
        let ReachedSites { sites, handle_sites, cut } = std::mem::take(reached);
        let facts = RequestFacts {
            trace: self.trace().or(self.guest_span),
            http: self.http.clone(),
            error: self.access_error(outcome),
            end_reason: match outcome {
                Outcome::Ended(reason) => Some(reason.into()),
                Outcome::Ok | Outcome::Failed => None,
            },
            is_kept,
            took,
            is_slow: self.is_slow,
            end: now,
            sites,
            handle_sites,
            attributes: self.attributes.fields().to_vec(),
            series: Vec::new(),
            cut,
            component: Arc::clone(&self.component),
        };
        if self.sink.selects_facts(&self.identity, &facts) {
            self.facts = Some(Box::new(facts));
        }
    }

    /// Takes the list for the series that the request's instance has touched, if they are wanted.
    pub(crate) fn start_series(&self) -> Option<TouchedSeries> {
        self.facts.as_ref().map(|_| TouchedSeries::default())
    }

    /// Adds the series that were found to the facts.
    pub(crate) fn add_series(&mut self, touched: TouchedSeries) {
        let Some(facts) = &mut self.facts else { return };
        let room = limits::TOUCHED_SERIES.saturating_sub(facts.series.len());
        let over = touched.keys.len().saturating_sub(room) as u32;
        facts.series.extend(touched.keys.into_iter().take(room));
        facts.cut = facts.cut.saturating_add(touched.cut).saturating_add(over);
    }

    /// Passes the facts of a request that has ended on to the sink.
    pub(super) fn deliver_facts(&mut self) {
        if let Some(facts) = self.facts.take() {
            self.sink.request(&self.identity, *facts);
        }
    }
}

impl Drop for RequestTelemetry {
    fn drop(&mut self) {
        self.deliver_facts();
    }
}
