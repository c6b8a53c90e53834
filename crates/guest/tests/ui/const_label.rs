use wasmetry::{Counter, Label, counter};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

static KEY: Counter = counter!("a_total", "A.", const_labels: [Tier: "gold", le: "1"]);
static TWICE: Counter = counter!("b_total", "B.", const_labels: [tier: "gold", tier: "tin"]);
static BOTH: Counter<Route> = counter!("c_total", "C.", labels: [route: Route], const_labels: [route: "home"]);
static TEXT: Counter = counter!("d_total", "D.", const_labels: ["tier": "gold"]);
static BARE: Counter = counter!("e_total", "E.", const_labels: ["gold"]);
static WORD: Counter = counter!("f_total", "F.", const_labels: [gold]);
static UNVALUED: Counter = counter!("g_total", "G.", const_labels: [tier: ]);

fn main() {}
