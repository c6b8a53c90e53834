//! `wasmetry serve` as a child process, and an HTTP client.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

/// The limit of a server's start and stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The limit of a server's start if it compiles an interpreter of more than 10 MB while other tests
/// run.
const COMPILING: Duration = Duration::from_secs(600);

/// The most bytes of a response. A component may have 32 MiB of series in an exposition.
const MAX_BODY: u64 = 64 << 20;

/// A running `wasmetry serve`. Dropping it kills it.
pub struct Server {
    child: Child,
    /// The lines of stderr. The lock lets clients share the server between threads.
    lines: Mutex<Receiver<String>>,
    /// Those before the addresses.
    first_lines: Vec<String>,
    /// The service's address as a URL, without a slash at its end.
    pub url: String,
    /// The telemetry endpoint's address as a URL, without a slash at its end.
    pub telemetry: String,
}

/// Returns the path of the command that this workspace has built.
///
/// # Panics
///
/// Panics if it has not been built.
pub fn command() -> std::path::PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // <target>/<profile>/deps/<test>
    let path = test.ancestors().nth(2).expect("cargo builds tests three levels down").join("wasmetry");
    assert!(path.exists(), "{} is missing: run `cargo xtask test`, which builds it", path.display());
    path
}

impl Server {
    /// Serves a component on free ports.
    ///
    /// # Panics
    ///
    /// Panics with the command's stderr if it does not start.
    pub fn start(wasm: &Path, arguments: &[&str]) -> Self {
        Self::start_with(wasm, arguments, &[])
    }

