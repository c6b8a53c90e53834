use wasmetry::{Gauge, Label, Sum, gauge};

#[derive(Clone, Copy, Label)]
enum Queue {
    Mail,
}

static OPEN: Gauge = gauge!("open_files", "Open files.");
static PEAK: Gauge<Queue, i64> = gauge!("peak", "Peak.", labels: [queue: Queue], value: i64, merge: max);
static ADDED: Gauge<(), i64> = gauge!("added", "Added.", value: i64, merge: sum);
static UNNAMED: Gauge<(), i64, Sum> = gauge!("unnamed", "Unnamed.", value: i64);

fn main() {
    OPEN.inc();
    PEAK.with(Queue::Mail).add(2);
}
