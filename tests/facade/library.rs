//! Well-known libraries in one guest, and the part of their instrumentation that arrives.

use wasmetry_host::Recording;
use wasmetry_host::record::Level;

use super::{host, line};

/// The libraries, each with the target of its records. The last three use `tracing`, the others
/// `log`.
const LIBRARIES: [(&str, &str); 11] = [
    ("aho-corasick", "aho_corasick"),
    ("globset", "globset"),
    ("handlebars", "handlebars"),
    ("html5ever", "html5ever"),
    ("pubgrub", "pubgrub"),
    ("regex-automata", "regex_automata"),
    ("sqlparser", "sqlparser"),
    ("tungstenite", "tungstenite"),
    ("h2", "h2"),
    ("tower", "tower"),
    ("tower-http", "tower_http"),
];

/// Every library's records arrive, with its own target and with places. `--nocapture` lists them.
#[test]
fn records_of_libraries_arrive() {
    for is_pushed in [false, true] {
        let (host, sink) = host("library-user", is_pushed);
        let recording = Recording { export: "trace".parse().unwrap(), record: Level::Trace, ..Recording::default() };
        host.component.set_recording(recording);
        for (name, target) in LIBRARIES {
            let mut user = host.instance();
            user.run("use-library", (name,));
            drop(user);
            let (logs, spans) = (sink.take_logs(), sink.take_spans());
            let is_own = |found: &str| found == target || found.starts_with(&format!("{target}::"));
            let own: Vec<String> = logs.iter().filter(|log| is_own(&log.target)).map(line).collect();
            let names: Vec<&str> = spans.iter().filter(|span| is_own(&span.target)).map(|span| &*span.name).collect();
            println!("{name}: {} logs, spans {names:?}; {}", own.len(), own.first().map_or("", String::as_str));
            assert!(!own.is_empty(), "{name}: {logs:#?} {spans:#?}");
            assert!(!names.is_empty() || !matches!(name, "h2" | "tower-http"), "{name}: {spans:#?}");
            let have_places = logs.iter().all(|log| log.source.as_ref().is_some_and(|source| source.line > 0));
            assert!(have_places, "{logs:#?}");
        }
        let text = host.scrape();
        assert!(!text.contains("signal=\"records\"") && !text.contains("site_table_full"), "{text}");
    }
}
