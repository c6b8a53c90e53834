//! A program whose arguments are its steps: `job count 3 print done exit 4`.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::process::{ExitCode, exit};

use wasmetry::{
    Counter, Histogram, ObservableCounter, Span, counter, debug, histogram, info, observable_counter, span,
};

static STEPS: Counter = counter!("steps_total", "Steps done.");

static COUNTED: Counter = counter!("counted_total", "What was counted.");

static OBSERVED: ObservableCounter =
    observable_counter!("steps_observed_total", "Steps done, as observed.", observe: || STEPS.get());

static DURATION: Histogram = histogram!("step_duration_seconds", "Time for a step.", unit: seconds, buckets: [0.01, 1]);

fn main() -> ExitCode {
    let _job = span!("job").entered();
    let mut arguments = std::env::args().skip(1);
    while let Some(step) = arguments.next() {
        let mut argument = || arguments.next().unwrap_or_else(|| panic!("`{step}` needs an argument"));
        STEPS.inc();
        match step.as_str() {
            "count" => COUNTED.add(argument().parse().expect("a number")),
            "observe" => DURATION.observe(argument().parse().expect("a number")),
            "watch" => OBSERVED.register(),
            "clock" => drop(DURATION.start_timer()),
            "traces" => traces(argument().parse().expect("a number")),
            "log" => info!(step = STEPS.get(), text = argument(), "a step of the job"),
            "echo" => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).expect("stdin is text");
                print!("{text}");
            }
            "env" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
            "print" => println!("{}", argument()),
            "complain" => eprintln!("{}", argument()),
            "read" => print!("{}", std::fs::read_to_string(argument()).expect("a file")),
            "exit" => exit(argument().parse().expect("a code")),
            "fail" => return ExitCode::FAILURE,
            "trap" => {
                let _step = span!("the last").entered();
                debug!("about to trap");
                io::stdout().flush().expect("stdout is open");
                panic!("requested by the test");
            }
            "spin" => loop {
                std::hint::spin_loop();
            },
            "exhaust" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1u8; 1 << 20]);
                }
            }
            other => panic!("`{other}` is not a step"),
        }
    }
    ExitCode::SUCCESS
}

/// Begins as many traces, each with a span below its first one.
fn traces(count: u32) {
    for number in 0..count {
        // Outside of the job's span, which would be the parent.
        Span::none().in_scope(|| {
            let _root = span!("root", number).entered();
            let _child = span!("child").entered();
        });
    }
}
