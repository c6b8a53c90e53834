//! `wasmetry ops`: its files, judged by promtool and compared with what a server exports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use wasm_encoder::Encode as _;
use wasmetry_tests::backend::built;
use wasmetry_tests::server::{Server, agent, command, get};
use wasmetry_tests::tool::Tool;
use wasmetry_tests::{foreign_guest, guest, root};
use wasmparser::{BinaryReader, Parser};

fn ops(arguments: &[&OsStr]) -> Output {
    Command::new(command()).arg("ops").args(arguments).current_dir(root()).output().unwrap()
}

/// Generates the files of `input` with tests, and returns their directory.
fn generate(kind: &str, input: &[&OsStr]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let output =
        ops(&[&[kind.as_ref()], input, &["-o".as_ref(), directory.path().as_os_str(), "--tests".as_ref()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory
}

/// Returns the promtools: Debian's, and that of Prometheus 3.
fn promtools() -> Vec<PathBuf> {
    Tool::Promtool.find().into_iter().chain(built::program("prometheus", "promtool")).collect()
}

/// Runs a program that must succeed, and returns its stdout.
fn assert_passes(program: &Path, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{arguments:?} in {}: {stdout}{stderr}", directory.display());
    stdout
}

/// Generates the files of every example, those in JavaScript and Python where they were built.
fn examples() -> Vec<tempfile::TempDir> {
    let guests = ["storefront", "trace-relay"].map(guest).into_iter();
    let foreign = ["js-guest", "python-guest"].into_iter().filter_map(foreign_guest);
    let config = vec!["--config".into(), "examples/wasmetry.toml".into()];
    let inputs = guests.chain(foreign).map(|path| vec![path.into_os_string()]).chain([config]);
    let generated = inputs.map(|input| {
        let input: Vec<&OsStr> = input.iter().map(OsString::as_os_str).collect();
        generate("all", &input)
    });
    generated.collect()
}

/// Alertmanager, the Collector, Alloy's parser, the types of Kubernetes and of the Prometheus
/// operator, and Grafana's SDK accept what is generated for every example, and the files of
/// `deployment/monitoring`.
#[test]
fn examples_pass_other_programs() {
    let programs = [
        ("alertmanager", "amtool"),
        ("collector", "collector"),
        ("alloy", "alloy-syntax"),
        ("kubernetes", "manifests"),
        ("grafana", "read-dashboards"),
    ];
    let [amtool, collector, alloy, manifests, grafana] = programs.map(|(backend, name)| built::program(backend, name));
    let (examples, checked_in) = (examples(), root().join("deployment/monitoring"));
    for path in examples.iter().map(tempfile::TempDir::path).chain([checked_in.as_path()]) {
        if let Some(amtool) = &amtool {
            assert_passes(amtool, &["check-config", "alertmanager.yml"], path);
        }
        if let Some(collector) = &collector {
            for config in ["logs/collector-files.yml", "logs/collector-pods.yml", "traces/collector.yml"] {
                assert_passes(collector, &["validate", "--config", config], path);
            }
            let both = ["validate", "--config", "traces/collector.yml", "--config", "traces/zipkin.yml"];
            assert_passes(collector, &both, path);
        }
        if let Some(alloy) = &alloy {
            assert_passes(alloy, &["logs/files.alloy", "logs/pods.alloy"], path);
        }
        if let Some(manifests) = &manifests {
            assert_manifests(&assert_passes(manifests, &["."], path), path);
        }
        if let Some(grafana) = &grafana {
            let names = files(path, ".");
            let dashboards: Vec<&str> =
                names.iter().map(String::as_str).filter(|name| name.ends_with(".json")).collect();
            assert!(dashboards.contains(&"./grafana-dashboard.json"), "{names:?}");
            assert_passes(grafana, &dashboards, path);
        }
    }
}

/// Asserts that the reader of manifests, which leaves out what is absent, has read everything.
fn assert_manifests(printed: &str, directory: &Path) {
    let read: Value = serde_json::from_str(printed).unwrap();
    let objects = read[0]["objects"].as_array().unwrap();
    assert_eq!(objects.len(), files(directory, "kubernetes").len(), "{}", directory.display());
    for kind in ["Deployment", "Service", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"] {
        assert!(objects.iter().any(|object| object["kind"] == kind), "{kind}: {}", directory.display());
    }
    let texts = ["rules", "adapter"].map(|key| read[0][key].as_str().unwrap_or_default().to_owned());
    assert!(texts.iter().all(|text| text.contains("expr: ")), "{texts:?}");
    assert!(read[0]["container"].is_object() && read[0]["compose"].is_object(), "{}", directory.display());
}

/// Returns the files of a folder, with the folder's name.
fn files(directory: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(directory.join(folder)).unwrap();
    let names = entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()));
    names.collect()
}

/// Everything that is generated for every example is valid, and its tests pass.
#[test]
fn examples_pass_promtool() {
    let promtools = promtools();
    let check = |path: &Path| {
        for promtool in &promtools {
            assert_passes(promtool, &["check", "config", "prometheus.yml"], path);
            for (action, folder) in [("check", "rules"), ("check", "alerts"), ("test", "tests")] {
                let found = files(path, folder);
                let arguments: Vec<&str> =
                    [action, "rules"].into_iter().chain(found.iter().map(String::as_str)).collect();
                assert_passes(promtool, &arguments, path);
            }
        }
    };
    // The tests of one example take ten seconds and more.
    let examples = examples();
    std::thread::scope(|scope| {
        for example in &examples {
            scope.spawn(move || check(example.path()));
        }
    });
}

/// A configuration has alerts about each of its components. Its objectives are a kind of their own.
#[test]
fn kinds_have_their_own_files() {
    let config: [&OsStr; 2] = ["--config".as_ref(), "examples/wasmetry.toml".as_ref()];
    let directory = generate("rules", &config);
    let alerts = fs::read_to_string(directory.path().join("alerts/wasm-alerts.yml")).unwrap();
    for expected in ["alert: ShopHighErrorRate", "alert: RelayHighErrorRate", "alert: WasmetryConfigReloadFailed"] {
        assert!(alerts.contains(expected), "{expected}: {alerts}");
    }
    assert!(!directory.path().join("prometheus.yml").exists());
    assert!(!directory.path().join("rules/slo.yml").exists());
    let directory = generate("slo", &config);
    let alerts = fs::read_to_string(directory.path().join("rules/slo-alerts.yml")).unwrap();
    for expected in ["alert: ShopAvailabilityBudgetBurn", "alert: ShopFastSlowBudgetBurn", "> 14.4"] {
        assert!(alerts.contains(expected), "{expected}: {alerts}");
    }
    assert!(!directory.path().join("alerts/wasm-alerts.yml").exists());
}

/// `--check` passes on what was generated, and names a file that was changed or removed.
#[test]
fn check_names_differences() {
    let storefront = guest("storefront");
    let directory = generate("all", &[storefront.as_os_str()]);
    let check = || {
        ops(&[
            "all".as_ref(),
            storefront.as_os_str(),
            "-o".as_ref(),
            directory.path().as_os_str(),
            "--tests".as_ref(),
            "--check".as_ref(),
        ])
    };
    assert_eq!(check().status.code(), Some(0));
    fs::write(directory.path().join("alerts/wasm-alerts.yml"), "groups: []\n").unwrap();
    fs::remove_file(directory.path().join("costs.md")).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert!(stderr.contains("alerts/wasm-alerts.yml differs") && stderr.contains("costs.md: "), "{stderr}");
    // Nothing was written.
    assert!(!directory.path().join("costs.md").exists());

    // A file that is generated no more is found, and one of the user's own is not.
    let directory = generate("all", &[storefront.as_os_str()]);
    let old = directory.path().join("rules/old.yml");
    fs::copy(directory.path().join("rules/recording.yml"), &old).unwrap();
    fs::write(directory.path().join("rules/mine.yml"), "groups: []\n").unwrap();
    let output =
        ops(&["all".as_ref(), storefront.as_os_str(), "-o".as_ref(), directory.path().as_os_str(), "--check".as_ref()]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, format!("{} is no longer generated; remove it\n", old.display()));
}

/// The folder `deployment/monitoring` has what is generated today.
#[test]
fn checked_in_files_are_current() {
    let output = ops(&[
        "all".as_ref(),
        "--config".as_ref(),
        "deployment/monitoring/storefront.toml".as_ref(),
        "-o".as_ref(),
        "deployment/monitoring".as_ref(),
        "--tests".as_ref(),
        "--check".as_ref(),
    ]);
    let remedy = "generate it again with the command in deployment/monitoring/storefront.toml";
    assert!(output.status.success(), "{remedy}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A newer binary without a metric breaks the alerts about it; the same binary breaks nothing.
#[test]
fn differences_name_broken_alerts() {
    let (old, new) = (guest("storefront"), guest("trace-relay"));
    let diff = |command_name: &str, new: &Path| {
        let output =
            Command::new(command()).args([command_name, "--diff"]).args([old.as_path(), new]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, lines) = diff("inspect", &new);
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("breaking: http_requests_failed_total: removed\n"), "{lines}");
    let (code, lines) = diff("ops", &new);
    assert_eq!(code, Some(1), "{lines}");
    let alert = "alert StorefrontHttpRequestsFailedRising: http_requests_failed_total: removed\n";
    assert!(lines.contains(alert), "{lines}");
    assert_eq!(diff("inspect", &old), (Some(0), "0 breaking changes, 0 others\n".into()));
    assert_eq!(diff("ops", &old), (Some(0), String::new()));
}

/// Returns the metrics that a rule file or a dashboard selects, without recorded ones.
fn selected(rules: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    rules.match_indices("{job=").map(|(at, _)| rules[..at].rsplit(|c| !is_name(c)).next().unwrap().to_owned()).collect()
}

/// Every metric that a rule selects is one that the server exports.
#[test]
fn selected_metrics_exist() {
    let storefront = guest("storefront");
    // A destination, so that the metrics of exports exist. Nothing listens there.
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9".to_owned())];
    let server = Server::start_with(&storefront, &[], &variables);
    let agent = agent();
    get(&agent, &format!("{}/", server.url));
    let exposition = get(&agent, &format!("{}/metrics", server.telemetry)).1;
    let samples: BTreeSet<&str> = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let directory = generate("all", &[storefront.as_os_str()]);
    let mut selects = BTreeSet::new();
    for file in ["alerts/wasm-alerts.yml", "rules/recording.yml", "grafana-dashboard.json", "grafana-metrics.json"] {
        selects.extend(selected(&fs::read_to_string(directory.path().join(file)).unwrap()));
    }
    for runbook in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let text = fs::read_to_string(runbook.unwrap().path()).unwrap();
        selects.extend(text.split("```promql\n").skip(1).flat_map(|rest| selected(rest.split("```").next().unwrap())));
    }
    // A query of all series has no name.
    selects.remove("");
    assert!(selects.len() > 12 && selects.contains("http_requests_failed_total"), "{selects:?}");
    for name in selects {
        // Prometheus makes `up`; the series of drops exist from the first drop on.
        let exists = samples.contains(name.as_str()) || name == "up";
        let is_declared = exposition.contains(&format!("# TYPE {name} "));
        assert!(exists || name == "wasmetry_dropped_total" || is_declared, "{name} is not in {samples:?}");
    }
    // The buckets are those that the tests and Apdex assume.
    for bound in ["0.001", "0.1", "0.25", "0.4", "0.5", "1.0", "2.5", "10.0", "+Inf"] {
        assert!(exposition.contains(&format!("le=\"{bound}\"")), "{bound}");
    }
}

/// Returns a copy of a component without the custom sections `wasmetry.v1*`, as tools leave it that
/// remove them.
fn without_declarations(binary: &[u8]) -> Vec<u8> {
    let (header, sections) = binary.split_at(8);
    let is_component = Parser::is_component(header);
    let mut kept = header.to_vec();
    let mut reader = BinaryReader::new(sections, 0);
    while !reader.eof() {
        let id = reader.read_u8().unwrap();
        let size = reader.read_var_u32().unwrap();
        let contents = reader.read_bytes(size as usize).unwrap();
        if id == 0 && BinaryReader::new(contents, 0).read_string().unwrap().starts_with("wasmetry.v1") {
            continue;
        }
        // Modules and components within a component.
        let is_nested = is_component && [1, 4].contains(&id);
        let contents = if is_nested { Cow::Owned(without_declarations(contents)) } else { Cow::Borrowed(contents) };
        kept.push(id);
        contents.encode(&mut kept);
    }
    kept
}

/// Bad input is one line with its place, cause and remedy, and nothing is written.
#[test]
fn bad_input_writes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("out");
    let number = std::cell::Cell::new(0);
    let config = |text: &str| {
        let directory = scratch.path().join(number.replace(number.get() + 1).to_string());
        fs::create_dir(&directory).unwrap();
        let path = directory.join("wasmetry.toml");
        fs::write(&path, text).unwrap();
        vec!["--config".into(), path.into_os_string()]
    };
    let component = format!("[[component]]\npath = '{}'\n", guest("storefront").display());
    let slo = |keys: &str| config(&format!("{component}[[slo]]\nname = 'a'\n{keys}\n"));
    let command_line = |name: &str| vec![guest(name).into_os_string()];
    let missing = vec![scratch.path().join("missing.wasm").into_os_string()];
    let stripped = scratch.path().join("stripped.wasm");
    fs::write(&stripped, without_declarations(&fs::read(guest("storefront")).unwrap())).unwrap();
    let stripped_config = config(&format!("[[component]]\npath = '{}'\n", stripped.display()));
    let lost = ["stripped.wasm: ", "declares nothing", "keep the section `wasmetry.v1`"];
    let cases = [
        (vec![stripped.into_os_string()], lost.to_vec()),
        (stripped_config, [&["wasmetry.toml:1:1: "][..], &lost].concat()),
        (command_line("failing-command"), vec!["failing-command.wasm serves no HTTP", "`wasmetry serve`"]),
        (missing, vec!["cannot open", "missing.wasm", "check the path"]),
        (config(&format!("{component}[ops]\nerrors = 1\n")), vec!["wasmetry.toml:4:1: ", "unknown field `errors`"]),
        (slo("objective = 100"), vec!["wasmetry.toml:5:13: `slo.objective`", "from 50 to 99.999, such as `99.9`"]),
        (slo("objective = 0"), vec!["wasmetry.toml:5:13: `slo.objective`", "from 50 to 99.999"]),
        (slo("objective = 100.1"), vec!["wasmetry.toml:5:13: `slo.objective`", "from 50 to 99.999"]),
        (slo("objective = 99\nlatency = '300ms'"), vec!["wasmetry.toml:3:1: ", "has the threshold 300ms", "250ms"]),
        // The bounds that the binary declares, not those of the host's histogram.
        (
            slo("objective = 99\nlatency = '300ms'\nmetric = 'http_request_duration_seconds'"),
            vec![
                "wasmetry.toml:3:1: ",
                "300ms, and http_request_duration_seconds has no bucket with this bound",
                "choose one of 1ms, 5ms, 10ms, 50ms, 100ms, 500ms, 1s, 5s",
            ],
        ),
        (
            slo("objective = 99\ncomponent = 'no'"),
            vec!["wasmetry.toml:3:1: ", "`no`, which is not served", "`storefront`"],
        ),
        (
            slo("objective = 99\nlatency = '250ms'\nmetric = 'no_seconds'"),
            vec!["wasmetry.toml:3:1: ", "`no_seconds`, which `storefront` does not declare", "a histogram in seconds"],
        ),
        (slo("objective = 99\nbad = 'sum('\ntotal = 'a'"), vec!["wasmetry.toml:6:7: ", "is not PromQL: column 5"]),
    ];
    for (input, parts) in cases {
        let input: Vec<&OsStr> = input.iter().map(|argument| argument.as_os_str()).collect();
        let result = ops(&[&["all".as_ref()], input.as_slice(), &["-o".as_ref(), output.as_os_str()]].concat());
        let stderr = String::from_utf8(result.stderr).unwrap();
        assert_eq!((result.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "`{part}` is missing in: {stderr}");
        }
        assert!(!output.exists(), "{stderr}");
    }
    // A component that does not use wasmetry is not bad input: the host counts its requests, too.
    let uninstrumented = guest("uninstrumented");
    let directory = generate("all", &[uninstrumented.as_os_str()]);
    let alerts = fs::read_to_string(directory.path().join("alerts/wasm-alerts.yml")).unwrap();
    assert!(alerts.contains("alert: UninstrumentedHighErrorRate"), "{alerts}");
}
