use wasmetry::{Counter, counter};

static NUMBER: Counter = counter!("a_total", "A.", const_labels: [shard: 3]);

fn main() {
    let tier = String::from("gold");
    counter!("b_total", "B.", const_labels: [tier: &tier]).inc();
}
