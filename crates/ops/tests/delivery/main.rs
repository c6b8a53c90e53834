//! The programs that read the generated files judge them: Alertmanager and amtool, the
//! OpenTelemetry Collector, Jaeger, Alloy's parser, Grafana's parser of LogQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

mod alertmanager;
#[path = "../promtool/app.rs"]
#[allow(dead_code, reason = "each suite uses some of its services")]
mod app;
mod line;
mod log;
mod notification;
mod program;
mod trace;

use std::fs;
use std::path::Path;

use wasmetry_ops::{Kind, Service, generate};

/// Writes files of a service.
fn write(directory: &Path, service: &Service, kind: Kind) {
    let files = generate(service, kind, true);
    assert_eq!(files, generate(service, kind, true), "the output is deterministic");
    for file in files {
        let path = directory.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.contents).unwrap();
    }
}

/// Every file names its origin and the command that makes it again.
#[test]
fn files_name_their_origin() {
    let service = app::every_alert();
    for file in generate(&service, Kind::All, true) {
        let head: Vec<&str> = file.contents.lines().take(6).collect();
        let has = |text: &str| head.iter().any(|line| line.contains(text));
        assert!(has("Generated from store-front.wasm by `wasmetry ops`"), "{}: {head:?}", file.path);
        assert!(has("wasmetry ops all store-front.wasm --tests -o DIR"), "{}: {head:?}", file.path);
    }
}

/// Each kind has its own files, and `all` has all of them.
#[test]
fn kinds_divide_files() {
    let service = app::every_alert();
    let paths = |kind| generate(&service, kind, false).into_iter().map(|file| file.path).collect::<Vec<_>>();
    let all = paths(Kind::All);
    let expected = [
        (Kind::Alertmanager, vec!["alertmanager.yml", "templates/wasmetry.tmpl"]),
        (
            Kind::Logs,
            vec![
                "logs/files.alloy",
                "logs/pods.alloy",
                "logs/promtail-files.yml",
                "logs/promtail-pods.yml",
                "logs/collector-files.yml",
                "logs/collector-pods.yml",
                "logs/recipes.md",
            ],
        ),
        (Kind::Traces, vec!["traces/collector.yml", "traces/zipkin.yml"]),
    ];
    for (kind, expected) in expected {
        assert_eq!(paths(kind), expected);
        assert!(expected.iter().all(|path| all.iter().any(|of| of == path)));
    }
    for kind in [Kind::Prometheus, Kind::Rules] {
        assert!(paths(kind).iter().all(|path| !path.starts_with("logs/") && path != "alertmanager.yml"));
    }
}
