//! A guest that emits logs and spans; see `wit/record_emitter.wit`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use wasmetry::{Instrument as _, Level, TraceContext, audit, debug, error, event, info, log, span, trace, warn};

wit_bindgen::generate!({ path: "wit/record_emitter.wit", world: "record-emitter" });

struct RecordEmitter;

#[wasmetry::instrument(err)]
fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

#[wasmetry::instrument(skip_all, name = "waits", kind = client)]
async fn wait() {
    std::future::ready(()).await;
    event!("waited", seconds = 0.5);
}

/// A future that is pending once, so that another request can run.
struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[wasmetry::instrument]
async fn step(request: usize, number: u32) {
    info!(request, number, "begins");
    Turn(false).await;
    let _inner = span!("inner", request).entered();
    Turn(false).await;
    info!(request, number, "ends");
}

/// Handles a request in several turns, and returns the `traceparent` of its outgoing requests.
async fn take_turns(request: usize) -> String {
    for number in 0..2 {
        step(request, number).await;
        Turn(false).await;
    }
    current_traceparent()
}

/// Returns the `traceparent` of the current span.
fn current_traceparent() -> String {
    let context = wasmetry::current_context().map(|context| context.traceparent().to_vec());
    context.and_then(|header| String::from_utf8(header).ok()).unwrap_or_default()
}

fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl Guest for RecordEmitter {
    fn emit_logs(user: u64, name: String) {
        error!(err = %format_args!("no {name}"), "it failed");
        warn!(left = -3, "low");
        info!(user, name, ok = true, latency_ms = 1.5, "hello {name}, {{you}} are {} of {:>4}", user, 7);
        debug!(names = ?[&name], "details");
        trace!("too fine");
        log!(Level::Debug, target: "shop::cart", dbg = ?Some(user), %name, "of a given level: {name:?}");
        audit!(user, "seen");
        info!(target: "shop::cart", "of another target");
    }

    #[wasmetry::handler]
    fn log_levels() {
        error!("failed");
        info!("hello");
        debug!("details");
        trace!("too fine");
        info!(target: "shop::cart", "cart");
        debug!(target: "shop::cart", "details of the cart");
        trace!(target: "shop::cart", "too fine a cart");
    }

    fn emit_many(lines: u32) {
        for line in 0..lines {
            let _span = span!("line", number = line).entered();
            info!(line, "line {line}");
        }
    }

    fn emit_spans() {
        let outer = span!("outer", target: "shop", user = 7, changes = 1).entered();
        outer.set("late", "value").set("changes", 2);
        {
            let inner = span!("inner", level: Level::Debug).entered();
            inner.set_error(&"it broke");
        }
        let _ = parse("12");
        let _ = parse("twelve");
        ready(wait());
        if let Some(other) = TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00") {
            outer.link(other);
        }
        info!("in the outer span");
        outer.set_ok();
    }

    fn relay(traceparent: String) -> String {
        let parent = TraceContext::parse(traceparent.as_bytes());
        let _span = span!("relay", parent: parent).entered();
        info!("relayed");
        current_traceparent()
    }

    fn interleave(traceparents: Vec<String>) -> Vec<String> {
        let mut requests: Vec<_> = traceparents
            .iter()
            .enumerate()
            .map(|(number, traceparent)| {
                let parent = TraceContext::parse(traceparent.as_bytes());
                let span = span!("request", parent: parent, number);
                (Box::pin(take_turns(number).instrument(span)), None)
            })
            .collect();
        let mut task = Context::from_waker(Waker::noop());
        while requests.iter().any(|(_, result)| result.is_none()) {
            for (request, result) in requests.iter_mut().filter(|(_, result)| result.is_none()) {
                if let Poll::Ready(traceparent) = request.as_mut().poll(&mut task) {
                    *result = Some(traceparent);
                }
            }
        }
        requests.into_iter().filter_map(|(_, result)| result).collect()
    }

    fn trap() {
        let _outer = span!("before the end").entered();
        let _inner = span!("the last", level: Level::Debug).entered();
        debug!("about to fail");
        panic!("requested by the test");
    }

    #[wasmetry::handler]
    fn panic_in_handler() {
        info!("about to panic");
        panic!("requested by {}", "the test");
    }

    fn spin() {
        let _outer = span!("endless").entered();
        debug!("about to spin");
        loop {
            std::hint::spin_loop();
        }
    }

    fn publish() {
        wasmetry::publish();
    }
}

export!(RecordEmitter);

fn main() {}
