//! What `#[wasmetry::instrument]` and the macros of logs and spans may stand on and take. What of it reaches a host is shown by
//! the tests of the adapters.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmetry::{Instrument as _, Level, current_context, debug, event, info, instrument, log, span, warn};

#[derive(Debug)]
struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it failed")
    }
}

#[instrument]
fn plain(user: u64, name: &str, tags: &[&str]) -> u64 {
    assert!(current_context().is_some());
    let owned = String::from("x");
    info!(user, name, owned, ?tags, third = tags.len(), "a message with {name}, {} and {:>5}", owned, 1.5);
    user + 1
}

#[instrument(skip(secret), err, name = "sign in", kind = client, level = Level::Debug, fields(source = "web"))]
fn early(user: &str, secret: &str) -> Result<u32, Failure> {
    if secret.is_empty() {
        return Err(Failure);
    }
    let number: u32 = user.parse().map_err(|_| Failure)?;
    Ok(number)
}

struct Service;

impl Service {
    #[instrument(skip_all, err)]
    async fn answer(&self, question: String) -> Result<String, Failure> {
        let before = current_context();
        std::future::ready(()).await;
        assert_eq!(current_context(), before);
        if question.is_empty() { Err(Failure) } else { Ok(question) }
    }
}

#[instrument(skip_all)]
fn generic<T: fmt::Debug>(value: T) -> impl Iterator<Item = T> {
    debug!(?value);
    std::iter::once(value)
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it has nothing to wait for"),
    }
}

#[test]
fn functions_are_what_they_were() {
    assert_eq!(plain(1, "a", &["b"]), 2);
    assert_eq!(early("7", "s").unwrap(), 7);
    assert!(early("7", "").is_err());
    assert!(early("seven", "s").is_err());
    assert_eq!(ready(Service.answer("why".to_owned())).unwrap(), "why");
    assert!(ready(Service.answer(String::new())).is_err());
    assert_eq!(generic(3).next(), Some(3));
    assert_eq!(current_context(), None);
}

#[test]
fn spans_nest_and_end_where_they_should() {
    let outer = span!("outer", user = 7).entered();
    let outer_context = current_context().unwrap();
    {
        let _inner =
            span!("inner", kind: client, level: Level::Debug, db.system = "sqlite", "literal key" = true).entered();
        let inner_context = current_context().unwrap();
        assert_eq!(inner_context.trace_id, outer_context.trace_id);
        assert_ne!(inner_context.span_id, outer_context.span_id);
        event!("a {name} with braces", size = 3);
    }
    assert_eq!(current_context(), Some(outer_context));
    outer.set("late", "value").set_error(&Failure).link(outer_context);
    drop(outer);
    assert_eq!(current_context(), None);
    let not_recorded = span!("too fine", level: Level::Trace);
    assert_eq!(not_recorded.context(), None);
    span!("root").in_scope(|| {
        let child = span!("child");
        assert_eq!(child.context().unwrap().trace_id, current_context().unwrap().trace_id);
    });
}

/// A future that is pending once.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[test]
fn futures_that_run_in_turns_keep_their_spans_apart() {
    async fn work() -> Vec<wasmetry::SpanId> {
        let mut seen = vec![current_context().unwrap().span_id];
        Yield(false).await;
        seen.push(current_context().unwrap().span_id);
        // Entered over an await, as it should not be: it stays within this future all the same.
        let _inner = span!("inner").entered();
        seen.push(current_context().unwrap().span_id);
        Yield(false).await;
        seen.push(current_context().unwrap().span_id);
        seen
    }
    let mut task = Context::from_waker(Waker::noop());
    let (first, second) = (span!("first"), span!("second"));
    let ids = [first.context().unwrap().span_id, second.context().unwrap().span_id];
    let (mut first, mut second) = (pin!(work().instrument(first)), pin!(work().instrument(second)));
    for _ in 0..2 {
        assert!(first.as_mut().poll(&mut task).is_pending());
        assert_eq!(current_context(), None);
        assert!(second.as_mut().poll(&mut task).is_pending());
        assert_eq!(current_context(), None);
    }
    for (future, id) in [(first, ids[0]), (second, ids[1])] {
        let Poll::Ready(seen) = future.poll(&mut task) else { panic!("it has ended") };
        assert_eq!(seen[..2], [id, id]);
        assert_ne!(seen[2], id);
        assert_eq!(seen[2], seen[3]);
    }
    assert_eq!(current_context(), None);
}

#[test]
fn arguments_of_a_level_that_is_not_recorded_are_not_evaluated() {
    info!("the level is known from here on");
    let evaluated = std::cell::Cell::new(false);
    let value = || {
        evaluated.set(true);
        1
    };
    log!(Level::Trace, value = value(), "{}", value());
    assert!(!evaluated.get());
    warn!(value = value());
    assert!(evaluated.get());
    log!(Level::Info, target: "shop::cart", err = %Failure, "{{}} {0} {named} {0}", 1, named = "n");
    info!("{:width$}|{:.*}", 3, 2, 1.234, width = 7);
    wasmetry::audit!(user = 7, "signed in");
}
