//! Well-known libraries in one guest, and what of their instrumentation arrives.

use wasmetry_host::Recording;
use wasmetry_host::record::Level;

use super::{host, line};

/// A library, the targets of its records, and one of its logs or spans.
struct Library {
    name: &'static str,
    target: &'static str,
    expected: &'static str,
}

const LIBRARIES: [Library; 11] = [
    Library { name: "aho-corasick", target: "aho_corasick", expected: "" },
    Library { name: "globset", target: "globset", expected: "" },
    Library { name: "handlebars", target: "handlebars", expected: "" },
    Library { name: "html5ever", target: "html5ever", expected: "" },
    Library { name: "pubgrub", target: "pubgrub", expected: "" },
    Library { name: "regex-automata", target: "regex_automata", expected: "" },
    Library { name: "sqlparser", target: "sqlparser", expected: "" },
    Library { name: "tungstenite", target: "tungstenite", expected: "" },
    Library { name: "h2", target: "h2", expected: "" },
    Library { name: "tower", target: "tower", expected: "" },
    Library { name: "tower-http", target: "tower_http", expected: "" },
];

/// Every library's instrumentation arrives with its own target and place.
#[test]
fn libraries_records_arrive() {
    for is_pushed in [false, true] {
        let (host, sink) = host("library-user", is_pushed);
        let recording = Recording { export: "trace".parse().unwrap(), record: Level::Trace, ..Recording::default() };
        host.component.set_recording(recording);
        for Library { name, target, expected } in LIBRARIES {
            let mut user = host.instance();
            user.run("use-library", (name,));
            drop(user);
            let (logs, spans) = (sink.take_logs(), sink.take_spans());
            let is_own = |found: &str| found == target || found.starts_with(&format!("{target}::"));
            let own_logs: Vec<String> = logs.iter().filter(|log| is_own(&log.target)).map(line).collect();
            let own_spans: Vec<&str> =
                spans.iter().filter(|span| is_own(&span.target)).map(|span| &*span.name).collect();
            println!("{name}: {} logs, {} spans {own_spans:?}", own_logs.len(), own_spans.len());
            for log in own_logs.iter().take(3) {
                println!("    {}", log.chars().take(150).collect::<String>());
            }
            assert!(
                own_logs.iter().any(|log| log.contains(expected)) || own_spans.contains(&expected),
                "{name}: {own_logs:#?} {own_spans:?}"
            );
            let places = logs.iter().all(|log| log.source.as_ref().is_some_and(|source| source.line > 0));
            assert!(places, "{logs:#?}");
        }
        let text = host.scrape();
        assert!(!text.contains("signal=\"records\"") && !text.contains("site_table_full"), "{text}");
    }
}
