//! `wasmetry serve --config`: several components in one process, and reloads while they serve.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use wasmetry_tests::exposition::{has, sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{Collector, text};
use wasmetry_tests::server::{Server, agent, get};

/// A configuration file in a temporary directory.
struct File {
    directory: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("wasmetry.toml")
    }

    /// Replaces the file atomically, with its text [expanded](expand).
    fn write(&self, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, expand(text)).unwrap();
        fs::rename(&new, self.path()).unwrap();
    }
}

/// Replaces `<NAME>` by the path of the guest `NAME`.
fn expand(text: &str) -> String {
    ["storefront", "uninstrumented"]
        .iter()
        .fold(text.to_owned(), |text, name| text.replace(&format!("<{name}>"), &format!("'{}'", guest(name).display())))
}

/// Sends a GET request with this `Host`, and returns the status and the body.
fn get_from(server: &Server, host: &str, path: &str) -> (u16, String) {
    let request = agent().get(format!("{}{path}", server.url)).header("host", host);
    let mut response = request.call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

const TWO: &str = "
    [defaults]
    env = { A = 'all', B = 'all' }
    [[component]]
    path = <storefront>
    name = 'shop'
    version = '1.4'
    tenant = 'acme'
    host = ['shop.test', '*.shop.test']
    request-timeout = '200ms'
    [[component]]
    path = <uninstrumented>
    prefix = '/plain'
    env = { B = 'own' }
";

/// A request's host and path select the component, which has limits and variables of its own.
#[test]
fn routes_select_components() {
    let file = File::new(TWO);
    let server = Server::configured(&file.path(), &[]);
    assert_eq!(get_from(&server, "shop.test", "/cart"), (200, "Your cart is empty.\n".to_owned()));
    assert_eq!(get_from(&server, "www.Shop.test:80", "/plain").1, "There is no such page.\n");
    assert_eq!(get_from(&server, "other.test", "/plain/environment"), (200, "A=all\nB=own\n".to_owned()));
    assert_eq!(get_from(&server, "shop.test", "/spin").0, 504);
    assert_eq!(get_from(&server, "other.test", "/cart"), (404, "nothing is served here\n".to_owned()));
    assert_eq!(get_from(&server, "other.test", "/plainly").0, 404);

    let metrics = server.scrape();
    let shop = [("component", "shop"), ("version", "1.4"), ("tenant", "acme")];
    assert_eq!(sum(&metrics, "http_requests_total", &shop), 3.0);
    assert_eq!(sum(&metrics, "wasm_http_requests_total", &shop), 3.0);
    let plain = [("component", "uninstrumented"), ("route", "/plain"), ("status", "200")];
    assert_eq!(sum(&metrics, "wasm_http_requests_total", &plain), 1.0);
    assert!(!has(&metrics, "wasm_http_requests_total", &[("component", "uninstrumented"), ("tenant", "acme")]));
    assert_eq!(value(&metrics, "wasmetry_unrouted_requests_total", &[]), 2.0);
}

/// While components are replaced, every request is served and counted once.
#[test]
fn reload_loses_no_request() {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 400;
    const RELOADS: usize = 6;
    let config = |version: usize| {
        format!(
            "[[component]]\npath = <storefront>\nname = 'shop'\nversion = '{version}'\nenv = {{ V = '{version}' }}\n"
        )
    };
    let file = File::new(&config(0));
    let server = Server::configured(&file.path(), &[]);
    let is_over = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let agent = agent();
                    let mut count = 0;
                    // The last reload lies between two requests of each client.
                    while count < REQUESTS || !is_over.load(Ordering::Relaxed) {
                        let (status, text) = get(&agent, &format!("{}/slow?ms=1", server.url));
                        assert_eq!((status, text.as_str()), (200, "That took a while.\n"));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut more = 0;
        for version in 1..=RELOADS {
            file.write(&config(version));
            server.signal("HUP");
            assert!(server.wait_for("reloaded on").ends_with("shop"));
            // The line may be that of an earlier version, whose file was found changed before the
            // signal.
            let version = version.to_string();
            while sum(&server.scrape(), "http_requests_total", &[("version", &version)]) == 0.0 {
                assert_eq!(get(&agent(), &format!("{}/slow?ms=1", server.url)).0, 200);
                more += 1;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        more + clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    let metrics = server.scrape_until(|text| sum(text, "wasm_http_requests_in_flight", &[]) == 0.0);
    assert_eq!(sum(&metrics, "http_requests_total", &[("route", "/slow")]), served as f64);
    assert_eq!(sum(&metrics, "wasm_http_requests_total", &[("status", "200")]), served as f64);
    assert_eq!(sum(&metrics, "wasm_http_requests_total", &[]), served as f64);
    for version in 0..=RELOADS {
        assert!(has(&metrics, "http_requests_total", &[("version", &version.to_string())]), "{version}");
    }
    assert_eq!(sum(&metrics, "wasm_http_requests_in_flight", &[]), 0.0);
}

/// A changed file is loaded; a broken one leaves the running configuration as it is.
#[test]
fn broken_configuration_changes_nothing() {
    let file = File::new(TWO);
    let server = Server::configured(&file.path(), &[]);
    let is_successful = || value(&server.scrape(), "wasmetry_config_last_reload_successful", &[]);
    assert_eq!(is_successful(), 1.0);

    file.write("[[component]]\npath = <uninstrumented>\nprefix = 'plain'\n");
    let error = server.wait_for("error: not reloaded on a changed file");
    assert!(
        error.contains("wasmetry.toml:3:10: `component.prefix`: a prefix begins with a slash: `/plain`"),
        "{error}"
    );
    assert_eq!(is_successful(), 0.0);
    assert_eq!(get_from(&server, "shop.test", "/cart").0, 200);

    file.write("[[component]]\npath = 'none.wasm'\n");
    let error = server.wait_for("error: not reloaded on a changed file");
    assert!(error.contains("wasmetry.toml:2:8: `component.path`: cannot open"), "{error}");

    // The missing file is created.
    let wasm = file.directory.path().join("none.wasm");
    fs::copy(guest("uninstrumented"), &wasm).unwrap();
    server.wait_for("reloaded on a changed file: none");
    assert_eq!(is_successful(), 1.0);
    assert_eq!(get_from(&server, "any.test", "/").1, "plain\n");
    let before = value(&server.scrape(), "wasmetry_config_last_reload_success_timestamp_seconds", &[]);

    // Another binary at the same path is another version.
    replace(&guest("storefront"), &wasm);
    server.wait_for("reloaded on a changed file: none");
    assert_eq!(get_from(&server, "any.test", "/").1, "Welcome.\n");
    let metrics = server.scrape();
    assert!(value(&metrics, "wasmetry_config_last_reload_success_timestamp_seconds", &[]) > before);
    let versions = metrics.lines().filter(|line| line.starts_with("wasm_instance_starts_total{component=\"none\""));
    assert_eq!(versions.count(), 2, "{metrics}");
}

/// A component whose binary is broken keeps its former version, or is left out if it has none, and
/// the others are reloaded.
#[test]
fn broken_binary_stops_no_other_component() {
    let config = |version: &str, more: &str| {
        let app = "[[component]]\npath = 'app.wasm'\nversion = '1'\nprefix = '/app'\n";
        format!("{app}[[component]]\npath = <storefront>\nversion = '{version}'\n{more}")
    };
    let file = File::new(&config("1", ""));
    let app = file.directory.path().join("app.wasm");
    fs::copy(guest("uninstrumented"), &app).unwrap();
    let server = Server::configured(&file.path(), &[]);
    let is_successful = || value(&server.scrape(), "wasmetry_config_last_reload_successful", &[]);

    // Neither a component, nor one that can be linked, nor there at all.
    let empty = wat::parse_str("(component)").unwrap();
    for (version, bytes, cause) in [
        ("2", Some(&b"not WebAssembly"[..]), "is not a WebAssembly binary"),
        ("3", Some(&empty), "does not export"),
        ("4", None, "cannot open"),
    ] {
        match bytes {
            Some(bytes) => fs::write(&app, bytes).unwrap(),
            None => fs::remove_file(&app).unwrap(),
        }
        let new = "[[component]]\npath = 'none.wasm'\ntenant = 'acme'\nprefix = '/new'\n";
        file.write(&config(version, new));
        server.signal("HUP");
        let error = server.wait_for("error: not reloaded on");
        assert!(error.contains("`app`: its former version stays in force: ") && error.contains(cause), "{error}");
        let error = server.wait_for("error: not reloaded on");
        assert!(error.contains("`none` of the tenant `acme`: it is left out"), "{error}");
        let line = server.wait_for("reloaded on");
        assert!(line.ends_with(", without 2 components: storefront"), "{line}");
        assert_eq!(is_successful(), 0.0);
        assert_eq!(get_from(&server, "any.test", "/app").1, "plain\n");
        assert_eq!(get_from(&server, "any.test", "/new").0, 404);
        assert_eq!(get_from(&server, "any.test", "/").0, 200);
        let served = [("component", "storefront"), ("version", version)];
        assert_eq!(value(&server.scrape(), "wasm_instance_starts_total", &served), 2.0, "{version}");
    }
    fs::copy(guest("uninstrumented"), &app).unwrap();
    file.write(&config("5", ""));
    server.signal("HUP");
    server.wait_for("reloaded on");
    assert_eq!(is_successful(), 1.0);
    assert_eq!(get_from(&server, "any.test", "/app").1, "plain\n");
}

/// A reload sets the limits of clients for requests from then on.
#[test]
fn reload_changes_limits_of_clients() {
    let config =
        |bytes: &str| format!("[limits]\nrequest-body-bytes = {bytes}\n[[component]]\npath = <uninstrumented>\n");
    let file = File::new(&config("'off'"));
    let server = Server::configured(&file.path(), &[]);
    let upload = || agent().post(&server.url).send("four").unwrap().status().as_u16();
    assert_eq!(upload(), 200);
    file.write(&config("3"));
    server.signal("HUP");
    server.wait_for("reloaded on");
    assert_eq!(upload(), 413);
    file.write(&config("4"));
    server.signal("HUP");
    server.wait_for("reloaded on");
    assert_eq!(upload(), 200);
}

/// A configuration that is written in place, in two halves, is loaded once it is complete.
#[test]
fn half_written_configuration_is_completed() {
    let file = File::new("[[component]]\npath = <storefront>\n");
    let server = Server::configured(&file.path(), &[]);
    let text = expand("[[component]]\npath = <storefront>\nprefix = '/shop'\n[[component]]\npath = <uninstrumented>\n");
    let (first, second) = text.split_at(text.find("'/shop'").unwrap() + 3);
    fs::write(file.path(), first).unwrap();
    server.wait_for("error: not reloaded on a changed file");
    assert_eq!(get_from(&server, "any.test", "/").1, "Welcome.\n");
    fs::write(file.path(), first.to_owned() + second).unwrap();
    server.wait_for("reloaded on a changed file");
    assert_eq!(get_from(&server, "any.test", "/").1, "plain\n");
    assert_eq!(get_from(&server, "any.test", "/shop/cart").1, "There is no such page.\n");
    assert_eq!(value(&server.scrape(), "wasmetry_config_last_reload_successful", &[]), 1.0);
}

#[test]
fn system_errors_of_reload_are_retried() {
    let config = |prefix: &str| format!("[[component]]\npath = <uninstrumented>\nprefix = '{prefix}'\n");
    let file = File::new(&config("/old"));
    let server = Server::configured(&file.path(), &[]);
    // No file descriptor is left for the new configuration.
    server.limit_open_files(1);
    file.write(&config("/new"));
    let error = server.wait_for("error: not reloaded on a changed file");
    assert!(error.ends_with("; it will be retried"), "{error}");
    server.limit_open_files(1024);
    server.wait_for("reloaded on a retry: uninstrumented");
    assert_eq!(get_from(&server, "any.test", "/new").1, "plain\n");
    assert_eq!(value(&server.scrape(), "wasmetry_config_last_reload_successful", &[]), 1.0);
}

#[test]
fn path_spellings_have_one_mount() {
    let file = File::new(
        "[[component]]\npath = <uninstrumented>\nname = 'a'\nprefix = '/a%2Fb'\n
         [[component]]\npath = <storefront>\nname = 'c'\nprefix = '/c'\n",
    );
    let server = Server::configured(&file.path(), &[]);
    // ureq normalises paths itself, so that the request is written by hand.
    let component = |path: &str| {
        let response = server.raw(&format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n"));
        (response.split(' ').nth(1).unwrap().to_owned(), response.contains("plain\n"))
    };
    for path in ["/a%2Fb", "/a%2fb", "/%61%2Fb", "/c/../a%2Fb", "/c/%2e%2E/a%2fb"] {
        assert_eq!(component(path), ("200".to_owned(), true), "{path}");
    }
    for path in ["/a%2Fb/../c", "/%63/", "/./c"] {
        // The guest receives the path as it was sent, and has no such page.
        assert_eq!(component(path), ("404".to_owned(), false), "{path}");
    }
    let metrics = server.scrape();
    assert_eq!(sum(&metrics, "wasm_http_requests_total", &[("component", "a"), ("route", "/a%2Fb")]), 5.0);
    assert_eq!(sum(&metrics, "wasm_http_requests_total", &[("component", "c"), ("route", "/{page}")]), 3.0);
}

#[test]
fn shared_binary_is_compiled_once() {
    const TENANTS: usize = 200;
    let component = |tenant: usize| {
        format!(
            "[[component]]\npath = <storefront>\nname = 'shop'\nversion = '1'\ntenant = 't{tenant}'\n\
             prefix = '/p{tenant}'\nmax-memory = '{}MiB'\n",
            16 + tenant % 2
        )
    };
    let file = File::new(&(0..TENANTS).map(component).collect::<String>());
    let server = Server::configured(&file.path(), &[]);
    let cpu_seconds = value(&server.scrape(), "process_cpu_seconds_total", &[]);
    let single = File::new(&component(0));
    let single = value(&Server::configured(&single.path(), &[]).scrape(), "process_cpu_seconds_total", &[]);
    // Each further component costs a few milliseconds, against a second for compiling it.
    assert!(cpu_seconds < 3.0 * single + 3.0, "{cpu_seconds} for all, {single} for one");
    for tenant in [0, 1, TENANTS - 1] {
        assert_eq!(get_from(&server, "any.test", &format!("/p{tenant}/cart")).0, 404);
    }
    // Another tenant takes its share of the same pool; the others keep their instances.
    file.write(&(0..=TENANTS).map(component).collect::<String>());
    server.wait_for("reloaded on a changed file: shop");
    assert_eq!(get_from(&server, "any.test", &format!("/p{TENANTS}/cart")).0, 404);
    let metrics = server.scrape();
    for (tenant, starts) in [(0, 1.0), (1, 1.0), (TENANTS - 1, 1.0), (TENANTS, 1.0), (2, 0.0)] {
        let labels = [("component", "shop"), ("tenant", &*format!("t{tenant}"))];
        assert_eq!(value(&metrics, "wasm_instance_starts_total", &labels), starts, "{tenant}");
    }
}

fn replace(with: &Path, path: &Path) {
    let new = path.with_extension("new");
    fs::copy(with, &new).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn reload_changes_recording() {
    let collector = Collector::start("http/protobuf");
    let config = |level: &str| format!("[[component]]\npath = <storefront>\nlog-level = '{level}'\n");
    let file = File::new(&config("off"));
    let server = Server::configured(&file.path(), &collector.variables());
    assert_eq!(get_from(&server, "a.test", "/checkout?item=quiet").0, 200);
    file.write(&config("off,storefront=info"));
    server.signal("HUP");
    server.wait_for("reloaded on");
    assert_eq!(get_from(&server, "a.test", "/checkout?item=pear").0, 200);
    let arrived = collector.wait(|arrived| !arrived.logs.is_empty());
    let logs: Vec<String> = arrived.logs.iter().map(|(_, log)| text(log.body.as_ref())).collect();
    assert_eq!(logs, ["sold"]);
    let metrics = server.scrape();
    // The component is not replaced.
    assert_eq!(sum(&metrics, "items_sold_total", &[]), 2.0);
    assert_eq!(value(&metrics, "wasm_instance_starts_total", &[]), 2.0);
}

/// The limits of guests change with a reload, for components that are new; the console shows which.
/// One that fails changes none.
#[test]
fn reload_changes_limits() {
    let config = |limits: &str, version: &str| {
        format!("[limits]\n{limits}\n[[component]]\npath = <storefront>\nversion = '{version}'\n")
    };
    let file = File::new(&config("series-per-metric = 100", "1"));
    let server = Server::configured(&file.path(), &[]);
    assert_eq!(get_from(&server, "a.test", "/checkout?item=pear").0, 200);
    let refused = |text: &str| sum(text, "wasmetry_dropped_total", &[("reason", "metric_limit")]);
    assert_eq!(refused(&server.scrape()), 0.0);
    file.write(&config("metrics = 2", "2").replace("version", "unknown"));
    server.signal("HUP");
    server.wait_for("error: not reloaded on");
    assert_eq!(get_from(&server, "a.test", "/checkout?item=pear").0, 200);
    file.write(&config("metrics = 2", "2"));
    server.signal("HUP");
    server.wait_for("reloaded on");
    assert_eq!(get_from(&server, "a.test", "/checkout?item=pear").0, 200);
    let text = server.scrape_until(|text| refused(text) > 0.0);
    assert_eq!(sum(&text, "wasmetry_dropped_total", &[("reason", "metric_limit"), ("version", "1")]), 0.0);
    let body = get(&agent(), &format!("{}/api/v1/explain", server.telemetry)).1;
    let explained: serde_json::Value = serde_json::from_str(&body).unwrap();
    let changes: Vec<_> = explained["changes"].as_array().unwrap().iter().collect();
    let is_noted = |text: &str| {
        changes.iter().any(|change| change["kind"] == "limits" && change["text"].as_str().unwrap().contains(text))
    };
    assert!(is_noted("the limit `metrics` of guests changed from 8192 to 2"), "{changes:#?}");
    assert!(is_noted("the limit `series-per-metric` of guests changed from 100 to"), "{changes:#?}");
    assert!(changes.iter().any(|change| change["kind"] == "config"), "{changes:#?}");
}

#[test]
fn example_configuration_is_valid() {
    let text = fs::read_to_string(wasmetry_tests::root().join("examples/wasmetry.toml")).unwrap();
    let guests = guest("uninstrumented").parent().unwrap().display().to_string();
    let file = File::new(&text.replace("../target/guests", &guests));
    let server = Server::configured(&file.path(), &[]);
    assert_eq!(get_from(&server, "shop.test", "/").1, "Welcome.\n");
    assert_eq!(get_from(&server, "localhost", "/relay/x").0, 405, "the relay refuses GET");
}
