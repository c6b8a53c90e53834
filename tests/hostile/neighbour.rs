//! A hostile tenant and an honest one in one `wasmetry serve`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;
use wasmetry_tests::exposition::sum;
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, command};

/// The identity of the hostile component. Its paths are `/a`, `/b` and `/c`.
pub(crate) const HOSTILE: [(&str, &str); 2] = [("component", "hostile"), ("tenant", "mallory")];

/// The identity of the honest component, a storefront.
pub(crate) const HONEST: [(&str, &str); 2] = [("component", "shop"), ("tenant", "acme")];

/// The host of the honest component.
const HONEST_HOST: &str = "shop.test";

/// The settings of the two tenants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup<'a> {
    /// Lines of the configuration before its components.
    pub(crate) top: &'a str,
    /// Lines of the hostile component.
    pub(crate) hostile: &'a str,
    /// Lines of the honest component.
    pub(crate) honest: &'a str,
    /// Arguments of the command.
    pub(crate) arguments: &'a [&'a str],
    /// Environment variables of the command.
    pub(crate) variables: &'a [(&'a str, String)],
    /// The file for the command's stdout, if it is kept.
    pub(crate) stdout: Option<&'a Path>,
    /// The binary of the hostile component, unless it is the usual one.
    pub(crate) binary: Option<&'a Path>,
    /// The files that the process may have open, if they are limited; then there are no arguments.
    pub(crate) open_files: Option<u32>,
}

/// A server of a hostile and an honest tenant.
pub(crate) struct Neighbours {
    pub(crate) server: Server,
    /// The requests that the honest tenant has answered.
    answered: AtomicU64,
    directory: TempDir,
    config: String,
}

impl Neighbours {
    /// Starts the server, and sends the honest tenant its first requests.
    pub(crate) fn start(setup: Setup<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let Setup { top, hostile, honest, arguments, variables, stdout, binary, open_files } = setup;
        let mut config = format!("{top}\n");
        let (evil, shop) = (binary.map_or_else(|| guest("hostile"), Path::to_owned), guest("storefront"));
        for (path, [(_, name), (_, tenant)], lines) in [
            (&evil, HOSTILE, format!("prefix = ['/a', '/b', '/c']\n{hostile}")),
            (&shop, HONEST, format!("host = '{HONEST_HOST}'\n{honest}")),
        ] {
            writeln!(
                config,
                "[[component]]\npath = '{}'\nname = '{name}'\ntenant = '{tenant}'\n{lines}",
                path.display()
            )
            .unwrap();
        }
        let path = directory.path().join("wasmetry.toml");
        fs::write(&path, &config).unwrap();
        let server = match open_files {
            Some(files) => Server::configured_by(&command(), &path, variables, Some(files)),
            None => Server::configured_writing(&path, arguments, variables, stdout),
        };
        let neighbours = Self { server, answered: AtomicU64::new(0), directory, config };
        neighbours.serve_honest(4);
        neighbours
    }

    /// Sends the hostile guest a request of this path and query, and returns the status; `None` if
    /// there is no response within a client's time.
    pub(crate) fn attack(&self, path: &str) -> Option<u16> {
        status(&format!("{}/a/{path}", self.server.url))
    }

    /// Replaces a text of the configuration, as it was at the start, and waits for the reload.
    pub(crate) fn reload(&self, from: &str, to: &str) {
        self.start_reload(from, to);
        self.server.wait_for("reloaded on");
    }

    /// The same, without waiting.
    pub(crate) fn start_reload(&self, from: &str, to: &str) {
        let next = self.directory.path().join("next.toml");
        fs::write(&next, self.config.replace(from, to)).unwrap();
        fs::rename(next, self.directory.path().join("wasmetry.toml")).unwrap();
        self.server.signal("HUP");
    }

    /// Sends such requests at the same time, and does not wait for them.
    pub(crate) fn start_attacks(&self, path: &str, count: usize) -> Vec<JoinHandle<Option<u16>>> {
        self.start_attacks_of("a", path, count)
    }

    /// Sends such requests to a component with another prefix.
    pub(crate) fn start_attacks_of(&self, prefix: &str, path: &str, count: usize) -> Vec<JoinHandle<Option<u16>>> {
        let url = format!("{}/{prefix}/{path}", self.server.url);
        let start = |_| {
            let url = url.clone();
            thread::spawn(move || status(&url))
        };
        (0..count).map(start).collect()
    }

