use wasmetry::{
    Counter, Gauge, Histogram, Label, ObservableCounter, ObservableGauge, UpDownCounter, counter, gauge, histogram,
    observable_counter, observable_gauge, up_down_counter,
};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

static MISSING: ObservableGauge = observable_gauge!("a", "A.");
static NOTHING: ObservableCounter = observable_counter!("b_total", "B.", observe:);
static LABELS: ObservableGauge<Route> = observable_gauge!("c", "C.", labels: [route: Route], observe: || 1.0);
static TWO: ObservableGauge = observable_gauge!("d", "D.", observe: |one, two| 1.0);
static COUNTER: Counter = counter!("e_total", "E.", observe: || 1);
static GAUGE: Gauge = gauge!("f", "F.", observe: || 1.0);
static UP_DOWN: UpDownCounter = up_down_counter!("g", "G.", observe: || 1);
static HISTOGRAM: Histogram = histogram!("h", "H.", observe: || 1.0);
static NAME: ObservableCounter = observable_counter!("i", "I.", observe: || 1);
static MERGE: ObservableCounter = observable_counter!("j_total", "J.", merge: max, observe: || 1);

fn main() {}
