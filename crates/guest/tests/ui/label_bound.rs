use wasmetry::{Below, Counter, Text, counter};

static NONE: Counter<Below<0>> = counter!("a_total", "A.", labels: [shard: Below<0>]);
static NO_TEXT: Counter<Text<0>> = counter!("b_total", "B.", labels: [user: Text<0>]);
static ODD: Counter<Text<8, 30>> = counter!("c_total", "C.", labels: [user: Text<8, 30>]);

fn main() {}
