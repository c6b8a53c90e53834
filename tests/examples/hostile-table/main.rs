//! The cost of the costliest attacks of the hostile suite: of the host's time and memory, and of a
//! neighbour's requests, beside a run without the attacker.
//!
//! ```text
//! hostile-table [--seconds N] [--rounds N] [--row WORD]... [LABEL=COMMAND]...
//! ```
//!
//! Without a command it measures the one that this workspace has built. It prints a table in
//! Markdown. Runs with and without the attacker alternate, and so do commands, so that other load
//! of the machine affects all of them. It needs Linux, for `/proc`.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the report, as in a test")]

mod attack;
mod run;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use attack::{ATTACKS, Attack};
use run::{Cost, measure};
use wasmetry_tests::server::command;

const USAGE: &str = "usage: hostile-table [--seconds N] [--rounds N] [--row WORD]... [LABEL=COMMAND]...";

struct Options {
    time: Duration,
    /// The runs of each kind, of which the median counts for requests, and the greatest for memory.
    rounds: usize,
    rows: Vec<String>,
    commands: Vec<(String, PathBuf)>,
}

impl Options {
    fn new(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { time: Duration::from_secs(5), rounds: 3, rows: Vec::new(), commands: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seconds" => options.time = Duration::from_secs(arguments.next()?.parse().ok()?),
                "--rounds" => options.rounds = arguments.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
                "--row" => options.rows.push(arguments.next()?),
                _ => {
                    let (label, path) = argument.split_once('=')?;
                    options.commands.push((label.to_owned(), path.into()));
                }
            }
        }
        if options.commands.is_empty() {
            options.commands.push(("this".to_owned(), command()));
        }
        Some(options)
    }

    fn has(&self, attack: &Attack) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| attack.name.contains(word.as_str()))
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::new(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!(
        "| attack | command | processor time of one | memory, without | with | neighbour, without | with | beside |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for attack in ATTACKS.iter().filter(|attack| options.has(attack)) {
        let mut costs: Vec<[Vec<Cost>; 2]> = options.commands.iter().map(|_| Default::default()).collect();
        for _ in 0..options.rounds {
            for ((_, path), costs) in options.commands.iter().zip(&mut costs) {
                for (is_attacked, costs) in costs.iter_mut().enumerate() {
                    costs.push(measure(path, attack, is_attacked == 1, options.time));
                }
            }
        }
        for ((label, _), [without, with]) in options.commands.iter().zip(&costs) {
            println!(
                "| {} | {label} | {:.2} s | {} MiB | {} MiB | {:.0}/s | {:.0}/s | {} |",
                attack.name,
                median(with, |cost| cost.processor),
                peak(without),
                peak(with),
                median(without, |cost| cost.answered),
                median(with, |cost| cost.answered),
                with[0].note
            );
        }
    }
    ExitCode::SUCCESS
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn peak(costs: &[Cost]) -> u64 {
    costs.iter().map(|cost| cost.memory).max().unwrap_or_default()
}
