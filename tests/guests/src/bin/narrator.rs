//! A guest that says what it does; see `wit/narrator.wit`.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmetry::{Level, TraceContext, audit, debug, error, event, info, span, trace, warn};

wit_bindgen::generate!({ path: "wit/narrator.wit", world: "narrator" });

struct Narrator;

#[wasmetry::instrument(err)]
fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

#[wasmetry::instrument(skip_all, name = "waits", kind = client)]
async fn wait() {
    std::future::ready(()).await;
    event!("waited", seconds = 0.5);
}

fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl Guest for Narrator {
    fn say(user: u64, name: String) {
        error!(err = %format_args!("no {name}"), "it failed");
        warn!(left = -3, "low");
        info!(user, name, ok = true, latency_ms = 1.5, "hello {name}, {{you}} are {} of {:>4}", user, 7);
        debug!(names = ?[&name], "details");
        trace!("too fine");
        audit!(user, "seen");
        info!(target: "shop::cart", "of another target");
    }

    #[wasmetry::handler]
    fn greet() {
        error!("failed");
        info!("hello");
        debug!("details");
        trace!("too fine");
        info!(target: "shop::cart", "cart");
        debug!(target: "shop::cart", "details of the cart");
        trace!(target: "shop::cart", "too fine a cart");
    }

    fn chat(lines: u32) {
        for line in 0..lines {
            let _span = span!("line", number = line).entered();
            info!(line, "line {line}");
        }
    }

    fn trace() {
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
        let context = wasmetry::current_context().map(|context| context.traceparent().to_vec());
        context.and_then(|header| String::from_utf8(header).ok()).unwrap_or_default()
    }

    fn trap() {
        let _outer = span!("before the end").entered();
        let _inner = span!("the last", level: Level::Debug).entered();
        debug!("about to fail");
        panic!("as it was asked to");
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

export!(Narrator);

fn main() {}