    /// Serves a component on free ports, with environment variables for the command.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with(wasm: &Path, arguments: &[&str], variables: &[(&str, String)]) -> Self {
        let wasm = [wasm.as_os_str()];
        Self::launch(wasm.into_iter().chain(arguments.iter().map(OsStr::new)), variables, Stdio::null(), PATIENCE)
    }

    /// Serves a large component, such as one that contains an interpreter, which takes longer to
    /// compile.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_patiently(wasm: &Path, arguments: &[&str], variables: &[(&str, String)]) -> Self {
        let wasm = [wasm.as_os_str()];
        Self::launch(wasm.into_iter().chain(arguments.iter().map(OsStr::new)), variables, Stdio::null(), COMPILING)
    }

    /// Serves as [`start_with`](Self::start_with) does, with the command's stdout in a file.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with_stdout(wasm: &Path, arguments: &[&str], variables: &[(&str, String)], stdout: &Path) -> Self {
        let wasm = [wasm.as_os_str()];
        let stdout = File::create(stdout).unwrap();
        Self::launch(wasm.into_iter().chain(arguments.iter().map(OsStr::new)), variables, stdout.into(), PATIENCE)
    }

    /// Serves as [`start_with`](Self::start_with) does, with a stdout that no process reads.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with_unread_stdout(wasm: &Path, arguments: &[&str], variables: &[(&str, String)]) -> Self {
        let wasm = [wasm.as_os_str()];
        Self::launch(wasm.into_iter().chain(arguments.iter().map(OsStr::new)), variables, Stdio::piped(), PATIENCE)
    }

    /// Serves the components of a configuration on free ports.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn configured(config: &Path, variables: &[(&str, String)]) -> Self {
        Self::configured_with(config, &[], variables)
    }

    /// Serves as [`configured`](Self::configured) does, with more arguments.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn configured_with(config: &Path, arguments: &[&str], variables: &[(&str, String)]) -> Self {
        Self::configured_writing(config, arguments, variables, None)
    }

    /// Serves as [`configured_with`](Self::configured_with) does, with the command's stdout in a
    /// file, if there is one.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn configured_writing(
        config: &Path,
        arguments: &[&str],
        variables: &[(&str, String)],
        stdout: Option<&Path>,
    ) -> Self {
        let config = [OsStr::new("--config"), config.as_os_str()];
        let stdout = stdout.map_or_else(Stdio::null, |path| File::create(path).unwrap().into());
        Self::launch(config.into_iter().chain(arguments.iter().map(OsStr::new)), variables, stdout, PATIENCE)
    }

    /// Serves a component on free ports, with these limits of open files: a soft one and a hard
    /// one.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with_open_files(wasm: &Path, soft: u32, hard: u32) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={soft}:{hard}")).arg(self::command());
        Self::spawn(command, [wasm.as_os_str()], &[], Stdio::null(), PATIENCE)
    }

    /// Serves the components of a configuration on free ports by another command than that of this
    /// workspace, with this limit of open files if there is one.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn configured_by(program: &Path, config: &Path, variables: &[(&str, String)], open_files: Option<u32>) -> Self {
        let mut command = Command::new(program);
        if let Some(files) = open_files {
            command = Command::new("prlimit");
            command.arg(format!("--nofile={files}:{files}")).arg(program);
        }
        let config = [OsStr::new("--config"), config.as_os_str()];
        Self::spawn(command, config, variables, Stdio::null(), PATIENCE)
    }

    /// The id of the server's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn launch<'a>(
        arguments: impl IntoIterator<Item = &'a OsStr>,
        variables: &[(&str, String)],
        stdout: Stdio,
        patience: Duration,
    ) -> Self {
        Self::spawn(Command::new(command()), arguments, variables, stdout, patience)
    }

    fn spawn<'a>(
        mut command: Command,
        arguments: impl IntoIterator<Item = &'a OsStr>,
        variables: &[(&str, String)],
        stdout: Stdio,
        patience: Duration,
    ) -> Self {
        let arguments: Vec<&OsStr> = arguments.into_iter().collect();
        command.arg("serve");
        for flag in ["--addr", "--telemetry-addr"] {
            if !arguments.contains(&OsStr::new(flag)) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        let mut child = command
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let lines = Mutex::new(lines);
        let (url, telemetry) = (String::new(), String::new());
        let mut server = Self { child, lines, first_lines: Vec::new(), url, telemetry };
        let end = Instant::now() + patience;
        while server.url.is_empty() || server.telemetry.is_empty() {
            match server.lines.get_mut().unwrap().recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(url) = url_after(&line, "telemetry ") {
                        server.telemetry = url.trim_end_matches("/metrics").to_owned();
                    } else if let Some(url) = url_after(&line, "serving ") {
                        server.url = url;
                    }
                    server.first_lines.push(line);
                }
                Err(_) => panic!("wasmetry serve did not start; its stderr: {:#?}", server.first_lines),
            }
        }
        server
    }

    /// Returns a scrape in the Prometheus text format.
    pub fn scrape(&self) -> String {
        let (status, text) = get(&agent(), &format!("{}/metrics", self.telemetry));
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Scrapes until `done` returns `true`, and returns that scrape. A request's samples may follow
    /// its response.
    ///
    /// # Panics
    ///
    /// Panics with the last scrape if that takes too long.
    pub fn scrape_until(&self, done: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.scrape();
            if done(&text) {
                return text;
            }
            assert!(Instant::now() < end, "no scrape has the expected samples; the last one:\n{text}");
            // A pause between two looks, so that the server gets the processor.
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the server, and returns its exit status and its stderr.
    pub fn stop(mut self) -> (ExitStatus, Vec<String>) {
        self.terminate();
        let status = self.wait();
        (status, self.lines.lock().unwrap().iter().collect())
    }

    /// Sends SIGTERM, without waiting for the server's end.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal to the server.
    ///
    /// # Panics
    ///
    /// Panics if the server has ended.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// Limits the number of files that the server can have open.
    ///
    /// # Panics
    ///
    /// Panics if that is not possible.
    pub fn limit_open_files(&self, files: u32) {
        let pid = self.child.id().to_string();
        let limit = format!("--nofile={files}:");
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    }

    /// Sends bytes to the service and returns everything that it answers.
    ///
    /// # Panics
    ///
    /// Panics if the connection fails.
    pub fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits for a line of stderr that begins with `begin`, and returns it: of those before the
    /// addresses too, else the next one. Earlier lines are discarded.
    ///
    /// # Panics
    ///
    /// Panics with the earlier lines if there is none in time.
    pub fn wait_for(&self, begin: &str) -> String {
        if let Some(line) = self.first_lines.iter().find(|line| line.starts_with(begin)) {
            return line.clone();
        }
        let (mut stderr, lines) = (Vec::new(), self.lines.lock().unwrap());
        let end = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(begin) => return line,
                Ok(line) => stderr.push(line),
                Err(_) => panic!("no line begins with `{begin}`: {stderr:#?}"),
            }
        }
    }

    /// Waits for the server's end and returns its exit status.
    ///
    /// # Panics
    ///
    /// Panics if it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the server did not stop");
            thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url_after(line: &str, word: &str) -> Option<String> {
    let rest = &line[line.find(word)? + word.len()..];
    let url = rest.split_whitespace().next()?;
    url.starts_with("http://").then(|| url.to_owned())
}

/// Makes a client that reuses connections and returns a response of any status.
pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        // A redirect is a response like any other.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .max_idle_connections_per_host(8)
        .build()
        .into()
}

/// Sends a GET request and returns the status and the body.
///
/// # Panics
///
/// Panics if there is no response.
pub fn get(agent: &Agent, url: &str) -> (u16, String) {
    let mut response = agent.get(url).call().unwrap_or_else(|error| panic!("{url}: {error}"));
    let body = response.body_mut().with_config().limit(MAX_BODY).read_to_string();
    let body = body.unwrap_or_else(|error| panic!("{url}: {error}"));
    (response.status().as_u16(), body)
}
