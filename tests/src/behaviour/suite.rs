//! Runs the behaviours over a host.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Behaviour, Behaviours, Call, Column, Ending, Step};

/// A host with one guest's program and a registry of its own: a runtime, and how it collects.
pub trait Adapter {
    /// An instance of the program.
    type Instance;

    /// Whether [`scrape`](Self::scrape) shows only what has changed, in any order: a series that is 0 is not there.
    fn shows_changes(&self) -> bool {
        false
    }

    /// Makes an instance.
    fn instantiate(&mut self) -> Self::Instance;

    /// Calls a function and lets it end in `ending`, where that is the host's to decide; returns how it did end.
    ///
    /// While a call goes on that is to be ended by the host, `seen` is shown what Prometheus would see, until it has
    /// seen enough; only then the call is ended.
    fn call(&mut self, instance: &mut Self::Instance, call: &Call, ending: &Ending, seen: Seen<'_>) -> Outcome;

    /// Collects what an instance has recorded.
    fn collect(&mut self, instance: &mut Self::Instance);

    /// Ends an instance, whose last call may not have returned.
    fn end(&mut self, instance: Self::Instance);

    /// What Prometheus would see.
    fn scrape(&mut self) -> String;
}

/// Makes a host for each behaviour.
pub trait Opener {
    /// The host.
    type Adapter: Adapter;

    /// A host that has seen nothing yet.
    fn open(&self, behaviour: &Behaviour) -> Self::Adapter;
}

/// Looks at an exposition; returns whether it has seen enough.
pub type Seen<'a> = &'a mut dyn FnMut(&str) -> bool;

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function returned.
    Returned,
    /// The guest trapped; with the reason, where the host names one.
    Trapped(Option<String>),
    /// The host ended the guest.
    Killed,
    /// The host forgot the call.
    Dropped,
}

/// Runs every behaviour that the column does not give a reason against.
///
/// # Panics
///
/// Panics, after all have run, with the names of those that failed.
pub fn run(column: &Column, opener: &impl Opener) {
    let behaviours = Behaviours::read();
    let mut failed = Vec::new();
    let mut ran = 0;
    for behaviour in &behaviours.behaviours {
        if column.reason(behaviour).is_some() {
            continue;
        }
        ran += 1;
        let run =
            || Run { behaviours: &behaviours, behaviour, host: opener.open(behaviour), live: BTreeMap::new() }.all();
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            failed.push(&behaviour.name);
        }
    }
    assert!(failed.is_empty(), "{}: {} of {ran} behaviours failed: {failed:#?}", column.name, failed.len());
    assert!(ran > 0, "{}: no behaviour ran", column.name);
}

/// A behaviour under way.
struct Run<'a, A: Adapter> {
    behaviours: &'a Behaviours,
    behaviour: &'a Behaviour,
    host: A,
    live: BTreeMap<String, A::Instance>,
}

impl<A: Adapter> Run<'_, A> {
    fn all(mut self) {
        self.steps(&self.behaviour.steps);
        for (_, instance) in std::mem::take(&mut self.live) {
            self.host.end(instance);
        }
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Repeat { repeat, steps } => (0..*repeat).for_each(|_| self.steps(steps)),
                Step::Call { call, on, ends, shows } => self.call(call, on, ends, shows),
                Step::Collect { collect } => {
                    let mut instance = self.instance(collect);
                    self.host.collect(&mut instance);
                    self.live.insert(collect.clone(), instance);
                }
                Step::End { end } => {
                    let instance = self.instance(end);
                    self.host.end(instance);
                }
                Step::Expect { expect, absent, lost } => {
                    let text = self.host.scrape();
                    let mut differences = differences(&text, expect, absent, self.host.shows_changes());
                    differences.extend(unlike(&losses(&text, &self.behaviour.guest), lost));
                    assert!(differences.is_empty(), "`{}`:\n{}", self.behaviour.name, differences.join("\n"));
                }
            }
        }
    }

    /// An instance, which is taken out of those that live.
    fn instance(&mut self, name: &str) -> A::Instance {
        self.live.remove(name).unwrap_or_else(|| self.host.instantiate())
    }

    fn call(&mut self, call: &[serde_json::Value], on: &str, ends: &Ending, shows: &[String]) {
        let call = self.behaviours.call(self.behaviour, call);
        let mut instance = self.instance(on);
        let of_changes = self.host.shows_changes();
        let mut shown = shows.is_empty();
        let mut seen = |text: &str| {
            shown |= differences(text, shows, &[], of_changes).is_empty();
            shown
        };
        let outcome = self.host.call(&mut instance, &call, ends, &mut seen);
        let is_expected = match (&outcome, ends) {
            (Outcome::Returned, Ending::Return)
            | (Outcome::Killed, Ending::Kill)
            | (Outcome::Dropped, Ending::Drop)
            | (Outcome::Trapped(None), Ending::Trap(_)) => true,
            (Outcome::Trapped(Some(found)), Ending::Trap(expected)) => found == expected,
            _ => false,
        };
        assert!(is_expected, "`{}`: {call} ended with {outcome:?}, not {ends:?}", self.behaviour.name);
        assert!(shown, "`{}`: while {call} went on, nobody saw {shows:#?}", self.behaviour.name);
        if outcome == Outcome::Returned {
            self.live.insert(on.to_owned(), instance);
        } else {
            self.host.end(instance);
        }
    }
}