    /// Sends requests to the honest tenant from four clients. All of them must be answered.
    pub(crate) fn serve_honest(&self, count: u64) {
        self.serve_storefront(HONEST_HOST, count);
        self.answered.fetch_add(count, Relaxed);
    }

    /// Sends requests to the storefront of a host from four clients. All of them must be answered.
    pub(crate) fn serve_storefront(&self, host: &str, count: u64) {
        thread::scope(|scope| {
            for client in 0..4 {
                scope.spawn(move || {
                    let agent = agent();
                    for _ in 0..(count + client) / 4 {
                        let request = agent.get(format!("{}/cart", self.server.url)).header("host", host);
                        let mut response = request.call().unwrap();
                        assert_eq!(response.status(), 200);
                        assert_eq!(response.body_mut().read_to_string().unwrap(), "Your cart is empty.\n");
                    }
                });
            }
        });
    }

    /// The requests that the honest tenant has answered.
    pub(crate) fn answered(&self) -> f64 {
        self.answered.load(Relaxed) as f64
    }

    /// Asserts that the honest tenant's numbers, as its guests and as the host counts them, are
    /// those of the requests that it has answered, and that nothing of it was dropped.
    ///
    /// Returns the scrape.
    pub(crate) fn assert_honest_exact(&self) -> String {
        self.assert_storefront_exact(HONEST, self.answered())
    }

    /// Asserts the same of a storefront that has answered so many requests.
    pub(crate) fn assert_storefront_exact(&self, owner: [(&str, &str); 2], answered: f64) -> String {
        let requests = |text: &str| {
            let by_guest = sum(text, "http_requests_total", &owner);
            let durations = sum(text, "http_request_duration_seconds_count", &owner);
            let by_host = sum(text, "wasm_http_requests_total", &owner);
            [by_guest, durations, by_host]
        };
        // The host counts a request after its response.
        let text = self.server.scrape_until(|text| requests(text).iter().all(|count| *count >= answered));
        assert_eq!(requests(&text), [answered; 3]);
        let tenant = format!("tenant=\"{}\"", owner[1].1);
        let drops = text.lines().filter(|line| line.starts_with("wasmetry_dropped_total{") && line.contains(&tenant));
        assert_eq!(drops.filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>(), [""; 0]);
        assert_eq!(sum(&text, "wasm_traps_total", &owner), 0.0);
        text
    }

    /// Stops the server, and returns its exit status and its stderr.
    pub(crate) fn stop(self) -> (ExitStatus, Vec<String>) {
        self.server.stop()
    }

    /// Returns the hostile tenant's drops for a reason, in a scrape that has some.
    pub(crate) fn dropped(&self, reason: &str) -> f64 {
        let of = |text: &str| sum(text, "wasmetry_dropped_total", &[HOSTILE[0], HOSTILE[1], ("reason", reason)]);
        of(&self.server.scrape_until(|text| of(text) > 0.0))
    }
}

/// Waits for attacks that were started. Their responses do not matter.
pub(crate) fn finish(attacks: Vec<JoinHandle<Option<u16>>>) {
    for attack in attacks {
        let _ = attack.join().unwrap();
    }
}

fn status(url: &str) -> Option<u16> {
    agent().get(url).call().ok().map(|response| response.status().as_u16())
}

/// Requests that attack nothing leave exact numbers, and a drop has its owner.
#[test]
fn harmless_neighbour_changes_nothing() {
    let neighbours = Neighbours::start(Setup::default());
    let attacks = neighbours.start_attacks("hello", 3);
    neighbours.serve_honest(100);
    finish(attacks);
    let hostile = [HOSTILE[0], HOSTILE[1], ("status", "200")];
    let text = neighbours.server.scrape_until(|text| sum(text, "wasm_http_requests_total", &hostile) == 3.0);
    assert_eq!(sum(&text, "wasmetry_dropped_total", &HOSTILE), 0.0);
    assert_eq!(neighbours.attack("resolve?name=0"), Some(200));
    assert_eq!(neighbours.dropped("invalid_descriptor"), 1.0);
    neighbours.assert_honest_exact();
}
