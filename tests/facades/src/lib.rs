//! The operations of the guest that records with `log` and `tracing`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tracing::Instrument as _;
use wasmetry::TraceContext;

fn init() {
    assert!(wasmetry_log::init() && wasmetry_tracing::init(), "another logger or subscriber is installed");
}

/// Logs of every level, with fields of every type.
pub fn emit_logs(user: u64, name: &str) {
    init();
    log::error!("it failed");
    log::warn!(target: "shop::cart", left = -3, ratio = 0.5, ok = true, name = name, list:? = [1, 2]; "low for {name}");
    log::info!("{{braces}} stay");
    log::debug!("details of {user}");
    log::trace!("too fine");
    log::info!(target: "audit", user; "seen");
    tracing::error!(code = 7u8, "it failed");
    tracing::info!(user, left = -3, ratio = 0.5, ok = true, name, list = ?[1, 2], "hello {name}");
    tracing::warn!(target: "shop::cart", name);
    tracing::debug!("details of {user}");
    tracing::trace!("too fine");
    tracing::info!(target: "audit::login", user, "seen");
}

#[tracing::instrument(err)]
fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    log::info!("parsing");
    text.parse()
}

/// Spans of `tracing` and of wasmetry inside of each other.
pub fn nest_spans() {
    init();
    // The first span asks the host for the time. What is not sent yet must remain.
    log::info!(target: "audit", "before the first span");
    let _outer = wasmetry::span!("outer").entered();
    {
        let middle = tracing::info_span!("middle", user = 7, late = tracing::field::Empty);
        let _entered = middle.enter();
        let _inner = wasmetry::span!("inner").entered();
        let _innermost = tracing::info_span!("innermost", cut = "x".repeat(2000)).entered();
        log::info!("in innermost");
        tracing::info!("in innermost");
        wasmetry::info!("in innermost");
    }
    let _ = parse("12");
    let _ = parse("twelve");
    wasmetry::info!("in outer");
}

/// Explicit parents, links, late fields, errors, and spans that end in another order.
pub fn relate_spans() {
    init();
    let first = tracing::info_span!("first", late = tracing::field::Empty, other = tracing::field::Empty);
    let second = tracing::info_span!(parent: &first, "second");
    let root = tracing::info_span!(parent: None, "root");
    let first_entered = first.clone().entered();
    let second_entered = second.clone().entered();
    second.follows_from(&root);
    // In the order in which they were entered, so not as a stack.
    drop(first_entered);
    tracing::info!("in second");
    drop(second_entered);
    tracing::info!("in none");
    tracing::info!(parent: &root, "in root");
    first.record("late", 42);
    first.record("other", tracing::field::debug(Some("text")));
    tracing::error!(parent: &second, "broken");
    let clone = first.clone();
    drop(first);
    tracing::info!(parent: &clone, "first is open");
    // A span that is not recorded is not entered.
    let hidden = tracing::trace_span!(parent: &clone, "hidden");
    hidden.in_scope(|| tracing::info!("in none"));
}

/// A future that is pending once, so that another task can run.
struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[tracing::instrument]
async fn step(task: usize, number: u32) {
    log::info!("begins");
    Turn(false).await;
    async {
        Turn(false).await;
        tracing::info!(task, "inside");
        Turn(false).await;
    }
    .instrument(tracing::info_span!("inner", task))
    .await;
    log::info!("ends");
}

async fn take_turns(task: usize) {
    for number in 0..2 {
        step(task, number).await;
        Turn(false).await;
    }
}

/// Runs one task for each `traceparent`, in turns.
pub fn interleave(traceparents: &[String]) {
    init();
    let mut tasks: Vec<_> = traceparents
        .iter()
        .enumerate()
        .map(|(number, traceparent)| {
            let parent = TraceContext::parse(traceparent.as_bytes());
            let span = wasmetry::span!("task", parent: parent, number);
            Some(Box::pin(wasmetry::Instrument::instrument(take_turns(number), span)))
        })
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    while tasks.iter().any(Option::is_some) {
        for task in &mut tasks {
            if task.as_mut().is_some_and(|task| task.as_mut().poll(&mut context).is_ready()) {
                *task = None;
            }
        }
    }
}

/// A request, whose level is the host's.
#[wasmetry::handler]
pub fn log_levels() {
    init();
    for target in ["shop", "shop::cart"] {
        log::error!(target: target, "failed");
        log::info!(target: target, "hello");
        log::debug!(target: target, "details");
        log::trace!(target: target, "too fine");
    }
    tracing::error!("failed");
    tracing::info!("hello");
    tracing::debug!("details");
    tracing::trace!("too fine");
    // The evaluation of a field costs nothing where its level is off.
    let is_evaluated = std::cell::Cell::new(false);
    tracing::trace!(
        value = {
            is_evaluated.set(true);
            1
        }
    );
    log::trace!("{}", {
        is_evaluated.set(true);
        1
    });
    wasmetry::log!(wasmetry::Level::Error, evaluated = is_evaluated.get(), "end");
}

/// Logs at this number of call sites, each with a target of its own.
pub fn log_at_sites(sites: u32) {
    init();
    for number in 0..sites {
        let target = format!("library::module{number}");
        log::info!(target: &target, number; "message {number}");
    }
}

/// Logs many times at few call sites.
pub fn emit_many(lines: u32) {
    init();
    for line in 0..lines {
        let _span = tracing::info_span!("line", line).entered();
        log::info!("line {line}");
    }
}

/// Opens a span, logs, and panics.
pub fn trap() {
    init();
    let _span = tracing::info_span!("before the end").entered();
    tracing::debug!("about to fail");
    panic!("requested by the test");
}
