//! The types and validators of Kubernetes, the Prometheus operator, Compose and BuildKit judge the
//! manifests, the Compose file and the container file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "../promtool/app.rs"]
#[allow(dead_code, reason = "each suite uses some of its services")]
mod app;
mod checked;
mod discovery;
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use app::{Random, every_alert, random_service};
use checked::{Checked, Copied};
use wasmetry_ops::{File, Kind, Service, generate};

fn write(directory: &Path, files: &[File]) {
    for file in files {
        let path = directory.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.contents).unwrap();
    }
}

/// Writes the files of a service into a directory.
fn written(service: &Service, directory: &Path) {
    let files = generate(service, Kind::All, true);
    assert_eq!(files, generate(service, Kind::All, true), "the output is deterministic");
    write(directory, &files);
}

/// Returns the manifests in a directory: those of Kubernetes itself, and all of them.
fn manifests(directory: &Path) -> [Vec<PathBuf>; 2] {
    let mut all: Vec<_> = directory.join("kubernetes").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    let is_core = |path: &&PathBuf| {
        !["service-monitor", "prometheus-rule"].contains(&path.file_stem().unwrap().to_str().unwrap())
    };
    [all.iter().filter(is_core).cloned().collect(), all]
}

/// Writes the PromQL in manifests and the adapter's configuration beside them; returns the rule
/// files.
fn rule_files(checked: &Checked, directory: &Path) -> [PathBuf; 2] {
    [("rules-of-manifest.yml", &checked.rules), ("rules-of-adapter.yml", &checked.adapter)].map(|(name, text)| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    })
}

/// A service whose texts are what YAML, Compose, Go's templates or a container file could take for
/// something else.
fn misleading() -> Service {
    let mut service = every_alert();
    service.source = "--config it's/$HOME [a]/w.toml".into();
    service.settings.job = "$1 << job".into();
    service.settings.kubernetes.version = Some("1e5".into());
    service.settings.kubernetes.namespace = Some("null".into());
    service.settings.kubernetes.monitoring_namespace = "no".into();
    service.settings.kubernetes.monitor_labels =
        BTreeMap::from([("release".into(), "1.10".into()), ("on".into(), String::new())]);
    service.settings.kubernetes.request_rate = Some(12.5);
    service.components[0].name = "a<<b>>{{c}}$(POD_NAME)".into();
    service.components[0].path = Some("it's/$HOME [a]/../x y*?.wasm".into());
    service
}

/// Everything that is generated for a service is what its users' own programs read.
#[test]
fn manifests_pass_their_validators() {
    for (service, name) in [(every_alert(), "store-front"), (misleading(), "a-b-c-pod-name")] {
        let directory = tempfile::tempdir().unwrap();
        written(&service, directory.path());
        let [core, all] = manifests(directory.path());
        assert_eq!((core.len(), all.len()), (5, 7));
        if let Some(validate) = tool::kubernetes_validate() {
            tool::assert_passes(&validate, &["--strict", "-k", "1.37.0"], &core);
        }
        if let Some(validate) = tool::kubernetes_models() {
            tool::assert_passes(Path::new("node"), &[validate.to_str().unwrap()], &all);
        }
        let Some(checked) = Checked::read(directory.path()) else { continue };
        for promtool in tool::promtools() {
            tool::assert_passes(&promtool, &["check", "rules"], &rule_files(&checked, directory.path()));
            tool::assert_passes(&promtool, &["check", "config"], &[directory.path().join("compose/prometheus.yml")]);
        }
        if let Some(amtool) = tool::amtool() {
            tool::assert_passes(&amtool, &["check-config"], &[directory.path().join("compose/alertmanager.yml")]);
        }
        let kinds: BTreeSet<&str> = checked.objects.keys().map(String::as_str).collect();
        let expected = [
            "Deployment",
            "HorizontalPodAutoscaler",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "PrometheusRule",
            "Service",
            "ServiceMonitor",
        ];
        assert_eq!(kinds, BTreeSet::from(expected));
        for object in checked.objects.values() {
            assert_eq!(object["metadata"]["name"], name);
            let namespace = service.settings.kubernetes.namespace.as_deref();
            assert_eq!(object["metadata"]["namespace"].as_str(), namespace);
        }
        assert_eq!(checked.compose["name"], name);
        let is_yaml = |file: &File| file.path.ends_with(".yml");
        assert_eq!(checked.files, generate(&service, Kind::All, true).into_iter().filter(is_yaml).count());
    }
}

