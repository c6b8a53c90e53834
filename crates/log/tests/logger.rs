//! The logger, as a test of a library's user sees it.

use wasmetry::testing;

#[test]
fn records_have_typed_fields() {
    assert!(wasmetry_log::init() && wasmetry_log::init());
    let recorded = testing::capture();
    let name = "Ada";
    log::error!("it failed");
    log::warn!(left = -3, ratio = 0.5, ok = true, name, list:? = [1, 2]; "low for {name}");
    log::info!("{{braces}} stay");
    log::trace!(target: "library", "fine");
    log::info!(target: "audit", user = 7; "seen");
    recorded.assert_logs(&[
        "ERROR it failed",
        r#"WARN low for Ada left=-3 ratio=0.5 ok=true name="Ada" list="[1, 2]""#,
        "INFO {braces} stay",
        "TRACE fine",
        "AUDIT seen user=7",
    ]);
}

/// One line of a program that logs with different fields has a site for each set of fields.
#[test]
fn one_line_may_change_fields() {
    assert!(wasmetry_log::init());
    let recorded = testing::capture();
    let log = |pairs: &[(&'static str, u64)]| {
        let record =
            log::Record::builder().level(log::Level::Info).args(format_args!("same")).key_values(&pairs).build();
        log::logger().log(&record);
    };
    log(&[("a", 1)]);
    log(&[("b", 1), ("a", 2)]);
    log(&[]);
    log(&[("a", 3)]);
    recorded.assert_logs(&["INFO same a=1", "INFO same b=1 a=2", "INFO same", "INFO same a=3"]);
}

#[test]
fn levels_of_a_capture_apply() {
    assert!(wasmetry_log::init());
    let recorded = testing::capture().up_to(wasmetry::Level::Warn);
    log::warn!("low");
    log::info!("hello");
    recorded.assert_logs(&["WARN low"]);
}

/// A text is cut, and a record takes no more fields than fit.
#[test]
fn large_records_are_cut() {
    assert!(wasmetry_log::init());
    let recorded = testing::capture();
    let pairs: Vec<(String, usize)> = (0..100).map(|number| (format!("key{number}"), number)).collect();
    let pairs = pairs.as_slice();
    let record = log::Record::builder().args(format_args!("{}", "x".repeat(5000))).key_values(&pairs).build();
    log::logger().log(&record);
    let logs = recorded.logs();
    assert!(logs[0].contains(&format!(" {}\u{2026} key0=0 ", "x".repeat(1024))), "{logs:?}");
    assert!(logs[0].ends_with(" key30=30"), "{logs:?}");
}
