//! Node, with core modules, and with components in the form that jco gives them: collected by `hosts/node`, or adapted.

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
use super::{Behaviour, Behaviours, Call, Ending, Value, file, told};
use crate::adapted;
use crate::tool::Tool;

/// The program that runs the guests.
const PROGRAM: &str = "hosts/node/test/behaviour.js";

/// How long Node may take for something.
const PATIENCE: Duration = Duration::from_secs(120);

/// When a guest is killed, in milliseconds.
const SOON: u64 = 50;

/// How a guest is collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way<'a> {
    /// As a component that sends what it records.
    Pushed,
    /// As a component whose memory is read.
    Read,
    /// As a core module, whose memory is read.
    Module,
    /// As a component that `wasmetry adapt` has adapted with these arguments, on a host that knows nothing of it.
    Adapted(&'a [&'a str]),
}

/// Node, with one process for all behaviours.
pub struct Node {
    process: Rc<RefCell<Process>>,
    way: &'static str,
    programs: BTreeMap<String, Program>,
    _directory: TempDir,
}

/// A guest: its binary, and the script that jco made of it.
struct Program {
    wasm: PathBuf,
    transpiled: Option<PathBuf>,
}

impl Node {
    /// Starts Node; nothing where its packages are not installed.
    ///
    /// # Panics
    ///
    /// Panics if Node, jco or the command fails.
    pub fn start(way: Way<'_>) -> Option<Self> {
        let jco = Tool::Jco.find()?;
        let directory = tempfile::tempdir().unwrap();
        let program = |guest: &str| match way {
            // Not all guests are modules; the table says which.
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

/// Makes a script of a component.
fn transpile(jco: &Path, guest: &str, wasm: &Path, directory: &Path) -> PathBuf {
    let output = directory.join(guest);
    let mut command = Command::new(jco);
    command.arg("transpile").arg(wasm).arg("--out-dir").arg(&output);
    let said = command.args(["--name", guest, "--instantiation", "async", "--quiet"]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    output.join(format!("{guest}.js"))
}

/// The running program.
struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    said: Receiver<String>,
    /// How many marks it has been asked for.
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
        let answers = lines(child.stdout.take().unwrap());
        let said = lines(child.stderr.take().unwrap());
        Self { child, stdin, answers, said, marks: 0 }
    }

    /// Tells it to do something, and returns its answer.
    fn ask(&mut self, command: &str, parameters: Json) -> Json {
        let told = writeln!(self.stdin, "{}", json!({ command: parameters }));
        let answer = self.answers.recv_timeout(PATIENCE);
        let answer = answer.unwrap_or_else(|error| {
            let said: Vec<String> = self.said.try_iter().collect();
            panic!("{command} {parameters}: {error} ({told:?}); Node said: {}", said.join("\n"))
        });
        let answer: Json = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"].is_null(), "{command} {parameters}: {}", answer["error"].as_str().unwrap_or_default());
        answer
    }

    /// What is shown, and what has been written to standard error since this was asked before.
    fn scrape(&mut self) -> (String, String) {
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        let answer = self.ask("scrape", json!({ "mark": mark }));
        let text = answer["text"].as_str().unwrap().to_owned();
        let mut said = String::new();
        loop {
            let line = self.said.recv_timeout(PATIENCE).expect("Node writes the mark");
            if line == mark {
                return (text, said);
            }
            said += &line;
            said.push('\n');
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread of its own.
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
        // What was said before is another behaviour's.
        process.scrape();
        process.ask("open", json!({ "name": guest, "way": self.way, "wasm": wasm, "transpiled": transpiled }));
        let is_adapted = self.way == "adapted";
        Host { process: Rc::clone(&self.process), is_adapted, instances: 0, said: String::new() }
    }
}

/// A host program in Node, with one guest.
pub struct Host {
    process: Rc<RefCell<Process>>,
    is_adapted: bool,
    /// How many instances there were until now.
    instances: u64,
    /// What adapted guests have written.
    said: String,
}

impl Host {
    fn ask(&self, command: &str, parameters: Json) -> Json {
        self.process.borrow_mut().ask(command, parameters)
    }
}

impl Adapter for Host {
    /// Its name.
    type Instance = String;

    fn shows_changes(&self) -> bool {
        self.is_adapted
    }

    fn instantiate(&mut self) -> String {
        self.instances += 1;
        let name = self.instances.to_string();
        self.ask("instantiate", json!({ "on": name }));
        name
    }

    /// A guest that is to be killed is ended by `node:vm`.
    fn call(&mut self, instance: &mut String, call: &Call, ending: &Ending, _: Seen<'_>) -> Outcome {
        let timeout = (*ending == Ending::Kill).then_some(SOON);
        let values: Vec<Json> = call.arguments.iter().map(typed).collect();
        let call = json!({ "on": instance, "name": call.function, "values": values, "timeout": timeout });
        let answer = self.ask("call", call);
        match answer["ended"].as_str().unwrap() {
            "returned" => Outcome::Returned,
            "killed" => Outcome::Killed,
            _ => Outcome::Trapped(answer["reason"].as_str().map(str::to_owned)),
        }
    }

    /// The host in Node reads all memories when it is asked for what they have.
    fn collect(&mut self, instance: &mut String) {
        self.ask("collect", json!({ "on": instance }));
        self.scrape();
    }

    fn end(&mut self, instance: String) {
        self.ask("end", json!({ "on": instance }));
    }

    fn scrape(&mut self) -> String {
        let (text, said) = self.process.borrow_mut().scrape();
        if !self.is_adapted {
            return text;
        }
        self.said += &said;
        told::exposition(&self.said)
    }
}

/// A value under its type's name, as a text, because JSON's numbers are not exact enough.
fn typed(value: &Value) -> Json {
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
