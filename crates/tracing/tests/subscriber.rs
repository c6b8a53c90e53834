//! The subscriber, as a test of a library's user sees it.

use tracing::field::Empty;
use wasmetry::testing;

#[test]
fn spans_and_events_are_recorded() {
    assert!(wasmetry_tracing::init() && wasmetry_tracing::init());
    let recorded = testing::capture();
    let outer = tracing::info_span!("outer", user = 7, late = Empty, list = ?[1, 2]).entered();
    tracing::info!(ratio = 0.5, ok = true, "hello {}", "Ada");
    let _inner = tracing::debug_span!("inner").entered();
    outer.record("late", "now");
    tracing::error!(code = 3u8, "broken");
    drop(_inner);
    drop(outer);
    recorded.assert_logs(&["INFO hello Ada ratio=0.5 ok=true", "ERROR broken code=3"]);
    recorded.assert_spans(&[r#"outer user=7 list="[1, 2]" late="now""#, r#"  inner error "broken""#]);
}

/// Spans of wasmetry and of `tracing` are below each other, and the current span is shared.
#[test]
fn both_kinds_of_spans_nest() {
    assert!(wasmetry_tracing::init());
    let recorded = testing::capture();
    {
        let _first = wasmetry::span!("first").entered();
        let _second = tracing::info_span!("second").entered();
        let _third = wasmetry::span!("third").entered();
        assert!(tracing::Span::current().metadata().is_some_and(|metadata| metadata.name() == "second"));
    }
    assert_eq!(wasmetry::current_context(), None);
    recorded.assert_spans(&["first", "  second", "    third"]);
}

/// A span ends with its last handle, wherever it was entered and in which order it was left.
#[test]
fn order_of_exits_is_free() {
    assert!(wasmetry_tracing::init());
    let recorded = testing::capture();
    let (first, second) = (tracing::info_span!("first"), tracing::info_span!("second"));
    let entered = (first.clone().entered(), second.clone().entered());
    drop(entered.0);
    tracing::info_span!("below second");
    drop(entered.1);
    assert_eq!(wasmetry::current_context(), None);
    drop(first);
    recorded.assert_spans(&["first", "second open", "  below second"]);
    drop(second);
    recorded.assert_spans(&["first", "second", "  below second"]);
}

/// Explicit parents and links are kept, and a span without a parent begins a trace.
#[test]
fn explicit_relations_are_kept() {
    assert!(wasmetry_tracing::init());
    let recorded = testing::capture();
    {
        let first = tracing::info_span!("first");
        let _entered = first.enter();
        let root = tracing::info_span!(parent: None, "root");
        root.follows_from(&first);
        tracing::info_span!(parent: &root, "below root");
    }
    let spans = recorded.spans();
    assert_eq!((&*spans[0], &*spans[2], spans.len()), ("first", "  below root", 3));
    assert!(spans[1].starts_with("root link="), "{spans:?}");
}

/// A value that traces while it is formatted is recorded, and so is what it traces.
#[test]
fn values_may_trace() {
    struct Tracing;
    impl std::fmt::Debug for Tracing {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!(inner = "text", "nested");
            f.write_str("value")
        }
    }
    assert!(wasmetry_tracing::init());
    let recorded = testing::capture();
    tracing::info!(value = ?Tracing, other = "other", "outer");
    recorded.assert_logs(&[r#"INFO nested inner="text""#, r#"INFO outer value="value" other="other""#]);
}

/// A text is cut, and a record takes no more than fits.
#[test]
fn large_records_are_cut() {
    assert!(wasmetry_tracing::init());
    let recorded = testing::capture();
    let text = "ä".repeat(3000);
    tracing::info!(a = text, b = text, c = text, d = text, e = text, f = text, g = 1, "{text}");
    let logs = recorded.logs();
    assert!(logs[0].starts_with(&format!("INFO {}\u{2026} a=\"", "ä".repeat(512))), "{logs:?}");
    assert!(logs[0].ends_with(" g=1"), "{logs:?}");
}

#[test]
fn levels_of_a_capture_apply() {
    assert!(wasmetry_tracing::init());
    let recorded = testing::capture().up_to(wasmetry::Level::Info);
    let _hidden = tracing::debug_span!("hidden").entered();
    tracing::debug!("details");
    tracing::info!("hello");
    recorded.assert_logs(&["INFO hello"]);
    recorded.assert_spans(&[]);
}
