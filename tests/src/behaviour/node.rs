//! The adapter of Node: core modules and components transpiled by jco, collected by `hosts/node` or
//! adapted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::suite::{Adapter, Opener, Outcome, Seen};
use super::{Behaviour, Behaviours, Call, Ending, Value, file, line};
use crate::adapted;
use crate::tool::Tool;

/// The JavaScript program that runs the guests.
const PROGRAM: &str = "hosts/node/test/behaviour.js";

/// The limit of every wait for Node.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time after which a guest is killed, in milliseconds.
const SOON: u64 = 50;

/// The way a guest is collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way<'a> {
    /// A component that sends what it records.
    Pushed,
    /// A component whose memory is read.
    Read,
    /// A core module whose memory is read.
    Module,
    /// A component adapted by `wasmetry adapt` with these arguments, on a host without wasmetry.
    Adapted(&'a [&'a str]),
}

/// One Node process for all behaviours.
pub struct Node {
    process: Rc<RefCell<Process>>,
    way: &'static str,
    programs: BTreeMap<String, Program>,
    _directory: TempDir,
}

/// A guest's binary and the script that jco has made of it.
struct Program {
    wasm: PathBuf,
    transpiled: Option<PathBuf>,
}

impl Node {
    /// Starts Node. Returns `None` if its packages are not installed.
    ///
    /// # Panics
    ///
    /// Panics if Node, jco or the command fails.
    pub fn start(way: Way<'_>) -> Option<Self> {
        let jco = Tool::Jco.find()?;
        let directory = tempfile::tempdir().unwrap();
        let program = |guest: &str| match way {
            // Only some guests exist as core modules; the table lists them.
            Way::Module => {
                let wasm = crate::target().join(format!("guests/{guest}-module.wasm"));
                wasm.exists().then_some(Program { wasm, transpiled: None })
            }
            Way::Pushed | Way::Read => {
                let wasm = file(guest, directory.path());
                Some(Program { transpiled: Some(transpile(&jco, guest, &wasm, directory.path())), wasm })
            }
            Way::Adapted(arguments) => {
                let wasm = file(guest, directory.path());
                let adapted = adapted::adapt_file(&wasm, arguments);
                Some(Program { transpiled: Some(transpile(&jco, guest, &adapted.path, directory.path())), wasm })
            }
        };
        let guests = Behaviours::read().guests.into_keys();
        let programs = guests.filter_map(|guest| Some((guest.clone(), program(&guest)?))).collect();
        let way = match way {
            Way::Pushed => "pushed",
            Way::Read => "read",
            Way::Module => "module",
            Way::Adapted(_) => "adapted",
        };
        Some(Self { process: Rc::new(RefCell::new(Process::start())), way, programs, _directory: directory })
    }
}

/// Transpiles a component and returns the path of the script.
fn transpile(jco: &Path, guest: &str, wasm: &Path, directory: &Path) -> PathBuf {
    let output = directory.join(guest);
    let mut command = Command::new(jco);
    command.arg("transpile").arg(wasm).arg("--out-dir").arg(&output);
    let result = command.args(["--name", guest, "--instantiation", "async", "--quiet"]).output().unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    output.join(format!("{guest}.js"))
}

/// The running program.
struct Process {
    child: Child,
    stdin: ChildStdin,
    responses: Receiver<String>,
    stderr: Receiver<String>,
    /// The number of marks requested so far.
    marks: u64,
}