/// A cluster gets the values of the settings and of the limits.
#[test]
fn deployment_has_limits_of_service() {
    let mut service = every_alert();
    service.components[0].version = "1.4.0+build".into();
    service.components[0].instances = 16;
    service.components[0].memory = 32 << 20;
    service.shutdown_timeout = 12;
    service.settings.image = Some("registry.example.com:5000/shop/front:1".into());
    service.settings.kubernetes.memory_request = Some("128Mi".into());
    service.settings.kubernetes.replicas = 3;
    service.settings.kubernetes.monitor_labels = BTreeMap::from([("release".into(), "prometheus".into())]);
    let directory = tempfile::tempdir().unwrap();
    written(&service, directory.path());
    let Some(checked) = Checked::read(directory.path()) else { return };

    let pods = &checked.objects["Deployment"]["spec"]["template"];
    let labels = serde_json::json!({"app": "store-front", "runtime": "wasmtime", "version": "1.4.0-build"});
    assert_eq!(pods["metadata"]["labels"], labels);
    // 5 s to withdraw the address, 12 for requests, 10 for telemetry.
    assert_eq!(pods["spec"]["terminationGracePeriodSeconds"], 27);
    assert_eq!(pods["spec"]["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pods["spec"]["automountServiceAccountToken"], false);
    let container = &pods["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com:5000/shop/front:1");
    // 128 MiB of the process, and 16 times 32.25.
    let resources = serde_json::json!({"requests": {"cpu": "500m", "memory": "128Mi"}, "limits": {"memory": "644Mi"}});
    assert_eq!(container["resources"], resources);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    let probe = |name: &str| (container[name]["httpGet"]["path"].clone(), container[name]["httpGet"]["port"].clone());
    assert_eq!(probe("livenessProbe"), ("/healthz".into(), "telemetry".into()));
    assert_eq!(probe("readinessProbe"), ("/readyz".into(), "telemetry".into()));

    let autoscaler = &checked.objects["HorizontalPodAutoscaler"]["spec"];
    assert_eq!((&autoscaler["minReplicas"], &autoscaler["maxReplicas"]), (&3.into(), &10.into()));
    assert_eq!(autoscaler["metrics"][0]["pods"]["metric"]["name"], "wasm_instances_saturation");
    assert_eq!(autoscaler["metrics"][0]["pods"]["target"]["averageValue"], "700m");
    assert!(checked.adapter.contains(" / avg_over_time(wasm_instances_limit{"), "{}", checked.adapter);
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        assert_eq!(checked.objects[kind]["metadata"]["labels"]["release"], "prometheus");
    }
    let endpoint = &checked.objects["ServiceMonitor"]["spec"]["endpoints"][0];
    assert_eq!(
        (&endpoint["honorLabels"], &endpoint["relabelings"][0]["replacement"]),
        (&true.into(), &"wasmetry".into())
    );
    let rule = &checked.objects["NetworkPolicy"]["spec"]["ingress"];
    assert_eq!(rule[0].get("from"), None);
    assert_eq!(rule[1]["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "monitoring");

    // The Compose file has the same image and limits.
    let app = &checked.compose["app"];
    assert_eq!((&app["image"], &app["read_only"]), (&container["image"], &true.into()));
    assert_eq!(app["mem_limit"].as_str().unwrap(), (644_u64 << 20).to_string());
    assert_eq!(app["user"], "65532:65532");
}

/// The image has the program and the files that its command names, and nothing runs as root.
#[test]
fn container_file_copies_named_files() {
    let config = {
        let mut service = every_alert();
        service.source = "--config examples/wasmetry.toml".into();
        service.components[0].path = Some("examples/../target/guests/a.wasm".into());
        service
    };
    let with = |files: &[(&str, &str)]| -> Vec<Copied> {
        let copied =
            |(from, to, mode): (&str, &str, &str)| Copied { from: from.into(), to: to.into(), mode: mode.into() };
        let program = copied(("wasmetry", "/usr/local/bin/wasmetry", "0555"));
        [program].into_iter().chain(files.iter().map(|(from, to)| copied((from, to, "0444")))).collect()
    };
    let cases = [
        (every_alert(), with(&[("store-front.wasm", "/srv/store-front.wasm")]), vec!["serve", "/srv/store-front.wasm"]),
        (
            config,
            with(&[
                ("examples/wasmetry.toml", "/srv/examples/wasmetry.toml"),
                ("target/guests/a.wasm", "/srv/target/guests/a.wasm"),
            ]),
            vec!["serve", "--config", "/srv/examples/wasmetry.toml"],
        ),
        // Sources are patterns, so that special characters are in sets of one.
        (
            misleading(),
            with(&[("$HOME [[]a]/w.toml", "/srv/$HOME [a]/w.toml"), ("x y[*][?].wasm", "/srv/x y*?.wasm")]),
            vec!["serve", "--config", "/srv/$HOME [a]/w.toml"],
        ),
    ];
    for (service, copies, command) in cases {
        let directory = tempfile::tempdir().unwrap();
        written(&service, directory.path());
        let Some(Checked { container, objects, .. }) = Checked::read(directory.path()) else { return };
        assert_eq!(container.copies, copies);
        let addresses = ["--addr", "0.0.0.0:8080", "--telemetry-addr", "0.0.0.0:9464"];
        assert_eq!(container.command, [command, addresses.to_vec()].concat());
        assert_eq!((container.base.as_str(), container.user.as_str()), ("scratch", "65532:65532"));
        assert_eq!(container.entrypoint, ["/usr/local/bin/wasmetry"]);
        // The manifest passes the same arguments.
        let container_of_pod = &objects["Deployment"]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container_of_pod["args"], serde_json::json!(container.command));
    }
}

/// The autoscaler reads, of each pod, the fullest component and the sum of all requests.
#[test]
fn autoscaler_metrics_are_of_pods() {
    let mut service = every_alert();
    service.components.push(service.components[0].clone());
    service.components[1].name = "relay".into();
    let directory = tempfile::tempdir().unwrap();
    written(&service, directory.path());
    let Some(checked) = Checked::read(directory.path()) else { return };
    rule_files(&checked, directory.path());
    let series = |metric: &str, component: &str, pod: &str, values: &str| {
        format!(
            "  - {{series: '{metric}{{job=\"wasmetry\",component=\"{component}\",namespace=\"shop\",pod=\"{pod}\"}}', values: '{values}'}}\n"
        )
    };
    let input = [
        // 5 of 10, and 20 of 100; then 1 of 10, and 90 of 100. A third pod is not requested.
        series("wasm_instances", "store-front", "a", "5x20"),
        series("wasm_instances", "relay", "a", "20x20"),
        series("wasm_instances", "store-front", "b", "1x20"),
        series("wasm_instances", "relay", "b", "90x20"),
        series("wasm_instances", "relay", "c", "100x20"),
        series("wasm_instances_limit", "store-front", "a", "10x20"),
        series("wasm_instances_limit", "relay", "a", "100x20"),
        series("wasm_instances_limit", "store-front", "b", "10x20"),
        series("wasm_instances_limit", "relay", "b", "100x20"),
        series("wasm_instances_limit", "relay", "c", "100x20"),
        series("wasm_http_requests_total", "store-front", "a", "0+60x20"),
        series("wasm_http_requests_total", "relay", "a", "0+30x20"),
        series("wasm_http_requests_total", "relay", "b", "0+6x20"),
    ];
    let expected = |expr: &str, of_pods: [(&str, f64); 2]| {
        let samples = of_pods.map(|(pod, value)| format!("    - {{labels: '{{pod=\"{pod}\"}}', value: {value}}}\n"));
        format!("  - expr: 'sum by (pod) ({expr})'\n    eval_time: 15m\n    exp_samples:\n{}", samples.concat())
    };
    let tests = format!(
        "rule_files: [rules-of-adapter.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n{}  promql_expr_test:\n{}{}",
        input.concat(),
        expected("wasm_instances_saturation", [("a", 0.5), ("b", 0.9)]),
        expected("wasm_http_requests_per_second", [("a", 1.5), ("b", 0.1)]),
    );
    let path = directory.path().join("tests.yml");
    fs::write(&path, tests).unwrap();
    for promtool in tool::promtools() {
        tool::assert_passes(&promtool, &["test", "rules"], std::slice::from_ref(&path));
    }
}

/// Manifests are valid with names of any length and any characters, and with random limits.
#[test]
fn random_apps_have_valid_manifests() {
    let mut random = Random::new(0xc0de);
    let (mut core, mut all, mut directories) = (Vec::new(), Vec::new(), Vec::new());
    let scratch = tempfile::tempdir().unwrap();
    for number in 0..100 {
        let mut service = random_service(&mut random, number);
        // Every length from 1 on, and no letters at all.
        match number % 4 {
            0 => service.settings.service = Some("x".repeat(number as usize + 1)),
            1 => service.settings.service = Some(format!("{}-", "9".repeat(number as usize))),
            2 => service.settings.service = Some("日本".repeat(number as usize)),
            _ => {}
        }
        for component in &mut service.components {
            component.version = random.text(100);
            component.memory = 65_536 * (1 + u64::from(component.instances) % 65_536);
            component.path = (number % 3 == 0).then(|| random.text(30));
        }
        if number % 5 == 0 {
            service.source = format!("--config {}", random.text(30));
        }
        let directory = scratch.path().join(number.to_string());
        written(&service, &directory);
        let [own, every] = manifests(&directory);
        core.extend(own);
        all.extend(every);
        directories.push(directory);
    }
    let checked = Checked::read_all(&directories).unwrap_or_default();
    let rules: Vec<PathBuf> =
        checked.iter().zip(&directories).flat_map(|(checked, directory)| rule_files(checked, directory)).collect();
    let configs: Vec<PathBuf> = directories.iter().map(|directory| directory.join("compose/prometheus.yml")).collect();
    // Each version has a part of them.
    let promtools = tool::promtools();
    for (promtool, number) in promtools.iter().zip(0..) {
        let part = |files: &[PathBuf]| {
            files.chunks(2).skip(number).step_by(promtools.len()).flatten().cloned().collect::<Vec<_>>()
        };
        if !rules.is_empty() {
            tool::assert_passes(promtool, &["check", "rules"], &part(&rules));
        }
        tool::assert_passes(promtool, &["check", "config"], &part(&configs));
    }
    if let Some(validate) = tool::kubernetes_validate() {
        tool::assert_passes(&validate, &["--strict", "--quiet", "-k", "1.37.0"], &core);
    }
    if let Some(validate) = tool::kubernetes_models() {
        tool::assert_passes(Path::new("node"), &[validate.to_str().unwrap()], &all);
    }
}

/// Each validator refuses the mistakes that it is there for, so that its silence means something.
#[test]
fn mistakes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join("kubernetes").join(name);
    let (deployment, monitor) = (path("deployment.yml"), path("service-monitor.yml"));
    let (types, strict, schema) = (tool::manifests(), tool::kubernetes_validate(), tool::kubernetes_models());
    // The file, the mistake, and those that refuse it: types, the strict schema, the models.
    for (path, from, to, [by_types, by_strict, by_models]) in [
        (&deployment, "runAsNonRoot:", "runAsNonroot:", [true, true, false]),
        (&deployment, "app: store-front", "app: -store-", [true, false, false]),
        (&deployment, "memory: 8352Mi", "memory: 8352MiB", [true, false, true]),
        (&deployment, "containerPort: 8080", "containerPort: x", [true, true, true]),
        (&monitor, "honorLabels:", "honourLabels:", [true, false, false]),
        (&monitor, "port: telemetry", "port: telemetri", [true, false, false]),
        (&monitor, "interval: 15s", "interval: 15 s", [false, false, true]),
    ] {
        written(&every_alert(), directory.path());
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replace(from, to)).unwrap();
        let refuses = |program: &Path, arguments: &[&str], file: &Path| {
            !tool::run(program, arguments, &[file.to_owned()]).status.success()
        };
        if let Some(program) = &types {
            assert_eq!(refuses(program, &[], directory.path()), by_types, "types: {to}");
        }
        // It has no schemas of the operator.
        if let Some(program) = strict.as_ref().filter(|_| path == &deployment) {
            assert_eq!(refuses(program, &["--strict", "-k", "1.37.0"], path), by_strict, "strict schema: {to}");
        }
        if let Some(script) = &schema {
            assert_eq!(refuses(Path::new("node"), &[script.to_str().unwrap()], path), by_models, "models: {to}");
        }
    }
}

/// The images of the Compose file have the versions that the tests run, where they run them.
#[test]
fn images_have_tested_versions() {
    let files = generate(&every_alert(), Kind::Compose, false);
    let compose = &files.iter().find(|file| file.path == "compose/compose.yml").unwrap().contents;
    let readme = fs::read_to_string(tool::root().join("README.md")).unwrap();
    let release = |module: &str| {
        let row = readme.lines().find(|line| line.contains(module)).unwrap();
        row.split('|').nth(2).unwrap().trim().to_owned()
    };
    for (image, module) in [
        ("prom/prometheus:v", "github.com/prometheus/prometheus"),
        ("prom/alertmanager:v", "github.com/prometheus/alertmanager"),
        ("jaegertracing/jaeger:", "github.com/jaegertracing/jaeger"),
    ] {
        assert!(compose.contains(&format!("image: {image}{}\n", release(module))), "{module}: {compose}");
    }
}
