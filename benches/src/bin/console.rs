//! Prints how long the answers of the console's API and a snapshot take, at 10,000 series.
//!
//! It fails if an answer takes longer than the aim, 50 ms, or if the snapshots take 1% of a core.

use std::process::ExitCode;
use std::time::Duration;

use wasmetry_benches::console::service::Service;

/// The aim for the slowest answer, without the time of other processes.
const AIM: Duration = Duration::from_millis(50);

/// The time between two snapshots.
const STEP: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let service = Service::new();
    let answers = service.measure();
    println!("{} series, an hour of them, logs and traces as many as 64 MiB hold\n", service.series());
    println!("| answer | median | on a processor | KiB |\n|---|---|---|---|");
    for answer in &answers {
        let [median, busy] = [answer.median, answer.busy].map(|time| time.as_secs_f64() * 1e3);
        println!("| `{}` | {median:.2} ms | {busy:.2} ms | {} |", answer.path, answer.bytes.div_ceil(1024));
    }
    let snapshot = service.snapshot_time();
    let share = snapshot.as_secs_f64() / STEP.as_secs_f64();
    println!("\na snapshot is taken and stored in {snapshot:.2?}: {:.3}% of a core", share * 100.0);
    let slowest = answers.iter().max_by_key(|answer| answer.busy);
    let is_slow = slowest.is_some_and(|slowest| slowest.busy > AIM);
    if let Some(slowest) = slowest {
        println!("the slowest answer is {} with {:.2?}; the aim is {AIM:?}", slowest.path, slowest.busy);
    }
    if is_slow || share >= 0.01 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