impl Process {
    fn start() -> Self {
        let mut child = Command::new("node")
            .arg(crate::root().join(PROGRAM))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let responses = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdin, responses, stderr, marks: 0 }
    }

    /// Sends a command and returns the response.
    fn request(&mut self, command: &str, parameters: Json) -> Json {
        let sent = writeln!(self.stdin, "{}", json!({ command: parameters }));
        let response = self.responses.recv_timeout(PATIENCE);
        let response = response.unwrap_or_else(|error| {
            let stderr: Vec<String> = self.stderr.try_iter().collect();
            panic!("{command} {parameters}: {error} ({sent:?}); Node's stderr: {}", stderr.join("\n"))
        });
        let response: Json = serde_json::from_str(&response).unwrap();
        let error = response["error"].as_str().unwrap_or_default();
        assert!(response["error"].is_null(), "{command} {parameters}: {error}");
        response
    }

    /// Returns a scrape, and what was written to stderr since the last call.
    fn scrape(&mut self) -> (String, String) {
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        let response = self.request("scrape", json!({ "mark": mark }));
        let text = response["text"].as_str().unwrap().to_owned();
        let mut stderr = String::new();
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).expect("Node writes the mark");
            if line == mark {
                return (text, stderr);
            }
            stderr += &line;
            stderr.push('\n');
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process has ended already if it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines in a thread of its own.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Opener for Node {
    type Adapter = Host;

    fn open(&self, behaviour: &Behaviour) -> Host {
        let guest = &behaviour.guest;
        let Program { wasm, transpiled } = &self.programs[guest];
        let mut process = self.process.borrow_mut();
        // Earlier output belongs to another behaviour.
        process.scrape();
        process.request("open", json!({ "name": guest, "way": self.way, "wasm": wasm, "transpiled": transpiled }));
        let is_adapted = self.way == "adapted";
        Host { process: Rc::clone(&self.process), is_adapted, instances: 0, stderr: String::new() }
    }
}

/// A host program in Node, with one guest.
pub struct Host {
    process: Rc<RefCell<Process>>,
    is_adapted: bool,
    /// The number of instances so far.
    instances: u64,
    /// The output of adapted guests.
    stderr: String,
}

impl Host {
    fn request(&self, command: &str, parameters: Json) -> Json {
        self.process.borrow_mut().request(command, parameters)
    }
}

impl Adapter for Host {
    /// The instance's name.
    type Instance = String;

    fn shows_changes(&self) -> bool {
        self.is_adapted
    }

    fn instantiate(&mut self) -> String {
        self.instances += 1;
        let name = self.instances.to_string();
        self.request("instantiate", json!({ "on": name }));
        name
    }

    /// Calls a function in `node:vm`, which kills it after a timeout.
    fn call(&mut self, instance: &mut String, call: &Call, ending: &Ending, _: Seen<'_>) -> Outcome {
        let timeout = (*ending == Ending::Kill).then_some(SOON);
        let values: Vec<Json> = call.arguments.iter().map(encode).collect();
        let call = json!({ "on": instance, "name": call.function, "values": values, "timeout": timeout });
        let response = self.request("call", call);
        match response["ended"].as_str().unwrap() {
            "returned" => Outcome::Returned,
            "killed" => Outcome::Killed,
            _ => Outcome::Trapped(response["reason"].as_str().map(str::to_owned)),
        }
    }

    /// Scrapes, because the host in Node reads memories only then.
    fn collect(&mut self, instance: &mut String) {
        self.request("collect", json!({ "on": instance }));
        self.scrape();
    }

    fn end(&mut self, instance: String) {
        self.request("end", json!({ "on": instance }));
    }

    fn scrape(&mut self) -> String {
        let (text, stderr) = self.process.borrow_mut().scrape();
        if !self.is_adapted {
            return text;
        }
        self.stderr += &stderr;
        line::exposition(&self.stderr)
    }
}

/// Encodes a value under its type's name, as a text because JSON numbers lose precision.
fn encode(value: &Value) -> Json {
    match value {
        Value::U32(value) => json!({ "u32": value.to_string() }),
        Value::U64(value) => json!({ "u64": value.to_string() }),
        Value::S64(value) => json!({ "s64": value.to_string() }),
        Value::F64(value) if value.is_infinite() => {
            json!({ "f64": if *value > 0.0 { "Infinity" } else { "-Infinity" } })
        }
        Value::F64(value) => json!({ "f64": value.to_string() }),
        Value::String(value) => json!({ "string": value }),
    }
}
