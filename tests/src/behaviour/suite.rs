//! The runner of the behaviours over a host.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Behaviour, Behaviours, Call, Column, Ending, Step};

/// A host with one guest's program and a registry of its own: a runtime with one way to collect.
pub trait Adapter {
    /// An instance of the program.
    type Instance;

    /// Returns `true` if [`scrape`](Self::scrape) returns only series that have changed, in any
    /// order.
    fn shows_changes(&self) -> bool {
        false
    }

    /// Makes an instance.
    fn instantiate(&mut self) -> Self::Instance;

    /// Calls a function, kills or drops the call if `ending` says so, and returns its outcome.
    ///
    /// Before the host kills a call, it passes scrapes to `seen` until `seen` returns `true`.
    fn call(&mut self, instance: &mut Self::Instance, call: &Call, ending: &Ending, seen: Seen<'_>) -> Outcome;

    /// Collects what an instance has recorded.
    fn collect(&mut self, instance: &mut Self::Instance);

    /// Ends an instance, whose last call may not have returned.
    fn end(&mut self, instance: Self::Instance);

    /// Returns a scrape in the Prometheus text format.
    fn scrape(&mut self) -> String;
}

/// Makes a host for each behaviour.
pub trait Opener {
    /// The host.
    type Adapter: Adapter;

    /// Makes a host with an empty registry for a behaviour.
    fn open(&self, behaviour: &Behaviour) -> Self::Adapter;
}

/// A check of a scrape. Returns `true` if the scrape has the expected lines.
pub type Seen<'a> = &'a mut dyn FnMut(&str) -> bool;

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function returned.
    Returned,
    /// The guest trapped, for a reason if the host reports reasons.
    Trapped(Option<String>),
    /// The host interrupted the guest.
    Killed,
    /// The host dropped the call.
    Dropped,
}

/// Runs every behaviour that the column's runtime can run.
///
/// # Panics
///
/// Panics after the last one with the names of the failed behaviours.
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

/// The run of a behaviour.
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
                    let mut instance = self.take_instance(collect);
                    self.host.collect(&mut instance);
                    self.live.insert(collect.clone(), instance);
                }
                Step::End { end } => {
                    let instance = self.take_instance(end);
                    self.host.end(instance);
                }
                Step::Expect { expect, absent, lost } => {
                    let text = self.host.scrape();
                    let mut differences = differences(&text, expect, absent, self.host.shows_changes());
                    differences.extend(drop_difference(&drops(&text, &self.behaviour.guest), lost));
                    assert!(differences.is_empty(), "`{}`:\n{}", self.behaviour.name, differences.join("\n"));
                }
            }
        }
    }

    /// Takes an instance out of the live ones, or makes it.
    fn take_instance(&mut self, name: &str) -> A::Instance {
        self.live.remove(name).unwrap_or_else(|| self.host.instantiate())
    }

    fn call(&mut self, call: &[serde_json::Value], on: &str, ends: &Ending, shows: &[String]) {
        let call = self.behaviours.call(self.behaviour, call);
        let mut instance = self.take_instance(on);
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
        assert!(shown, "`{}`: while {call} ran, no scrape had {shows:#?}", self.behaviour.name);
        if outcome == Outcome::Returned {
            self.live.insert(on.to_owned(), instance);
        } else {
            self.host.end(instance);
        }
    }
}

/// Returns missing lines after `-`, unexpected lines after `+`, and the lines of each name whose
/// order differs.
///
/// With `of_changes`, a line whose value is 0 may be missing, and the order does not matter.
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

/// Returns the drops of a component's metrics by reason, without those that are 0.
fn drops(text: &str, component: &str) -> BTreeMap<String, u64> {
    let start = format!("wasmetry_dropped_total{{component=\"{component}\",signal=\"metrics\",reason=\"");
    let drops = text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "));
    let drops = drops.map(|(reason, count)| (reason.to_owned(), count.parse().expect("a count is a number")));
    drops.filter(|(_, count)| *count > 0).collect()
}

fn drop_difference(found: &BTreeMap<String, u64>, expected: &BTreeMap<String, u64>) -> Option<String> {
    (found != expected).then(|| format!("dropped: {found:?}, not {expected:?}"))
}

/// Returns the name in a line of an exposition.
fn name(line: &str) -> &str {
    line.split(['{', ' ']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_zero_are_ignored() {
        let line = |component, reason, count| {
            format!(
                "wasmetry_dropped_total{{component=\"{component}\",signal=\"metrics\",reason=\"{reason}\"}} {count}\n"
            )
        };
        let text = [line("a", "no_clock", 0), line("a", "batch", 2), line("b", "batch", 3)].concat();
        assert_eq!(drops(&text, "a").into_iter().collect::<Vec<_>>(), [("batch".to_owned(), 2)]);
    }

    #[test]
    fn differences_cover_every_line() {
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
    fn changes_may_lack_only_zeros() {
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