/// The lines that are missing, marked with `-`, and those that should not be there, marked with `+`; the lines of a name
/// if they are in another order.
///
/// With `of_changes`, lines of what is 0 may be missing, and their order does not matter.
fn differences(text: &str, expect: &[String], absent: &[String], of_changes: bool) -> Vec<String> {
    let mut names: Vec<&str> = expect.iter().map(|line| name(line)).chain(absent.iter().map(String::as_str)).collect();
    names.dedup();
    let mut differences = Vec::new();
    for one in names {
        let expected: Vec<&str> = expect.iter().map(String::as_str).filter(|line| name(line) == one).collect();
        let found: Vec<&str> = text.lines().filter(|line| name(line) == one).collect();
        let before = differences.len();
        let is_there = |line: &&str| found.contains(line) || of_changes && line.ends_with(" 0");
        differences.extend(expected.iter().filter(|line| !is_there(line)).map(|line| format!("- {line}")));
        differences.extend(found.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}")));
        if differences.len() == before && found != expected && !of_changes {
            differences.push(format!("in another order: {found:#?}"));
        }
    }
    differences
}

/// What a component has lost of its metrics: the counts by reason that are not 0.
fn losses(text: &str, component: &str) -> BTreeMap<String, u64> {
    let start = format!("wasmetry_dropped_total{{component=\"{component}\",signal=\"metrics\",reason=\"");
    let losses = text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "));
    let losses = losses.map(|(reason, count)| (reason.to_owned(), count.parse().expect("a count is a number")));
    losses.filter(|(_, count)| *count > 0).collect()
}

fn unlike(found: &BTreeMap<String, u64>, expected: &BTreeMap<String, u64>) -> Option<String> {
    (found != expected).then(|| format!("lost: {found:?}, not {expected:?}"))
}

/// The name in a line of an exposition.
fn name(line: &str) -> &str {
    line.split(['{', ' ']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_those_that_happened() {
        let line = |component, reason, count| {
            format!(
                "wasmetry_dropped_total{{component=\"{component}\",signal=\"metrics\",reason=\"{reason}\"}} {count}\n"
            )
        };
        let text = [line("a", "no_clock", 0), line("a", "batch", 2), line("b", "batch", 3)].concat();
        assert_eq!(losses(&text, "a").into_iter().collect::<Vec<_>>(), [("batch".to_owned(), 2)]);
    }

    #[test]
    fn every_line_of_a_name_is_compared() {
        let text = "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nab 3\n";
        let check = |expect: &[&str], absent: &[&str]| {
            let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
            differences(text, &own(expect), &own(absent), false)
        };
        assert!(check(&["a{x=\"1\"} 1", "a{x=\"2\"} 2"], &["b"]).is_empty());
        assert_eq!(check(&["a{x=\"1\"} 1"], &[]), ["+ a{x=\"2\"} 2"]);
        assert_eq!(check(&["ab 4"], &[]), ["- ab 4", "+ ab 3"]);
        assert_eq!(check(&["ab 3"], &["a"]).len(), 2);
        assert!(check(&["a{x=\"2\"} 2", "a{x=\"1\"} 1"], &[])[0].starts_with("in another order"));
        assert!(check(&["ab 3", "a{x=\"1\"} 1", "a{x=\"2\"} 2"], &[]).is_empty());
    }

    #[test]
    fn of_changes_only_what_is_0_may_be_missing() {
        let text = "a{x=\"1\"} 1\na{x=\"2\"} 2\n";
        let check = |expect: &[&str]| {
            let own: Vec<_> = expect.iter().map(|line| (*line).to_owned()).collect();
            differences(text, &own, &[], true)
        };
        assert!(check(&["a{x=\"2\"} 2", "a{x=\"1\"} 1", "a{x=\"3\"} 0"]).is_empty());
        assert_eq!(check(&["a{x=\"2\"} 2", "a{x=\"1\"} 1", "a{x=\"3\"} 10"]), ["- a{x=\"3\"} 10"]);
        assert_eq!(check(&["a{x=\"2\"} 2"]), ["+ a{x=\"1\"} 1"]);
    }
}
