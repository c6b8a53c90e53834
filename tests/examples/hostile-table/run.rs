//! One run: a server with the hostile tenant and its neighbour, for some seconds.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use ureq::Agent;
use wasmetry_tests::server::Server;
use wasmetry_tests::{guest, peak_memory};

use crate::attack::Attack;

/// The time for one attack that is measured alone.
const PATIENCE: Duration = Duration::from_secs(30);

/// The cost of one run.
pub(crate) struct Cost {
    /// Seconds of processor time that the host took for one attack; 0 without the attacker.
    pub(crate) processor: f64,
    /// The largest resident memory in MiB.
    pub(crate) memory: u64,
    /// The neighbour's requests that were answered in a second.
    pub(crate) answered: f64,
    /// The other effects of the attack.
    pub(crate) note: String,
}

/// A running server.
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) directory: TempDir,
    config: PathBuf,
    /// The time after which a client gives up.
    patience: Duration,
}

impl Host {
    fn start(command: &Path, attack: &Attack, is_attacked: bool, patience: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("wasmetry.toml");
        let (hostile, shop) = (guest("hostile"), guest("storefront"));
        let binary = (attack.binary)(&hostile, directory.path());
        let mut text = String::new();
        let mut component = |path: &Path, name: &str, tenant: &str, lines: &str| {
            let path = path.display();
            writeln!(text, "[[component]]\npath = '{path}'\nname = '{name}'\ntenant = '{tenant}'\n{lines}").unwrap();
        };
        if is_attacked || !attack.is_added {
            component(binary.as_deref().unwrap_or(&hostile), "hostile", "mallory", "prefix = ['/a', '/b', '/c']");
        }
        component(&shop, "shop", "acme", "host = 'shop.test'");
        component(&hostile, "bank", "bank", "prefix = '/bank'");
        for number in 0..attack.components {
            component(&shop, &format!("c{number}"), &format!("t{number}"), &format!("prefix = '/c{number}'"));
        }
        fs::write(&config, text).unwrap();
        let variables = (attack.variables)(directory.path());
        let server = Server::configured_by(command, &config, &variables, attack.open_files);
        Self { server, directory, config, patience }
    }

    /// Adds the hostile component to the configuration, which is read again.
    pub(crate) fn add_hostile(&self, binary: &Path) {
        let text = fs::read_to_string(&self.config).unwrap();
        let path = binary.display();
        let hostile = format!("[[component]]\npath = '{path}'\nname = 'large'\ntenant = 'eve'\nprefix = '/large'\n");
        // As a whole, so that no half of it is read.
        let next = self.directory.path().join("next.toml");
        fs::write(&next, text + &hostile).unwrap();
        fs::rename(next, &self.config).unwrap();
    }

    fn status_of(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.server.id())).unwrap_or_default()
    }

    /// The processor time of the server in seconds.
    fn processor(&self) -> f64 {
        let stat = self.status_of("stat");
        // Behind the command's name in parentheses, in ticks of 10 ms.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    /// The largest resident memory of the server so far, in MiB.
    fn peak(&self) -> u64 {
        peak_memory(self.server.id()) >> 20
    }

    /// Returns the status of a request, or `None` if it is not answered in time.
    pub(crate) fn status(&self, path: &str) -> Option<u16> {
        status(&agent(self.patience), &format!("{}{path}", self.server.url))
    }

    /// Returns a scrape, or an empty text if it is not answered in time.
    pub(crate) fn scrape(&self) -> String {
        let response = agent(self.patience).get(format!("{}/metrics", self.server.telemetry)).call();
        let body = response
            .ok()
            .and_then(|mut response| response.body_mut().with_config().limit(1 << 30).read_to_string().ok());
        body.unwrap_or_default()
    }
}

/// A client that gives up after a time, and does not follow redirects.
pub(crate) fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).max_redirects(0);
    config.timeout_global(Some(timeout)).build().into()
}

pub(crate) fn status(agent: &Agent, url: &str) -> Option<u16> {
    let mut response = agent.get(url).call().ok()?;
    let _ = response.body_mut().read_to_string();
    Some(response.status().as_u16())
}

/// Measures one run: one attack alone, on a server of its own; then the neighbour's requests for a
/// time, with the attacks beside them or without.
pub(crate) fn measure(command: &Path, attack: &Attack, is_attacked: bool, time: Duration) -> Cost {
    let processor = if is_attacked { alone(command, attack) } else { 0.0 };
    let host = Host::start(command, attack, is_attacked, time.max(Duration::from_secs(5)));
    let answered = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let neighbour = |client: Agent| {
        while !is_over.load(Relaxed) {
            let request = client.get(format!("{}/cart", host.server.url)).header("host", "shop.test");
            let is_answered = request
                .call()
                .is_ok_and(|mut response| response.status() == 200 && response.body_mut().read_to_string().is_ok());
            if is_answered && !is_over.load(Relaxed) {
                answered.fetch_add(1, Relaxed);
            }
        }
    };
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| neighbour(agent(time)));
        }
        for _ in 0..if is_attacked { attack.attackers } else { 0 } {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    (attack.once)(&host, &is_over);
                }
            });
        }
        thread::sleep(time);
        is_over.store(true, Relaxed);
    });
    let answered = answered.load(Relaxed) as f64 / time.as_secs_f64();
    let note = if is_attacked { (attack.note)(&host) } else { String::new() };
    let memory = host.peak();
    eprintln!("{}: {answered:.0}/s, {memory} MiB, {processor:.2} s, {:.0?}", attack.name, start.elapsed());
    Cost { processor, memory, answered, note }
}

/// Returns the processor time of one attack, until it is answered or its client gives up.
fn alone(command: &Path, attack: &Attack) -> f64 {
    let host = Host::start(command, attack, true, PATIENCE);
    let before = host.processor();
    (attack.once)(&host, &AtomicBool::new(false));
    // A read goes on after the response.
    let mut after = host.processor();
    let end = Instant::now() + PATIENCE;
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = host.processor();
        if now - after < 0.05 || Instant::now() > end {
            return now - before;
        }
        after = now;
    }
}
