//! The control of recordings: authorisation, changes and errors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wasmetry_export::scrape::{Config, Control, Guard, Recordings, Server, Source};
use wasmetry_host::record::Level;
use wasmetry_host::{Identity, Recording, Registry, Snapshot};

const TOKEN: &str = "0123456789abcdef";

struct Process(Registry);

impl Source for Process {
    fn snapshot(&self) -> Snapshot {
        self.0.snapshot(Duration::ZERO)
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

struct Components(Mutex<Vec<(Identity, Recording)>>);

impl Recordings for Components {
    fn all(&self) -> Vec<(Identity, Recording)> {
        self.0.lock().unwrap().clone()
    }

    fn update(&self, change: &dyn Fn(&Identity, &Recording) -> Option<Recording>) {
        for (identity, recording) in &mut *self.0.lock().unwrap() {
            *recording = change(identity, recording).unwrap_or_else(|| recording.clone());
        }
    }
}

struct Endpoint {
    server: Server,
    components: Arc<Components>,
}

impl Endpoint {
    fn start() -> Self {
        let components = vec![
            (Identity::new("shop").with_version("1"), Recording::default()),
            (Identity::new("shop").with_version("2"), Recording::default()),
            (Identity::new("stock").with_tenant("acme"), Recording::default()),
        ];
        let components = Arc::new(Components(Mutex::new(components)));
        let guard = Guard::default()
            .with_control_token(TOKEN.parse().unwrap())
            .with_view_token("a token that views".replace(' ', "-").parse().unwrap());
        let control = Control::new(Arc::<Components>::clone(&components));
        let config = Config::default().with_guard(guard).with_control(control);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start_with(listener, Arc::new(Process(Registry::new())), config).unwrap();
        Self { server, components }
    }

    fn request(&self, method: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let request =
            http::Request::builder().method(method).uri(format!("http://{}/recording", self.server.local_addr()));
        let request = match token {
            Some(token) => request.header("authorization", token),
            None => request,
        };
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn put(&self, change: &Value) -> (u16, String) {
        self.request("PUT", Some(&format!("Bearer {TOKEN}")), &change.to_string())
    }

    fn exported(&self) -> Vec<String> {
        self.components.all().into_iter().map(|(_, recording)| recording.export.to_string()).collect()
    }
}

#[test]
fn recording_requires_token() {
    let endpoint = Endpoint::start();
    let change = json!({"export": "trace"}).to_string();
    for token in [
        None,
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer 0123456789abcdeF"),
        Some("Basic 0123456789abcdef"),
        Some("Bearer a-token-that-views"),
    ] {
        for method in ["GET", "PUT"] {
            let (status, text) = endpoint.request(method, token, &change);
            assert_eq!(status, 401, "{method} {token:?}");
            assert!(text.contains("Authorization: Bearer"), "{text}");
        }
    }
    assert_eq!(endpoint.exported(), ["info", "info", "info"]);
    assert_eq!(endpoint.request("GET", Some("bearer 0123456789abcdef"), "").0, 200);
    assert_eq!(endpoint.request("DELETE", Some("Bearer 0123456789abcdef"), "").0, 405);
}

#[test]
fn change_affects_named_components() {
    let endpoint = Endpoint::start();
    let (status, text) = endpoint.put(&json!({"component": "shop", "export": "warn,shop::cart=debug"}));
    assert_eq!(status, 200, "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    let one = |version: &str| {
        json!({"component": "shop", "version": version, "export": "warn,shop::cart=debug", "record": "debug",
            "keep_failed": true, "keep_slow_seconds": null})
    };
    assert_eq!(shown, json!([one("1"), one("2")]));
    assert_eq!(endpoint.exported(), ["warn,shop::cart=debug", "warn,shop::cart=debug", "info"]);

    endpoint.put(&json!({"tenant": "acme", "record": "trace", "keep_failed": false, "keep_slow_seconds": 0.25}));
    let (_, stock) = endpoint.components.all().pop().unwrap();
    let kept = Recording {
        record: Level::Trace,
        keep_failed: false,
        keep_slow: Some(Duration::from_millis(250)),
        ..Recording::default()
    };
    assert_eq!(stock, kept);
    endpoint.put(&json!({"component": "stock", "keep_slow_seconds": null}));
    assert_eq!(endpoint.components.all().pop().unwrap().1, Recording { keep_slow: None, ..kept });

    endpoint.put(&json!({"export": "error"}));
    assert_eq!(endpoint.exported(), ["error", "error", "error"]);
}

#[test]
fn invalid_change_has_no_effect() {
    let endpoint = Endpoint::start();
    for (change, status, cause) in [
        (json!({"export": "loud"}), 400, "`loud` in a filter"),
        (json!({"record": "loud"}), 400, "`loud` in `record`"),
        (json!({"keep_slow_seconds": -1.0}), 400, "`keep_slow_seconds`"),
        (json!({"level": "info"}), 400, "unknown field `level`"),
        (json!([]), 400, "no change of a recording"),
        (json!({"component": "shop", "version": "3", "export": "off"}), 404, "no such component"),
        (json!({"export": "x".repeat(100_000)}), 413, "more than 65536 bytes"),
    ] {
        let (is, text) = endpoint.put(&change);
        assert!(is == status && text.contains(cause), "{is} {text}");
    }
    assert_eq!(endpoint.exported(), ["info", "info", "info"]);
}
