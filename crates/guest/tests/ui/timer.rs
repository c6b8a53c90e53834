use wasmetry::{Histogram, StatusClass, Timer, counter, histogram};

static LATENCY: Histogram<StatusClass> =
    histogram!("wait_seconds", "Time.", labels: [status: StatusClass], unit: seconds);

fn main() {
    Timer::start().observe_in(LATENCY);
    Timer::start().observe_in(counter!("waits_total", "Waits.").with(()));
    let _timer = LATENCY.start_timer();
}
