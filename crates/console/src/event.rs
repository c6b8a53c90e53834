//! Streams of events: logs and requests as they come.
//!
//! A stream keeps no events: it reads those after the number that it has sent last whenever its
//! client has read what came before. So a slow client needs no memory.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::api::{logs, traces};
use crate::console::{Console, Shared};
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::Query;
use crate::record::trace::Part;
use crate::request::{Answer, Body, Events, Request};

/// The open streams.
#[derive(Default)]
pub(crate) struct Streams {
    open: Mutex<Vec<Arc<Mutex<StreamState>>>>,
    cut: AtomicU64,
    /// The time of the last snapshot.
    stored: AtomicU64,
    /// The data of the event `status` of the last snapshot.
    status: Mutex<Arc<str>>,
}

/// The part of a stream that wakes it.
#[derive(Default)]
struct StreamState {
    waker: Option<Waker>,
    /// The time since which there is something that the client has not read.
    unread_since: Option<Instant>,
    seen: u64,
}

impl Streams {
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The number of open streams, and of those whose clients were too slow.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.lock().len(), self.cut.load(Relaxed))
    }

    /// Notes the time of a snapshot that was stored, and the state after it.
    pub(crate) fn stored(&self, time: u64, status: String) {
        *lock(&self.status) = status.into();
        self.stored.store(time, Relaxed);
    }

    /// Wakes the streams that have not seen this event.
    pub(crate) fn wake(&self, last_event: u64) {
        self.wake_if(|state| state.seen != last_event);
    }

    /// Wakes all streams.
    pub(crate) fn wake_all(&self) {
        self.wake_if(|_| true);
    }

    fn wake_if(&self, is_wanted: impl Fn(&StreamState) -> bool) {
        for state in self.lock().iter() {
            let mut state = lock(state);
            if is_wanted(&state) {
                state.unread_since.get_or_insert_with(Instant::now);
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Mutex<StreamState>>>> {
        lock(&self.open)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kinds of events that a client wants.
#[derive(Clone, Copy, Debug)]
struct Kinds {
    log: bool,
    trace: bool,
    step: bool,
    status: bool,
}

impl Kinds {
    fn parse(text: &str) -> Option<Self> {
        let mut kinds = Self { log: false, trace: false, step: false, status: false };
        for kind in text.split(',') {
            match kind {
                "log" => kinds.log = true,
                "trace" => kinds.trace = true,
                "step" => kinds.step = true,
                "status" => kinds.status = true,
                _ => return None,
            }
        }
        Some(kinds)
    }
}

/// The place at which a client continues.
enum Start {
    /// With the next event, after this many of the last ones.
    Latest(usize),
    /// Behind an event of this process.
    After(u64),
    /// With all events: the client has one of an earlier process.
    Restarted,
}

/// One stream of events.
struct Stream {
    console: Console,
    state: Arc<Mutex<StreamState>>,
    kinds: Kinds,
    filter: logs::LogFilter,
    /// The number of the last event that was sent or passed over.
    last: u64,
    /// The time of the last snapshot of which a `step` was sent.
    step: u64,
    is_restarted: bool,
    has_begun: bool,
    /// `true` if the latest read stopped at its bound.
    is_behind: bool,
}

/// Opens a stream.
pub(crate) fn open(console: &Console, request: &Request<'_>, mut query: Query) -> Result<Answer, Problem> {
    let expected = "some of `log,trace,step,status`";
    let kinds = query.parse_as("kinds", expected, Kinds::parse)?;
    let kinds = kinds.unwrap_or(Kinds { log: true, trace: true, step: true, status: true });
    let filter = logs::LogFilter::take(&mut query)?;
    let count = query.parse_as("last", "a number from 0 to 500", |value| {
        value.parse().ok().filter(|count| *count <= limits::MAX_PAGE)
    })?;
    let after = query.take("after");
    query.end()?;
    if filter.is_of_logs() && kinds.trace && !kinds.log {
        return Err(Problem::bad_request(
            "`level`, `text` and `site` are filters of logs; remove them, or add `log` to `kinds`",
        ));
    }
    let start = match request.last_event_id.map(str::to_owned).or(after) {
        Some(id) => start_after(&console.shared, &id)?,
        None => Start::Latest(count.unwrap_or(0)),
    };
    let shared = &console.shared;
    let state = Arc::new(Mutex::new(StreamState::default()));
    {
        let mut open = shared.streams.lock();
        if open.len() >= limits::STREAMS {
            return Err(Problem::too_many_streams(limits::STREAMS));
        }
        open.push(Arc::clone(&state));
    }
    console.wake_thread();
    let (last, is_restarted) = match start {
        Start::After(event) => (event.min(shared.records().last_event), false),
        Start::Restarted => (0, true),
        Start::Latest(count) => (before_latest(shared, count, kinds, &filter), false),
    };
    let step = shared.streams.stored.load(Relaxed);
    let console = console.clone();
    let (has_begun, is_behind) = (false, false);
    let stream = Stream { console, state, kinds, filter, last, step, is_restarted, has_begun, is_behind };
    let mut answer = Answer::new(200, "text/event-stream", Body::Events(Box::new(stream)));
    // Proxies must not collect events.
    answer.headers.push(("x-accel-buffering", "no".to_owned()));
    Ok(answer)
}

fn start_after(shared: &Shared, id: &str) -> Result<Start, Problem> {
    let (epoch, number) = id.split_once('-').unwrap_or_default();
    let is_epoch = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
    match number.parse() {
        Ok(number) if epoch == shared.epoch() => Ok(Start::After(number)),
        Ok(_) if is_epoch => Ok(Start::Restarted),
        _ => Err(Problem::bad_request("the id of the last event cannot be read; send the `id` of an event, or none")),
    }
}

/// Returns the number before the last `count` events that a client wants.
fn before_latest(shared: &Shared, count: usize, kinds: Kinds, filter: &logs::LogFilter) -> u64 {
    let records = shared.records();
    let mut wanted: Vec<u64> = Vec::new();
    if kinds.log {
        let logs = records.logs.before(u64::MAX).take(limits::SEARCHED_LOGS);
        wanted.extend(logs.filter(|log| filter.accepts(&records, log)).map(|log| log.event).take(count));
    }
    if kinds.trace {
        let parts = records.traces.newest_first();
        wanted
            .extend(parts.filter(|(_, part)| filter.accepts_part(&records, part)).map(|(event, _)| event).take(count));
    }
    wanted.sort_unstable_by(|a, b| b.cmp(a));
    wanted.truncate(count);
    wanted.last().map_or(records.last_event, |event| event - 1)
}

impl Stream {
    /// Writes the events that the client does not have, up to a bound.
    fn read(&mut self) -> String {
        let shared = &self.console.shared;
        let epoch = shared.epoch();
        let mut out = String::new();
        if !std::mem::replace(&mut self.has_begun, true) {
            // The head of the answer arrives with the first bytes.
            out.push_str("retry: 1000\n");
            if !self.is_restarted {
                // A client that loses the stream before its first event resumes here. One of an
                // earlier process keeps its id until the event `restart`.
                let _ = writeln!(out, "id: {epoch}-{}", self.last);
            }
            out.push('\n');
        }
        if std::mem::take(&mut self.is_restarted) {
            let mut json = Json::new();
            json.object(|json| _ = json.member("epoch").text(&epoch));
            event(&mut out, &epoch, 0, "restart", &json.finish());
        }
        let records = shared.records();
        let newest = records.last_event;
        let begin = self.last;
        let logs = records.logs.after(move |log| log.event > begin).map(|log| (log.event, Some(log), None::<&Part>));
        let parts = records.traces.after(begin).map(|(number, part)| (number, None, Some(part)));
        let (mut logs, mut parts) = (logs.peekable(), parts.peekable());
        self.is_behind = false;
        let mut read = 0;
        let mut lost = 0;
        loop {
            let next = match (logs.peek(), parts.peek()) {
                (Some(log), Some(part)) if log.0 < part.0 => logs.next(),
                (_, Some(_)) => parts.next(),
                (Some(_), None) => logs.next(),
                (None, None) => None,
            };
            let Some((number, log, part)) = next else {
                // Everything up to the newest one was read.
                lost += newest - self.last;
                if lost > 0 {
                    write_lost(&mut out, &epoch, newest, lost);
                }
                self.last = newest;
                break;
            };
            lost += number - self.last - 1;
            self.last = number;
            read += 1;
            let wanted_log = log.filter(|log| self.kinds.log && self.filter.accepts(&records, log));
            let wanted_part = part.filter(|part| self.kinds.trace && self.filter.accepts_part(&records, part));
            if (wanted_log.is_some() || wanted_part.is_some()) && lost > 0 {
                write_lost(&mut out, &epoch, number - 1, std::mem::take(&mut lost));
            }
            if let Some(log) = wanted_log {
                let mut json = Json::new();
                logs::write_log(&mut json, &records, &log, Some(limits::LIST_TEXT), None);
                event(&mut out, &epoch, number, "log", &json.finish());
            }
            if let Some(part) = wanted_part {
                let mut json = Json::new();
                json.object(|json| traces::write_entry(json, &records, part));
                event(&mut out, &epoch, number, "trace", &json.finish());
            }
            if out.len() >= limits::EVENT_BYTES || read >= limits::EVENTS {
                if lost > 0 {
                    write_lost(&mut out, &epoch, number, lost);
                }
                self.is_behind = true;
                break;
            }
        }
        drop((logs, parts));
        drop(records);
        let stored = shared.streams.stored.load(Relaxed);
        if stored != self.step {
            self.step = stored;
            if self.kinds.step {
                let mut json = Json::new();
                json.object(|json| _ = json.member("time").time(stored));
                event(&mut out, &epoch, self.last, "step", &json.finish());
            }
            if self.kinds.status {
                let status = Arc::clone(&*lock(&shared.streams.status));
                event(&mut out, &epoch, self.last, "status", &status);
            }
            if out.is_empty() {
                // A comment, by which a connection that its client has left ends.
                out.push_str(":\n\n");
            }
        }
        out
    }
}

fn write_lost(out: &mut String, epoch: &str, number: u64, count: u64) {
    let mut json = Json::new();
    json.object(|json| _ = json.member("count").unsigned(count));
    event(out, epoch, number, "lost", &json.finish());
}

/// Writes one event, whose data has no line breaks.
///
/// Source: HTML, "Server-sent events", Parsing an event stream.
fn event(out: &mut String, epoch: &str, number: u64, kind: &str, data: &str) {
    // Writing to a string cannot fail.
    let _ = write!(out, "id: {epoch}-{number}\nevent: {kind}\ndata: {data}\n\n");
}

impl Events for Stream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        {
            let mut state = lock(&self.state);
            state.waker = Some(cx.waker().clone());
            state.unread_since = None;
        }
        if self.console.shared.is_stopped() {
            return Poll::Ready(None);
        }
        let out = self.read();
        lock(&self.state).seen = self.last;
        if !out.is_empty() {
            return Poll::Ready(Some(out.into_bytes()));
        }
        if self.is_behind {
            // Others are served between two reads: a filter may match nothing of very much. What
            // comes after a read to the end waits for the next wake.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let streams = &self.console.shared.streams;
        streams.lock().retain(|state| !Arc::ptr_eq(state, &self.state));
        let unread = lock(&self.state).unread_since;
        if unread.is_some_and(|since| since.elapsed() >= limits::SLOW_READER) && !self.console.shared.is_stopped() {
            streams.cut.fetch_add(1, Relaxed);
        }
    }
}
