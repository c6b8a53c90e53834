//! The functions that `#[wasmetry::instrument]` accepts, and the values that logs and spans take.
//! The records that reach a host are tested with the adapters.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use wasmetry::{Instrument as _, Level, current_context, debug, event, info, instrument, log, span, testing, warn};

#[derive(Debug)]
struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it failed")
    }
}

impl std::error::Error for Failure {}

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
fn functions_keep_their_results() {
    assert_eq!(plain(1, "a", &["b"]), 2);
    assert_eq!(early("7", "s").unwrap(), 7);
    assert!(early("7", "").is_err());
    assert!(early("seven", "s").is_err());
    assert_eq!(ready(Service.answer("why".to_owned())).unwrap(), "why");
    assert!(ready(Service.answer(String::new())).is_err());
    assert_eq!(generic(3).next(), Some(3));
    assert_eq!(current_context(), None);
}

/// A trait with a default body, and with a function without one.
trait Store {
    fn name(&self) -> &str;

    #[instrument]
    fn describe(&self, verbose: bool) -> String {
        info!("described");
        if verbose { format!("the store {}", self.name()) } else { self.name().to_owned() }
    }

    async fn load(&mut self, key: &str, fallback: Option<String>) -> Result<String, Box<dyn std::error::Error>>;
}

struct Memory<T> {
    name: T,
    loads: u32,
}

impl<T: AsRef<str>> Store for Memory<T> {
    fn name(&self) -> &str {
        self.name.as_ref()
    }

    // `?` converts, the results are converted where they are returned, and a parameter is moved out
    // of.
    #[instrument(err, skip(self, fallback))]
    async fn load(&mut self, key: &str, fallback: Option<String>) -> Result<String, Box<dyn std::error::Error>> {
        self.loads += 1;
        if key == "missing" {
            return fallback.ok_or_else(|| Box::new(Failure) as _);
        }
        let number: u32 = key.parse()?;
        Yield(false).await;
        if number > 9 {
            return Err(Box::new(Failure));
        }
        Ok(format!("{number}"))
    }
}

#[instrument]
async fn owned(name: String, mut left: u32, _ignored: &[u8]) -> String {
    while left > 0 {
        Yield(false).await;
        left -= 1;
    }
    name
}

#[instrument(fields(len = values.len()), skip(values))]
fn largest<'a, T: Ord + fmt::Debug, const N: usize>(values: &'a [T; N], floor: &T) -> Option<&'a T> {
    values.iter().filter(|value| *value >= floor).max()
}

/// Returns a future without being `async`: both the function and the future are in the span.
#[instrument(err)]
fn eventually<'a>(text: &'a str) -> impl Future<Output = Result<u32, std::num::ParseIntError>> + 'a {
    info!("asked");
    let text = text.trim();
    async move {
        Yield(false).await;
        let number = text.parse()?;
        info!("answers");
        Ok(number)
    }
}

#[instrument]
fn boxed<'a>(text: &'a str) -> Pin<Box<dyn Future<Output = usize> + Send + 'a>> {
    if text.is_empty() {
        return Box::pin(std::future::ready(0));
    }
    Box::pin(async move {
        info!("counts");
        text.len()
    })
}

#[instrument(err)]
fn some(count: usize) -> Result<impl Iterator<Item = usize>, Failure> {
    if count == 0 {
        return Err(Failure);
    }
    Ok(0..count)
}

/// Polls a future until it is ready; in between, no span is current.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        assert_eq!(current_context(), None);
    }
}

#[test]
fn span_has_arguments_and_ends() {
    let recorded = testing::capture();
    assert_eq!(plain(7, "ann", &["a"]), 8);
    assert!(early("seven", "s").is_err());
    assert!(early("", "").is_err());
    assert_eq!(largest(&[3, 9, 4], &4), Some(&9));
    let mut memory = Memory { name: "m", loads: 0 };
    assert_eq!(memory.describe(true), "the store m");
    recorded.assert_spans(&[
        r#"plain user=7 name="ann" tags="[\"a\"]""#,
        r#"sign in (client) user="seven" source="web" error "it failed""#,
        r#"sign in (client) user="" source="web" error "it failed""#,
        r#"largest floor="4" len=3"#,
        r#"describe verbose=true"#,
    ]);

    let recorded = testing::capture();
    assert_eq!(run(memory.load("7", None)).unwrap(), "7");
    assert!(run(memory.load("12", None)).is_err());
    assert!(run(memory.load("x", None)).is_err());
    assert!(run(memory.load("missing", Some("f".to_owned()))).is_ok());
    assert!(run(memory.load("missing", None)).is_err());
    assert_eq!(memory.loads, 5);
    assert_eq!(run(owned("n".to_owned(), 2, b"")), "n");
    recorded.assert_spans(&[
        r#"load key="7""#,
        r#"load key="12" error "it failed""#,
        r#"load key="x" error "invalid digit found in string""#,
        r#"load key="missing""#,
        r#"load key="missing" error "it failed""#,
        r#"owned name="n" left=2"#,
    ]);
}

#[test]
fn returned_future_is_in_span() {
    let recorded = testing::capture();
    let outer = span!("outer");
    assert_eq!(run(async { eventually(" 7 ").await }.instrument(outer)), Ok(7));
    assert!(run(eventually("x")).is_err());
    assert_eq!((run(boxed("abc")), run(boxed(""))), (3, 0));
    // It is never polled.
    drop(eventually("1"));
    assert_eq!(some(3).unwrap().sum::<usize>(), 3);
    assert!(some(0).is_err());
    recorded.assert_spans(&[
        r#"outer"#,
        r#"  eventually text=" 7 ""#,
        r#"eventually text="x" error "invalid digit found in string""#,
        r#"boxed text="abc""#,
        r#"boxed text="""#,
        r#"eventually text="1""#,
        r#"some count=3"#,
        r#"some count=0 error "it failed""#,
    ]);
    recorded.assert_logs(&["INFO asked", "INFO answers", "INFO asked", "INFO counts", "INFO asked"]);
    // It can be sent to another thread.
    fn is_send<T: Send>(_: &T) {}
    is_send(&owned(String::new(), 0, b""));
    is_send(&boxed(""));
}

#[test]
fn a_panic_ends_the_span() {
    #[instrument]
    fn fails(now: bool) {
        let _inner = span!("inner").entered();
        assert!(!now, "as it was asked to");
    }
    let recorded = testing::capture();
    assert!(std::panic::catch_unwind(|| fails(true)).is_err());
    assert_eq!(current_context(), None);
    recorded.assert_spans(&["fails now=true", "  inner"]);
}

#[test]
fn spans_nest() {
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
fn interleaved_futures_keep_their_spans() {
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
fn arguments_of_unrecorded_level_stay_unevaluated() {
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
