use wasmetry::{Label, ObservableCounter, ObservableGauge, observable_counter, observable_gauge};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

fn takes_nothing() -> i64 {
    7
}

static VALUE: ObservableGauge = observable_gauge!("a", "A.", observe: || 3usize);
static FUNCTION: ObservableGauge = observable_gauge!("b", "B.", observe: takes_nothing);
static TEXT: ObservableCounter = observable_counter!("c_total", "C.", observe: "seven");
static LABELS: ObservableGauge<Route> =
    observable_gauge!("d", "D.", labels: [route: Route], observe: |gauge| gauge.set(1.0));
static TOTALS: ObservableCounter<Route> =
    observable_counter!("e_total", "E.", labels: [route: Route], observe: |totals| totals.with(Route::Home).inc());
static GIVEN: ObservableGauge<Route, i64> =
    observable_gauge!("f", "F.", labels: [route: Route], value: i64, observe: takes_nothing);
static WHOLE: ObservableGauge<(), i64> = observable_gauge!("g", "G.", observe: || 1.0);

fn main() {
    let pool = vec![1];
    observable_gauge!("h", "H.", observe: || pool.len() as f64).register();
}
