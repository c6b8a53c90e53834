//! The behaviours of `tests/behaviours.json`: the calls of a guest, their endings, and the samples
//! that a scrape then has.
//!
//! They are data, so that every runtime runs the same ones: [`suite::run`] runs them over an
//! [`Adapter`], and a host in another language can read the file itself. The table in
//! `tests/README.md` lists which runtime runs which behaviour.

mod composition;
mod interpreter;
mod line;
mod node;
mod plain;
mod runtime;
mod suite;
mod table;
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

/// The guest that is composed of two recorders.
const PAIR: &str = "composed-pair";

/// The file's name, in the package's folder.
const FILE: &str = "behaviours.json";

/// The contents of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviours {
    /// The guests with their functions and the types of their parameters.
    pub guests: BTreeMap<String, BTreeMap<String, Vec<Type>>>,
    /// The behaviours, each for one guest.
    pub behaviours: Vec<Behaviour>,
}

/// A behaviour that every host has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// The behaviour as a sentence.
    pub name: String,
    /// The guest, which is also the component's name in the expected lines.
    #[serde(default = "recorder")]
    pub guest: String,
    /// Capabilities that the steps do not show to be needed.
    #[serde(default)]
    needs: Vec<Need>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

fn recorder() -> String {
    "recorder".to_owned()
}

/// One step. A step that names an instance makes it if it does not exist; instances that are left
/// end with the behaviour.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub enum Step {
    /// Repeats some steps.
    Repeat {
        /// The number of repetitions.
        repeat: u32,
        /// The repeated steps.
        steps: Vec<Step>,
    },
    /// Calls a function of the guest.
    Call {
        /// The function's name and its arguments.
        call: Vec<serde_json::Value>,
        /// The instance.
        #[serde(default = "default_instance")]
        on: String,
        /// The call's ending. A call that does not return ends the instance.
        #[serde(default)]
        ends: Ending,
        /// Lines that a scrape has while the call runs, before it is killed.
        #[serde(default)]
        shows: Vec<String>,
    },
    /// Collects what an instance has recorded.
    Collect {
        /// The instance.
        collect: String,
    },
    /// Ends an instance.
    End {
        /// The instance.
        end: String,
    },
    /// Compares a scrape.
    Expect {
        /// All lines with their names; the lines of one name are in this order.
        #[serde(default)]
        expect: Vec<String>,
        /// Names without a line.
        #[serde(default)]
        absent: Vec<String>,
        /// All drops of metrics, by reason.
        #[serde(default)]
        lost: BTreeMap<String, u64>,
    },
}

/// Returns the path of a guest's component. A composed one is written into the directory.
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

/// The ending of a call.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The function returns.
    #[default]
    Return,
    /// The guest traps, for this reason of `wasm_traps_total`.
    Trap(String),
    /// The host interrupts the guest, which would run for ever.
    Kill,
    /// The host drops the call, which would run for ever, as when a client closes its connection.
    Drop,
}

/// A capability that some hosts or some kinds of guests lack.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// The host can interrupt a running guest.
    Kill,
    /// The host can drop a call.
    Drop,
    /// The host collects what a guest records in a call that does not return.
    LastWords,
    /// A scrape has what a guest records while it runs.
    Show,
    /// The host can limit a guest's memory.
    MemoryLimit,
    /// The guest has a clock without a call of `set-clock`.
    Clock,
    /// The guest has no clock before a call of `set-clock`.
    NoClock,
    /// `publish` in a guest makes the host collect.
    Publish,
    /// Two versions of the crate `wasmetry` can be linked into the guest.
    TwoVersions,
    /// A scrape has the declared series of a guest that has recorded nothing.
    Standing,
    /// The host combines gauges of several instances by their merge rules.
    Merge,
    /// The guest can be composed of two components with a memory each.
    Composed,
    /// The host collects what a composed guest records in a call that does not return.
    ComposedLastWords,
}

impl Behaviours {
    /// Reads the file.
    ///
    /// # Panics
    ///
    /// Panics with the position if the file is invalid.
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

    /// Returns a call with arguments of the function's parameter types.
    ///
    /// # Panics
    ///
    /// Panics if the guest has no such function or if an argument has another type.
    pub fn call(&self, behaviour: &Behaviour, call: &[serde_json::Value]) -> Call {
        let functions = self.guests.get(&behaviour.guest);
        let functions = functions.unwrap_or_else(|| panic!("`{}`: no guest `{}`", behaviour.name, behaviour.guest));
        Call::new(functions, call).unwrap_or_else(|problem| panic!("`{}`: {problem}", behaviour.name))
    }
}

impl Behaviour {
    /// Returns every capability that a host needs for this behaviour.
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

    /// Checks the rules that the types of the fields cannot express.
    fn check(&self, behaviours: &Behaviours) {
        let mut expects = false;
        visit(&self.steps, &mut |step| match step {
            Step::Call { call, ends, shows, .. } => {
                behaviours.call(self, call);
                let is_long = shows.is_empty() || *ends == Ending::Kill;
                assert!(is_long, "`{}`: only a call that is killed runs long enough for a scrape", self.name);
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

/// Calls `f` with every step, including repeated ones.
fn visit(steps: &[Step], f: &mut impl FnMut(&Step)) {
    for step in steps {
        f(step);
        if let Step::Repeat { steps, .. } = step {
            visit(steps, f);
        }
    }
}
