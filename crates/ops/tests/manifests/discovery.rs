//! The scrape configuration with every discovery, and the labels that pods' series get.

use std::fs;

use wasmetry_ops::{Kind, Service, generate};

use crate::app::every_alert;
use crate::tool;

/// Returns the scrape configuration of a service.
fn config(service: &Service) -> String {
    generate(service, Kind::Prometheus, false).into_iter().find(|file| file.path == "prometheus.yml").unwrap().contents
}

fn discovering() -> Service {
    let mut service = every_alert();
    service.settings.kubernetes.discovery = true;
    service.settings.kubernetes.namespace = Some("shop".into());
    // Any other job's name is one of a reference.
    service.settings.job = "the $1 job".into();
    service
}

/// Static targets, files, a URL and pods are found by one configuration, and each part by itself.
#[test]
fn every_discovery_is_valid() {
    let mut others = every_alert();
    others.settings.target_files = vec!["targets/*.json".into()];
    others.settings.target_url = Some("http://127.0.0.1:9464/sd".into());
    let mut all = others.clone();
    all.settings.kubernetes = discovering().settings.kubernetes;
    let mut pods = discovering();
    pods.settings.targets.clear();
    let directory = tempfile::tempdir().unwrap();
    let names = ["static_configs", "file_sd_configs", "http_sd_configs", "kubernetes_sd_configs"];
    let built: Vec<_> = tool::promtool().into_iter().collect();
    for (service, discoveries, promtools) in
        [(others, &names[..3], tool::promtools()), (all, &names, built.clone()), (pods, &names[3..], built)]
    {
        let text = config(&service);
        let keys = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_suffix(':'));
        let found: Vec<&str> = keys.filter(|key| names.contains(key)).collect();
        assert_eq!(found, discoveries, "{text}");
        let path = directory.path().join("prometheus.yml");
        fs::write(&path, text).unwrap();
        for promtool in promtools {
            tool::assert_passes(&promtool, &["check", "config"], std::slice::from_ref(&path));
        }
    }
}

/// Of the ports of a running pod, the telemetry port is scraped, with the labels of the pod and the
/// job that the rules select.
#[test]
fn pods_have_their_labels() {
    let text = config(&discovering());
    let begin = text.find("  kubernetes_sd_configs:\n").unwrap();
    let end = begin + text[begin..].find("  relabel_configs:\n").unwrap();
    // The discovery itself needs a cluster. In its place are the labels that it would give.
    let pod = |port: &str, phase: &str, address: &str| {
        let labels = [
            ("pod_label_app", "store-front"),
            ("pod_label_runtime", "wasmtime"),
            ("pod_label_version", "1.4.0"),
            ("namespace", "shop"),
            ("pod_name", "store-front-7d4b9"),
            ("pod_node_name", "node-1"),
            ("pod_phase", phase),
            ("pod_container_port_name", port),
        ];
        let labels = labels.map(|(name, value)| format!("      __meta_kubernetes_{name}: \"{value}\"\n")).concat();
        format!("  - targets: [\"{address}\"]\n    labels:\n{labels}")
    };
    let pods = [
        pod("telemetry", "Running", "10.0.0.1:9464"),
        pod("http", "Running", "10.0.0.1:8080"),
        pod("telemetry", "Succeeded", "10.0.0.2:9464"),
    ];
    let config = format!("{}  static_configs:\n{}{}", &text[..begin], pods.concat(), &text[end..]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prometheus.yml");
    fs::write(&path, config).unwrap();
    for promtool in tool::promtools() {
        let arguments = ["check", "service-discovery", "--timeout=1s", path.to_str().unwrap(), "the $1 job-kubernetes"];
        let printed = tool::assert_passes(&promtool, &arguments, &[]);
        let found: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let kept: Vec<_> = found
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|target| target["labels"].as_object())
            .filter(|labels| !labels.is_empty())
            .collect();
        let [labels] = kept.as_slice() else { panic!("{printed}") };
        for (name, value) in [
            ("app", "store-front"),
            ("runtime", "wasmtime"),
            ("version", "1.4.0"),
            ("namespace", "shop"),
            ("pod", "store-front-7d4b9"),
            ("node", "node-1"),
            ("job", "the $1 job"),
            ("__address__", "10.0.0.1:9464"),
        ] {
            assert_eq!(labels.get(name).and_then(|value| value.as_str()), Some(value), "{name}: {printed}");
        }
    }
}

/// A telemetry address that requires a token and TLS: Prometheus reads both from files, and its
/// operator from a `Secret`. Nothing that is generated has a secret.
#[test]
fn protected_address_is_scraped() {
    let directory = tempfile::tempdir().unwrap();
    // Prometheus' own check opens them.
    let [token, ca] = ["token", "ca.crt"].map(|name| directory.path().join(name));
    fs::write(&token, "s3cr3t-0123456789").unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../export/tests/certificates/authority.pem"), &ca).unwrap();
    let [token, ca] = [token, ca].map(|path| path.to_str().unwrap().to_owned());
    let mut service = discovering();
    let access = &mut service.settings.telemetry;
    (access.token_file, access.ca_file) = (Some(token.clone()), Some(ca.clone()));
    access.server_name = Some("shop.example.org".into());
    service.settings.target_url = Some("https://shop.example.org:9464/sd".into());
    let files: Vec<_> = [Kind::Prometheus, Kind::Kubernetes, Kind::Compose]
        .into_iter()
        .flat_map(|kind| generate(&service, kind, false))
        .collect();
    assert!(files.iter().all(|file| !file.contents.contains("s3cr3t")));
    let file = |path: &str| &files.iter().find(|file| file.path == path).unwrap().contents;
    let built: Vec<_> = tool::promtool().into_iter().collect();
    for (name, promtools) in [("prometheus.yml", built), ("compose/prometheus.yml", tool::promtools())] {
        let text = file(name);
        let jobs = text.matches("job_name: ").count();
        for line in ["scheme: https", "credentials_file: ", "ca_file: ", "server_name: shop.example.org"] {
            // Discovery by HTTP has a client of its own, whose URL has the scheme.
            let clients = jobs + usize::from(line != "scheme: https" && text.contains("http_sd_configs"));
            assert_eq!(text.matches(line).count(), clients, "{name}: {line}: {text}");
        }
        let path = directory.path().join("prometheus.yml");
        fs::write(&path, text).unwrap();
        for promtool in promtools {
            tool::assert_passes(&promtool, &["check", "config"], std::slice::from_ref(&path));
        }
    }
    let compose = file("compose/compose.yml");
    assert!(
        compose.contains(&format!("{token}:{token}:ro")) && compose.contains(&format!("{ca}:{ca}:ro")),
        "{compose}"
    );
    for file in &files {
        let path = directory.path().join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.contents).unwrap();
    }
    let Some(checked) = crate::checked::Checked::read(directory.path()) else { return };
    let endpoint = &checked.objects["ServiceMonitor"]["spec"]["endpoints"][0];
    let key = |key| serde_json::json!({"name": "store-front-telemetry", "key": key});
    let container = &checked.objects["Deployment"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["livenessProbe"]["httpGet"]["scheme"], "HTTPS");
    assert_eq!(container["readinessProbe"]["httpGet"]["scheme"], "HTTPS");
    assert_eq!(endpoint["scheme"], "https");
    assert_eq!(endpoint["authorization"]["credentials"], key("token"));
    assert_eq!(endpoint["tlsConfig"]["ca"]["secret"], key("ca.crt"));
    assert_eq!(endpoint["tlsConfig"]["serverName"], "shop.example.org");
}
