//! The behaviours of `tests/behaviours.json`: what guests are told to do, how they end, and what a host then shows.
//!
//! They are data, so that every runtime is judged by the same ones: [`suite::run`] runs them over an [`Adapter`], and a
//! host in another language can read the file itself. `tests/README.md` says which ran where.

mod interpreter;
mod node;
mod plain;
mod runtime;
mod suite;
mod table;
mod told;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use interpreter::Interpreter;
pub use node::{Node, Way};
pub use plain::Plain;
pub use runtime::{Form, Runtime};
pub use suite::{Adapter, Opener, Outcome, Seen, run};
pub use table::{Column, check};
pub use value::{Call, Type, Value};

/// The guest that is two recorders in one; see [`composition`](crate::composition).
const PAIR: &str = "composed-pair";

/// The file, in the crate's folder.
const FILE: &str = "behaviours.json";

/// Everything in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviours {
    /// The guests: their functions, and what each is called with.
    pub guests: BTreeMap<String, BTreeMap<String, Vec<Type>>>,
    /// What they do.
    pub behaviours: Vec<Behaviour>,
}

/// Something that every host shows in the same way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// What it is, as a sentence.
    pub name: String,
    /// The guest, which is also the component's name in what is expected.
    #[serde(default = "recorder")]
    pub guest: String,
    /// What not every host has, beside what the steps show.
    #[serde(default)]
    needs: Vec<Need>,
    /// What is done.
    pub steps: Vec<Step>,
}

fn recorder() -> String {
    "recorder".to_owned()
}

/// One step. An instance is made when a step names it and it is not there, and ended with the behaviour at the latest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub enum Step {
    /// Does some steps several times.
    Repeat {
        /// How often.
        repeat: u32,
        /// What.
        steps: Vec<Step>,
    },
    /// Calls a function of the guest.
    Call {
        /// Its name, and what it is called with.
        call: Vec<serde_json::Value>,
        /// The instance.
        #[serde(default = "default_instance")]
        on: String,
        /// How the call ends. One that does not return ends the instance.
        #[serde(default)]
        ends: Ending,
        /// What is shown while the call goes on, which is then killed.
        #[serde(default)]
        shows: Vec<String>,
    },
    /// Looks at what an instance has recorded.
    Collect {
        /// The instance.
        collect: String,
    },
    /// Ends an instance.
    End {
        /// The instance.
        end: String,
    },
    /// Compares what is shown.
    Expect {
        /// These lines, and no others with one of their names; those of one name are shown in this order.
        #[serde(default)]
        expect: Vec<String>,
        /// Names of which nothing is shown.
        #[serde(default)]
        absent: Vec<String>,
        /// What was lost of the metrics, by reason, and nothing else.
        #[serde(default)]
        lost: BTreeMap<String, u64>,
    },
}

/// The path of a guest's component; one that is composed is made in the directory.
fn file(guest: &str, directory: &Path) -> PathBuf {
    if guest != PAIR {
        return crate::guest(guest);
    }
    let path = directory.join("composed-pair.wasm");
    std::fs::write(&path, Form::Mapped.read(guest)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

fn default_instance() -> String {
    "a".to_owned()
}

/// How a call ends.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The function returns.
    #[default]
    Return,
    /// The guest traps, for a reason that a host with metrics of the runtime's own names.
    Trap(String),
    /// The host ends the guest, which would run for ever.
    Kill,
    /// The host forgets the call, which would go on for ever, as when a client has gone away.
    Drop,
}

/// What not every host can do, or not every guest on it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A running guest can be ended.
    Kill,
    /// A call can be forgotten.
    Drop,
    /// What a guest records in a call that does not return is collected.
    LastWords,
    /// What a guest has recorded is shown while it runs.
    Show,
    /// Memory can be limited.
    MemoryLimit,
    /// The guest has a clock without being given one.
    Clock,
    /// The guest has no clock until it is given one.
    NoClock,
    /// The host hears it when the guest says that now is a good time to collect.
    Publish,
    /// The guest has two versions of the crate linked into it.
    TwoVersions,
    /// Series that a guest declares are shown before it records anything.
    Standing,
    /// Gauges of several instances are combined by their rules.
    Merge,
    /// The guest is composed of two, each with a memory of its own.
    Composed,
    /// What such guests record in a call that does not return is collected.
    ComposedLastWords,
}

impl Behaviours {
    /// Reads the file.
    ///
    /// # Panics
    ///
    /// Panics, saying where, if the file is not as it has to be.
    pub fn read() -> Self {
        let path = crate::root().join("tests").join(FILE);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let behaviours: Self =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (at, behaviour) in behaviours.behaviours.iter().enumerate() {
            let name = &behaviour.name;
            let is_new = behaviours.behaviours[..at].iter().all(|other| other.name != *name);
            assert!(is_new, "{}: two behaviours are named `{name}`", path.display());
            behaviour.check(&behaviours);
        }
        behaviours
    }

    /// A call with its arguments as the guest's function takes them.
    ///
    /// # Panics
    ///
    /// Panics, saying what is wrong, if the guest has no such function or takes other arguments.
    pub fn call(&self, behaviour: &Behaviour, call: &[serde_json::Value]) -> Call {
        let functions = self.guests.get(&behaviour.guest);
        let functions = functions.unwrap_or_else(|| panic!("`{}`: no guest `{}`", behaviour.name, behaviour.guest));
        Call::new(functions, call).unwrap_or_else(|problem| panic!("`{}`: {problem}", behaviour.name))
    }
}

impl Behaviour {
    /// Everything that a host has to be able to do for it.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = self.needs.clone();
        visit(&self.steps, &mut |step| {
            if let Step::Call { ends, shows, .. } = step {
                needs.extend(match ends {
                    Ending::Return | Ending::Trap(_) => None,
                    Ending::Kill => Some(Need::Kill),
                    Ending::Drop => Some(Need::Drop),
                });
                needs.extend((!shows.is_empty()).then_some(Need::Show));
            }
        });
        needs.sort();
        needs.dedup();
        needs
    }

    /// Checks what the types of the fields leave open.
    fn check(&self, behaviours: &Behaviours) {
        let mut expects = false;
        visit(&self.steps, &mut |step| match step {
            Step::Call { call, ends, shows, .. } => {
                behaviours.call(self, call);
                let is_seen = shows.is_empty() || *ends == Ending::Kill;
                assert!(is_seen, "`{}`: only a call that is killed goes on for long enough to be seen", self.name);
            }
            Step::Expect { expect, absent, .. } => {
                expects = true;
                assert!(!expect.is_empty() || !absent.is_empty(), "`{}`: a step expects nothing", self.name);
            }
            _ => {}
        });
        assert!(expects, "`{}` expects nothing", self.name);
    }
}

/// Calls `f` with every step, also those that are repeated.
fn visit(steps: &[Step], f: &mut impl FnMut(&Step)) {
    for step in steps {
        f(step);
        if let Step::Repeat { steps, .. } = step {
            visit(steps, f);
        }
    }
}
